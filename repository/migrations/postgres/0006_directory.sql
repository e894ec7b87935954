-- +goose Up
ALTER TABLE users ADD COLUMN directory_id text, ADD COLUMN left_at timestamptz;
CREATE UNIQUE INDEX users_directory_id_key ON users (directory_id) WHERE directory_id IS NOT NULL;

CREATE TABLE jobs (
    name       text PRIMARY KEY,
    due_at     timestamptz NOT NULL,
    busy_until timestamptz NOT NULL
);

-- +goose Down
DROP TABLE jobs;
ALTER TABLE users DROP COLUMN directory_id, DROP COLUMN left_at;
