/** PostgreSQL: everything is pushed down, in one statement a plan and one flush a request. */
import { createHash } from 'node:crypto'
import type pg from 'pg'
import type { Signal } from '../../abort.js'
import { GatewayError, invariant } from '../../errors.js'
import { emptyGroups, groupTexts, releasedGroups } from '../../query/aggregate.js'
import type { AuthorizedPlan, RowField, RowSelection } from '../../query/plan.js'
import { ALL, type Operand } from '../../query/predicate.js'
import type { Answer, Capability, Chunk, Connector, ExecuteOptions, Statement, Values } from '../connector.js'
import { encodeParameters, valueOf } from '../sql/parameter.js'
import { hasIndex } from '../sql/search.js'
import type { EmptyAnswer, SqlStatement } from '../sql/statement.js'
import { compileStatement } from '../sql/statement.js'
import { execution, type Flush } from './execution.js'
import type { FlushStatement } from './flush.js'
import { Pace } from './pace.js'
import { type Quick, SharedFlushes } from './shared-flushes.js'
import { type PoolLimits, WirePool } from './wire-pool.js'
import type { Wire } from './wire.js'

export type PostgresNative = EmptyAnswer | AskedNative
export type AskedNative = SqlStatement & {
  readonly name: string
  readonly pace: Pace
  /** Of a search by an index: how many rows it wants, and the statement that looks at every row, for where the index gives fewer. */
  readonly exact: { readonly limit: Operand; readonly native: AskedNative } | null
}

export interface PostgresOptions {
  readonly store: string
  /** How the server is reached; cancel requests go the same way. */
  readonly connection: pg.ClientConfig
  readonly pool: PoolLimits
  /** Statements are prepared under a name; false behind a pooler that cannot keep them. */
  readonly named: boolean
  /** Prepared statements a connection keeps. */
  readonly preparedMax: number
}

