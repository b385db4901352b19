-- The key that run grants are signed with, so that what one node grants another one takes, also after a new start.
CREATE TABLE grant_key (
  one BIGINT PRIMARY KEY CHECK (one = 1),
  pkcs8 BYTEA NOT NULL,
  created_ms BIGINT NOT NULL
);

-- Grants that were used, until they end by themselves.
CREATE TABLE spent_grant (
  nonce BYTEA PRIMARY KEY,
  until_ms BIGINT NOT NULL
);

-- What the pages of each node measure against, and when it last said so: a page of one node may be told of another one's endpoint.
CREATE TABLE media_node (
  url TEXT PRIMARY KEY,
  seen_ms BIGINT NOT NULL
);
