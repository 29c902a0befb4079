/** Stores of the connector contract in a PostgreSQL server. */
import { createHash } from 'node:crypto'
import pg from 'pg'
import type { StoredValue } from '../../../src/connectors/memory/stored.js'
import { PostgresConnector } from '../../../src/connectors/postgres/connector.js'
import { literalOf } from '../../../src/connectors/sql/parameter.js'
import type { TestDatabase, TestPostgres } from '../../support/postgres.js'
import { withClient } from '../../support/postgres.js'
import type { ContractData, ContractTable } from '../contract-data.js'
import type { ContractHarness } from '../contract.js'

export interface StoreOptions {
  /** A linguistic order, which puts case and accents last: a comparison or order that forgets code points shows. */
  readonly collation: string
  /** Of pgvector; null: the server does not have it. */
  readonly extensionSchema: string | null
}

export async function makeStores(server: Pick<TestPostgres, 'createDatabase'>, data: ContractData, options: StoreOptions): Promise<ContractHarness> {
  const [database, broken, endless] = await Promise.all([server.createDatabase(), server.createDatabase(), server.createDatabase()])
  for (const one of [database, broken, endless]) await withClient(one.url(), (client) => createExtension(client, options))
  await withClient(database.url(), (client) => createStore(client, data, options))
  // Tables without columns: every statement fails, and PostgreSQL's words name tables and columns.
  await withClient(broken.url(), (client) => createTables(client, data, () => ''))
  await withClient(endless.url(), (client) => createEndless(client, data))
  await strangeSettings(database)
  const [connector, ...others] = [connectorTo(database), connectorTo(broken), connectorTo(endless)]
  const [failing, waiting] = others
  if (!failing || !waiting) throw new Error('three databases have three connectors')
  return { connector, broken: failing, endless: waiting, close: async () => void (await Promise.all([connector, ...others].map((one) => one.close()))) }
}

export function connectorTo(database: Pick<TestDatabase, 'url'>): PostgresConnector {
  const connection = { connectionString: database.url() }
  const pool = { max: 2, waitingMax: 100, connectMs: 5_000, idleMs: 60_000 }
  return new PostgresConnector({ store: 'main', pool, connection, named: true, preparedMax: 100 })
}

/** What an owner may have set for its own tools must not change an answer. */
async function strangeSettings(database: TestDatabase): Promise<void> {
  const settings = {
    TimeZone: 'Asia/Kathmandu',
    DateStyle: 'SQL, DMY',
    IntervalStyle: 'sql_standard',
    bytea_output: 'escape',
    search_path: 'nowhere',
    standard_conforming_strings: 'off',
  }
  await withClient(database.url(), async (client) => {
    for (const [name, value] of Object.entries(settings)) {
      await client.query(`ALTER DATABASE ${pg.escapeIdentifier(database.name)} SET ${name} = ${pg.escapeLiteral(value)}`)
    }
  })
}

async function createExtension(client: pg.Client, { extensionSchema }: StoreOptions): Promise<void> {
  if (extensionSchema === null) return
  const schema = pg.escapeIdentifier(extensionSchema)
  await client.query(`CREATE SCHEMA ${schema}; CREATE EXTENSION vector SCHEMA ${schema}`)
}

export async function createStore(client: pg.Client, data: ContractData, { collation }: Pick<StoreOptions, 'collation'>): Promise<void> {
  await createTables(client, data, ({ columns }) =>
    columns
      .map(({ name, declared }) => `${pg.escapeIdentifier(name)} ${declared}${/^(text|character)/.test(declared) ? ` COLLATE ${collation}` : ''}`)
      .join(', '),
  )
  for (const table of data.tables) await fill(client, table)
  await createPseudonyms(client, data)
  await client.query('ANALYZE')
}

