import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { parse } from 'yaml'
import type { DemoStores } from '../../../src/cli/demo/demo-stores.js'
import { startDemoStores } from '../../../src/cli/demo/demo-stores.js'
import { startPostgres } from '../../../src/cli/demo/embedded-postgres.js'
import { seedOrganization, setupOrganization } from '../../../src/cli/demo/organization-store.js'
import { DEMO_ORGANIZATIONS } from '../../../src/cli/demo/platform-data.js'
import { parseContract } from '../../../src/gateway/contract.js'
import { pluralOf, snakeCase } from '../../../src/query/name.js'
import type { TestPostgres } from '../../support/postgres.js'
import { startTestPostgres, withClient } from '../../support/postgres.js'

const schemaFile = (path: string): string => readFileSync(new URL(`../../../schema/${path}`, import.meta.url), 'utf8')

async function rows(url: string, sql: string): Promise<Record<string, unknown>[]> {
  return withClient(url, async (client) => (await client.query<Record<string, unknown>>(sql)).rows)
}

async function one(url: string, sql: string): Promise<unknown> {
  return Object.values((await rows(url, sql))[0] ?? {})[0]
}

describe('startDemoStores', () => {
  let dataDirectory = ''
  let stores: DemoStores
  const refused = (url: string, sql: string) => expect(rows(url, sql)).rejects

  beforeAll(async () => {
    dataDirectory = mkdtempSync(join(tmpdir(), 'concordat-test-'))
    stores = await startDemoStores({ dataDirectory })
  }, 120_000)

  afterAll(async () => {
    await stores.stop()
    rmSync(dataDirectory, { recursive: true, force: true })
  })

  it('gives each organization a server of its own, filled, and one to the gateway', async () => {
    const { aurora, borealis, cascade } = stores.organizations
    const urls = [aurora.ownerUrl, borealis.ownerUrl, cascade.ownerUrl, stores.gatewayDatabaseUrl]
    expect(new Set(await Promise.all(urls.map((url) => one(url, 'SELECT system_identifier FROM pg_control_system()')))).size).toBe(4)
    expect(await one(aurora.ownerUrl, 'SELECT count(*)::int FROM workflow_executions')).toBe(1_200)
    expect(await one(aurora.ownerUrl, 'SELECT count(*)::int FROM agent_execution_metrics')).toBe(1_200)
    expect(await one(borealis.ownerUrl, 'SELECT count(*)::int FROM ops.runs')).toBe(1_200)
    expect(await one(borealis.ownerUrl, `SELECT display_name FROM ops.bots WHERE bot_id = 41`)).toBe('Invoice reader')
    expect(await one(cascade.ownerUrl, 'SELECT count(*)::int FROM agents')).toBe(40)
    expect(await one(cascade.ownerUrl, `SELECT to_regclass('workflow_executions')`)).toBeNull()
  })

  it('lets the gateway read and nothing else', async () => {
    const { gatewayUrl } = stores.organizations.borealis
    expect(await one(gatewayUrl, 'SELECT count(*)::int FROM ops.bots')).toBe(40)
    await refused(gatewayUrl, 'UPDATE ops.bots SET state = 1').toMatchObject({ code: '25006' })
    await refused(gatewayUrl, 'BEGIN READ WRITE; UPDATE ops.bots SET state = 1').toMatchObject({ code: '42501' })
    await refused(gatewayUrl, 'BEGIN READ WRITE; CREATE TABLE public.note ()').toMatchObject({ code: '42501' })
    await refused(gatewayUrl, 'BEGIN READ WRITE; CREATE TEMPORARY TABLE note ()').toMatchObject({ code: '42501' })
    expect(await rows(gatewayUrl, 'SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user')).toEqual([
      { rolsuper: false, rolbypassrls: false, rolcreaterole: false, rolcreatedb: false },
    ])
    expect(await one(gatewayUrl, 'SELECT count(*)::int FROM pg_class WHERE relowner = current_user::regrole')).toBe(0)
  })

  it('keeps the ledgers durable, in a database that the gateway owns', async () => {
    const url = stores.gatewayDatabaseUrl
    expect(await one(url, 'SHOW fsync')).toBe('on')
    expect(await one(url, 'SHOW synchronous_commit')).toBe('on')
    expect(await one(url, 'SHOW full_page_writes')).toBe('on')
    await rows(url, 'CREATE TABLE entry (index bigint)')
    await rows(url, 'DROP TABLE entry')
  })

  it('applies row-level security, replaces it whole, and keeps it when the new one is faulty', async () => {
    const { gatewayUrl, ownerUrl } = stores.organizations.cascade
    const only = (name: string): string =>
      `ALTER TABLE users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY "${name}" ON users TO concordat_gateway USING (team = '${name}')`
    const teams = async (url: string): Promise<unknown> => one(url, 'SELECT array_agg(DISTINCT team ORDER BY team) FROM users')
    expect(await stores.protect('cascade', only('finance'))).toBe(true)
    expect(await teams(gatewayUrl)).toEqual(['finance'])
    expect(await stores.protect('cascade', only('finance'))).toBe(false)
    expect(await stores.protect('cascade', only('research'))).toBe(true)
    expect(await teams(gatewayUrl)).toEqual(['research'])
    await expect(stores.protect('cascade', `${only('support')}; SELECT nonsense`)).rejects.toMatchObject({ code: '42703' })
    expect(await teams(gatewayUrl)).toEqual(['research'])
    expect(await one(ownerUrl, 'SELECT count(DISTINCT team)::int FROM users')).toBe(4)
  })

  it('starts again within 3 s, with everything as it was', async () => {
    const { ownerUrl } = stores.organizations.aurora
    await rows(ownerUrl, `UPDATE agents SET description = 'kept' WHERE key = 71`)
    await stores.stop()
    const since = performance.now()
    stores = await startDemoStores({ dataDirectory })
    expect(performance.now() - since).toBeLessThan(3_000)
    expect(await one(stores.organizations.aurora.ownerUrl, 'SELECT description FROM agents WHERE key = 71')).toBe('kept')
    expect(await one(stores.organizations.cascade.gatewayUrl, 'SELECT array_agg(DISTINCT team) FROM users')).toEqual(['research'])
  })

  it('narrows a role that was widened by hand, at the next start', async () => {
    await stores.stop()
    const server = await startPostgres({ directory: join(dataDirectory, 'postgres', 'aurora'), durability: 'relaxed' })
    await rows(server.url('aurora'), 'ALTER ROLE concordat_gateway SUPERUSER BYPASSRLS')
    await server.stop()
    stores = await startDemoStores({ dataDirectory })
    expect(await one(stores.organizations.aurora.gatewayUrl, 'SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user')).toBe(false)
  })

  it('replaces the rows for another scale, and leaves them when none is said', async () => {
    await stores.stop()
    stores = await startDemoStores({ dataDirectory, scale: 0.002 })
    const count = async (): Promise<unknown> => one(stores.organizations.aurora.gatewayUrl, 'SELECT count(*)::int FROM workflow_executions')
    expect(await count()).toBe(600)
    await stores.stop()
    stores = await startDemoStores({ dataDirectory })
    expect(await count()).toBe(600)
  })

  it('ends the servers that started when one does not', async () => {
    await stores.stop()
    const version = join(dataDirectory, 'postgres', 'cascade', 'data', 'PG_VERSION')
    const text = readFileSync(version, 'utf8')
    writeFileSync(version, '12\n')
    await expect(startDemoStores({ dataDirectory })).rejects.toThrow('was made by PostgreSQL 12')
    for (const name of [...DEMO_ORGANIZATIONS, 'gateway']) expect(existsSync(join(dataDirectory, 'postgres', name, 'data', 'postmaster.pid'))).toBe(false)
    writeFileSync(version, text)
    stores = await startDemoStores({ dataDirectory })
  })

  it('has a column for every field of the contract, by name or by binding', async () => {
    const catalog = parseContract([{ name: 'contract.graphql', text: schemaFile('contract.graphql') }])
    const bindings = parse(schemaFile('demo/bindings.yaml')) as Record<string, Record<string, 'none' | { table: string; fields: Record<string, unknown> }>>
    const missing: string[] = []
    for (const organization of DEMO_ORGANIZATIONS) {
      const found = await rows(
        stores.organizations[organization].gatewayUrl,
        `SELECT table_schema || '.' || table_name || '.' || column_name AS name, is_nullable FROM information_schema.columns`,
      )
      const nullable = new Map(found.map((row) => [String(row['name']), row['is_nullable'] === 'YES']))
      for (const entity of catalog.entities.values()) {
        const binding = bindings[organization]?.[entity.name]
        if (binding === 'none') continue
        const table = binding?.table.replace(/^main\./, '') ?? `public.${snakeCase(pluralOf(entity.name))}`
        for (const field of entity.fields.values()) {
          if (field.kind === 'toMany') continue
          const source = binding?.fields[field.name] ?? `${snakeCase(field.name)}${field.kind === 'toOne' ? '_key' : ''}`
          const column = typeof source === 'string' ? source : (source as { column?: string }).column
          if (column === undefined) continue
          const name = `${table}.${column}`
          if (!nullable.has(name)) missing.push(`${organization}: ${name}`)
          if (field.kind === 'value' && field.required && nullable.get(name) !== false) missing.push(`${organization}: ${name} may be null`)
        }
      }
    }
    expect(missing).toEqual([])
  })

  it('has an index that begins with each relation', async () => {
    for (const organization of DEMO_ORGANIZATIONS) {
      const unserved = await rows(
        stores.organizations[organization].ownerUrl,
        `SELECT conrelid::regclass::text AS table, conkey FROM pg_constraint c WHERE contype = 'f'
           AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1])`,
      )
      expect(unserved).toEqual([])
    }
  })
})

