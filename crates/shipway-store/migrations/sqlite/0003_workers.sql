-- Work for many workers: what a task needs of one, who they are, what was given up.

-- The engine root that a service's containers live in; its tasks go to a worker of it.
ALTER TABLE service ADD COLUMN engine TEXT;

ALTER TABLE task ADD COLUMN engine TEXT;   -- only a worker of this engine may take it
ALTER TABLE task ADD COLUMN labels TEXT;   -- JSON array; a worker needs every one of them
ALTER TABLE task ADD COLUMN work_key TEXT; -- two open tasks of one key are one piece of work
ALTER TABLE task ADD COLUMN released INTEGER NOT NULL DEFAULT 0; -- given back, not charged
ALTER TABLE task ADD COLUMN given_up_at INTEGER; -- tried often enough; waits for an operator

CREATE UNIQUE INDEX task_work ON task (work_key)
    WHERE work_key IS NOT NULL AND state IN ('queued', 'running');
CREATE INDEX task_given_up ON task (number) WHERE given_up_at IS NOT NULL;

-- The claim looks at one project after another.
DROP INDEX task_queued;
CREATE INDEX task_queued_project ON task (project, priority DESC, number) WHERE state = 'queued';
CREATE INDEX task_running_project ON task (project) WHERE state = 'running';

CREATE TABLE worker (
    id         TEXT    NOT NULL PRIMARY KEY,
    host       TEXT    NOT NULL,
    engine     TEXT,              -- the engine root it has, if any
    capacity   INTEGER NOT NULL,  -- tasks at once
    labels     TEXT    NOT NULL,  -- JSON array
    version    TEXT    NOT NULL,
    state      TEXT    NOT NULL,  -- active, cordoned, draining, leaving
    started_at INTEGER NOT NULL,
    beat_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
