/** The database of one organization of the demo: its own tables, filled with the platform's rows, and what the gateway may do there. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { ClientBase } from 'pg'
import { escapeIdentifier, escapeLiteral } from 'pg'
import type { AgentRow, DemoOrganization, ExecutionRow, MetricRow, PlatformData, SettingRow, UserRow, WorkflowRow } from './platform-data.js'
import { PLATFORM_DATA_VERSION, platformData, timeText } from './platform-data.js'

/** Login role of the gateway in every organization's database. It owns nothing, and can only read. */
export const GATEWAY_ROLE = 'concordat_gateway'

/** Rows in one INSERT. */
const BATCH_ROWS = 5_000

/**
 * Makes the organization's tables and fills them, in one transaction: a killed process leaves nothing or all. Tables that hold other rows of the demo (of another
 * scale or version) are replaced; `scale` null accepts every scale. The tables belong to the client's role.
 *
 * @returns whether anything was written.
 */
export async function seedOrganization(client: ClientBase, organization: DemoOrganization, scale: number | null): Promise<boolean> {
  const wanted = { version: PLATFORM_DATA_VERSION, scale: scale ?? DEFAULT_SCALE }
  const layout = LAYOUTS[organization]
  const tables = layout.tables.map(({ table }) => table)
  await client.query('BEGIN')
  try {
    const found = await readMark(client)
    if (found?.version === wanted.version && (scale === null || found.scale === scale)) {
      await client.query('COMMIT')
      return false
    }
    // Without our mark the database is somebody's, and a table of the same name makes the next statement fail.
    if (found !== null) await removeTables(client, layout)
    await client.query(await storeSql(organization, 'tables'))
    const data = platformData(organization, wanted.scale)
    for (const filling of layout.tables) await fill(client, filling, data)
    await client.query(await storeSql(organization, 'indexes'))
    await writeMark(client, wanted)
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  }
  // Outside of the transaction; the planner's figures, and which pages are visible to all.
  await client.query(`VACUUM (ANALYZE) ${tables.join(', ')}`)
  return true
}

