/**
 * What a root field asks of one owner, over the contract's types. A plan holds no value of a request and nothing of who asks: values come through operands,
 * and the readable views of `AuthorizedPlan` say what each type looks like to the caller.
 */
import type { OrganizationBinding, TableBinding } from './binding.js'
import type { Catalog, VectorMetric } from './catalog.js'
import type { Operand, Predicate } from './predicate.js'

/** One key of an order: a value field, or a value field reached through to-one relations (`path` of relation names before `field`). */
export interface OrderKey {
  readonly path: readonly string[]
  readonly field: string
  readonly descending: boolean
  readonly nulls: 'first' | 'last'
}

export type RowField =
  | { readonly kind: 'value'; readonly responseKey: string; readonly field: string }
  | { readonly kind: 'typename'; readonly responseKey: string }
  /** The global id. */
  | { readonly kind: 'id'; readonly responseKey: string }
  /** The owner. */
  | { readonly kind: 'organization'; readonly responseKey: string }
  | { readonly kind: 'toOne'; readonly responseKey: string; readonly field: string; readonly row: RowSelection }
  | { readonly kind: 'list'; readonly responseKey: string; readonly field: string; readonly list: ListPlan }
  | { readonly kind: 'aggregate'; readonly responseKey: string; readonly field: string; readonly aggregate: AggregatePlan }
  | { readonly kind: 'series'; readonly responseKey: string; readonly field: string; readonly series: SeriesPlan }
  /** Rows that are some steps away. Null where a relation of the step may not be seen at all. */
  | { readonly kind: 'traversal'; readonly responseKey: string; readonly traversal: Traversal }
  /** A field that a foreign service fills by key later; null here. */
  | { readonly kind: 'absent'; readonly responseKey: string }
  /**
   * What joins the row to rows of another store over a relation, for a later step to put the field in its place: U+0005, then `name` and the parts of the key (the
   * target's, or the row's own where the other side refers to it) as a JSON list of texts, then U+0006. Null where the relation may not be seen or leads nowhere. Of a
   * value that lies elsewhere, or of no field: the row's own key.
   */
  | { readonly kind: 'reference'; readonly responseKey: string; readonly field: string | null; readonly name: string }

/** Fields of a row that are made of related rows. */
export type RelationField = Extract<RowField, { kind: 'toOne' | 'list' | 'aggregate' | 'series' }>

export interface RowSelection {
  readonly type: string
  /** In the order of the answer; response keys are unique. */
  readonly fields: readonly RowField[]
}

/** The parts of a connection, in the order of the answer. */
export type ConnectionField =
  | { readonly kind: 'typename'; readonly responseKey: string }
  | { readonly kind: 'totalCount'; readonly responseKey: string }
  | { readonly kind: 'nodes'; readonly responseKey: string; readonly row: RowSelection }
  | { readonly kind: 'edges'; readonly responseKey: string; readonly fields: readonly EdgeField[] }
  | { readonly kind: 'pageInfo'; readonly responseKey: string; readonly fields: readonly PageInfoField[] }
export type EdgeField =
  | { readonly kind: 'typename'; readonly responseKey: string }
  | { readonly kind: 'cursor'; readonly responseKey: string }
  /** How near the row is: the first sort value of a search. */
  | { readonly kind: 'score'; readonly responseKey: string }
  | { readonly kind: 'node'; readonly responseKey: string; readonly row: RowSelection }
export interface PageInfoField {
  readonly kind: 'typename' | 'hasNextPage' | 'hasPreviousPage' | 'startCursor' | 'endCursor'
  readonly responseKey: string
}

/**
 * What rows are near to. Such a list is ordered by this field, nearest first, and has no rows without a score: where the vector is null or has no direction. Higher is
 * nearer under every metric: 1 - cosine distance, -L2, inner product. Finite float8, computed from elements of float4.
 */
export interface Search {
  /** A vector of the list's type. */
  readonly field: string
  readonly metric: VectorMetric
  /** The vector's canonical text; null where nothing is near to it. */
  readonly to: Operand
}

