/**
 * The physical limit: a bare node:http handler and one prepared statement for each database, whose JSON passes through as bytes. No GraphQL, no token, no policy, no
 * audit. Usage: node server.js PORT (stores in BENCH_STORES, connections to each in BENCH_CONNECTIONS)
 */
import { createServer } from 'node:http'
import { Pool } from './wire.js'

const stores = JSON.parse(process.env.BENCH_STORES)
const pools = await Promise.all(Object.values(stores).map((url) => Pool.open(url, Number(process.env.BENCH_CONNECTIONS))))
const [home] = pools

const AGENT = `format('{"key":"%s","name":%s,"status":"%s","description":%s,"monthlyBudget":%s,"maxConcurrency":%s,"createdAt":%s,"updatedAt":%s}',
  key, to_json(name), status, coalesce(to_json(description)::text, 'null'), coalesce('"' || monthly_budget || '"', 'null'), coalesce(max_concurrency::text, 'null'),
  to_json(created_at), coalesce(to_json(updated_at)::text, 'null'))`

const nodes = (rows) => `SELECT '{"data":{"agents":{"nodes":[' || coalesce(string_agg(row, ','), '') || ']}}}' FROM (${rows}) AS page`

const ACTIVE = `status = 'ACTIVE' AND created_at >= $1`

const STATEMENTS = {
  W1: `SELECT '{"data":{"agent":' || ${AGENT} || '}}' FROM agents WHERE key = $1`,
  W2: nodes(`SELECT ${AGENT} AS row FROM agents WHERE ${ACTIVE} ORDER BY name, key LIMIT 50`),
  W3: nodes(`SELECT format('{"key":"%s","name":%s,"executions":{"nodes":[%s]}}', key, to_json(name), (
      SELECT string_agg(row, ',') FROM (
        SELECT format('{"key":"%s","status":"%s","startedAt":%s,"endedAt":%s,"workflow":%s}', e.key, e.status, to_json(e.started_at),
          coalesce(to_json(e.ended_at)::text, 'null'), coalesce((SELECT format('{"name":%s}', to_json(w.name)) FROM workflows AS w WHERE w.key = e.workflow_key), 'null')) AS row
        FROM workflow_executions AS e WHERE e.agent_key = agents.key ORDER BY e.started_at DESC, e.key LIMIT 5
      ) AS latest
    )) AS row FROM agents WHERE ${ACTIVE} ORDER BY name, key LIMIT 20`),
  W4: Object.keys(stores).map(
    (organization) => `SELECT name, '{"organization":"${organization}",' || substr(${AGENT}, 2) FROM agents WHERE ${ACTIVE} ORDER BY name, key LIMIT 50`,
  ),
  W5: `SELECT '{"data":{"agent":{"metricsAggregate":{"groups":[' || coalesce(string_agg(row, ','), '') || ']}}}}' FROM (
    SELECT format('{"keys":{"status":"%s"},"count":"%s","avg":{"cpuUsage":%s}}', status, count(*), coalesce(avg(cpu_usage)::text, 'null')) AS row
    FROM agent_execution_metrics WHERE agent_key = $1 GROUP BY status) AS groups`,
  W6: nodes(`SELECT ${AGENT} AS row FROM agents WHERE ${ACTIVE} ORDER BY key LIMIT 5000`),
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://limit')
  const workload = pathname.slice(1)
  const values = [...searchParams.values()]
  const answered = workload === 'W4' ? merged(values) : home.query({ name: workload, text: STATEMENTS[workload] }, values).then(([[json]]) => json)
  answered.then(
    (body) => response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body),
    (error) => response.writeHead(500).end(String(error)),
  )
})

const HEAD = Buffer.from('{"data":{"agents":{"nodes":[')
const COMMA = Buffer.from(',')
const TAIL = Buffer.from(']}}}')

/** The first 50 by name of what the databases give, each in its order. */
async function merged(values) {
  const lists = await Promise.all(pools.map((pool, index) => pool.query({ name: 'W4', text: STATEMENTS.W4[index] }, values)))
  const positions = lists.map(() => 0)
  const parts = [HEAD]
  for (let taken = 0; taken < 50; taken += 1) {
    let first = -1
    for (let list = 0; list < lists.length; list += 1) {
      const row = lists[list][positions[list]]
      if (row !== undefined && (first < 0 || Buffer.compare(row[0], lists[first][positions[first]][0]) < 0)) first = list
    }
    if (first < 0) break
    if (taken > 0) parts.push(COMMA)
    parts.push(lists[first][positions[first]++][1])
  }
  parts.push(TAIL)
  return Buffer.concat(parts)
}

server.keepAliveTimeout = 60_000
server.listen(Number(process.argv[2]), '127.0.0.1')
process.on('disconnect', () => process.exit())
