-- What the reports of a commit add to the roll-ups of five minutes, added to all roll-ups later: the nth values of all lists belong together, and each has a histogram, or, where that is empty, a count.
CREATE TABLE pending (
  number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenants BIGINT[] NOT NULL,
  buckets BIGINT[] NOT NULL,
  sites TEXT[] NOT NULL,
  endpoints TEXT[] NOT NULL,
  names TEXT[] NOT NULL,
  histograms BYTEA[] NOT NULL,
  counts BIGINT[] NOT NULL
);

-- Rows live for a moment: to compress them would be in vain, and what they leave behind is soon in the way.
ALTER TABLE pending ALTER COLUMN histograms SET STORAGE EXTERNAL;
ALTER TABLE pending SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
