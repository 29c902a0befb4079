/**
 * `npm run bench:search`: searches for the nearest of many vectors, at several selectivities of the caller's view, as the gateway asks them: for a partner (exact) and for
 * the owner's own people (by the index, where the planner takes it), beside plain SQL without a filter. Installs PostgreSQL with pgvector where it is not there yet.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import pg from 'pg'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const { status } = spawnSync(process.execPath, [join(HERE, '../infra/scripts/build-if-stale.js')], { stdio: 'inherit' })
if (status !== 0) process.exit(status ?? 1)
const { Abort } = await import('../dist/abort.js')
const { PostgresConnector } = await import('../dist/connectors/postgres/connector.js')
const { parseContract } = await import('../dist/gateway/contract.js')
const { parseInput } = await import('../dist/gateway/scalars.js')
const { restrict } = await import('../dist/policy/restrict.js')
const pgvector = await import('../test/engines/pgvector.js')

const { values: options } = parseArgs({ options: { rows: { type: 'string', default: '100000' }, searches: { type: 'string', default: '20' } } })
const [ROWS, SEARCHES] = [Number(options.rows), Number(options.searches)]
const [DIMENSIONS, K] = [384, 10]
const SELECTIVITIES = [1, 0.1, 0.01, 0.001]
const say = (line) => process.stderr.write(`${line}\n`)

const directory = await mkdtemp(join(tmpdir(), 'concordat-search-'))
const server = await pgvector.start({ directory, settings: { shared_buffers: '512MB', maintenance_work_mem: '1GB', max_parallel_maintenance_workers: '2' } })
const client = new pg.Client({ connectionString: server.url })
try {
  await client.connect()
  const seconds = await filled(client)
  const vectors = await queries(client)
  const lines = [await unfiltered(client, vectors)]
  for (const selectivity of SELECTIVITIES) lines.push(await filtered(client, vectors, selectivity))
  report(lines, seconds)
} finally {
  await client.end()
  await server.stop()
  await rm(directory, { recursive: true, force: true })
}

/** Vectors around 200 centres, as those of texts are: without any, all are equally far and no index finds much. `part` is even over them. */
async function filled(db) {
  say(`${ROWS} vectors of ${DIMENSIONS} dimensions`)
  const startedMs = performance.now()
  await db.query(`CREATE EXTENSION vector; SELECT setseed(0.5);
    CREATE TABLE items (key int PRIMARY KEY, part int NOT NULL, embedding vector(${DIMENSIONS}) NOT NULL);
    CREATE TEMP TABLE centre AS SELECT c, (SELECT array_agg(random_normal() + 0 * (c + i)) FROM generate_series(1, ${DIMENSIONS}) AS i) AS v FROM generate_series(0, 199) AS c;
    INSERT INTO items SELECT n, abs(hashint4(n)) % 1000, (SELECT array_agg(x + random_normal() + 0 * n) FROM unnest(v) AS x)::vector
      FROM generate_series(1, ${ROWS}) AS n JOIN centre ON c = n % 200;
    CREATE INDEX ON items (part)`)
  const filledMs = performance.now()
  say('its index')
  await db.query('CREATE INDEX ON items USING hnsw (embedding vector_cosine_ops)')
  await db.query('VACUUM (ANALYZE) items')
  return { rows: (filledMs - startedMs) / 1_000, index: (performance.now() - filledMs) / 1_000 }
}

/** Rows of the table, each a little changed. */
async function queries(db) {
  const { rows } =
    await db.query(`SELECT (embedding + (SELECT array_agg(0.5 * random_normal() + 0 * (key + i)) FROM generate_series(1, ${DIMENSIONS}) AS i)::vector)::text AS v
    FROM items ORDER BY hashint4(key) LIMIT ${SEARCHES}`)
  return rows.map(({ v }) => parseInput('Vector', JSON.parse(v)))
}

async function unfiltered(db, vectors) {
  const plain = await timed(vectors, (vector) => keysOf(db, 'true', vector))
  return { name: 'plain SQL by index, no filter', home: { ms: plain.ms, recall: recall(plain.found, await truth(db, vectors, 'true')) } }
}

async function filtered(db, vectors, selectivity) {
  const expected = await truth(db, vectors, `part < ${1_000 * selectivity}`)
  const measured = {}
  for (const caller of ['borealis', 'aurora']) {
    const gateway = gatewayOver(1_000 * selectivity, caller)
    try {
      const { ms, found } = await timed(vectors, gateway.search)
      measured[caller] = { ms, recall: recall(found, expected) }
    } finally {
      await gateway.close()
    }
  }
  return { name: `${selectivity * 100} % of the rows readable`, partner: measured.borealis, home: measured.aurora }
}

async function truth(db, vectors, filter) {
  await db.query('SET enable_indexscan = off')
  const found = []
  for (const vector of vectors) found.push(await keysOf(db, filter, vector))
  await db.query('RESET enable_indexscan')
  return found
}

