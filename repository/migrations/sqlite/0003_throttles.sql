-- +goose Up
CREATE TABLE throttles (
    key        blob PRIMARY KEY NOT NULL,
    count      integer NOT NULL,
    until      datetime NOT NULL,
    expires_at datetime NOT NULL
);

CREATE INDEX throttles_expires_at_idx ON throttles (expires_at);

CREATE TABLE secrets (
    name  text PRIMARY KEY NOT NULL,
    value blob NOT NULL
);

-- +goose Down
DROP TABLE secrets;
DROP TABLE throttles;
