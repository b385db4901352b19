-- Computers that report on a schedule. Tokens, and what lets an agent in for a while, are kept as hashes alone. `challenge_ms` is the
-- time of the last challenge that was answered: each is good once.
CREATE TABLE enroll_token (
  tenant INTEGER NOT NULL,
  id TEXT NOT NULL,
  token BLOB NOT NULL UNIQUE,
  name TEXT NOT NULL,
  site TEXT,
  approve INTEGER NOT NULL,
  author TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  most INTEGER NOT NULL,
  used INTEGER NOT NULL DEFAULT 0,
  revoked_ms INTEGER,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE TABLE agent (
  tenant INTEGER NOT NULL,
  id BLOB NOT NULL UNIQUE,
  name TEXT NOT NULL,
  site TEXT,
  state TEXT NOT NULL,
  public_key BLOB NOT NULL,
  version TEXT NOT NULL,
  token TEXT NOT NULL,
  enrolled_ms INTEGER NOT NULL,
  active_ms INTEGER,
  bearer BLOB,
  bearer_ms INTEGER,
  challenge_ms INTEGER NOT NULL,
  seen_ms INTEGER,
  config INTEGER NOT NULL,
  waiting INTEGER NOT NULL,
  dropped INTEGER NOT NULL,
  trouble TEXT,
  wanted TEXT,
  wanted_schedule TEXT,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, public_key)
) WITHOUT ROWID;

-- What arrived of each start of an agent: as many as `last_seq`, unless some are missing.
CREATE TABLE agent_boot (
  tenant INTEGER NOT NULL,
  agent BLOB NOT NULL,
  boot TEXT NOT NULL,
  first_ms INTEGER NOT NULL,
  last_ms INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  received INTEGER NOT NULL,
  PRIMARY KEY (tenant, agent, boot)
) WITHOUT ROWID;
CREATE INDEX agent_boot_last ON agent_boot (tenant, last_ms);

-- What a fleet is told to do, as JSON.
CREATE TABLE fleet_plan (
  tenant INTEGER PRIMARY KEY,
  version INTEGER NOT NULL,
  changed_ms INTEGER NOT NULL,
  plan TEXT NOT NULL
);
CREATE TABLE challenge_key (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  bytes BLOB NOT NULL
);
