-- One long list of small rows: for what must not grow with the answer. `:users` is set by stores.js.
INSERT INTO users (key, name, team, created_at)
SELECT n, 'Person ' || n, 'operations', timestamptz '2023-01-01 00:00:00+00' + n * interval '1 second'
FROM generate_series(1, :users) AS n;
