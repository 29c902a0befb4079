import type { AuthorizedPlan } from '../query/plan.js'
import type { Predicate, Scalar } from '../query/predicate.js'

/** What a connector can push down; what it does not claim comes back as residual. */
export type Capability = 'filter' | 'filterText' | 'filterJson' | 'filterRelation' | 'order' | 'limit' | 'nested' | 'aggregate' | 'masks' | 'cancel'

/** The values that a compiled query takes: those of the request (lists for list operands), and the principal's claims. */
export interface Values {
  /** By slot; null where an optional value is not there. */
  readonly slots: readonly (Scalar | readonly Scalar[] | null)[]
  /** Own claims of the token: scalars or lists of scalars. A missing claim matches nothing. */
  readonly claims: ReadonlyMap<string, Scalar | readonly Scalar[]>
}

/**
 * One row of an answer.
 *
 * For a list: `texts` has one JSON text for each `nodes` and each `edges.node` selection of the plan's fields, in their order; `keys` has the sort values as text
 * (null where null), then the values of the view's key. For an aggregate: `texts` is empty, and `keys` has the group's keys in the order of `groupBy` as JSON text
 * (`organization` left out), then count, then for each measure its parts (see `MeasureParts`).
 * Nested cursors stand in the text between U+0001 and U+0002 as `[path, ...values]` in JSON, for the gateway to seal (no raw control character can be in JSON).
 */
export interface Row {
  readonly texts: readonly string[]
  readonly keys: readonly (string | null)[]
}

export interface Chunk {
  readonly rows: readonly Row[]
  /** The number of rows of the readable view that fit, in the first chunk, where the plan asks for `totalCount`. */
  readonly totalCount: number | null
}

export interface ExecuteOptions {
  readonly signal: AbortSignal
  readonly deadlineMs: number
}

/** A query for one store, ready to run. */
export interface Statement<Native> {
  readonly native: Native
  readonly values: Values
}

export interface Connector<Native = unknown> {
  readonly store: string
  readonly capabilities: ReadonlySet<Capability>
  /**
   * Pure. Pushes down policy whole (or throws: the policy does not load) and of the user's predicate what the capabilities claim; the rest returns as `residual`.
   * A residual other than `all` forbids pushing the limit down.
   */
  compile(plan: AuthorizedPlan): { readonly native: Native; readonly residual: Predicate }
  /**
   * All statements of one request for this store, in one flush and one snapshot; for each its rows in plan order, in chunks.
   * @throws GatewayError SOURCE_UNAVAILABLE | SOURCE_TIMEOUT | SOURCE_BUSY, the driver's error as `cause`.
   */
  execute(statements: readonly Statement<Native>[], caller: string, options: ExecuteOptions): Promise<readonly Chunk[]>
  /** The compiled text with places for parameters, for `explain`. */
  describe(native: Native): string
  close(): Promise<void>
}
