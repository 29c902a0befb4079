-- One-minute measurements of a few agents, in the order in which they came in: for what series cost. `:agents` and `:days` are set by stores.js.
CREATE FUNCTION pg_temp.pick(number bigint, salt int, most int) RETURNS int LANGUAGE sql IMMUTABLE AS
  'SELECT ((hashint8extended(number, salt) & 9223372036854775807) % most)::int';

INSERT INTO agents (key, name, status, max_concurrency, created_at)
SELECT n, 'Agent ' || n, 'ACTIVE', 1, timestamptz '2024-01-01 00:00:00+00' FROM generate_series(1, :agents) AS n;

-- Each within its minute: times of several agents are seldom equal.
INSERT INTO agent_execution_metrics (key, status, started_at, cpu_usage, memory_usage, input_size, output_size, created_at, agent_key)
SELECT minute * :agents + agent, 'SUCCEEDED', at, pg_temp.pick(minute * :agents + agent, 26, 400) / 100e0, pg_temp.pick(minute * :agents + agent, 27, 2000000000),
  pg_temp.pick(minute * :agents + agent, 28, 1000000), pg_temp.pick(minute * :agents + agent, 29, 1000000), at, agent
FROM generate_series(0, :days * 1440 - 1) AS minute CROSS JOIN generate_series(1, :agents) AS agent
CROSS JOIN LATERAL (SELECT timestamptz '2025-01-01 00:00:00+00' + minute * interval '1 minute' + pg_temp.pick(agent, 30, 60000) * interval '1 millisecond' AS at) AS made;
