-- +goose Up
ALTER TABLE tokens ADD COLUMN last_used_at datetime NOT NULL DEFAULT '1970-01-01 00:00:00+00:00';
UPDATE tokens SET last_used_at = created_at;
ALTER TABLE tokens ADD COLUMN client text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE tokens DROP COLUMN client;
ALTER TABLE tokens DROP COLUMN last_used_at;
