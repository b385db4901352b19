-- Where a tenant wants to be told of changed verdicts. The secret is kept as it is: messages are signed with it.
CREATE TABLE webhook (
  tenant INTEGER NOT NULL,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  url TEXT NOT NULL,
  secret BLOB NOT NULL,
  personal INTEGER NOT NULL,
  author TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  paused_ms INTEGER,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;

-- Messages, also those that were delivered. `due_ms` is when one is to be sent (again); whoever sends it moves that first.
CREATE TABLE delivery (
  tenant INTEGER NOT NULL,
  id BLOB NOT NULL,
  webhook TEXT NOT NULL,
  report BLOB NOT NULL,
  what TEXT NOT NULL,
  body TEXT NOT NULL,
  state TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  due_ms INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0,
  answer TEXT,
  done_ms INTEGER,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX delivery_due ON delivery (due_ms) WHERE state = 'waiting';
CREATE INDEX delivery_webhook ON delivery (tenant, webhook, created_ms);
