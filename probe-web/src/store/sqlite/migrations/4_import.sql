-- Exports that were read in; `done_ms` is null while one is.
CREATE TABLE import (
  id BLOB PRIMARY KEY,
  begun_ms INTEGER NOT NULL,
  done_ms INTEGER
) WITHOUT ROWID;
