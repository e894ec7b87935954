-- +goose Up
CREATE INDEX tokens_user_id_created_at_idx ON tokens (user_id, created_at);
CREATE INDEX tokens_expiring_idx ON tokens (user_id, expires_at) WHERE expires_at IS NOT NULL;
DROP INDEX tokens_user_id_idx;

-- +goose Down
CREATE INDEX tokens_user_id_idx ON tokens (user_id);
DROP INDEX tokens_expiring_idx;
DROP INDEX tokens_user_id_created_at_idx;
