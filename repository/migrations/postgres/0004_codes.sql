-- +goose Up
CREATE TABLE codes (
    user_id    uuid PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    digest     bytea NOT NULL,
    expires_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE codes;