/** A page of rows. The owner's key in its own type always closes the order; the organization before it, where owners are merged. */
export interface ListPlan {
  readonly type: string
  /** Two-valued, over the readable view. */
  readonly where: Predicate
  readonly order: readonly OrderKey[]
  /** Null: rows are not searched for. */
  readonly search: Search | null
  /** Rows of the page (`first` or `last`), an Int. */
  readonly limit: Operand
  readonly backward: boolean
  /** The cursor to start after (or, backward, to end before); the operand is the sealed text. */
  readonly cursor: Operand | null
  readonly fields: readonly ConnectionField[]
  /** Names this list among all of the document, so that each finds its own start: the path of response keys, with dots between them. */
  readonly path: string
}

/**
 * Rows of a type that can be reached from a row of it, by steps that each lead to a row of the type again: those with the fewest steps first, then by key. Every row and every relation
 * on the way is one of the readable view, so that nothing hidden is passed through. The row itself is not among them.
 */
export interface Traversal {
  readonly type: string
  /** Relations of one step: to a row of the type, or to many rows between, and from each of these to one row of the type. */
  readonly via: readonly string[]
  /** `in`: against the relations. */
  readonly direction: 'out' | 'in' | 'both'
  /** Steps at most, an Int that is at least 1. */
  readonly depth: Operand
  /** What rows are shown; those on the way may be any. */
  readonly where: Predicate
  readonly limit: Operand
  readonly fields: readonly TraversalField[]
}
export type TraversalField =
  | { readonly kind: 'typename'; readonly responseKey: string }
  | { readonly kind: 'edges'; readonly responseKey: string; readonly fields: readonly TraversalEdgeField[] }
export type TraversalEdgeField =
  | { readonly kind: 'typename'; readonly responseKey: string }
  /** The least number of steps. */
  | { readonly kind: 'depth'; readonly responseKey: string }
  | { readonly kind: 'node'; readonly responseKey: string; readonly row: RowSelection }

export type TimeUnit = 'HOUR' | 'DAY' | 'WEEK' | 'MONTH' | 'QUARTER' | 'YEAR'
export interface GroupKey {
  /** A value field, or `organization`. */
  readonly field: string
  readonly unit: TimeUnit | null
  /** IANA name; the start of the unit is taken there. */
  readonly timezone: string | null
}

export type MeasureFunction = 'sum' | 'avg' | 'min' | 'max' | 'countDistinct'
export interface Measure {
  readonly fn: MeasureFunction
  /** A value field; for `countDistinct` also a to-one relation. */
  readonly field: string
}

/** A field of a released group, in the order of the answer. */
export type GroupField =
  | { readonly kind: 'typename'; readonly responseKey: string }
  | { readonly kind: 'count'; readonly responseKey: string }
  | {
      readonly kind: 'keys'
      readonly responseKey: string
      readonly fields: readonly { readonly responseKey: string; readonly key: GroupKey['field'] | '__typename' }[]
    }
  | {
      readonly kind: MeasureFunction
      readonly responseKey: string
      readonly fields: readonly { readonly responseKey: string; readonly field: string | '__typename' }[]
    }

export type AggregateField =
  | { readonly kind: 'typename'; readonly responseKey: string }
  | { readonly kind: 'groups'; readonly responseKey: string; readonly fields: readonly GroupField[] }

/** A condition on a released group. */
export type Having =
  | { readonly kind: 'all' | 'none' }
  | { readonly kind: 'compare'; readonly of: 'count' | Measure; readonly op: CompareOpOfHaving; readonly operand: Operand }
  | { readonly kind: 'in'; readonly of: 'count' | Measure; readonly operand: Operand }
  | { readonly kind: 'isNull'; readonly of: 'count' | Measure }
  | { readonly kind: 'and' | 'or'; readonly terms: readonly Having[] }
  | { readonly kind: 'not'; readonly term: Having }
export type CompareOpOfHaving = '=' | '<' | '<=' | '>' | '>='

