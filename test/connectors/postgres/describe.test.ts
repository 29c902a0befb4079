import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { StoreDescription } from '../../../src/connectors/postgres/describe.js'
import { describeStore } from '../../../src/connectors/postgres/describe.js'
import type { TestDatabase, TestPostgres } from '../../support/postgres.js'
import { startTestPostgres, withClient } from '../../support/postgres.js'

let server: TestPostgres
let database: TestDatabase

beforeAll(async () => {
  server = await startTestPostgres()
  database = await server.createDatabase()
  await withClient(database.url(), (client) =>
    client.query(`
      CREATE SCHEMA ops;
      CREATE TYPE ops.mood AS ENUM ('good', 'bad');
      CREATE DOMAIN ops.code AS varchar(8) NOT NULL;
      CREATE DOMAIN ops.short AS ops.code;
      CREATE DOMAIN ops.labels AS ops.short[];
      CREATE TABLE "Odd ""Name" (id int PRIMARY KEY, "a b" text COLLATE "C", "日本" text);
      CREATE TABLE ops.bots (
        tenant uuid, number bigint GENERATED ALWAYS AS IDENTITY, name varchar(40) NOT NULL, mood ops.mood, moods ops.mood[], code ops.short, labels ops.labels,
        price numeric(10,2), seen timestamptz, gone int, odd int REFERENCES "Odd ""Name", PRIMARY KEY (tenant, number), UNIQUE (name), UNIQUE (number, tenant)
      );
      ALTER TABLE ops.bots DROP COLUMN gone;
      CREATE TABLE ops.runs (run int, bot_number bigint, bot_tenant uuid, at date, CONSTRAINT runs_bot FOREIGN KEY (bot_number, bot_tenant) REFERENCES ops.bots (number, tenant))
        PARTITION BY RANGE (at);
      CREATE TABLE ops.runs_2026 PARTITION OF ops.runs FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    `),
  )
  await withClient(database.url(), (client) =>
    client.query(`
      CREATE INDEX bots_name_c ON ops.bots (name COLLATE "C", seen DESC) INCLUDE (price);
      CREATE INDEX bots_lower ON ops.bots (lower(name), mood);
      CREATE INDEX bots_pattern ON ops.bots (name varchar_pattern_ops);
      CREATE UNIQUE INDEX bots_some ON ops.bots (odd) WHERE odd > 0;
      CREATE INDEX bots_moods ON ops.bots USING gin (moods);
      COMMENT ON TABLE ops.bots IS 'Machines that act.';
      COMMENT ON COLUMN ops.bots.name IS 'Shown to people.';
      ALTER TABLE ops.bots ENABLE ROW LEVEL SECURITY;
      CREATE VIEW ops.names AS SELECT name FROM ops.bots;
      CREATE MATERIALIZED VIEW ops.counts AS SELECT 1::bigint AS n;
      CREATE ROLE reader LOGIN;
      ALTER ROLE reader SET log_parameter_max_length = 64;
      GRANT USAGE ON SCHEMA ops TO reader;
      GRANT SELECT (tenant, name) ON ops.bots TO reader;
    `),
  )
})
afterAll(() => server.stop())

const read = (user?: string): Promise<StoreDescription> => withClient(database.url(user), (client) => describeStore(client, { timeoutMs: 10_000 }))
const tableOf = (description: StoreDescription, name: string) => {
  const table = description.tables.find((candidate) => candidate.name === name)
  if (!table) throw new Error(`no table ${name}`)
  return table
}

