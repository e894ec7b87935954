-- Takes the place of the table throttles, which servers of the release before still use. Times are microseconds since
-- 1970, so that both databases calculate with them in one way.
-- +goose Up
CREATE TABLE limits (
    key        bytea PRIMARY KEY NOT NULL,
    name       text NOT NULL,
    account    bytea,
    network    text,
    max        bigint NOT NULL,
    backoff    bigint NOT NULL,
    period     bigint NOT NULL,
    count      bigint NOT NULL,
    pending    bigint NOT NULL,
    since      bigint NOT NULL,
    until      bigint NOT NULL,
    expires_at bigint NOT NULL
);

CREATE INDEX limits_expires_at_idx ON limits (expires_at);
CREATE INDEX limits_account_idx ON limits (account) WHERE account IS NOT NULL;

CREATE TABLE known_networks (
    key        bytea PRIMARY KEY NOT NULL,
    user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at bigint NOT NULL
);

CREATE INDEX known_networks_user_id_idx ON known_networks (user_id);
CREATE INDEX known_networks_expires_at_idx ON known_networks (expires_at);

-- +goose Down
DROP TABLE known_networks;
DROP TABLE limits;
