-- +goose Up
ALTER TABLE users ADD COLUMN directory_id text;
ALTER TABLE users ADD COLUMN left_at datetime;
CREATE UNIQUE INDEX users_directory_id_key ON users (directory_id) WHERE directory_id IS NOT NULL;

CREATE TABLE jobs (
    name       text PRIMARY KEY NOT NULL,
    due_at     datetime NOT NULL,
    busy_until datetime NOT NULL
);

-- +goose Down
DROP TABLE jobs;
DROP INDEX users_directory_id_key;
ALTER TABLE users DROP COLUMN left_at;
ALTER TABLE users DROP COLUMN directory_id;
