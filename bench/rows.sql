-- The rows of one organization, of the tables in schema/demo/stores/aurora.tables.sql. `:organization` numbers the organization, the others count rows; all of them
-- are set by stores.js. Equal numbers give equal rows, on every machine. Times have milliseconds, which every peer can show.
CREATE FUNCTION pg_temp.pick(number bigint, salt int, most int) RETURNS int LANGUAGE sql IMMUTABLE AS
  'SELECT ((hashint8extended(number, salt) & 9223372036854775807) % most)::int';

INSERT INTO users (key, name, email, team, created_at)
SELECT n, 'Person ' || n, 'person' || n || '@example.com', (ARRAY['operations', 'research', 'finance', 'support'])[1 + pg_temp.pick(n, 1, 4)],
  timestamptz '2023-01-01 00:00:00+00' + n * interval '1 hour'
FROM generate_series(1, :users) AS n;

-- The first `:busy` agents have 1,000 executions each.
INSERT INTO agents (key, name, status, description, tags, configuration, monthly_budget, max_concurrency, created_at, updated_at, owner_key)
SELECT n,
  (ARRAY['Gripper', 'Torque', 'Line 4', 'Conveyor', 'Spare part', 'Mortgage', 'Fraud', 'Statement', 'Route', 'Customs', 'Warehouse', 'Fleet'])[1 + pg_temp.pick(n, :organization * 100 + 2, 12)]
    || ' ' || (ARRAY['planner', 'reader', 'sorter', 'monitor', 'clerk', 'checker', 'forecaster', 'dispatcher'])[1 + pg_temp.pick(n, :organization * 100 + 3, 8)]
    || ' ' || lpad((pg_temp.pick(n, :organization * 100 + 4, 90000) + 10000)::text, 5, '0'),
  CASE WHEN n <= :busy THEN 'ACTIVE' ELSE (ARRAY['ACTIVE', 'ACTIVE', 'ACTIVE', 'ACTIVE', 'ACTIVE', 'ACTIVE', 'ACTIVE', 'PAUSED', 'PAUSED', 'ARCHIVED'])[1 + pg_temp.pick(n, :organization * 100 + 5, 10)] END,
  CASE WHEN pg_temp.pick(n, 6, 10) > 0 THEN 'Reads incoming documents, "files" them and tells somebody, every ' || pg_temp.pick(n, 7, 60) || ' minutes.' END,
  CASE WHEN pg_temp.pick(n, 8, 3) > 0 THEN ARRAY['nightly', 'internal'] END,
  jsonb_build_object('model', 'small', 'temperature', pg_temp.pick(n, 9, 10)),
  pg_temp.pick(n, 10, 1000000)::numeric / 100,
  1 + pg_temp.pick(n, 11, 64),
  timestamptz '2024-01-01 00:00:00+00' + pg_temp.pick(n, :organization * 100 + 12, 63000000) * interval '1 second' + pg_temp.pick(n, 13, 1000) * interval '1 millisecond',
  CASE WHEN pg_temp.pick(n, 14, 5) > 0 THEN timestamptz '2026-01-01 00:00:00+00' + pg_temp.pick(n, 15, 5000000) * interval '1 second' END,
  1 + pg_temp.pick(n, 16, :users)
FROM generate_series(1, :agents) AS n;

INSERT INTO workflows (key, name, version, definition, owner_key)
SELECT n, 'Workflow ' || n, 1 + pg_temp.pick(n, 17, 9), jsonb_build_object('steps', jsonb_build_array('collect', 'classify', 'notify')), 1 + pg_temp.pick(n, 18, :users)
FROM generate_series(1, :workflows) AS n;

-- Every third is one of a busy agent, so that its rows lie as far apart as they do after a year.
INSERT INTO workflow_executions (key, status, started_at, ended_at, error, workflow_key, agent_key)
SELECT n, status, started_at,
  CASE WHEN status NOT IN ('QUEUED', 'RUNNING') THEN started_at + (1 + pg_temp.pick(n, 19, 600)) * interval '1 second' END,
  CASE WHEN status = 'FAILED' THEN 'timeout after ' || pg_temp.pick(n, 20, 60) || ' s' END,
  1 + pg_temp.pick(n, 21, :workflows),
  CASE WHEN n % 3 = 0 THEN 1 + (n / 3) % :busy ELSE :busy + 1 + pg_temp.pick(n, 22, :agents - :busy) END
FROM (
  SELECT n,
    (ARRAY['SUCCEEDED', 'SUCCEEDED', 'SUCCEEDED', 'SUCCEEDED', 'SUCCEEDED', 'SUCCEEDED', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'RUNNING'])[1 + pg_temp.pick(n, :organization * 100 + 23, 10)] AS status,
    timestamptz '2025-01-01 00:00:00+00' + n * interval '100 seconds' + pg_temp.pick(n, 24, 90000) * interval '1 millisecond' AS started_at
  FROM generate_series(1, :executions) AS n
) AS made;

INSERT INTO agent_execution_metrics (key, status, started_at, ended_at, error, metadata, cpu_usage, memory_usage, input_size, output_size, created_at, agent_key, execution_key)
SELECT key, status, started_at, ended_at, error, jsonb_build_object('region', 'eu-central-1', 'attempt', 1 + pg_temp.pick(key, 25, 3)),
  pg_temp.pick(key, 26, 400) / 100.0, pg_temp.pick(key, 27, 2000000000), pg_temp.pick(key, 28, 1000000), pg_temp.pick(key, 29, 1000000),
  started_at, agent_key, key
FROM workflow_executions;
