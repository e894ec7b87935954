-- +goose Up
ALTER TABLE tokens ADD COLUMN last_used_at timestamptz;
UPDATE tokens SET last_used_at = created_at;
ALTER TABLE tokens ALTER COLUMN last_used_at SET NOT NULL;
ALTER TABLE tokens ADD COLUMN client text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE tokens DROP COLUMN client;
ALTER TABLE tokens DROP COLUMN last_used_at;
