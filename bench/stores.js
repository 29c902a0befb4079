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
/** Recovery after a run that was killed may take long. */
const START_TIMEOUT_MS = 300_000
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
 * @returns the servers with `url(organization, role)`, `pids` of both, and functions that make further databases; `stop()` ends them.
 */
export async function startStores({ directory, scale, say }) {
  // Everything fits into memory, for all alike: what is measured is the way through the processes, not the disk. The ledger commits to the disk.
  const stores = await startPostgres({
    directory: join(directory, `stores-${scale}`),
    durability: 'relaxed',
    startTimeoutMs: START_TIMEOUT_MS,
    settings: { max_connections: '400', shared_buffers: '1GB', max_wal_size: '4GB', autovacuum: 'off' },
  })
  let ledger
  try {
    ledger = await startPostgres({ directory: join(directory, 'ledger'), durability: 'durable', startTimeoutMs: START_TIMEOUT_MS })
    await connected(stores.url('postgres'), async (client) => {
      const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [OWNER])
      if (rowCount === 0) await client.query(`CREATE ROLE ${OWNER} LOGIN BYPASSRLS`)
      await makeGatewayRole(client)
    })
    for (const [index, organization] of ORGANIZATIONS.entries())
      await makeDatabase(stores, organization, { scripts: SCRIPTS, values: { organization: index + 1, ...sizesOf(scale) }, say })
    await dropLedgers(ledger)
  } catch (error) {
    await Promise.all([stores.stop(), ledger?.stop()])
    throw error
  }
  let ledgers = 0
  return {
    scale,
    url: (organization, role = OWNER) => stores.url(organization, role),
    gatewayUrl: (organization) => stores.url(organization, GATEWAY_ROLE),
    pids: { stores: stores.pid, ledger: ledger.pid },
    protect: (organization, sql) => protect(stores.url(organization, OWNER), sql),
    query: (organization, text, values) => connected(stores.url(organization, OWNER), async (client) => (await client.query(text, values)).rows),
    /** An empty database for the ledgers of one ground: those of another have other keys. @returns its URL */
    newLedger: () => makeLedger(ledger, `${LEDGER}_${(ledgers += 1)}`),
    /** @returns ids of that many organizations with few rows each, copies of one database */
    small: (count) => makeSmall(stores, count, say),
    /** @returns the id of the organization whose `users` are so many */
    long: async (users) => {
      await makeDatabase(stores, 'long', { scripts: LONG_SCRIPTS, values: { users }, say })
      return 'long'
    },
    /** @returns the id of the organization that has measured so many agents each minute of so many days */
    measured: async (agents, days) => {
      const organization = `measured${days}`
      await makeDatabase(stores, organization, { scripts: MEASURED_SCRIPTS, values: { agents, days }, say })
      return organization
    },
    stop: () => Promise.all([stores.stop(), ledger.stop()]),
  }
}

const script = (file) => readFileSync(new URL(file, import.meta.url), 'utf8')
const TABLE_SCRIPT = script('../schema/demo/stores/aurora.tables.sql')
const INDEX_SCRIPT = script('../schema/demo/stores/aurora.indexes.sql')
const SCRIPTS = [TABLE_SCRIPT, script('./rows.sql'), INDEX_SCRIPT]
const LONG_SCRIPTS = [TABLE_SCRIPT, script('./long-rows.sql'), INDEX_SCRIPT]
const MEASURED_SCRIPTS = [TABLE_SCRIPT, script('./series-rows.sql'), INDEX_SCRIPT]

/** The database of an organization; one that is there and was made by the same scripts with the same values is kept. */
async function makeDatabase(server, organization, { scripts, values, say }) {
  const mark = createHash('sha256')
    .update(JSON.stringify([scripts, values]))
    .digest('hex')
  const isThere = await connected(server.url('postgres'), async (client) => {
    if ((await markOf(client, organization)) === mark) return true
    await client.query(`DROP DATABASE IF EXISTS ${organization}`)
    await client.query(`CREATE DATABASE ${organization} OWNER ${OWNER}`)
    return false
  })
  if (isThere) return mark
  say(`filling ${organization}`)
  await connected(server.url(organization, OWNER), async (client) => {
    await client.query('BEGIN')
    for (const text of scripts) await client.query(text.replace(/(?<!:):([a-z]+)/g, (match, name) => (name in values ? String(values[name]) : match)))
    await client.query(`GRANT USAGE ON SCHEMA public TO ${GATEWAY_ROLE}`)
    await client.query(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${GATEWAY_ROLE}`)
    await client.query('COMMIT')
    await client.query('VACUUM (ANALYZE, FREEZE)')
  })
  await connected(server.url('postgres'), async (client) => {
    await client.query(`COMMENT ON DATABASE ${organization} IS '${mark}'`)
    await client.query('CHECKPOINT') // not while something is measured, nor while the server should end
  })
  return mark
}

async function markOf(client, database) {
  const { rows } = await client.query(`SELECT shobj_description(oid, 'pg_database') AS mark FROM pg_database WHERE datname = $1`, [database])
  return rows[0]?.mark ?? null
}

async function makeSmall(server, count, say) {
  const mark = await makeDatabase(server, 'small', { scripts: SCRIPTS, values: { organization: 1, ...sizesOf(0) }, say })
  const ids = Array.from({ length: count }, (_, index) => `small${String(index + 1).padStart(3, '0')}`)
  await connected(server.url('postgres'), async (client) => {
    for (const id of ids) {
      if ((await markOf(client, id)) === mark) continue
      await client.query(`DROP DATABASE IF EXISTS ${id}`)
      await client.query(`CREATE DATABASE ${id} OWNER ${OWNER} TEMPLATE small`)
      await client.query(`COMMENT ON DATABASE ${id} IS '${mark}'`)
    }
    await client.query('CHECKPOINT')
  })
  return ids
}

async function dropLedgers(server) {
  await connected(server.url('postgres'), async (client) => {
    const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [LEDGER])
    if (rowCount === 0) await client.query(`CREATE ROLE ${LEDGER} LOGIN`)
    const { rows } = await client.query(`SELECT datname FROM pg_database WHERE datname LIKE '${LEDGER}%'`)
    for (const { datname } of rows) await client.query(`DROP DATABASE ${datname}`)
  })
}

async function makeLedger(server, database) {
  await connected(server.url('postgres'), (client) => client.query(`CREATE DATABASE ${database} OWNER ${LEDGER}`))
  return server.url(database, LEDGER)
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
