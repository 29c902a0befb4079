import type { Signal } from '../abort.js'
import type { AuthorizedPlan } from '../query/plan.js'
import type { Predicate, Scalar } from '../query/predicate.js'
import type { Texts } from './texts.js'

/** What a connector can push down; what it does not claim comes back as residual. */
export type Capability =
  | 'filter'
  | 'filterText'
  | 'filterJson'
  | 'filterRelation'
  | 'order'
  | 'limit'
  | 'nested'
  | 'aggregate'
  | 'series'
  | 'traverse'
  | 'search'
  | 'masks'
  | 'cancel'
  | 'orderRelation'
  | 'countRelation'
  | 'steps'

/** The values that a compiled query takes: those of the request (lists for list operands), and the principal's claims. */
export interface Values {
  /** By slot; null where an optional value is not there. */
  readonly slots: readonly (Scalar | readonly Scalar[] | null)[]
  /** Own claims of the token: scalars or lists of scalars. A missing claim matches nothing. */
  readonly claims: ReadonlyMap<string, Scalar | readonly Scalar[]>
  /** What earlier steps of a plan over several stores gave. */
  readonly steps?: readonly (readonly Scalar[])[]
}

/**
 * Rows of an answer, by column.
 *
 * For a list: `texts` has a column of JSON texts for each `nodes` and each `edges.node` selection of the plan's fields, in their order; `keys` has the sort values as text
 * (null where null), then the values of the view's key, where the plan has `withKeys`, and no column where it has not. For an aggregate: `texts` is empty, and `keys`
 * has the group's keys in the order of `groupBy` as JSON text (`organization` left out), then count, then for each measure its parts (see `MeasureParts`).
 * For a series: likewise, with the start of the bucket as a sort key before its count, and the parts of `SeriesParts`, ordered by keys and start.
 * For keys: likewise, with the parts of a key. For what is attached to keys: one column of texts; of rows to one `keys` has the key of each.
 * Nested cursors stand in a text between U+0001 and U+0002 as `[path, ...values]` in JSON, for the gateway to seal (no raw control character can be in JSON); the rows
 * of a nested series between U+0003 and U+0004 as `[path, ...rows]`, each a list of what stands in `keys`.
 */
export interface Chunk {
  /** Rows. */
  readonly count: number
  readonly texts: readonly Texts[]
  readonly keys: readonly (readonly (string | null)[])[]
  /** The number of rows of the readable view that fit, in the first chunk of an answer, where the plan asks for `totalCount`; else null. */
  readonly totalCount: number | null
}

/** What one statement gives. */
export interface Answer {
  /** What had come when the answer was handed over; without rows where a statement before this one is still giving. */
  readonly first: Chunk
  /**
   * Null: `first` is all. Else what is still to come, in order; statements of one request come one after the other, so whoever reads a later one first waits. The store
   * is read no faster than this is. @throws as `execute`. Who leaves early ends the statements of this request at the store.
   */
  readonly rest: AsyncIterable<Chunk> | null
}

export interface ExecuteOptions {
  /** Ends the work at the store; for as long as there is something to read. */
  readonly signal: Signal
  /** How long the store may work for one statement, sending included, if nobody is there to cancel it. */
  readonly deadlineMs: number
  /** Bytes of rows that are read before the answers are handed over though they are not whole, and that are read ahead of who reads them. */
  readonly bufferBytes: number
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
   * All statements of one request for this store, in one flush and one snapshot; for each its rows in plan order, whole where they are few.
   * @throws GatewayError SOURCE_UNAVAILABLE | SOURCE_TIMEOUT | SOURCE_BUSY, the driver's error as `cause`.
   */
  execute(statements: readonly Statement<Native>[], caller: string, options: ExecuteOptions): Promise<readonly Answer[]>
  /** Whether the query takes what an index finds near, which may not be the nearest. Absent: no query does. */
  isApproximate?(native: Native): boolean
  /** The stores that the query is for. Absent: this one. */
  storesOf?(native: Native): readonly string[]
  /** The compiled text with places for parameters, for `explain`. */
  describe(native: Native): string
  close(): Promise<void>
}

/** The stores of one owner as one. */
export interface StoresTogether<Native = unknown> extends Connector<Native> {
  /** The store's own connector, where one store answers the plan whole. @throws GatewayError as `compile` */
  alone(plan: AuthorizedPlan): Connector | null
}
