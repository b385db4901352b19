-- Computers that report on a schedule. Tokens, and what lets an agent in for a while, are kept as hashes alone. `challenge_ms` is the
-- time of the last challenge that was answered: each is good once.
CREATE TABLE enroll_token (
  tenant BIGINT NOT NULL,
  id TEXT NOT NULL,
  token BYTEA NOT NULL UNIQUE,
  name TEXT NOT NULL,
  site TEXT,
  approve BOOLEAN NOT NULL,
  author TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  expires_ms BIGINT NOT NULL,
  most BIGINT NOT NULL,
  used BIGINT NOT NULL DEFAULT 0,
  revoked_ms BIGINT,
  PRIMARY KEY (tenant, id)
);
CREATE TABLE agent (
  tenant BIGINT NOT NULL,
  id UUID NOT NULL UNIQUE,
  name TEXT NOT NULL,
  site TEXT,
  state TEXT NOT NULL,
  public_key BYTEA NOT NULL,
  version TEXT NOT NULL,
  token TEXT NOT NULL,
  enrolled_ms BIGINT NOT NULL,
  active_ms BIGINT,
  bearer BYTEA,
  bearer_ms BIGINT,
  challenge_ms BIGINT NOT NULL,
  seen_ms BIGINT,
  config BIGINT NOT NULL,
  waiting BIGINT NOT NULL,
  dropped BIGINT NOT NULL,
  trouble TEXT,
  wanted TEXT,
  wanted_schedule TEXT,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, public_key)
);

-- What arrived of each start of an agent: as many as `last_seq`, unless some are missing.
CREATE TABLE agent_boot (
  tenant BIGINT NOT NULL,
  agent UUID NOT NULL,
  boot TEXT NOT NULL,
  first_ms BIGINT NOT NULL,
  last_ms BIGINT NOT NULL,
  last_seq BIGINT NOT NULL,
  received BIGINT NOT NULL,
  PRIMARY KEY (tenant, agent, boot)
);
CREATE INDEX agent_boot_last ON agent_boot (tenant, last_ms);

-- What a fleet is told to do, as JSON.
CREATE TABLE fleet_plan (
  tenant BIGINT PRIMARY KEY,
  version BIGINT NOT NULL,
  changed_ms BIGINT NOT NULL,
  plan TEXT NOT NULL
);
CREATE TABLE challenge_key (
  one BIGINT PRIMARY KEY CHECK (one = 1),
  bytes BYTEA NOT NULL
);
