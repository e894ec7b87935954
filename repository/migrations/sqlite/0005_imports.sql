-- +goose Up
ALTER TABLE tokens ADD COLUMN expires_at datetime;

CREATE TABLE imports (
    source  text NOT NULL,
    key     blob NOT NULL,
    user_id text NOT NULL,
    digest  blob NOT NULL,
    PRIMARY KEY (source, key)
);

-- +goose Down
DROP TABLE imports;
ALTER TABLE tokens DROP COLUMN expires_at;
