-- What names of images mean, and which releases run on one. A digest that neither a name
-- nor a release has any more is rubbish on disk.

CREATE TABLE image (
    project    TEXT    NOT NULL,
    name       TEXT    NOT NULL,  -- repository:tag
    digest     TEXT    NOT NULL,
    size_bytes INTEGER NOT NULL,
    entries    INTEGER NOT NULL,
    source     TEXT    NOT NULL,  -- where it came from, for people
    created_at INTEGER NOT NULL,  -- when the name got this meaning
    PRIMARY KEY (project, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX image_digest ON image (digest);

-- Digest of the image a release runs on, beside its place in the spec.
ALTER TABLE release ADD COLUMN image TEXT;

CREATE INDEX release_image ON release (image) WHERE image IS NOT NULL;
