-- Links that let somebody without a key send a few reports, and those that show one report to whoever has them. Tokens are kept as
-- hashes alone; `id` is what the pages and the audit log call a link.
CREATE TABLE check_link (
  tenant INTEGER NOT NULL,
  id TEXT NOT NULL,
  token BLOB NOT NULL UNIQUE,
  ticket TEXT NOT NULL,
  person TEXT,
  target TEXT,
  author TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  most INTEGER NOT NULL,
  used INTEGER NOT NULL DEFAULT 0,
  revoked_ms INTEGER,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE TABLE share_link (
  tenant INTEGER NOT NULL,
  id TEXT NOT NULL,
  token BLOB NOT NULL UNIQUE,
  report BLOB NOT NULL,
  author TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  views INTEGER NOT NULL DEFAULT 0,
  viewed_ms INTEGER,
  revoked_ms INTEGER,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX share_link_report ON share_link (tenant, report);

-- Through which check link a report came; null for a key.
ALTER TABLE report ADD COLUMN link TEXT;
CREATE INDEX report_agent ON report (tenant, agent, started_ms) WHERE agent IS NOT NULL;