/** Who asks, and for how long: cancelling is the gateway's business, so the server's own limit is for a gateway that has died or cannot be reached. */
const CALLER: Omit<FlushStatement, 'values'> = {
  name: 'concordat_caller',
  text: "SELECT set_config('concordat.caller', $1, true), set_config('statement_timeout', $2, true)",
}
const BEGIN: FlushStatement = { name: 'concordat_begin', text: 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY', values: [] }
const COMMIT: FlushStatement = { name: 'concordat_commit', text: 'COMMIT', values: [] }
/**
 * In front of a search by an index of pgvector (0.8 and up): it goes on until enough rows have passed the filter, and looks at more neighbours than by default, where it misses
 * many (of 100,000 vectors of 384 dimensions an eighth without a filter).
 */
const BY_INDEX: FlushStatement = {
  name: 'concordat_by_index',
  text: "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', '400', true), set_config('ivfflat.iterative_scan', 'relaxed_order', true), set_config('ivfflat.probes', '20', true)",
  values: [],
}
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
    'series',
    'traverse',
    'search',
    'masks',
    'orderRelation',
    'countRelation',
    'steps',
    'cancel',
  ])
  private readonly pool: WirePool
  private readonly shared: SharedFlushes

  constructor(private readonly options: PostgresOptions) {
    const { store, connection, pool, preparedMax } = options
    this.store = store
    this.pool = new WirePool(store, pool, { connection, connectMs: pool.connectMs, preparedMax })
    this.shared = new SharedFlushes({
      pool: this.pool,
      flushOf: (quick) => this.statementsOf(quick),
      failure: (error, signal) => this.failure(error, signal),
    })
  }

  compile(plan: AuthorizedPlan): { readonly native: PostgresNative; readonly residual: typeof ALL } {
    const statement = compileStatement(plan)
    if (statement.kind === 'empty') return { native: statement, residual: ALL }
    const native = askedNative(statement, isLookup(plan) ? Pace.ofLookup() : Pace.unknown())
    const near = hasIndex(plan) ? compileStatement(plan, true) : null
    if (near?.kind !== 'statement' || plan.plan.kind !== 'list') return { native, residual: ALL }
    return { native: { ...askedNative(near, Pace.unknown()), exact: { limit: plan.plan.list.limit, native } }, residual: ALL }
  }

  isApproximate(native: PostgresNative): boolean {
    return native.kind !== 'empty' && native.exact !== null
  }

  describe(native: PostgresNative): string {
    return native.kind === 'empty' ? '-- an empty table by declaration: nothing is asked' : native.text
  }

  async execute(statements: readonly Statement<PostgresNative>[], caller: string, options: ExecuteOptions): Promise<readonly Answer[]> {
    const asked = statements.filter((statement): statement is Statement<AskedNative> => statement.native.kind !== 'empty')
    if (asked.length === statements.length && asked.length > 0) return this.run(asked, caller, options)
    const answers = asked.length === 0 ? [] : await this.run(asked, caller, options)
    let next = 0
    return statements.map(({ native, values }) => {
      const answer = native.kind === 'empty' ? { first: emptyChunk(native, values), rest: null } : answers[next++]
      invariant(answer, 'each statement has an answer')
      return answer
    })
  }

  async close(): Promise<void> {
    await this.pool.close()
  }

  private async run(asked: readonly Statement<AskedNative>[], caller: string, options: ExecuteOptions): Promise<readonly Answer[]> {
    if (options.signal.aborted) throw this.failure(null, options.signal)
    const [only] = asked
    if (asked.some(({ native }) => native.exact)) return this.runSearches(asked, caller, options)
    if (asked.length > 1 || !only?.native.pace.isQuick) return this.runOn(null, asked, caller, options)
    const { native, values } = only
    return this.shared.execute({ native, values, caller, options, alone: (wire) => this.runOn(wire, asked, caller, options) })
  }

  /** A search that its index gives too few rows for is made again, over every row: all that may be seen are found. */
  private async runSearches(asked: readonly Statement<AskedNative>[], caller: string, options: ExecuteOptions): Promise<readonly Answer[]> {
    const answers = await this.runOn(null, asked, caller, options)
    const again = asked.flatMap(({ native: { exact }, values }, index) => {
      const answer = answers[index]
      const isShort = exact && answer?.rest === null && answer.first.count < Number(valueOf(exact.limit, values))
      return isShort ? [{ index, statement: { native: exact.native, values } }] : []
    })
    if (again.length === 0) return answers
    const whole = await this.runOn(
      null,
      again.map(({ statement }) => statement),
      caller,
      options,
    )
    return answers.map((answer, index) => whole[again.findIndex((one) => one.index === index)] ?? answer)
  }

  /** @param given null: one of the pool's. */
  private async runOn(given: Wire | null, asked: readonly Statement<AskedNative>[], caller: string, options: ExecuteOptions): Promise<readonly Answer[]> {
    const flush = this.flushOf(asked, caller, options)
    const wire = given ?? this.pool.take() ?? (await this.acquire(options.signal))
    const [only, ...others] = asked
    const pace = only && others.length === 0 ? only.native.pace : null
    return execution(flush, { wire, pool: this.pool, options, pace, failure: (error) => this.failure(error, options.signal) })
  }

  private async acquire(signal: Signal): Promise<Wire> {
    try {
      return await this.pool.acquire(signal)
    } catch (error) {
      throw this.failure(error, signal)
    }
  }

  private flushOf(asked: readonly Statement<AskedNative>[], caller: string, { deadlineMs }: ExecuteOptions): Flush {
    const own = asked.map(statementOf)
    const settings = asked.some(({ native }) => native.exact) ? [claimsOf(caller, deadlineMs), BY_INDEX] : [claimsOf(caller, deadlineMs)]
    const all = own.length > 1 ? [BEGIN, ...settings, ...own, COMMIT] : [...settings, ...own]
    return { statements: this.namesOf(all), head: settings.length + (own.length > 1 ? 1 : 0), shapes: asked.map(({ native }) => native) }
  }

  private statementsOf(asked: readonly Quick[]): readonly FlushStatement[] {
    const longest = Math.max(...asked.map(({ options }) => options.deadlineMs))
    return this.namesOf([...asked.slice(0, 1).map(({ caller }) => claimsOf(caller, longest)), ...asked.map(statementOf)])
  }

  private namesOf(statements: readonly FlushStatement[]): readonly FlushStatement[] {
    return this.options.named ? statements : statements.map((statement) => ({ ...statement, name: '' }))
  }

  /** The driver's error in our words; its text stays in `cause`, for the log. */
  private failure(error: unknown, signal: Signal): GatewayError {
    if (signal.aborted) {
      const reason: unknown = signal.reason
      return reason instanceof GatewayError ? reason : new GatewayError('SOURCE_TIMEOUT', `store \`${this.store}\` was cancelled`, { cause: error })
    }
    return error instanceof GatewayError ? error : new GatewayError('SOURCE_UNAVAILABLE', `store \`${this.store}\` failed`, { cause: error })
  }
}

