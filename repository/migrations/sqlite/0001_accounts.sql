-- +goose Up
CREATE TABLE users (
    id         text PRIMARY KEY NOT NULL,
    username   text NOT NULL UNIQUE,
    first_name text NOT NULL,
    last_name  text NOT NULL,
    email      text NOT NULL,
    password   text NOT NULL,
    is_active  boolean NOT NULL,
    created_at datetime NOT NULL,
    updated_at datetime NOT NULL
);

CREATE TABLE tokens (
    id         text PRIMARY KEY NOT NULL,
    user_id    text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    digest     blob NOT NULL UNIQUE,
    created_at datetime NOT NULL
);

CREATE INDEX tokens_user_id_idx ON tokens (user_id);

-- +goose Down
DROP TABLE tokens;
DROP TABLE users;