async function keysOf(db, filter, vector) {
  const { rows } = await db.query(`SELECT key FROM items WHERE ${filter} ORDER BY embedding <=> $1::text::vector LIMIT ${K}`, [vector])
  return rows.map(({ key }) => String(key))
}

/** The plan of `itemsNearest(…) { edges { node { key } } }` of Aurora's store, for a caller of this organization who may read so many parts. */
function gatewayOver(parts, caller) {
  const text = `type Item @entity { key: ID! part: Int! embedding: Vector! @vector(model: "m", dimensions: ${DIMENSIONS}) }`
  const catalog = parseContract([{ name: 'bench', text }])
  const column = (name, native) => ({ kind: 'column', column: name, native, array: false, nullable: false, values: null, multiply: null })
  const columns = new Map([
    ['key', column('key', 'integer')],
    ['part', column('part', 'integer')],
    ['embedding', { ...column('embedding', 'public.vector'), nearBy: ['COSINE'] }],
  ])
  const table = { kind: 'table', type: 'Item', store: 'main', schema: 'public', table: 'items', columns, relations: new Map() }
  const rows = { kind: 'compare', field: 'part', op: '<', operand: { kind: 'constant', value: parts } }
  const fields = new Map([...columns.keys()].map((name) => [name, { kind: 'plain' }]))
  const grant = {
    organization: 'aurora',
    types: new Map([['Item', { type: 'Item', rows, fields, source: { kind: 'roles', roles: [], version: 1, digest: '' } }]]),
  }
  const to = { kind: 'slot', index: 0 }
  const row = { type: 'Item', fields: [{ kind: 'value', responseKey: 'key', field: 'key' }] }
  const list = {
    ...{ type: 'Item', where: { kind: 'all' }, backward: false, cursor: null, path: 'near', limit: { kind: 'constant', value: K } },
    order: [{ path: [], field: 'embedding', descending: true, nulls: 'last' }],
    search: { field: 'embedding', metric: 'COSINE', to },
    fields: [{ kind: 'edges', responseKey: 'edges', fields: [{ kind: 'node', responseKey: 'node', row }] }],
  }
  const context = { catalog, binding: { organization: 'aurora', types: new Map([['Item', table]]) }, caller, starts: new Map() }
  const pool = { max: 1, waitingMax: 10, connectMs: 5_000, idleMs: 60_000 }
  const connector = new PostgresConnector({ store: 'main', pool, connection: { connectionString: server.url }, named: true, preparedMax: 10 })
  const { native } = connector.compile(restrict({ kind: 'list', list, withKeys: true }, grant, context))
  return {
    async search(vector) {
      const options = { signal: new Abort(), deadlineMs: 60_000, bufferBytes: 1024 ** 2 }
      const [{ first }] = await connector.execute([{ native, values: { slots: [vector], claims: new Map() } }], caller, options)
      return Array.from({ length: Math.min(K, first.count) }, (_, at) => first.keys[1][at])
    },
    close: () => connector.close(),
  }
}

/** Median milliseconds of one search at a time, once all is in memory. */
async function timed(vectors, search) {
  for (const vector of vectors.slice(0, 3)) await search(vector)
  const found = []
  const times = []
  for (const vector of vectors) {
    const startedMs = performance.now()
    found.push(await search(vector))
    times.push(performance.now() - startedMs)
  }
  return { found, ms: times.sort((a, b) => a - b)[Math.floor(times.length / 2)] }
}

function recall(found, expected) {
  const hits = found.map((keys, at) => keys.filter((key) => expected[at].includes(key)).length / Math.max(1, expected[at].length))
  return hits.reduce((sum, hit) => sum + hit, 0) / hits.length
}

function report(lines, seconds) {
  const number = (value) => value.toPrecision(3)
  const table = [
    `${ROWS} vectors of ${DIMENSIONS} dimensions, k = ${K}, ${SEARCHES} searches one after the other, medians; ${os.cpus().length} cores, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}.`,
    `Filled in ${number(seconds.rows)} s, indexed (HNSW) in ${number(seconds.index)} s.`,
    '',
    '| | partner, exact: ms | recall | home, by index: ms | recall |',
    '|---|--:|--:|--:|--:|',
    ...lines.map(({ name, partner, home }) => {
      const cells = [partner, home].map((side) => (side ? `${number(side.ms)} | ${side.recall.toFixed(3)}` : ' | '))
      return `| ${name} | ${cells.join(' | ')} |`
    }),
  ].join('\n')
  console.log(table)
  mkdirSync(join(HERE, 'results'), { recursive: true })
  writeFileSync(join(HERE, 'results/search.json'), `${JSON.stringify({ rows: ROWS, dimensions: DIMENSIONS, k: K, seconds, lines }, null, 2)}\n`)
  const failed = lines.filter(({ partner, home }) => partner && (partner.recall < 0.999 || home.recall < 0.95))
  if (failed.length > 0) {
    console.error(`recall is too low: ${failed.map(({ name }) => name).join(', ')}`)
    process.exitCode = 1
  }
}