export interface GroupOrder {
  readonly by: { readonly kind: 'key'; readonly field: string } | { readonly kind: 'count' } | { readonly kind: 'measure'; readonly measure: Measure }
  readonly descending: boolean
  readonly nulls: 'first' | 'last'
}

/** Groups of the readable view. Ties in an order, and no order at all, go by the group's keys. */
export interface AggregatePlan {
  readonly type: string
  readonly where: Predicate
  readonly groupBy: readonly GroupKey[]
  /** Every measure that selection, having or order need; without duplicates. */
  readonly measures: readonly Measure[]
  readonly having: Having
  readonly order: readonly GroupOrder[]
  readonly limit: Operand
  readonly fields: readonly AggregateField[]
}

export type SeriesMeasure =
  | { readonly fn: 'sum' | 'avg' | 'min' | 'max'; readonly field: string }
  /** The value of the earliest or latest row that has one; rows of one time go by key, those of several owners by organization before it. */
  | { readonly fn: 'first' | 'last'; readonly field: string }
  /** As PostgreSQL's `percentile_cont`, exact; `p` is a Float from 0 to 1. */
  | { readonly fn: 'percentile'; readonly field: string; readonly p: Operand }
  /** What a counter grew by in a second: from row to row of a group, and from zero after a reset. A growth belongs to the bucket of its later row. */
  | { readonly fn: 'rate'; readonly field: string }

/** How an empty bucket is filled. */
export type Fill = 'NULL' | 'PREVIOUS' | 'LINEAR'

/** A field of a bucket, in the order of the answer. */
export type BucketField =
  | { readonly kind: 'typename' | 'start' | 'end' | 'count'; readonly responseKey: string }
  | {
      readonly kind: 'measures'
      readonly responseKey: string
      readonly fn: SeriesMeasure['fn']
      /** `measure` is an index of the plan's measures; null for the type's name. */
      readonly fields: readonly { readonly responseKey: string; readonly measure: number | null }[]
    }

export type SeriesField =
  | { readonly kind: 'typename'; readonly responseKey: string }
  | Extract<GroupField, { kind: 'keys' }>
  | { readonly kind: 'buckets'; readonly responseKey: string; readonly fields: readonly BucketField[] }

/** What buckets are made of: DateTimes, a Duration and the name of a time zone. Without `origin` they are counted from the start of Monday, 2000-01-03, in the zone. */
export interface BucketOperands {
  readonly from: Operand
  readonly to: Operand
  readonly width: Operand
  readonly timezone: Operand
  readonly origin: Operand | null
}

/**
 * Measures of the readable view by bucket of its time field, for each group. A store gives what rows there are; empty buckets, and what stands in them, are the
 * gateway's business, once owners are combined.
 */
export interface SeriesPlan {
  readonly type: string
  /** The time field: DateTime, or LocalDateTime, which is read on its own clock. */
  readonly time: string
  /** Over the readable view; that the time lies in the range is part of it. */
  readonly where: Predicate
  readonly buckets: BucketOperands
  /** A list in the type of the time field: where each bucket that touches the range starts, then where the last one ends. Made of `buckets`; strictly ascending. */
  readonly bounds: Operand
  readonly groupBy: readonly GroupKey[]
  /** Without duplicates. */
  readonly measures: readonly SeriesMeasure[]
  readonly fill: Fill | null
  /** A store gives at most one more than this many pairs of group and bucket. */
  readonly bucketsMax: number
  readonly fields: readonly SeriesField[]
  /** Names this series among all of the document: the path of response keys, with dots between them. */
  readonly path: string
}

/**
 * What one store is asked: rows by an order, groups, or a series. Lookups are lists with a condition on the key. `withKeys`: sort values and key travel beside each row, for the
 * merge of several owners, for cursors and for finding rows again by their key.
 */
export type Plan =
  | { readonly kind: 'list'; readonly list: ListPlan; readonly withKeys: boolean }
  | { readonly kind: 'aggregate'; readonly aggregate: AggregatePlan }
  | { readonly kind: 'series'; readonly series: SeriesPlan }

