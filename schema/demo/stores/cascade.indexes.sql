ALTER TABLE users ADD PRIMARY KEY (key);
ALTER TABLE agents ADD PRIMARY KEY (key), ADD FOREIGN KEY (owner_key) REFERENCES users;
ALTER TABLE workflows ADD PRIMARY KEY (key), ADD FOREIGN KEY (owner_key) REFERENCES users;
ALTER TABLE platform_settings ADD PRIMARY KEY (key), ADD UNIQUE (name);

CREATE UNIQUE INDEX ON users (email);
CREATE INDEX ON users (name, key);
CREATE INDEX ON users (team, key);

CREATE INDEX ON agents (owner_key);
CREATE INDEX ON agents (name, key);
CREATE INDEX ON agents (status, name, key);
CREATE INDEX ON agents (created_at, key);
CREATE INDEX ON agents USING gin (tags);
CREATE INDEX ON agents USING gin (configuration jsonb_path_ops);

CREATE INDEX ON workflows (owner_key);
CREATE INDEX ON workflows (name, version, key);
