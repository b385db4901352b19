-- Where a tenant wants to be told of changed verdicts. The secret is kept as it is: messages are signed with it.
CREATE TABLE webhook (
  tenant BIGINT NOT NULL,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  url TEXT NOT NULL,
  secret BYTEA NOT NULL,
  personal BOOLEAN NOT NULL,
  author TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  paused_ms BIGINT,
  PRIMARY KEY (tenant, id)
);

-- Messages, also those that were delivered. `due_ms` is when one is to be sent (again); whoever sends it moves that first.
CREATE TABLE delivery (
  tenant BIGINT NOT NULL,
  id UUID NOT NULL,
  webhook TEXT NOT NULL,
  report UUID NOT NULL,
  what TEXT NOT NULL,
  body TEXT NOT NULL,
  state TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  due_ms BIGINT NOT NULL,
  tries BIGINT NOT NULL DEFAULT 0,
  answer TEXT,
  done_ms BIGINT,
  PRIMARY KEY (tenant, id)
);
CREATE INDEX delivery_due ON delivery (due_ms) WHERE state = 'waiting';
CREATE INDEX delivery_webhook ON delivery (tenant, webhook, created_ms);