/** What a store is asked as a step of a plan over several stores. */
export type StepPlan =
  /**
   * Keys of the rows of the readable view that fit, each once, and at most one more than `limit`: their own, or those of the rows that their to-one relation `of` leads
   * to.
   */
  | { readonly kind: 'keys'; readonly type: string; readonly where: Predicate; readonly of: string | null; readonly limit: Operand }
  /**
   * What the field is in the row of `type`, which another store has, for each key that joins the row over the field's relation: a text each, in their order. Of a row to
   * one: those that there are, each with its key beside it.
   */
  | { readonly kind: 'attached'; readonly type: string; readonly field: RelationField; readonly keys: readonly Operand[] }
  /** The row of `row.type` for each key, a text each, in their order. Where there is none, that of nulls, as the view shows them: a mask hides what is missing too. */
  | { readonly kind: 'outer'; readonly row: RowSelection; readonly keys: readonly Operand[] }

export type Mask =
  | { readonly kind: 'null' }
  | { readonly kind: 'constant'; readonly value: string | number | boolean }
  | { readonly kind: 'redact'; readonly keepLast: number; readonly revealNulls: boolean }
  /** HMAC in the owner's store, by a function that the owner installs; the key is per grantor and grantee, `domain` tells values of different meaning apart. */
  | { readonly kind: 'pseudonym'; readonly domain: string; readonly grantee: string; readonly revealNulls: boolean }
  | { readonly kind: 'generalize'; readonly step: string; readonly revealNulls: boolean }
  | { readonly kind: 'generalizeTime'; readonly unit: TimeUnit; readonly revealNulls: boolean }

export type ViewField =
  /** Denied or unbound: null in output; restrict lets no input reach it. */
  | { readonly kind: 'absent' }
  | { readonly kind: 'plain' }
  /** The value where the condition (three-valued, over the raw row) is TRUE, else null. Relations too: the join holds only there. */
  | { readonly kind: 'cell'; readonly condition: Predicate }
  | { readonly kind: 'masked'; readonly mask: Mask }

/** The owner's table as the principal may see it. `fields` covers every field of the contract's type, relations included. */
export interface ReadableView {
  readonly type: string
  /** `empty`: the owner holds no rows of this type (binding `none`). */
  readonly source: TableBinding | 'empty'
  /** Three-valued, over the raw row; a row is in the view when it is TRUE. `all` where nothing is hidden. */
  readonly rows: Predicate
  readonly fields: ReadonlyMap<string, ViewField>
}

declare const authorized: unique symbol
/** A plan whose every field a grant covers, over readable views. Only `policy/restrict.ts` makes one; connectors accept nothing else. */
export type AuthorizedPlan = {
  readonly plan: Plan | StepPlan
  readonly organization: string
  /** By type; every type that the plan names is here. */
  readonly views: ReadonlyMap<string, ReadableView>
  readonly catalog: Catalog
  /** Raw tables for policy conditions, which speak of the owner's rows and not of the view. */
  readonly binding: OrganizationBinding
  /** Where pages start, by `ListPlan.path`, once cursors are unsealed; nested lists too. A list without a cursor is not here. */
  readonly starts: ReadonlyMap<string, PageStart>
  /** The organization's part in row-level security: who the store is told is asking. */
  readonly caller: string
} & { readonly [authorized]: true }

/** Another plan over the same views: a step, which asks no more of them than the whole plan does. */
export function planOver(whole: AuthorizedPlan, plan: Plan | StepPlan): AuthorizedPlan {
  return { ...whole, plan }
}

/**
 * Where a page starts, for one owner. The cursor's row has sort values (of which `nulls` says which are null) and belongs to an owner. `side` is this owner's place
 * against that one, in the direction of reading: an owner that is read `before` it gives only rows strictly after its sort values, one that is read `after` it also
 * rows equal in them, and the `same` owner goes on by key. Values are slots after those of the request: sort values in order, then the key's values.
 */
export interface PageStart {
  readonly side: 'before' | 'same' | 'after'
  readonly nulls: readonly boolean[]
  readonly values: readonly Operand[]
  readonly key: readonly Operand[]
}
