-- Builds, and what they have made.

CREATE TABLE build (
    number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    project    TEXT    NOT NULL,
    recipe     TEXT    NOT NULL,
    build_key  TEXT    NOT NULL, -- digest of everything that decides the output
    generation INTEGER NOT NULL, -- which build of this key, from 1
    spec       TEXT    NOT NULL, -- JSON
    state      TEXT    NOT NULL, -- pending, building, success, failed, cancelled
    failure    TEXT,             -- JSON
    task       TEXT,             -- the last that was to make it
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX build_of_key ON build (project, build_key, generation);
CREATE INDEX build_of_project ON build (project, number);

-- The bytes are where artifacts are kept, by digest.
CREATE TABLE artifact (
    build      TEXT    NOT NULL PRIMARY KEY REFERENCES build (id) ON DELETE CASCADE,
    digest     TEXT    NOT NULL,
    size_bytes INTEGER NOT NULL,
    file_name  TEXT    NOT NULL,
    chunks     TEXT,             -- digest of the digests of its parts
    made_at    INTEGER NOT NULL
) STRICT;

CREATE INDEX artifact_digest ON artifact (digest);

-- Signatures, provenance, list of modules.
CREATE TABLE document (
    build TEXT NOT NULL REFERENCES artifact (build) ON DELETE CASCADE,
    kind  TEXT NOT NULL,
    text  TEXT NOT NULL,
    PRIMARY KEY (build, kind)
) STRICT;
