-- What a next version might add. No release has this: see src/next_version.rs.

CREATE TABLE task_end (
    task       TEXT    NOT NULL PRIMARY KEY,
    version    INTEGER NOT NULL -- the schema that its version knew
) STRICT, WITHOUT ROWID;

ALTER TABLE task ADD COLUMN ended_by TEXT; -- the worker
