-- The key that run grants are signed with, so that what one node grants another one takes, also after a new start.
CREATE TABLE grant_key (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  pkcs8 BLOB NOT NULL,
  created_ms INTEGER NOT NULL
);

-- Grants that were used, until they end by themselves.
CREATE TABLE spent_grant (
  nonce BLOB PRIMARY KEY,
  until_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- What the pages of each node measure against, and when it last said so: a page of one node may be told of another one's endpoint.
CREATE TABLE media_node (
  url TEXT PRIMARY KEY,
  seen_ms INTEGER NOT NULL
);
