/**
 * Installs every engine, starts it, asks it one thing by the client that the gateway uses for it, and stops it; then runs the suite of its connector, where there is one.
 * Usage: npm run test:engines -- [NAME ...]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { MilvusClient } from '@zilliz/milvus2-sdk-node'
import { MongoClient } from 'mongodb'
import neo4j from 'neo4j-driver'
import pg from 'pg'
import * as milvus from './milvus.js'
import * as mongodb from './mongodb.js'
import * as neo4jEngine from './neo4j.js'
import * as pgvector from './pgvector.js'
import * as pinecone from './pinecone.js'
import * as timescale from './timescale.js'

const ENGINES = {
  pgvector: { ...pgvector, ask: nearestInPostgres, suite: 'pgvector.contract.ts' },
  timescale: { ...timescale, ask: hourlyInTimescale, suite: 'timescale.contract.ts' },
  neo4j: { ...neo4jEngine, ask: pathInNeo4j, suite: 'neo4j.contract.ts', runs: 15 },
  mongodb: { ...mongodb, ask: pipelineInMongo, suite: 'mongodb.contract.ts' },
  milvus: { ...milvus, ask: nearestInMilvus, suite: 'milvus.contract.ts' },
  pinecone: { ...pinecone, ask: () => Promise.resolve('a stub of Pinecone'), suite: 'pinecone.contract.ts' },
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !(name in ENGINES))
if (unknown.length > 0) throw new Error(`no engine is called ${unknown.join(', ')}; there are ${Object.keys(ENGINES).join(', ')}`)
let [passed, failed] = [0, 0]
for (const name of wanted.length > 0 ? wanted : Object.keys(ENGINES)) {
  try {
    console.log(`${name}: ${await trial(ENGINES[name])}`)
    passed += 1
  } catch (error) {
    console.error(`${name}: failed`, error)
    failed += 1
  }
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 ? 1 : 0

async function trial({ install, start, ask, suite, runs }) {
  const installation = await timed(install)
  const directory = await mkdtemp(join(tmpdir(), 'concordat-engine-'))
  try {
    const launch = await timed(() => start({ directory }))
    const { url, stop } = launch.value
    const question = await timed(async () => {
      const answer = await ask(url)
      if (suite) await runSuite(suite, url, runs)
      return answer
    }).finally(stop)
    return `${question.value}; installed in ${installation.seconds} s, started in ${launch.seconds} s, asked in ${question.seconds} s`
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
  }
}

/** The connector contract, kept by the connector over this engine; its files end otherwise than in `.test.ts`, so that `npm test` needs no engine. */
async function runSuite(file, url, runs = 40) {
  const runner = fileURLToPath(new URL('../run.js', import.meta.url))
  const args = [runner, '--testMatch', `**/engines/${file}`, '--forceExit']
  const child = spawn(process.execPath, args, { stdio: 'inherit', env: { CONTRACT_RUNS: String(runs), ...process.env, CONCORDAT_ENGINE_URL: url } })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`the suite ${file} failed`)
}

async function timed(work) {
  const since = performance.now()
  const value = await work()
  return { value, seconds: ((performance.now() - since) / 1000).toFixed(1) }
}

/** The filter leaves only rows that a plain approximate search, which looks at its nearest 40 first, does not reach. */
async function nearestInPostgres(url) {
  return withPostgres(url, async (client) => {
    await client.query(`CREATE EXTENSION vector;
      CREATE TABLE item (id int PRIMARY KEY, embedding vector(3) NOT NULL, half halfvec(3) NOT NULL);
      INSERT INTO item SELECT n, format('[%s,1,0]', n)::vector, format('[%s,1,0]', n)::halfvec FROM generate_series(1, 1000) n;
      CREATE INDEX ON item USING hnsw (embedding vector_l2_ops);
      CREATE INDEX ON item USING ivfflat (half halfvec_cosine_ops) WITH (lists = 4);
      SET enable_seqscan = off; SET hnsw.iterative_scan = strict_order`)
    const { rows } = await client.query(`SELECT id FROM item WHERE id > 900 ORDER BY embedding <-> '[1,1,0]' LIMIT 3`)
    expectEqual(rows.map(({ id }) => id), [901, 902, 903]) // prettier-ignore
    return versions(client, 'vector')
  })
}

