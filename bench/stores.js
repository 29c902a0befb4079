/** The databases: one PostgreSQL server with a database for each organization, and one for the gateway's ledgers. They stay in the cache folder between runs. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { startPostgres } from '../dist/cli/demo/embedded-postgres.js'
import { GATEWAY_ROLE, makeGatewayRole } from '../dist/cli/demo/organization-store.js'

export const ORGANIZATIONS = ['aurora', 'borealis', 'cascade']
/** Owns the organizations' databases; row-level security does not bind it. The peers, which enforce nothing, log in as it. */
const OWNER = 'platform'
const LEDGER = 'gateway'
const TABLES = ['users', 'agents', 'workflows', 'workflow_executions', 'agent_execution_metrics']

/** Rows of each table of one organization. */
export function sizesOf(scale) {
  const executions = Math.max(3_000, Math.round(300_000 * scale))
  return {
    users: Math.max(10, Math.round(500 * scale)),
    agents: Math.max(200, Math.round(10_000 * scale)),
    workflows: Math.max(20, Math.round(2_000 * scale)),
    executions,
    /** Agents with 1,000 executions each. */
    busy: Math.floor(executions / 3_000),
  }
}

/**
 * @param {{ directory: string, scale: number, say: (line: string) => void }} options
 * @returns the servers with `url(organization, role)`, `ledgerUrl`, the process ids of both servers, `protect(organization, sql)` and `stop()`.
 */
export async function startStores({ directory, scale, say }) {
  // Everything fits into memory, for all alike: what is measured is the way through the processes, not the disk. The ledger commits to the disk.
  const stores = await startPostgres({
    directory: join(directory, `stores-${scale}`),
    durability: 'relaxed',
    settings: { max_connections: '300', shared_buffers: '1GB', max_wal_size: '4GB', autovacuum: 'off' },
  })
  let ledger
  try {
    ledger = await startPostgres({ directory: join(directory, 'ledger'), durability: 'durable' })
    for (const [index, organization] of ORGANIZATIONS.entries()) await makeOrganization(stores, { organization, number: index + 1, scale, say })
    await makeLedger(ledger)
  } catch (error) {
    await Promise.all([stores.stop(), ledger?.stop()])
    throw error
  }
  return {
    url: (organization, role = OWNER) => stores.url(organization, role),
    gatewayUrl: (organization) => stores.url(organization, GATEWAY_ROLE),
    ledgerUrl: ledger.url(LEDGER, LEDGER),
    pids: { stores: stores.pid, ledger: ledger.pid },
    protect: (organization, sql) => protect(stores.url(organization, OWNER), sql),
    query: (organization, text, values) => connected(stores.url(organization, OWNER), async (client) => (await client.query(text, values)).rows),
    stop: () => Promise.all([stores.stop(), ledger.stop()]),
  }
}

async function makeOrganization(server, { organization, number, scale, say }) {
  const scripts = ['../schema/demo/stores/aurora.tables.sql', './rows.sql', '../schema/demo/stores/aurora.indexes.sql'].map((file) =>
    readFileSync(new URL(file, import.meta.url), 'utf8'),
  )
  const mark = createHash('sha256')
    .update(JSON.stringify([scripts, sizesOf(scale), number]))
    .digest('hex')
  const isThere = await connected(server.url('postgres'), async (client) => {
    const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [OWNER])
    if (rowCount === 0) await client.query(`CREATE ROLE ${OWNER} LOGIN BYPASSRLS`)
    await makeGatewayRole(client)
    const { rows } = await client.query(`SELECT shobj_description(oid, 'pg_database') AS mark FROM pg_database WHERE datname = $1`, [organization])
    if (rows[0]?.mark === mark) return true
    if (rows.length > 0) await client.query(`DROP DATABASE ${organization}`)
    await client.query(`CREATE DATABASE ${organization} OWNER ${OWNER}`)
    return false
  })
  if (isThere) return
  say(`filling ${organization} (scale ${scale})`)
  const values = { organization: number, ...sizesOf(scale) }
  await connected(server.url(organization, OWNER), async (client) => {
    await client.query('BEGIN')
    for (const script of scripts) await client.query(script.replace(/(?<!:):([a-z]+)/g, (text, name) => (name in values ? String(values[name]) : text)))
    await client.query(`GRANT USAGE ON SCHEMA public TO ${GATEWAY_ROLE}`)
    await client.query(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${GATEWAY_ROLE}`)
    await client.query('COMMIT')
    await client.query('VACUUM (ANALYZE, FREEZE)')
  })
  await connected(server.url('postgres'), (client) => client.query(`COMMENT ON DATABASE ${organization} IS '${mark}'`))
}

/** Empty at the start of each run. */
async function makeLedger(server) {
  await connected(server.url('postgres'), async (client) => {
    const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [LEDGER])
    if (rowCount === 0) await client.query(`CREATE ROLE ${LEDGER} LOGIN`)
    await client.query(`DROP DATABASE IF EXISTS ${LEDGER}`)
    await client.query(`CREATE DATABASE ${LEDGER} OWNER ${LEDGER}`)
  })
}

/** Puts an organization behind the row-level security that `concordat rls render` writes; empty text takes it away. */
async function protect(url, sql) {
  await connected(url, async (client) => {
    await client.query('BEGIN')
    const { rows } = await client.query(
      'SELECT polrelid::regclass::text AS table, quote_ident(polname) AS policy FROM pg_policy WHERE polrelid = ANY ($1::regclass[])',
      [TABLES],
    )
    for (const { table, policy } of rows) await client.query(`DROP POLICY ${policy} ON ${table}`)
    for (const table of TABLES) await client.query(`ALTER TABLE ${table} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY`)
    await client.query(sql)
    await client.query('COMMIT')
  })
}

async function connected(connectionString, work) {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
