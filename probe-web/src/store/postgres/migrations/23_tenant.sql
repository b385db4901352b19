-- What the address of a tenant's check page holds; null for the first one, whose page is the one without.
ALTER TABLE tenant ADD COLUMN code TEXT;
CREATE UNIQUE INDEX tenant_code ON tenant (code);
CREATE UNIQUE INDEX tenant_name ON tenant (name);
