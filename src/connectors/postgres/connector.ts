/** PostgreSQL: everything is pushed down, in one statement a plan and one flush a request. */
import { createHash } from 'node:crypto'
import type pg from 'pg'
import { GatewayError } from '../../errors.js'
import { emptyGroups, groupTexts, releasedGroups } from '../../query/aggregate.js'
import type { AuthorizedPlan } from '../../query/plan.js'
import { ALL } from '../../query/predicate.js'
import type { Capability, Chunk, Connector, ExecuteOptions, Statement, Values } from '../connector.js'
import { encodeParameters, valueOf } from '../sql/parameter.js'
import type { EmptyAnswer, SqlStatement } from '../sql/statement.js'
import { compileStatement } from '../sql/statement.js'
import { cancelBackend, disconnect } from './cancel.js'
import type { FlushStatement, TextRow } from './flush.js'
import { flush, PreparedNames } from './flush.js'

export type PostgresNative = EmptyAnswer | (SqlStatement & { readonly name: string })

export interface PostgresOptions {
  readonly store: string
  readonly pool: pg.Pool
  /** How the pool reaches the server; cancel requests go the same way. */
  readonly connection: pg.ClientConfig
  /** Requests that may wait for a connection; one more is refused as SOURCE_BUSY. */
  readonly waitingMax: number
  /** Statements are prepared under a name; false behind a pooler that cannot keep them. */
  readonly named: boolean
  /** Prepared statements a connection keeps. */
  readonly preparedMax: number
}

/** How long a cancelled statement may take to end. */
const CANCELLED_WAIT_MS = 1_000
/** Between cancel requests for one statement. */
const CANCEL_AGAIN_MS = 40

/** A request that arrives before the statement has begun is lost on the server, so it is repeated; the connection is closed in any case. */
async function cancelUntil(client: pg.ClientBase, isOver: () => boolean): Promise<void> {
  const until = performance.now() + CANCELLED_WAIT_MS
  while (!isOver() && performance.now() < until) {
    await cancelBackend(client).catch(() => undefined)
    if (!isOver()) await new Promise((resolve) => setTimeout(resolve, CANCEL_AGAIN_MS))
  }
}

