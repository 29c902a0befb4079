/** What an operation asks, bound to the structure of its variables: the word between the binder and the engine. Holds no value of a request. */
import type { FieldNode } from 'graphql'
import type { AggregatePlan, ListPlan, SeriesPlan } from '../query/plan.js'
import type { VectorSpace } from '../query/catalog.js'
import type { Operand } from '../query/predicate.js'
import type { Place, Slot } from './input.js'

/** A place where the operation touches a field of a type. Everything but `select` is an input position. */
export interface FieldUse {
  readonly type: string
  readonly field: string
  readonly how: 'select' | 'equal' | 'range' | 'text' | 'null' | 'related' | 'order' | 'group' | 'measure' | 'countDistinct' | 'search'
  readonly place: Place | null
}

export interface RootBase {
  readonly responseKey: string
  readonly uses: readonly FieldUse[]
  readonly place: Place | null
}

/** What stands for the vector of a search until it is known. `slot`: where its text comes to stand. */
export type Pivot =
  /** A row: `list` gives its vector alone. */
  | { readonly kind: 'row'; readonly id: Operand; readonly list: ListPlan; readonly uses: readonly FieldUse[]; readonly slot: number }
  /** A text, for the embedding service of the caller's organization. */
  | { readonly kind: 'text'; readonly text: Operand; readonly space: VectorSpace; readonly field: string; readonly slot: number }

export type BoundRoot =
  | (RootBase & { readonly kind: 'connection'; readonly list: ListPlan; readonly organizations: Operand | null; readonly pivot: Pivot | null })
  | (RootBase & { readonly kind: 'lookup'; readonly list: ListPlan; readonly organization: Operand })
  /** `node` and `nodes`: one list for each type that an id names. */
  | (RootBase & {
      readonly kind: 'nodes'
      readonly single: boolean
      readonly ids: Operand
      readonly lists: ReadonlyMap<string, { readonly list: ListPlan; readonly uses: readonly FieldUse[] }>
    })
  | (RootBase & { readonly kind: 'aggregate'; readonly aggregate: AggregatePlan; readonly organizations: Operand | null })
  | (RootBase & { readonly kind: 'series'; readonly series: SeriesPlan; readonly organizations: Operand | null })
  | (RootBase & {
      readonly kind: 'organizations'
      readonly fields: readonly { readonly responseKey: string; readonly field: 'id' | 'name' | 'jurisdiction' | '__typename' }[]
    })
  | (RootBase & { readonly kind: 'typename' })
  | (RootBase & { readonly kind: 'introspection'; readonly nodes: readonly FieldNode[] })

/** What must hold of a value in each request, beyond its type. */
export interface ValueCheck {
  readonly operand: Operand
  readonly kind: 'rows' | 'nestedRows' | 'likePattern' | 'ids' | 'nearestRows' | 'steps' | 'fraction' | { readonly dimensions: number }
  readonly argument: string
}

/** Rows asked for: those of the field itself (a number, or a list of ids), times one plus those of its nested lists, which come for each row. */
export interface CostNode {
  readonly rows: Operand
  readonly fixed: number
  readonly nested: readonly CostNode[]
}

export interface BoundPlan {
  readonly roots: readonly BoundRoot[]
  readonly slots: readonly Slot[]
  readonly checks: readonly ValueCheck[]
  readonly cost: readonly CostNode[]
  /** A list goes on from a cursor. */
  readonly hasCursors: boolean
  /** A search starts from a row or a text, whose vector has to be asked for. */
  readonly hasPivots: boolean
  /** Which organizations are named is said by values of the request, not by the document. */
  readonly namesVary: boolean
  readonly onForbidden: 'REFUSE' | 'EXCLUDE'
  readonly onUnavailable: 'REPORT' | 'EXCLUDE' | 'FAIL'
}