/** Six minutes of which two are missing, in buckets of two minutes. */
async function hourlyInTimescale(url) {
  return withPostgres(url, async (client) => {
    await client.query(`CREATE TABLE sample (at timestamptz NOT NULL, value float8);
      SELECT create_hypertable('sample', 'at');
      INSERT INTO sample SELECT '2026-01-01T00:00Z'::timestamptz + n * interval '1 minute', n FROM unnest(ARRAY[0, 1, 4, 5]) n`)
    const { rows } = await client.query(`SELECT time_bucket_gapfill('2 minutes', at) AS bucket, locf(last(value, at)) AS value FROM sample
      WHERE at >= '2026-01-01T00:00Z' AND at < '2026-01-01T00:06Z' GROUP BY bucket ORDER BY bucket`)
    expectEqual(rows.map(({ value }) => value), [1, 1, 5]) // prettier-ignore
    return versions(client, 'timescaledb')
  })
}

async function withPostgres(url, work) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return work(client).finally(() => client.end())
}

async function versions(client, extension) {
  const { rows } = await client.query(`SELECT current_setting('server_version') AS server, extversion FROM pg_extension WHERE extname = $1`, [extension])
  return `PostgreSQL ${rows[0].server}, ${extension} ${rows[0].extversion}`
}

async function pathInNeo4j(url) {
  const driver = neo4j.driver(url, undefined, { disableLosslessIntegers: true })
  try {
    await driver.executeQuery(`CREATE (:Agent {id: 1})-[:NEEDS]->(:Agent {id: 2})-[:NEEDS]->(:Agent {id: 3})-[:NEEDS]->(:Agent {id: 4})`)
    const { records } = await driver.executeQuery(
      `MATCH p = (:Agent {id: $id})-[:NEEDS*1..3]->(found) WHERE all(n IN nodes(p) WHERE n.id <> $hidden) RETURN found.id AS id ORDER BY id`,
      { id: 1, hidden: 3 },
    )
    expectEqual(records.map((record) => record.get('id')), [2]) // prettier-ignore
    return (await driver.getServerInfo()).agent
  } finally {
    await driver.close()
  }
}

async function pipelineInMongo(url) {
  const client = await new MongoClient(url, { serverSelectionTimeoutMS: 10_000 }).connect()
  try {
    const database = client.db('smoke')
    await database.collection('team').insertOne({ _id: 1, title: 'one' })
    await database.collection('agent').insertMany([
      { _id: 1, team: 1, runs: [{ cpu: 2 }, { cpu: 4 }] },
      { _id: 2, team: 2, runs: [] },
    ])
    const rows = await database
      .collection('agent')
      .aggregate([
        { $match: { $expr: { $gt: [{ $size: '$runs' }, 0] } } },
        { $lookup: { from: 'team', localField: 'team', foreignField: '_id', as: 'team' } },
        { $unwind: '$team' },
        { $project: { cpu: { $avg: { $map: { input: '$runs', in: '$$this.cpu' } } }, team: '$team.title', text: { $literal: '$runs' } } },
      ])
      .toArray()
    expectEqual(rows, [{ _id: 1, cpu: 3, team: 'one', text: '$runs' }])
    return `answers as MongoDB ${(await client.db('admin').command({ buildInfo: 1 })).version}`
  } finally {
    await client.close()
  }
}

async function nearestInMilvus(address) {
  const client = new MilvusClient({ address, ssl: false })
  try {
    const collection_name = 'smoke'
    succeeded(
      await client.createCollection({
        collection_name,
        fields: [
          { name: 'id', data_type: 'Int64', is_primary_key: true },
          { name: 'organization', data_type: 'VarChar', max_length: 64 },
          { name: 'embedding', data_type: 'FloatVector', dim: 4 },
        ],
        consistency_level: 'Strong',
      }),
    )
    const data = Array.from({ length: 200 }, (_, id) => ({ id, organization: id < 190 ? 'aurora' : 'borealis', embedding: [id, 1, 0, 0] }))
    succeeded((await client.insert({ collection_name, data })).status)
    const params = { M: 8, efConstruction: 64 }
    succeeded(await client.createIndex({ collection_name, field_name: 'embedding', index_type: 'HNSW', metric_type: 'L2', params }))
    succeeded(await client.loadCollectionSync({ collection_name }))
    const found = await client.search({ collection_name, data: [0, 1, 0, 0], limit: 3, filter: 'organization == "borealis"', params: { ef: 64 } })
    succeeded(found.status)
    expectEqual(found.results.map(({ id }) => Number(id)), [190, 191, 192]) // prettier-ignore
    return `Milvus ${(await client.getVersion()).version}`
  } finally {
    await client.closeConnection()
  }
}

function succeeded(status) {
  if (status.error_code !== 'Success') throw new Error(`Milvus refused: ${status.error_code} ${status.reason}`)
}

function expectEqual(found, expected) {
  if (JSON.stringify(found) !== JSON.stringify(expected)) throw new Error(`expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`)
}
