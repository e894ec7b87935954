-- +goose Up
CREATE TABLE codes (
    user_id    text PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    digest     blob NOT NULL,
    expires_at datetime NOT NULL
);

-- +goose Down
DROP TABLE codes;
