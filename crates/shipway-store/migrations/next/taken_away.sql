-- What the version after the next might take away: this version uses it, under its old name.
-- No release has this: see src/next_version.rs.

ALTER TABLE task RENAME COLUMN released TO given_back_uncharged;
