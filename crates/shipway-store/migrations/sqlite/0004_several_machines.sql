-- Several machines: where a worker is asked for what flows, and content that waits for one;
-- and two versions at once.

-- The oldest schema whose versions work with this one too; none: only its own.
ALTER TABLE schema_version ADD COLUMN least INTEGER;

-- Versions that know this schema, or an older one, could not read it.
ALTER TABLE task ADD COLUMN unread_by INTEGER;

ALTER TABLE worker ADD COLUMN address TEXT;     -- host:port of its streams, if it has any
ALTER TABLE worker ADD COLUMN certificate TEXT; -- SHA-256 of the certificate it shows there
ALTER TABLE worker ADD COLUMN secret TEXT;      -- opens them; a new one with every start

CREATE INDEX worker_engine ON worker (engine);
CREATE INDEX service_engine ON service (engine, id);

-- Content on its way from the api that received it to the worker that needs it.
CREATE TABLE deposit (
    id         TEXT    NOT NULL PRIMARY KEY,
    digest     TEXT,              -- none until it is whole
    size_bytes INTEGER NOT NULL,
    parts      INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX deposit_digest ON deposit (digest);

CREATE TABLE deposit_part (
    deposit TEXT    NOT NULL REFERENCES deposit (id) ON DELETE CASCADE,
    part    INTEGER NOT NULL,
    bytes   BLOB    NOT NULL,
    PRIMARY KEY (deposit, part)
) STRICT;
