-- Every key begins with the tenant. Points in time are milliseconds since 1970 in UTC, buckets are seconds.
CREATE TABLE tenant (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  created_ms INTEGER NOT NULL
);
INSERT INTO tenant (id, name, created_ms) VALUES (1, 'first', 0);

-- A report counts while its id stands here; `raw_*` say where in the day files its JSON is.
CREATE TABLE report (
  tenant INTEGER NOT NULL,
  id BLOB NOT NULL,
  code TEXT NOT NULL,
  kind TEXT NOT NULL,
  source TEXT NOT NULL,
  started_ms INTEGER NOT NULL,
  received_ms INTEGER NOT NULL,
  duration_ms REAL NOT NULL,
  overall TEXT NOT NULL,
  certain INTEGER NOT NULL,
  place TEXT,
  direction TEXT,
  cause TEXT,
  say TEXT NOT NULL,
  site TEXT,
  person TEXT,
  ticket TEXT,
  agent TEXT,
  endpoint TEXT,
  agreement TEXT NOT NULL,
  differs TEXT NOT NULL,
  counted TEXT NOT NULL,
  raw_day TEXT,
  raw_offset INTEGER,
  raw_length INTEGER,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX report_started ON report (tenant, started_ms, id);
CREATE INDEX report_code ON report (tenant, code);
CREATE INDEX report_person ON report (tenant, person, started_ms) WHERE person IS NOT NULL;
CREATE INDEX report_ticket ON report (tenant, ticket, started_ms) WHERE ticket IS NOT NULL;
CREATE INDEX report_site ON report (tenant, site, started_ms);
CREATE INDEX report_received ON report (received_ms) WHERE raw_day IS NOT NULL;
CREATE INDEX report_pending ON report (received_ms) WHERE agreement = 'pending';

-- Histograms (HdrHistogram V2) that merge exactly, and sums. Empty names: reports without a site or an endpoint.
CREATE TABLE rollup (
  tenant INTEGER NOT NULL,
  resolution INTEGER NOT NULL,
  bucket INTEGER NOT NULL,
  site TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  name TEXT NOT NULL,
  histogram BLOB NOT NULL,
  PRIMARY KEY (tenant, resolution, bucket, site, endpoint, name)
) WITHOUT ROWID;
CREATE TABLE tally (
  tenant INTEGER NOT NULL,
  resolution INTEGER NOT NULL,
  bucket INTEGER NOT NULL,
  site TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  name TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (tenant, resolution, bucket, site, endpoint, name)
) WITHOUT ROWID;

CREATE TABLE note (
  tenant INTEGER NOT NULL,
  report BLOB NOT NULL,
  number INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  author TEXT NOT NULL,
  words TEXT NOT NULL,
  PRIMARY KEY (tenant, report, number)
) WITHOUT ROWID;

-- A person. `role` is null for one who is shut out.
CREATE TABLE account (
  tenant INTEGER NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL UNIQUE,
  password TEXT NOT NULL,
  role TEXT,
  created_ms INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE TABLE bootstrap (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  token BLOB NOT NULL,
  expires_ms INTEGER NOT NULL
);
CREATE TABLE session (
  token BLOB PRIMARY KEY,
  tenant INTEGER NOT NULL,
  account BLOB NOT NULL,
  expires_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE api_key (
  tenant INTEGER NOT NULL,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  secret BLOB NOT NULL,
  created_ms INTEGER NOT NULL,
  revoked_ms INTEGER,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE TABLE audit (
  tenant INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  PRIMARY KEY (tenant, number)
) WITHOUT ROWID;
CREATE INDEX audit_at ON audit (tenant, at_ms);
