-- Between the first deployment and the change: a migration, and a grant that somebody makes by hand.

\connect app migrator
CREATE TABLE identity.account (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE);
CREATE TABLE billing.invoice (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, cents bigint NOT NULL);
CREATE TABLE audit.entry (at timestamptz NOT NULL DEFAULT now(), what jsonb NOT NULL);

-- "Just for today."
GRANT UPDATE ON billing.invoice TO report;