async function removeTables(client: ClientBase, { tables, schemas }: Layout): Promise<void> {
  await client.query(`DROP TABLE IF EXISTS ${tables.map(({ table }) => table).join(', ')} CASCADE`)
  for (const schema of schemas) await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`)
}

/** 40 agents, 1,200 executions: a first start takes seconds. */
export const DEFAULT_SCALE = 0.004

/** Makes the gateway's role, and makes one that was widened by hand narrow again. The client must be allowed to make roles. */
export async function makeGatewayRole(client: ClientBase): Promise<void> {
  const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [GATEWAY_ROLE])
  if (rowCount === 0) await client.query(`CREATE ROLE ${GATEWAY_ROLE} LOGIN`)
  await client.query(`ALTER ROLE ${GATEWAY_ROLE} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT`)
  await client.query(`ALTER ROLE ${GATEWAY_ROLE} SET default_transaction_read_only = on`)
}

/**
 * Lets the gateway (`makeGatewayRole`) read the organization's tables, and applies `rlsSql`, the row-level security that `concordat rls render` wrote for this
 * organization. The policies that were there before are dropped with it, in one transaction; the text may not end that transaction. Null keeps what is in force.
 * An empty text turns row-level security off: on without a policy it would hide all.
 *
 * @returns whether the row-level security in force was changed.
 */
export async function setupOrganization(
  client: ClientBase,
  options: { readonly organization: DemoOrganization; readonly rlsSql: string | null },
): Promise<boolean> {
  const { schemas, tables } = LAYOUTS[options.organization]
  const names = tables.map(({ table }) => table)
  await client.query('BEGIN')
  try {
    await client.query(`GRANT USAGE ON SCHEMA ${['public', ...schemas].join(', ')} TO ${GATEWAY_ROLE}`)
    await client.query(`GRANT SELECT ON ${names.join(', ')} TO ${GATEWAY_ROLE}`)
    const changed = options.rlsSql !== null && (await protect(client, names, options.rlsSql))
    await client.query('COMMIT')
    return changed
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  }
}

async function protect(client: ClientBase, tables: readonly string[], rlsSql: string): Promise<boolean> {
  const found = await readMark(client)
  if (found === null) throw new Error('invariant: the tables come before their protection')
  const digest = createHash('sha256').update(rlsSql).digest('hex')
  if (found.rls === digest) return false
  await dropPolicies(client, tables)
  await client.query(rlsSql)
  await writeMark(client, { ...found, rls: digest })
  return true
}

async function dropPolicies(client: ClientBase, tables: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ table: string; policy: string }>(
    'SELECT polrelid::regclass::text AS table, polname AS policy FROM pg_policy WHERE polrelid = ANY ($1::regclass[])',
    [tables],
  )
  for (const { table, policy } of rows) await client.query(`DROP POLICY ${escapeIdentifier(policy)} ON ${table}`)
  for (const table of tables) await client.query(`ALTER TABLE ${table} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY`)
}

/** What the database holds; kept as the database's comment, so that no table of ours stands among the organization's. */
interface Mark {
  readonly version: number
  readonly scale: number
  /** SHA-256 of the row-level security in force, in hexadecimal. */
  readonly rls?: string
}

const MARK = 'Concordat demo: '

async function readMark(client: ClientBase): Promise<Mark | null> {
  const { rows } = await client.query<{ comment: string | null }>(
    `SELECT shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE datname = current_database()`,
  )
  const comment = rows[0]?.comment
  // Nobody else writes comments that begin like ours.
  return comment?.startsWith(MARK) ? (JSON.parse(comment.slice(MARK.length)) as Mark) : null
}

async function writeMark(client: ClientBase, mark: Mark): Promise<void> {
  const { rows } = await client.query<{ name: string }>('SELECT current_database() AS name')
  await client.query(`COMMENT ON DATABASE ${escapeIdentifier(rows[0]?.name ?? '')} IS ${escapeLiteral(MARK + JSON.stringify(mark))}`)
}

async function storeSql(organization: DemoOrganization, part: 'tables' | 'indexes'): Promise<string> {
  return readFile(new URL(`../../../schema/demo/stores/${organization}.${part}.sql`, import.meta.url), 'utf8')
}

async function fill(client: ClientBase, { table, records }: TableFilling, data: PlatformData): Promise<void> {
  let batch: object[] = []
  const flush = async (): Promise<void> => {
    await client.query(`INSERT INTO ${table} SELECT * FROM json_populate_recordset(NULL::${table}, $1)`, [JSON.stringify(batch)])
    batch = []
  }
  for (const record of records(data)) {
    batch.push(record)
    if (batch.length === BATCH_ROWS) await flush()
  }
  await flush()
  await advanceIdentity(client, table)
}

/** The next row that somebody inserts gets the number after the last one. */
async function advanceIdentity(client: ClientBase, table: string): Promise<void> {
  const { rows } = await client.query<{ column: string }>(`SELECT attname AS column FROM pg_attribute WHERE attrelid = $1::regclass AND attidentity <> ''`, [
    table,
  ])
  for (const { column } of rows) {
    const name = escapeIdentifier(column)
    await client.query(`SELECT setval(pg_get_serial_sequence($1, $2), (SELECT max(${name}) FROM ${table}))`, [table, column])
  }
}

interface TableFilling {
  /** Qualified by its schema; a constant of this file. */
  readonly table: string
  /** Rows by column name; a column that is not there is null. */
  records(data: PlatformData): Iterable<object>
}

interface Layout {
  /** Besides `public`. */
  readonly schemas: readonly string[]
  /** Each after those that it refers to. */
  readonly tables: readonly TableFilling[]
}

function filling<Row>(table: string, rows: (data: PlatformData) => Iterable<Row>, record: (row: Row) => object): TableFilling {
  return {
    table,
    *records(data) {
      for (const row of rows(data)) yield record(row)
    },
  }
}

const time = (microseconds: number | null): string | null => (microseconds === null ? null : timeText(microseconds))
const cents = (amount: number | null): string | null => (amount === null ? null : `${Math.floor(amount / 100)}.${String(amount % 100).padStart(2, '0')}`)

type KeyOf = (table: 'user' | 'agent' | 'workflow' | 'execution' | 'metric' | 'setting', number: number | null) => number | string | null

/** Keys that look like a sequence that began before the rows that are left. */
const auroraKey: KeyOf = (table, number) => (number === null ? null : number + (table === 'agent' ? 71 : 1))

const borealisKey: KeyOf = (table, number) => {
  if (number === null) return null
  return table === 'execution' ? uuidOf(`borealis/${table}/${number}`) : number + (table === 'agent' ? 41 : 1_000)
}

const cascadeKey: KeyOf = (table, number) => (number === null ? null : uuidOf(`cascade/${table}/${number}`))

/** A UUID of version 8 (RFC 9562: made by a rule of one's own) from a digest of the name. */
function uuidOf(name: string): string {
  const digits = createHash('md5').update(name).digest('hex')
  return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-8${digits.slice(13, 16)}-a${digits.slice(17, 20)}-${digits.slice(20)}`
}

/** Tables whose names fit the contract. */
function fittingTables(keyOf: KeyOf): readonly TableFilling[] {
  return [
    filling<UserRow>(
      'public.users',
      (data) => data.users(),
      ({ number, name, email, team, createdAt }) => ({ key: keyOf('user', number), name, email, team, created_at: time(createdAt) }),
    ),
    filling<AgentRow>(
      'public.agents',
      (data) => data.agents(),
      (row) => ({
        key: keyOf('agent', row.number),
        name: row.name,
        status: row.status,
        description: row.description,
        tags: row.tags,
        configuration: row.configuration,
        monthly_budget: cents(row.monthlyBudgetCents),
        max_concurrency: row.maxConcurrency,
        created_at: time(row.createdAt),
        updated_at: time(row.updatedAt),
        owner_key: keyOf('user', row.owner),
        embedding: row.embedding,
      }),
    ),
    filling<WorkflowRow>(
      'public.workflows',
      (data) => data.workflows(),
      ({ number, name, version, definition, owner }) => ({ key: keyOf('workflow', number), name, version, definition, owner_key: keyOf('user', owner) }),
    ),
    filling<SettingRow>(
      'public.platform_settings',
      (data) => data.settings(),
      ({ number, name, value, description, updatedAt }) => ({ key: keyOf('setting', number), name, value, description, updated_at: time(updatedAt) }),
    ),
  ]
}

