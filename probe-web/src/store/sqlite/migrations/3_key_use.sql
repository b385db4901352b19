-- What a key is good for. Those from before let reports in.
ALTER TABLE api_key ADD COLUMN good_for TEXT NOT NULL DEFAULT 'send';
