-- +goose Up
CREATE TABLE throttles (
    key        bytea PRIMARY KEY NOT NULL,
    count      bigint NOT NULL,
    until      timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX throttles_expires_at_idx ON throttles (expires_at);

CREATE TABLE secrets (
    name  text PRIMARY KEY NOT NULL,
    value bytea NOT NULL
);

-- +goose Down
DROP TABLE secrets;
DROP TABLE throttles;
