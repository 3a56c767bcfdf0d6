-- The tables of SQLite's schema 4, in PostgreSQL's words.

-- The oldest schema whose versions work with this one too; none: only its own.
ALTER TABLE schema_version ADD COLUMN least BIGINT;

-- Versions that know this schema, or an older one, could not read it.
ALTER TABLE task ADD COLUMN unread_by BIGINT;

ALTER TABLE worker ADD COLUMN address TEXT COLLATE "C";     -- host:port of its streams, if it has any
ALTER TABLE worker ADD COLUMN certificate TEXT COLLATE "C"; -- SHA-256 of the certificate it shows there
ALTER TABLE worker ADD COLUMN secret TEXT COLLATE "C";      -- opens them; a new one with every start

CREATE INDEX worker_engine ON worker (engine);
CREATE INDEX service_engine ON service (engine, id);

-- Content on its way from the api that received it to the worker that needs it.
CREATE TABLE deposit (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    digest     TEXT COLLATE "C",  -- none until it is whole
    size_bytes BIGINT NOT NULL,
    parts      BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE UNIQUE INDEX deposit_digest ON deposit (digest);

CREATE TABLE deposit_part (
    deposit TEXT COLLATE "C" NOT NULL REFERENCES deposit (id) ON DELETE CASCADE,
    part    BIGINT NOT NULL,
    bytes   BYTEA NOT NULL,
    PRIMARY KEY (deposit, part)
);

-- What is uploaded is compressed already, or will be soon gone.
ALTER TABLE deposit_part ALTER COLUMN bytes SET STORAGE EXTERNAL;
