-- +goose Up
ALTER TABLE tokens ADD COLUMN password_stamp text;

-- +goose Down
ALTER TABLE tokens DROP COLUMN password_stamp;