const AURORA_RUNS: readonly TableFilling[] = [
  filling<ExecutionRow>(
    'public.workflow_executions',
    (data) => data.executions(),
    (row) => ({
      key: auroraKey('execution', row.number),
      status: row.status,
      started_at: time(row.startedAt),
      ended_at: time(row.endedAt),
      error: row.error,
      workflow_key: auroraKey('workflow', row.workflow),
      agent_key: auroraKey('agent', row.agent),
    }),
  ),
  filling<MetricRow>(
    'public.agent_execution_metrics',
    (data) => data.metrics(),
    (row) => ({
      key: auroraKey('metric', row.number),
      status: row.status,
      started_at: time(row.startedAt),
      ended_at: time(row.endedAt),
      error: row.error,
      metadata: row.metadata,
      cpu_usage: row.cpuUsage,
      memory_usage: row.memoryUsage,
      input_size: row.inputSize,
      output_size: row.outputSize,
      created_at: time(row.createdAt),
      updated_at: time(row.updatedAt),
      agent_key: auroraKey('agent', row.agent),
      execution_key: auroraKey('execution', row.execution),
    }),
  ),
]

const BOT_STATES = { ACTIVE: 1, PAUSED: 2, ARCHIVED: 9 } as const
const RUN_OUTCOMES = { QUEUED: 0, RUNNING: 1, SUCCEEDED: 2, FAILED: 3, CANCELLED: 4 } as const
const SAMPLE_STATES = { QUEUED: 'waiting', RUNNING: 'running', SUCCEEDED: 'done', FAILED: 'failed', CANCELLED: 'stopped' } as const

const BOREALIS_TABLES: readonly TableFilling[] = [
  filling<UserRow>(
    'hr.people',
    (data) => data.users(),
    (row) => ({ person_id: borealisKey('user', row.number), full_name: row.name, mail: row.email, department: row.team, joined_at: time(row.createdAt) }),
  ),
  filling<AgentRow>(
    'ops.bots',
    (data) => data.agents(),
    (row) => ({
      bot_id: borealisKey('agent', row.number),
      display_name: row.name,
      state: BOT_STATES[row.status],
      labels: row.tags,
      settings: row.configuration,
      budget_cents: row.monthlyBudgetCents,
      parallel_max: row.maxConcurrency,
      created_on: time(row.createdAt),
      changed_on: time(row.updatedAt),
      person_id: borealisKey('user', row.owner),
      features: row.embedding,
    }),
  ),
  filling<WorkflowRow>(
    'ops.blueprints',
    (data) => data.workflows(),
    ({ number, name, version, definition, owner }) => ({
      blueprint_id: borealisKey('workflow', number),
      title: name,
      revision: version,
      spec: definition,
      person_id: borealisKey('user', owner),
    }),
  ),
  filling<ExecutionRow>(
    'ops.runs',
    (data) => data.executions(),
    (row) => ({
      run_id: borealisKey('execution', row.number),
      outcome: RUN_OUTCOMES[row.status],
      began: time(row.startedAt),
      finished: time(row.endedAt),
      failure: row.error,
      blueprint_id: borealisKey('workflow', row.workflow),
      bot_id: borealisKey('agent', row.agent),
    }),
  ),
  filling<MetricRow>(
    'ops.samples',
    (data) => data.metrics(),
    (row) => ({
      sample_id: borealisKey('metric', row.number),
      state: SAMPLE_STATES[row.status],
      began: time(row.startedAt),
      finished: time(row.endedAt),
      failure: row.error,
      details: row.metadata,
      cpu: row.cpuUsage,
      memory_bytes: row.memoryUsage,
      in_bytes: row.inputSize,
      out_bytes: row.outputSize,
      written_on: time(row.createdAt),
      changed_on: time(row.updatedAt),
      bot_id: borealisKey('agent', row.agent),
      run_id: borealisKey('execution', row.execution),
    }),
  ),
  filling<SettingRow>(
    'ops.parameters',
    (data) => data.settings(),
    ({ number, name, value, description, updatedAt }) => ({
      parameter_id: borealisKey('setting', number),
      label: name,
      content: value,
      note: description,
      changed_on: time(updatedAt),
    }),
  ),
]

const LAYOUTS: Readonly<Record<DemoOrganization, Layout>> = {
  aurora: { schemas: [], tables: [...fittingTables(auroraKey), ...AURORA_RUNS] },
  borealis: { schemas: ['hr', 'ops'], tables: BOREALIS_TABLES },
  cascade: { schemas: [], tables: fittingTables(cascadeKey) },
}
