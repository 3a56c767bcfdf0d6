-- The final form of the first tables. Every row carries its project, every time
-- is in microseconds since 1970 by this database's clock, every id is a UUID as
-- text. Words (state, role, kind) are not checked here: a later version adds
-- some, and the code refuses those it does not know.

CREATE TABLE service (
    id         TEXT    NOT NULL PRIMARY KEY,
    project    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    wanted     TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    release    INTEGER,           -- what visitors reach, or would after `start`
    reason     TEXT,              -- why it is unhealthy or failed
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX service_name ON service (project, name);

CREATE TABLE release (
    service    TEXT    NOT NULL REFERENCES service (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    project    TEXT    NOT NULL,
    spec       TEXT    NOT NULL,  -- JSON
    state      TEXT    NOT NULL,
    reason     TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (service, number)
) STRICT;

-- One release of a service is the live one, whatever the code believes.
CREATE UNIQUE INDEX release_live ON release (service) WHERE state = 'live';

CREATE TABLE instance (
    container  TEXT    NOT NULL PRIMARY KEY,
    service    TEXT    NOT NULL,
    release    INTEGER NOT NULL,
    project    TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    endpoint   TEXT,              -- JSON
    failures   INTEGER NOT NULL,
    started_at INTEGER,
    handle     TEXT,
    FOREIGN KEY (service, release) REFERENCES release (service, number) ON DELETE CASCADE
) STRICT;

CREATE INDEX instance_service ON instance (service, release);
CREATE UNIQUE INDEX instance_live ON instance (service) WHERE role = 'live';

-- `number` is the order of asking. A task outlives the service it was about.
CREATE TABLE task (
    number       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    project      TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    priority     INTEGER NOT NULL, -- larger goes first
    payload      TEXT    NOT NULL, -- JSON
    actor        TEXT    NOT NULL,
    state        TEXT    NOT NULL, -- queued, running, done, failed
    not_before   INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    attempts_max INTEGER NOT NULL,
    lease_token  INTEGER NOT NULL, -- 0 before the first claim; kept after the end
    worker       TEXT,
    lease_until  INTEGER,
    deadline_at  INTEGER,
    outcome      TEXT,             -- JSON
    created_at   INTEGER NOT NULL,
    claimed_at   INTEGER,
    ended_at     INTEGER
) STRICT;

-- The claim walks these; all are as small as the work that is open.
CREATE INDEX task_queued ON task (priority DESC, number) WHERE state = 'queued';
CREATE INDEX task_queued_subject ON task (subject, number) WHERE state = 'queued';
-- Two running tasks of one subject cannot be, whatever the code believes.
CREATE UNIQUE INDEX task_running ON task (subject) WHERE state = 'running';

CREATE TABLE event (
    subject TEXT    NOT NULL,
    seq     INTEGER NOT NULL,
    project TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,      -- JSON
    PRIMARY KEY (subject, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE token (
    id            TEXT    NOT NULL PRIMARY KEY,
    project       TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    secret_sha256 BLOB    NOT NULL UNIQUE,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    last_used_at  INTEGER
) STRICT;

-- Numbers that only grow, across all rows and restarts: `lease` is the last
-- lease token minted, `probe` is written to see whether writing works.
CREATE TABLE counter (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counter (name, value) VALUES ('lease', 0), ('probe', 0);
