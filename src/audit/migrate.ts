/** Brings the gateway's own database to the form that this version needs. */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'

/** The folder `migrations/` of the project, from the sources and from the build alike. */
export const MIGRATIONS: URL = new URL('../../migrations/', import.meta.url)

/** Any number will do, as long as it is always the same. */
const MIGRATION_LOCK = [0x636f6e63, 1] as const

/**
 * Applies what has not been applied yet, all in one transaction; processes that start together wait for each other.
 *
 * @param options `directory`: files `NNNN-name.sql`, applied by name. `gatewayRole`: the role that serves, when it is not the one that migrates; it gets to read
 *   and to add, and to change only the trees' sizes, the last checkpoints, the policy epoch, open intents and leases.
 * @returns the names of the files that were applied now.
 * @throws Error when an applied file has changed since, when the database knows a file that this version lacks, or when its encoding is not UTF-8.
 */
export async function migrate(client: pg.ClientBase, options: { readonly directory: URL; readonly gatewayRole?: string }): Promise<string[]> {
  const files = await readMigrations(options.directory)
  await client.query('BEGIN')
  try {
    await client.query('SELECT pg_advisory_xact_lock($1, $2)', [...MIGRATION_LOCK])
    await prepare(client)
    const missing = await missingFiles(client, files)
    for (const file of missing) {
      await client.query(file.sql)
      await client.query('INSERT INTO concordat.migrations (name, checksum) VALUES ($1, $2)', [file.name, file.checksum])
    }
    if (options.gatewayRole !== undefined) await grant(client, options.gatewayRole)
    await client.query('COMMIT')
    return missing.map(({ name }) => name)
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined)
    throw error
  }
}

interface MigrationFile {
  readonly name: string
  readonly sql: string
  /** SHA-256 in hexadecimal. */
  readonly checksum: string
}

async function readMigrations(directory: URL): Promise<MigrationFile[]> {
  const names = (await readdir(fileURLToPath(directory))).filter((name) => /^\d{4}-.+\.sql$/.test(name)).sort()
  return Promise.all(
    names.map(async (name) => {
      const sql = await readFile(new URL(name, directory), 'utf8')
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') }
    }),
  )
}

async function prepare(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ encoding: string }>(`SELECT current_setting('server_encoding') AS encoding`)
  if (rows[0]?.encoding !== 'UTF8') throw new Error('the gateway database must have the encoding UTF8')
  // Looked up first: whoever may not create a schema may still find that it is there.
  const { rowCount } = await client.query(`SELECT FROM pg_namespace WHERE nspname = 'concordat'`)
  if (rowCount === 0) await client.query('CREATE SCHEMA concordat')
  const table = await client.query(`SELECT FROM pg_class WHERE oid = to_regclass('concordat.migrations')`)
  if (table.rowCount === 1) return
  await client.query('CREATE TABLE concordat.migrations (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())')
}

async function missingFiles(client: pg.ClientBase, files: readonly MigrationFile[]): Promise<MigrationFile[]> {
  const { rows } = await client.query<{ name: string; checksum: string }>('SELECT name, checksum FROM concordat.migrations')
  const applied = new Map(rows.map(({ name, checksum }) => [name, checksum]))
  for (const { name, checksum } of files) {
    const known = applied.get(name)
    if (known !== undefined && known !== checksum) throw new Error(`the migration ${name} has changed since it was applied`)
  }
  for (const name of applied.keys()) {
    if (!files.some((file) => file.name === name)) throw new Error(`the gateway database has the migration ${name}, which this version does not know`)
  }
  return files.filter(({ name }) => !applied.has(name))
}

async function grant(client: pg.ClientBase, role: string): Promise<void> {
  const name = pg.escapeIdentifier(role)
  await client.query(`GRANT USAGE ON SCHEMA concordat TO ${name}`)
  await client.query(`GRANT SELECT ON ALL TABLES IN SCHEMA concordat TO ${name}`)
  await client.query(`GRANT INSERT ON concordat.ledger_entries, concordat.ledger_subtrees, concordat.refusal_counts TO ${name}`)
  await client.query(`GRANT INSERT, UPDATE ON concordat.ledger_state, concordat.ledger_checkpoints TO ${name}`)
  await client.query(`GRANT UPDATE ON concordat.policy_epoch TO ${name}`)
  await client.query(`GRANT INSERT, DELETE ON concordat.open_intents TO ${name}`)
  await client.query(`GRANT INSERT, UPDATE, DELETE ON concordat.process_leases TO ${name}`)
}
