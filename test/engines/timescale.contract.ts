/** The connector contract, and series of a gateway, over TimescaleDB: `npm run test:engines -- timescale` starts it and says where it is. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import pg from 'pg'
import type { Connector } from '../../src/connectors/connector.js'
import type { PostgresConnector, PostgresNative } from '../../src/connectors/postgres/connector.js'
import { describeStore } from '../../src/connectors/postgres/describe.js'
import { connectorContract } from '../connectors/contract.js'
import { contractData } from '../connectors/contract-data.js'
import { connectorTo, createStore } from '../connectors/postgres/contract-store.js'
import { agreementOf, startTestGateway, type TestGateway } from '../support/gateway.js'
import { startTestPostgres, type TestPostgres, withClient } from '../support/postgres.js'

const ENGINE = process.env.CONCORDAT_ENGINE_URL ?? 'postgresql://postgres@127.0.0.1:5432/postgres?sslmode=disable'

// --- the connector ---------------------------------------------------------------------------------------------------------------------------------------------

const data = contractData()

/** The table with times that are never null becomes a hypertable of several chunks. */
connectorContract(
  'postgres over hypertables',
  async () => {
    const tables = data.tables.filter(({ columns }) => columns.some(({ name }) => name === 'created_at'))
    await withClient(ENGINE, async (client) => {
      await createStore(client, data, { collation: '"C"' })
      for (const { schema, table } of tables) {
        const name = `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(table)}`
        await client.query(`SELECT create_hypertable($1::regclass, by_range('created_at', INTERVAL '1 year'), migrate_data => true)`, [name])
      }
      const { rows } = await client.query<{ count: number }>('SELECT count(*)::int AS count FROM timescaledb_information.chunks')
      if (tables.length === 0 || (rows[0]?.count ?? 0) < 3) throw new Error('there is no hypertable of several chunks')
    })
    const connector = connectorTo({ url: () => ENGINE })
    return {
      connector: uncancelled(connector, (native) => native),
      broken: uncancelled(connector, (native) => (native.kind === 'empty' ? native : { ...native, name: '', text: 'SELECT * FROM secret_words' })),
      endless: null,
      close: async () => {
        await connector.close()
        const schemas = ['concordat', ...new Set([...data.tables, ...data.enums].map(({ schema }) => schema))]
        await withClient(ENGINE, (client) => client.query(`DROP SCHEMA ${schemas.map((schema) => pg.escapeIdentifier(schema)).join(', ')} CASCADE`))
      },
    }
  },
  { data },
)

/** The engine has one backend for all connections, and takes no request to cancel. */
function uncancelled(connector: PostgresConnector, change: (native: PostgresNative) => PostgresNative): Connector<PostgresNative> {
  return {
    store: connector.store,
    capabilities: new Set([...connector.capabilities].filter((capability) => capability !== 'cancel')),
    compile: (plan) => {
      const { native, residual } = connector.compile(plan)
      return { native: change(native), residual }
    },
    execute: (statements, caller, options) => connector.execute(statements, caller, options),
    describe: (native) => connector.describe(native),
    close: () => connector.close(),
  }
}

// --- a gateway -------------------------------------------------------------------------------------------------------------------------------------------------

const CONTRACT = `
type Sample @entity @series(time: "takenAt") { key: ID!  takenAt: DateTime!  load: Float  used: BigInt  price: Decimal  kind: String }
type Hour @entity @series(time: "start") { key: ID!  start: DateTime!  used: BigInt }`

/** Every seven minutes around the nights in which the clocks of Berlin change, with half of each day left out; the counter begins anew now and then. */
const ROWS = `
  CREATE TABLE samples (key bigint NOT NULL, taken_at timestamptz NOT NULL, load double precision, used bigint, price numeric, kind text, PRIMARY KEY (key, taken_at));
  CREATE INDEX ON samples (taken_at, key);
  INSERT INTO samples SELECT n, at, CASE WHEN n % 11 > 0 THEN (n * 37 % 100) / 8e0 END, n * 5 % 3000, n % 70 * 0.01, CASE n % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' END
    FROM generate_series(1, 3000) AS n
    CROSS JOIN LATERAL (SELECT (CASE WHEN n <= 1500 THEN timestamptz '2026-03-26 00:00Z' ELSE timestamptz '2026-10-15 00:00Z' END) + n * interval '7 minutes' AS at) AS made
    WHERE n % 206 < 103;`
