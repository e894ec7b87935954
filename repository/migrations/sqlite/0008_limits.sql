-- Takes the place of the table throttles, which servers of the release before still use. Times are microseconds since
-- 1970, so that both databases calculate with them in one way.
-- +goose Up
CREATE TABLE limits (
    key        blob PRIMARY KEY NOT NULL,
    name       text NOT NULL,
    account    blob,
    network    text,
    max        integer NOT NULL,
    backoff    integer NOT NULL,
    period     integer NOT NULL,
    count      integer NOT NULL,
    pending    integer NOT NULL,
    since      integer NOT NULL,
    until      integer NOT NULL,
    expires_at integer NOT NULL
);

CREATE INDEX limits_expires_at_idx ON limits (expires_at);
CREATE INDEX limits_account_idx ON limits (account) WHERE account IS NOT NULL;

CREATE TABLE known_networks (
    key        blob PRIMARY KEY NOT NULL,
    user_id    text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at integer NOT NULL
);

CREATE INDEX known_networks_user_id_idx ON known_networks (user_id);
CREATE INDEX known_networks_expires_at_idx ON known_networks (expires_at);

-- +goose Down
DROP TABLE known_networks;
DROP TABLE limits;
