-- +goose Up
CREATE TABLE users (
    id         uuid PRIMARY KEY,
    username   text NOT NULL CONSTRAINT users_username_key UNIQUE,
    first_name text NOT NULL,
    last_name  text NOT NULL,
    email      text NOT NULL,
    password   text NOT NULL,
    is_active  boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE tokens (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    digest     bytea NOT NULL CONSTRAINT tokens_digest_key UNIQUE,
    created_at timestamptz NOT NULL
);

CREATE INDEX tokens_user_id_idx ON tokens (user_id);

-- +goose Down
DROP TABLE tokens;
DROP TABLE users;