function askedNative(statement: SqlStatement, pace: Pace): AskedNative {
  return { ...statement, name: nameOf(statement), pace, exact: null }
}

/**
 * Statements with a series have none, and so are planned for their values each time: a plan for all values takes every range for a two hundredth of the rows, and does not
 * know whether buckets are of one length.
 */
function nameOf({ text, parameters }: SqlStatement): string {
  if (parameters.some(({ encoding }) => encoding.kind === 'stride')) return ''
  return `q_${createHash('sha256').update(text).digest('base64url').slice(0, 22)}`
}

/** The claim rides in front of the query, in the same flush and so in the same transaction: 19 + 33 us against 69 + 83 with a round trip each. */
function claimsOf(caller: string, deadlineMs: number): FlushStatement {
  return { ...CALLER, values: [caller, String(deadlineMs + OVERTIME_MS)] }
}

function statementOf({ native, values }: Statement<AskedNative>): FlushStatement {
  return { name: native.name, text: native.text, values: encodeParameters(native.parameters, values) }
}

/** One row by its whole key, which the view shows as it is stored, and of it values and rows to one: the key's index finds it. */
function isLookup({ plan, views, catalog }: AuthorizedPlan): boolean {
  if (plan.kind !== 'list') return false
  const { type, where, limit, fields } = plan.list
  if (limit.kind !== 'constant' || limit.value !== 1 || !fields.every((field) => field.kind === 'nodes' && isFlat(field.row))) return false
  const compared = new Set((where.kind === 'and' ? where.terms : [where]).map((term) => (term.kind === 'compare' && term.op === '=' ? term.field : '')))
  const shown = views.get(type)?.fields
  return (catalog.entities.get(type)?.key ?? ['']).every((field) => compared.has(field) && shown?.get(field)?.kind === 'plain')
}

function isFlat({ fields }: RowSelection): boolean {
  return fields.every((field) => (field.kind === 'toOne' ? isFlat(field.row) : !MADE_OF_MANY.has(field.kind)))
}

const MADE_OF_MANY: ReadonlySet<RowField['kind']> = new Set(['list', 'aggregate', 'series', 'traversal'])

function emptyChunk({ hasTotal, aggregate }: EmptyAnswer, values: Values): Chunk {
  if (!aggregate) return { count: 0, texts: [], keys: [], totalCount: hasTotal ? 0 : null }
  const { plan, entity } = aggregate
  const groups = releasedGroups(plan, entity, emptyGroups(plan), (operand) => valueOf(operand, values)).map((group) => groupTexts(plan, group))
  const columns = groups[0] ?? []
  return { count: groups.length, texts: [], keys: columns.map((_, column) => groups.map((group) => group[column] ?? null)), totalCount: null }
}