async function createTables(client: pg.Client, data: ContractData, columnsOf: (table: ContractTable) => string): Promise<void> {
  for (const schema of new Set(data.tables.map((table) => table.schema))) await client.query(`CREATE SCHEMA ${pg.escapeIdentifier(schema)}`)
  for (const { schema, name, labels } of data.enums) {
    await client.query(
      `CREATE TYPE ${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(name)} AS ENUM (${labels.map((label) => pg.escapeLiteral(label)).join(', ')})`,
    )
  }
  for (const table of data.tables) await client.query(`CREATE TABLE ${nameOf(table)} (${columnsOf(table)})`)
}

function nameOf({ schema, table }: ContractTable): string {
  return `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(table)}`
}

/** Rows go in as text, and must come out as the text that memory has: else the two stores would hold different data. */
async function fill(client: pg.Client, table: ContractTable): Promise<void> {
  await client.query("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'")
  const { columns, rows } = table
  const places = columns.map(({ declared }, index) => `$${index + 1}::text::${declared}`).join(', ')
  for (const row of rows)
    await client.query(
      `INSERT INTO ${nameOf(table)} VALUES (${places})`,
      columns.map(({ name }) => textOf(row.get(name))),
    )
  const read = columns.map(({ name, declared }) => `${pg.escapeIdentifier(name)}::${declared.endsWith('[]') ? 'text[]' : 'text'}`).join(', ')
  const { rows: stored } = await client.query<(string | string[] | null)[]>({ text: `SELECT ${read} FROM ${nameOf(table)}`, rowMode: 'array' })
  for (const [index, row] of rows.entries()) {
    for (const [place, { name }] of columns.entries()) {
      const [given, kept] = [JSON.stringify(row.get(name)), JSON.stringify(stored[index]?.[place])]
      if (given !== kept) throw new Error(`column ${name} of row ${index} holds ${kept}, not ${given}`)
    }
  }
}

function textOf(value: StoredValue | undefined): string | null {
  return value === undefined || value === null || typeof value === 'string' ? (value ?? null) : literalOf(value)
}

/** HMAC-SHA256 (RFC 2104) with the pads of each key made here, since PostgreSQL's core has no XOR of bytes. */
async function createPseudonyms(client: pg.Client, { pseudonymKeys }: ContractData): Promise<void> {
  await client.query(
    'CREATE SCHEMA IF NOT EXISTS concordat; CREATE TABLE concordat.pseudonym_pads (grantee text PRIMARY KEY, inner_pad bytea, outer_pad bytea)',
  )
  for (const [grantee, key] of pseudonymKeys) {
    const block = Buffer.alloc(64)
    const short = key.length > 64 ? createHash('sha256').update(key).digest() : key
    short.copy(block)
    const pads = [0x36, 0x5c].map((pad) => Buffer.from(block.map((byte) => byte ^ pad)))
    await client.query('INSERT INTO concordat.pseudonym_pads VALUES ($1, $2, $3)', [grantee, ...pads])
  }
  await client.query(`
    CREATE FUNCTION concordat.pseudonym(grantee text, domain text, value text) RETURNS text LANGUAGE sql STABLE AS $$
      SELECT 'p-' || left(encode(sha256(p.outer_pad || sha256(p.inner_pad || convert_to($2 || coalesce(chr(31) || $3, chr(30)), 'UTF8'))), 'hex'), 32)
      FROM concordat.pseudonym_pads AS p WHERE p.grantee = $1
    $$`)
}

/** The tables' names are views that take longer than anybody waits. */
async function createEndless(client: pg.Client, data: ContractData): Promise<void> {
  await createTables(client, data, ({ columns }) => columns.map(({ name, declared }) => `${pg.escapeIdentifier(name)} ${declared}`).join(', '))
  for (const table of data.tables) {
    const columns = table.columns.map(({ name, declared }) => `NULL::${declared} AS ${pg.escapeIdentifier(name)}`).join(', ')
    await client.query(`DROP TABLE ${nameOf(table)}; CREATE VIEW ${nameOf(table)} AS SELECT ${columns} FROM pg_sleep(60)`)
  }
}
