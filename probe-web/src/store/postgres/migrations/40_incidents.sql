-- What an agent's run said of each endpoint, as JSON, and who provides its connection: what change detection reads. Null where no agent made it.
ALTER TABLE report ADD COLUMN provider TEXT;
ALTER TABLE report ADD COLUMN figures TEXT;

-- What is usual for a figure of a series: an agent against an endpoint.
CREATE TABLE baseline (
  tenant BIGINT NOT NULL,
  agent TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  figure TEXT NOT NULL,
  learned_ms BIGINT NOT NULL,
  every BIGINT NOT NULL,
  bytes BYTEA NOT NULL,
  PRIMARY KEY (tenant, agent, endpoint, figure)
);

-- How far change detection has come, in intervals of five minutes since 1970, and what it knows besides.
CREATE TABLE detector (
  tenant BIGINT PRIMARY KEY,
  taken BIGINT NOT NULL,
  knows TEXT NOT NULL
);

-- Whose turn it is to do what one node does for all, and until when.
CREATE TABLE turn (
  name TEXT PRIMARY KEY,
  holder UUID NOT NULL,
  until_ms BIGINT NOT NULL
);

-- What got worse. `agents` is personal: JSON, empty once it was cleared. `told` is the rest of it.
CREATE TABLE incident (
  tenant BIGINT NOT NULL,
  id UUID NOT NULL,
  scope TEXT NOT NULL,
  since_ms BIGINT NOT NULL,
  noticed_ms BIGINT NOT NULL,
  over_ms BIGINT,
  agents TEXT NOT NULL,
  told TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
);
CREATE INDEX incident_noticed ON incident (tenant, noticed_ms);
CREATE INDEX incident_open ON incident (tenant) WHERE over_ms IS NULL;

-- Who is told of which incidents, when nobody is, and what was told.
CREATE TABLE alert_rule (
  tenant BIGINT NOT NULL,
  id TEXT NOT NULL,
  author TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  rule TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
);
CREATE TABLE silence (
  tenant BIGINT NOT NULL,
  id TEXT NOT NULL,
  author TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  silence TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
);
CREATE TABLE alert (
  tenant BIGINT NOT NULL,
  rule TEXT NOT NULL,
  incident UUID NOT NULL,
  over_ms BIGINT,
  alert TEXT NOT NULL,
  PRIMARY KEY (tenant, rule, incident)
);
CREATE INDEX alert_firing ON alert (tenant) WHERE over_ms IS NULL;

-- What an address is told, and in which form.
ALTER TABLE webhook ADD COLUMN kind TEXT NOT NULL DEFAULT 'verdicts';
