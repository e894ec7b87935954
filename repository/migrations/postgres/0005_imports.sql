-- +goose Up
ALTER TABLE tokens ADD COLUMN expires_at timestamptz;

CREATE TABLE imports (
    source  text NOT NULL,
    key     bytea NOT NULL,
    user_id uuid NOT NULL,
    digest  bytea NOT NULL,
    PRIMARY KEY (source, key)
);

-- +goose Down
DROP TABLE imports;
ALTER TABLE tokens DROP COLUMN expires_at;
