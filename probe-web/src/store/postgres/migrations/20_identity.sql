-- Whom a sign-in provider knows (OpenID Connect): the provider, and how it tells somebody from everybody else. An account a tenant.
CREATE TABLE identity (
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  tenant BIGINT NOT NULL,
  account UUID NOT NULL,
  PRIMARY KEY (issuer, subject, tenant)
);
CREATE INDEX identity_account ON identity (tenant, account);
