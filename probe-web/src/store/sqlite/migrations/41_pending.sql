-- What reports add to the roll-ups of five minutes, committed with them and added to all roll-ups later. A row has a histogram, or, where that is empty, a count.
CREATE TABLE pending (
  number INTEGER PRIMARY KEY,
  tenant INTEGER NOT NULL,
  bucket INTEGER NOT NULL,
  site TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  name TEXT NOT NULL,
  histogram BLOB NOT NULL,
  n INTEGER NOT NULL
);
