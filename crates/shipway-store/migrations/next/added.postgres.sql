-- What a next version might add. No release has this: see src/next_version.rs.

CREATE TABLE task_end (
    task       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    version    BIGINT NOT NULL -- the schema that its version knew
);

ALTER TABLE task ADD COLUMN ended_by TEXT COLLATE "C"; -- the worker