/** Who asks, and for how long: cancelling is the gateway's business, so the server's own limit is for a gateway that has died or cannot be reached. */
const CALLER: Omit<FlushStatement, 'values'> = {
  name: 'concordat_caller',
  text: "SELECT set_config('concordat.caller', $1, true), set_config('statement_timeout', $2, true)",
}
const BEGIN: FlushStatement = { name: 'concordat_begin', text: 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY', values: [] }
const COMMIT: FlushStatement = { name: 'concordat_commit', text: 'COMMIT', values: [] }
/** The gateway gives up first, so that the caller reads the reason. */
const OVERTIME_MS = 1_000

export class PostgresConnector implements Connector<PostgresNative> {
  readonly store: string
  readonly capabilities: ReadonlySet<Capability> = new Set([
    'filter',
    'filterText',
    'filterJson',
    'filterRelation',
    'order',
    'limit',
    'nested',
    'aggregate',
    'masks',
    'cancel',
  ])
  private readonly prepared = new WeakMap<pg.ClientBase, PreparedNames>()

  constructor(private readonly options: PostgresOptions) {
    this.store = options.store
    // A connection that is lost says so to whoever uses it; without a listener of its own the event would end the process.
    options.pool.on('connect', (client) => client.on('error', () => undefined))
    options.pool.on('error', () => undefined)
  }

  compile(plan: AuthorizedPlan): { readonly native: PostgresNative; readonly residual: typeof ALL } {
    const statement = compileStatement(plan)
    if (statement.kind === 'empty') return { native: statement, residual: ALL }
    const name = `q_${createHash('sha256').update(statement.text).digest('base64url').slice(0, 22)}`
    return { native: { ...statement, name }, residual: ALL }
  }

  describe(native: PostgresNative): string {
    return native.kind === 'empty' ? '-- an empty table by declaration: nothing is asked' : native.text
  }

  async execute(statements: readonly Statement<PostgresNative>[], caller: string, options: ExecuteOptions): Promise<readonly Chunk[]> {
    const asked = statements.flatMap(({ native, values }) =>
      native.kind === 'empty' ? [] : [{ name: native.name, text: native.text, values: encodeParameters(native.parameters, values) }],
    )
    const answers = asked.length === 0 ? [] : await this.run(asked, caller, options)
    let next = 0
    return statements.map(({ native, values }) => (native.kind === 'empty' ? emptyChunk(native, values) : chunkOf(native, answers[next++] ?? [])))
  }

  async close(): Promise<void> {
    await this.options.pool.end()
  }

  private async run(asked: readonly FlushStatement[], caller: string, options: ExecuteOptions): Promise<readonly TextRow[][]> {
    const client = await this.acquire(options.signal)
    // The claim rides in front of the query, in the same flush and so in the same transaction: 19 + 33 us against 69 + 83 with a round trip each.
    const claims: FlushStatement = { ...CALLER, values: [caller, String(options.deadlineMs + OVERTIME_MS)] }
    const head: readonly FlushStatement[] = asked.length > 1 ? [BEGIN, claims] : [claims]
    const named = asked.length > 1 ? [...head, ...asked, COMMIT] : [...head, ...asked]
    const all = this.options.named ? named : named.map((statement) => ({ ...statement, name: '' }))
    let prepared = this.prepared.get(client)
    if (!prepared) this.prepared.set(client, (prepared = new PreparedNames(this.options.preparedMax)))
    if (options.signal.aborted) {
      client.release()
      throw this.failure(options.signal.reason, options.signal)
    }
    let isCancelled = false
    let isBroken = false
    let isOver = false
    let hangUp: NodeJS.Timeout | null = null
    const cancel = (): void => {
      isCancelled = true
      // A server that cannot be reached any more answers to no cancel request either: nobody waits for it beyond this.
      hangUp ??= setTimeout(() => disconnect(client), CANCELLED_WAIT_MS)
      void cancelUntil(client, () => isOver)
    }
    options.signal.addEventListener('abort', cancel, { once: true })
    try {
      const rows = await flush(client, prepared, all)
      return rows.slice(head.length, head.length + asked.length)
    } catch (error) {
      isBroken = true
      throw this.failure(error, options.signal)
    } finally {
      isOver = true
      options.signal.removeEventListener('abort', cancel)
      if (hangUp) clearTimeout(hangUp)
      // A cancel request hits a connection, not a query: one that may still be on its way must not find the next caller's query there, so a connection that was
      // asked to cancel is closed. So is one whose flush failed, since it may be in a failed transaction.
      client.release(isBroken || isCancelled)
    }
  }

  private async acquire(signal: AbortSignal): Promise<pg.PoolClient> {
    const { pool, waitingMax } = this.options
    if (pool.waitingCount >= waitingMax) throw new GatewayError('SOURCE_BUSY', `store \`${this.store}\` has too many requests waiting`)
    const connecting = pool.connect()
    try {
      return await Promise.race([connecting, aborted(signal)])
    } catch (error) {
      connecting.then(
        (client) => client.release(),
        () => undefined,
      )
      throw this.failure(error, signal)
    }
  }

  /** The driver's error in our words; its text stays in `cause`, for the log. */
  private failure(error: unknown, signal: AbortSignal): GatewayError {
    if (signal.aborted) {
      const reason: unknown = signal.reason
      return reason instanceof GatewayError ? reason : new GatewayError('SOURCE_TIMEOUT', `store \`${this.store}\` was cancelled`, { cause: error })
    }
    return new GatewayError('SOURCE_UNAVAILABLE', `store \`${this.store}\` failed`, { cause: error })
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const fail = (): void => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
    if (signal.aborted) fail()
    else signal.addEventListener('abort', fail, { once: true })
  })
}

function chunkOf(native: SqlStatement, rows: readonly TextRow[]): Chunk {
  if (!native.hasTotal) return { totalCount: null, rows: rows.map((row) => ({ texts: textsOf(row, 0, native.texts), keys: row.slice(native.texts) })) }
  const total = Number(rows[0]?.[0] ?? 0)
  const present = rows.filter((row) => row[1] !== null)
  return { totalCount: total, rows: present.map((row) => ({ texts: textsOf(row, 2, native.texts), keys: row.slice(2 + native.texts) })) }
}

function textsOf(row: TextRow, from: number, count: number): string[] {
  return row.slice(from, from + count).map((text) => text ?? 'null')
}

function emptyChunk({ hasTotal, aggregate }: EmptyAnswer, values: Values): Chunk {
  if (!aggregate) return { totalCount: hasTotal ? 0 : null, rows: [] }
  const { plan, entity } = aggregate
  const groups = releasedGroups(plan, entity, emptyGroups(plan), (operand) => valueOf(operand, values))
  return { totalCount: null, rows: groups.map((group) => ({ texts: [], keys: groupTexts(plan, group) })) }
}