const PLAIN = `${ROWS} CREATE VIEW hours AS SELECT extract(epoch FROM date_trunc('hour', taken_at, 'UTC'))::bigint AS key, date_trunc('hour', taken_at, 'UTC') AS start,
  sum(used)::bigint AS used FROM samples GROUP BY 1, 2;`
const HYPER = `CREATE ROLE concordat_gateway; ${ROWS} SELECT create_hypertable('samples', by_range('taken_at', INTERVAL '1 day'), migrate_data => true);`
/** Cannot be made within a transaction, and so stands alone. */
const CONTINUOUS = `CREATE MATERIALIZED VIEW hours WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
  SELECT extract(epoch FROM time_bucket('1 hour', taken_at))::bigint AS key, time_bucket('1 hour', taken_at) AS start, sum(used)::bigint AS used FROM samples GROUP BY 1, 2
  WITH NO DATA`
const SPRING = { from: '2026-03-27T23:00:00Z', to: '2026-03-31T22:00:00Z' }
const AUTUMN = { from: '2026-10-23T22:00:00Z', to: '2026-10-27T23:00:00Z' }
const SELECTION = `keys { kind } buckets { start end count sum { load used price } avg { load used price } min { load kind } max { price }
  first { load used kind } last { load price kind takenAt } percentile(p: 0.9) { load used } rate { used price } }`

interface Asked {
  readonly range: { readonly from: string; readonly to: string }
  readonly bucket: string
  readonly timezone?: string
  readonly fill?: string
  readonly groupBy?: readonly { readonly field: string }[]
}

const ASKED: readonly Asked[] = [SPRING, AUTUMN].flatMap((range) => [
  { range, bucket: 'P1D', timezone: 'Europe/Berlin' },
  { range, bucket: 'PT1H', fill: 'NULL' },
  { range, bucket: 'PT1H', timezone: 'Europe/Berlin', fill: 'PREVIOUS', groupBy: [{ field: 'KIND' }] },
  { range, bucket: 'PT15M', fill: 'LINEAR' },
  { range, bucket: 'P1M', timezone: 'Europe/Berlin' },
])