describe('describeStore', () => {
  it('reads tables of every kind and schema, with their comments, and no partitions', async () => {
    const { tables, version, encoding } = await read()
    expect(version).toBeGreaterThanOrEqual(140_000)
    expect(encoding).toBe('UTF8')
    expect(tables.map(({ schema, name, kind, comment }) => [schema, name, kind, comment])).toEqual([
      ['ops', 'bots', 'table', 'Machines that act.'],
      ['ops', 'counts', 'materializedView', null],
      ['ops', 'names', 'view', null],
      ['ops', 'runs', 'partitioned', null],
      ['public', 'Odd "Name', 'table', null],
    ])
  })

  it('resolves domains and arrays to the types that values have', async () => {
    const { columns } = tableOf(await read(), 'bots')
    expect([...columns.values()].map(({ name, native, array, declared, nullable, labels }) => [name, native, array, declared, nullable, labels])).toEqual([
      ['tenant', 'uuid', false, 'uuid', false, null],
      ['number', 'bigint', false, 'bigint', false, null],
      ['name', 'character varying', false, 'character varying(40)', false, null],
      ['mood', 'ops.mood', false, 'ops.mood', true, ['good', 'bad']],
      ['moods', 'ops.mood', true, 'ops.mood[]', true, ['good', 'bad']],
      ['code', 'character varying', false, 'ops.short', false, null],
      ['labels', 'character varying', true, 'ops.labels', true, null],
      ['price', 'numeric', false, 'numeric(10,2)', true, null],
      ['seen', 'timestamp with time zone', false, 'timestamp with time zone', true, null],
      ['odd', 'integer', false, 'integer', true, null],
    ])
    expect(columns.get('name')?.comment).toBe('Shown to people.')
    expect([...tableOf(await read(), 'Odd "Name').columns.keys()]).toEqual(['id', 'a b', '日本'])
  })

  it('reads keys, foreign keys and indexes with their columns in order', async () => {
    const description = await read()
    const bots = tableOf(description, 'bots')
    expect(bots.keys).toEqual([
      { columns: ['tenant', 'number'], primary: true },
      { columns: ['name'], primary: false },
      { columns: ['number', 'tenant'], primary: false },
    ])
    expect(bots.foreignKeys).toEqual([{ name: 'bots_odd_fkey', columns: ['odd'], schema: 'public', table: 'Odd "Name', targetColumns: ['id'] }])
    expect(tableOf(description, 'runs').foreignKeys).toEqual([
      { name: 'runs_bot', columns: ['bot_number', 'bot_tenant'], schema: 'ops', table: 'bots', targetColumns: ['number', 'tenant'] },
    ])
    const index = (name: string) => bots.indexes.find((candidate) => candidate.name === name)
    expect(index('bots_name_c')).toEqual({
      name: 'bots_name_c',
      method: 'btree',
      partial: false,
      columns: [
        { column: 'name', collation: 'C', plain: true, operatorClass: 'text_ops' },
        { column: 'seen', collation: null, plain: true, operatorClass: 'timestamptz_ops' },
      ],
    })
    expect(index('bots_lower')?.columns.map(({ column }) => column)).toEqual([null, 'mood'])
    expect(index('bots_pattern')?.columns).toEqual([{ column: 'name', collation: 'default', plain: false, operatorClass: 'varchar_pattern_ops' }])
    expect(index('bots_some')).toMatchObject({ partial: true })
    expect(index('bots_moods')).toMatchObject({ method: 'gin' })
  })

  it('says what the role that asks may do', async () => {
    const owner = await read()
    expect(owner.role).toEqual({ name: 'postgres', superuser: true, bypassesRowSecurity: true })
    expect(tableOf(owner, 'bots')).toMatchObject({ owned: true, reachable: true, rowSecurity: { enabled: true, forced: false } })
    const reader = await read('reader')
    expect(reader.role).toEqual({ name: 'reader', superuser: false, bypassesRowSecurity: false })
    expect(reader.loggedParameterBytes).toEqual({ statements: 64, errors: 0 })
    expect(owner.loggedParameterBytes.statements).toBe(0)
    const bots = tableOf(reader, 'bots')
    expect(bots).toMatchObject({ owned: false, reachable: true })
    expect([...bots.columns.values()].filter(({ readable }) => readable).map(({ name }) => name)).toEqual(['tenant', 'name'])
  })

  it('leaves the session as it was', async () => {
    await withClient(database.url(), async (client) => {
      await client.query('SET search_path TO ops')
      await describeStore(client, { timeoutMs: 10_000 })
      expect((await client.query<{ search_path: string }>('SHOW search_path')).rows).toEqual([{ search_path: 'ops' }])
      expect((await client.query('SELECT 1 FROM bots')).rowCount).toBe(0)
    })
  })
})