describe('seedOrganization', () => {
  let postgres: TestPostgres

  beforeAll(async () => {
    postgres = await startTestPostgres()
  }, 60_000)

  afterAll(() => postgres.stop())

  it('leaves nothing when it is cut off half-way, and all of it the next time', async () => {
    const database = await postgres.createDatabase()
    const victim = new pg.Client({ connectionString: database.url() })
    victim.on('error', () => undefined)
    await victim.connect()
    const seeding = seedOrganization(victim, 'borealis', 0.1)
    const { pid } = (await withClient(database.url(), (client) =>
      client.query<{ pid: number }>(`SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`),
    ).then(({ rows: [row] }) => row)) ?? { pid: -1 }
    while ((await one(database.url(), `SELECT count(*)::int FROM pg_locks l WHERE l.pid = ${pid} AND mode = 'AccessExclusiveLock'`)) === 0);
    await rows(database.url(), `SELECT pg_terminate_backend(${pid})`)
    await expect(seeding).rejects.toThrow()
    expect(await one(database.url(), `SELECT to_regnamespace('ops')`)).toBeNull()
    await withClient(database.url(), async (client) => {
      expect(await seedOrganization(client, 'borealis', 0.002)).toBe(true)
      expect(await seedOrganization(client, 'borealis', 0.002)).toBe(false)
    })
    expect(await one(database.url(), 'SELECT count(*)::int FROM ops.samples')).toBe(600)
  })

  it('writes the same rows every time, and leaves room for new ones', async () => {
    const digests = await Promise.all(
      [0, 1].map(async () => {
        const database = await postgres.createDatabase()
        await withClient(database.url(), (client) => seedOrganization(client, 'aurora', 0.002))
        await rows(database.url(), `INSERT INTO users (name, created_at) VALUES ('New', now())`)
        return one(database.url(), `SELECT md5(string_agg(e::text, ',' ORDER BY key)) FROM workflow_executions e`)
      }),
    )
    expect(digests[0]).toBe(digests[1])
  })

  it('touches no table that it did not make', async () => {
    const database = await postgres.createDatabase()
    await rows(database.url(), 'CREATE TABLE agents AS SELECT 7 AS number')
    await expect(withClient(database.url(), (client) => seedOrganization(client, 'aurora', 0.002))).rejects.toMatchObject({ code: '42P07' })
    expect(await one(database.url(), 'SELECT number FROM agents')).toBe(7)
    expect(await one(database.url(), `SELECT to_regclass('users')`)).toBeNull()
    await expect(withClient(database.url(), (client) => setupOrganization(client, { organization: 'aurora', rlsSql: null }))).rejects.toThrow()
  })
})