describe('series over TimescaleDB', () => {
  let plain: TestPostgres
  let gateway: TestGateway

  beforeAll(async () => {
    plain = await startTestPostgres()
    const roles = { reader: { read: { Sample: { fields: 'all' }, Hour: { fields: 'all' } }, crossOrganization: ['testing'] } }
    const allow = (fields: string): { readonly allow: readonly string[] } => ({ allow: fields.split(' ') })
    const bindings = { Sample: { table: 'samples', uniqueKey: true }, Hour: { table: 'hours', uniqueKey: true } }
    gateway = await startTestGateway({
      world: {
        contract: CONTRACT.replace('start: DateTime!', 'start: DateTime'),
        organizations: { aurora: { sql: HYPER, roles, bindings }, borealis: { sql: PLAIN, bindings } },
        agreements: [agreementOf('borealis', 'aurora', { Sample: allow('key takenAt load used price kind'), Hour: allow('key start used') })],
      },
      postgres: firstDatabaseIn(ENGINE, plain),
      rowSecurity: false,
      beforeStart: async () => {
        await withClient(ENGINE, async (client) => {
          await client.query(CONTINUOUS)
          await client.query(`CALL refresh_continuous_aggregate('hours', '2026-03-01', '2026-04-01')`)
        })
      },
    })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await plain?.stop()
  }, 60_000)

  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- whatever the selection asks for
  const series = async (organization: string, variables: Asked, selection = SELECTION, field = 'sampleSeries'): Promise<readonly any[]> => {
    const type = field === 'sampleSeries' ? 'Sample' : 'Hour'
    const document = `query ($range: TimeRange!, $bucket: Duration!, $timezone: String! = "UTC", $fill: Fill, $groupBy: [${type}GroupBy!], $organizations: [ID!]) {
      ${field}(range: $range, bucket: $bucket, timezone: $timezone, fill: $fill, groupBy: $groupBy, organizations: $organizations) { ${selection} } }`
    const ana = { organization: 'aurora', roles: ['reader'] }
    const { json } = await gateway.ask(ana, document, { ...variables, organizations: [organization] })
    expect(json.errors).toBeUndefined()
    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
    return json.data[field] as readonly any[]
  }
  const engine = async (text: string, { range }: Asked): Promise<readonly Readonly<Record<string, unknown>>[]> =>
    withClient(ENGINE, async (client) => (await client.query<Record<string, unknown>>(text, [range.from, range.to])).rows)

  const expectSameAnswers = async (): Promise<void> => {
    for (const asked of ASKED) {
      const [hyper, table] = [await series('aurora', asked), await series('borealis', asked)]
      expect(hyper.flatMap(({ buckets }) => buckets as unknown[]).length).toBeGreaterThan(0)
      expect(hyper).toEqual(table)
    }
  }

  it('are those over a plain table, with every measure, in days of 23 and 25 hours, filled and grouped', expectSameAnswers, 60_000)

  it("are TimescaleDB's own buckets by day in a time zone", async () => {
    for (const [range, hours] of [
      [SPRING, 23],
      [AUTUMN, 25],
    ] as const) {
      const asked = { range, bucket: 'P1D', timezone: 'Europe/Berlin' }
      const [own] = await series(
        'aurora',
        asked,
        'buckets { start end count sum { used } avg { load } min { load } max { price } first { used } last { used } }',
      )
      const rows = await engine(
        `SELECT time_bucket('1 day', taken_at, 'Europe/Berlin') AS start, count(*)::text AS count, sum(used)::text AS sum, avg(load) AS avg, min(load) AS min,
          max(price)::text AS max, first(used, taken_at)::text AS first, last(used, taken_at)::text AS last
        FROM samples WHERE taken_at >= $1 AND taken_at < $2 GROUP BY 1 ORDER BY 1`,
        asked,
      )
      const theirs = rows.map(({ start, ...row }) => ({ start: isoOf(start), ...row }))
      const ours = own.buckets.map(({ start, count, sum, avg, min, max, first, last }: Bucket) => ({
        ...{ start, count, sum: sum.used, avg: avg.load, min: min.load, max: max.price, first: first.used, last: last.used },
      }))
      expect(ours).toEqual(theirs)
      const lengths = own.buckets.map(({ start, end }: Bucket) => (Date.parse(end) - Date.parse(start)) / 3_600_000)
      expect(lengths).toContain(hours)
    }
  }, 60_000)

  it("are filled as TimescaleDB's own: gaps, last values carried forward, lines between values", async () => {
    for (const [bucket, width, zone] of [
      ['PT1H', '1 hour', 'UTC'],
      ['P1D', '1 day', 'Europe/Berlin'],
      ['PT15M', '15 minutes', 'UTC'],
    ] as const) {
      for (const range of [SPRING, AUTUMN]) {
        const asked = { range, bucket, timezone: zone }
        const rows = await engine(
          `SELECT start, count, last::text, avg FROM (
            SELECT time_bucket_gapfill('${width}', taken_at, '${zone}', $1, $2) AS start, count(*) AS count, locf(last(used, taken_at)) AS last, interpolate(avg(load)) AS avg
            FROM samples WHERE taken_at >= $1 AND taken_at < $2 GROUP BY 1
          ) AS filled ORDER BY start`,
          asked,
        )
        const [carried] = await series('aurora', { ...asked, fill: 'PREVIOUS' }, 'buckets { start count last { used } }')
        const [lines] = await series('aurora', { ...asked, fill: 'LINEAR' }, 'buckets { start count avg { load } }')
        expect(carried.buckets.map(({ start, last }: Bucket) => [start, last.used])).toEqual(rows.map(({ start, last }) => [isoOf(start), last]))
        expect(lines.buckets).toHaveLength(rows.length)
        for (const [index, { count, avg }] of (lines.buckets as Bucket[]).entries()) {
          // TimescaleDB fills also a bucket that has rows and no value; the line is reckoned in floats there.
          if (avg.load === null) expect(count !== '0' || rows[index]?.avg === null).toBe(true)
          else expect(avg.load).toBeCloseTo(Number(rows[index]?.avg), 9)
        }
        if (bucket !== 'P1D') expect(carried.buckets.some(({ count }: Bucket) => count === '0')).toBe(true)
      }
    }
  }, 60_000)

  it('are the same once chunks are compressed', async () => {
    await withClient(ENGINE, async (client) => {
      await client.query(`ALTER TABLE samples SET (timescaledb.compress, timescaledb.compress_segmentby = 'kind', timescaledb.compress_orderby = 'taken_at')`)
      const { rowCount } = await client.query(`SELECT compress_chunk(c) FROM show_chunks('samples', older_than => timestamptz '2026-10-25') AS c`)
      expect(rowCount).toBeGreaterThan(5)
    })
    await expectSameAnswers()
  }, 60_000)

  it('are then of rows without row-level security: TimescaleDB refuses to have both', async () => {
    const refusal = expect.objectContaining({ code: '0A000' })
    await withClient(ENGINE, async (client) => {
      await expect(client.query('ALTER TABLE samples ENABLE ROW LEVEL SECURITY')).rejects.toEqual(refusal)
      await client.query(
        `CREATE TABLE walled (at timestamptz NOT NULL); ALTER TABLE walled ENABLE ROW LEVEL SECURITY; SELECT create_hypertable('walled', by_range('at'))`,
      )
      await expect(client.query('ALTER TABLE walled SET (timescaledb.compress)')).rejects.toEqual(refusal)
      await client.query('DROP TABLE walled')
    })
  })

  it('of a continuous aggregate, which is a view with a key that the owner vouches for, are those of its rows, also of those that are not materialized yet', async () => {
    for (const range of [SPRING, AUTUMN]) {
      const asked = { range, bucket: 'P1D', timezone: 'Europe/Berlin' }
      const selection = 'buckets { start count sum { used } last { used } }'
      const [continuous, view] = [await series('aurora', asked, selection, 'hourSeries'), await series('borealis', asked, selection, 'hourSeries')]
      expect(continuous[0].buckets.length).toBeGreaterThan(2)
      expect(continuous).toEqual(view)
    }
  }, 60_000)

  it('are of tables that are described without their chunks', async () => {
    const { tables } = await withClient(ENGINE, (client) => describeStore(client, { timeoutMs: 10_000 }))
    const own = tables.filter(({ schema, name }) => schema !== 'concordat' && name !== 'sample') // of the engine's own trial
    expect(own.map(({ schema, name, kind }) => [schema, name, kind])).toEqual([
      ['public', 'hours', 'view'],
      ['public', 'samples', 'table'],
    ])
    expect(own[1]?.keys.map(({ columns }) => columns)).toEqual([['key', 'taken_at']])
  })
})

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- whatever the selection asks for
type Bucket = any

function isoOf(time: unknown): string {
  if (!(time instanceof Date)) throw new Error('a time was expected')
  return time.toISOString().replace('.000', '')
}

/** The first organization's database is the engine's only one; all others are the server's. */
function firstDatabaseIn(engine: string, server: TestPostgres): TestPostgres {
  let isTaken = false
  return {
    ...server,
    createDatabase: async (name) => {
      if (isTaken) return server.createDatabase(name)
      isTaken = true
      return { name: 'engine', url: () => engine }
    },
    url: (database, user) => (database === 'engine' ? engine : server.url(database, user)),
    stop: () => Promise.resolve(),
  }
}
