-- Made after the rows, which is faster. The key closes the indexes that serve an order: it decides between equal values.
ALTER TABLE users ADD PRIMARY KEY (key);
ALTER TABLE agents ADD PRIMARY KEY (key), ADD FOREIGN KEY (owner_key) REFERENCES users;
ALTER TABLE workflows ADD PRIMARY KEY (key), ADD FOREIGN KEY (owner_key) REFERENCES users;
ALTER TABLE workflow_executions ADD PRIMARY KEY (key), ADD FOREIGN KEY (workflow_key) REFERENCES workflows, ADD FOREIGN KEY (agent_key) REFERENCES agents;
ALTER TABLE agent_execution_metrics ADD PRIMARY KEY (key), ADD FOREIGN KEY (agent_key) REFERENCES agents,
  ADD FOREIGN KEY (execution_key) REFERENCES workflow_executions;
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

CREATE INDEX ON workflow_executions (agent_key, started_at DESC, key);
CREATE INDEX ON workflow_executions (workflow_key, started_at DESC, key);
CREATE INDEX ON workflow_executions (started_at, key);
CREATE INDEX ON workflow_executions (status, started_at, key);

CREATE INDEX ON agent_execution_metrics (agent_key, started_at DESC, key);
CREATE INDEX ON agent_execution_metrics (execution_key);
CREATE INDEX ON agent_execution_metrics (started_at, key);
