-- +goose NO TRANSACTION
-- Nobody waits while the indexes are built. What is left of one where that was broken off is dropped first. YugabyteDB has no
-- DROP INDEX CONCURRENTLY.
-- +goose Up
DROP INDEX IF EXISTS tokens_user_id_created_at_idx;
CREATE INDEX CONCURRENTLY tokens_user_id_created_at_idx ON tokens (user_id, created_at);
DROP INDEX IF EXISTS tokens_expiring_idx;
CREATE INDEX CONCURRENTLY tokens_expiring_idx ON tokens (user_id, expires_at) WHERE expires_at IS NOT NULL;
DROP INDEX IF EXISTS tokens_user_id_idx;

-- +goose Down
CREATE INDEX CONCURRENTLY tokens_user_id_idx ON tokens (user_id);
DROP INDEX tokens_expiring_idx;
DROP INDEX tokens_user_id_created_at_idx;
