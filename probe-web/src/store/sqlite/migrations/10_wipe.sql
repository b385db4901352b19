-- Bytes of day files that no report names any more and that are to be overwritten: somebody was erased from it.
CREATE TABLE wipe (
  raw_day TEXT NOT NULL,
  raw_offset INTEGER NOT NULL,
  raw_length INTEGER NOT NULL,
  PRIMARY KEY (raw_day, raw_offset)
) WITHOUT ROWID;
