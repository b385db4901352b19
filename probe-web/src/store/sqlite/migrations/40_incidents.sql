-- What an agent's run said of each endpoint, as JSON, and who provides its connection: what change detection reads. Null where no agent made it.
ALTER TABLE report ADD COLUMN provider TEXT;
ALTER TABLE report ADD COLUMN figures TEXT;

-- What is usual for a figure of a series: an agent against an endpoint.
CREATE TABLE baseline (
  tenant INTEGER NOT NULL,
  agent TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  figure TEXT NOT NULL,
  learned_ms INTEGER NOT NULL,
  every INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (tenant, agent, endpoint, figure)
) WITHOUT ROWID;

-- How far change detection has come, in intervals of five minutes since 1970, and what it knows besides.
CREATE TABLE detector (
  tenant INTEGER PRIMARY KEY,
  taken INTEGER NOT NULL,
  knows TEXT NOT NULL
);

-- Whose turn it is to do what one node does for all, and until when.
CREATE TABLE turn (
  name TEXT PRIMARY KEY,
  holder BLOB NOT NULL,
  until_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- What got worse. `agents` is personal: JSON, empty once it was cleared. `told` is the rest of it.
CREATE TABLE incident (
  tenant INTEGER NOT NULL,
  id BLOB NOT NULL,
  scope TEXT NOT NULL,
  since_ms INTEGER NOT NULL,
  noticed_ms INTEGER NOT NULL,
  over_ms INTEGER,
  agents TEXT NOT NULL,
  told TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX incident_noticed ON incident (tenant, noticed_ms);
CREATE INDEX incident_open ON incident (tenant) WHERE over_ms IS NULL;

-- Who is told of which incidents, when nobody is, and what was told.
CREATE TABLE alert_rule (
  tenant INTEGER NOT NULL,
  id TEXT NOT NULL,
  author TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  rule TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE TABLE silence (
  tenant INTEGER NOT NULL,
  id TEXT NOT NULL,
  author TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  silence TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE TABLE alert (
  tenant INTEGER NOT NULL,
  rule TEXT NOT NULL,
  incident BLOB NOT NULL,
  over_ms INTEGER,
  alert TEXT NOT NULL,
  PRIMARY KEY (tenant, rule, incident)
) WITHOUT ROWID;
CREATE INDEX alert_firing ON alert (tenant) WHERE over_ms IS NULL;

-- What an address is told, and in which form.
ALTER TABLE webhook ADD COLUMN kind TEXT NOT NULL DEFAULT 'verdicts';
