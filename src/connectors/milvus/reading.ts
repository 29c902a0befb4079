/** From an authorized plan to what Milvus is asked for and what is made of its rows. Pure. */
import { invariant } from '../../errors.js'
import type { ColumnBinding, TableBinding } from '../../query/binding.js'
import type { EntityType } from '../../query/catalog.js'
import type { AuthorizedPlan, ListPlan, PageStart, ReadableView, RowSelection, Search, ViewField } from '../../query/plan.js'
import { isTrue, type Scope } from './condition.js'
import { ALWAYS, allOf, type Filter } from './filter.js'
import { conditionFields, type FlatPlan, flatPlanOf, selectedFields, selectionsOf } from '../flat-plan.js'
import { shownField, valueField } from '../shown-row.js'
import { type RowContext, SourceRow } from './row.js'
import { unclaimed } from './unclaimed.js'

export interface Reading {
  readonly organization: string
  readonly caller: string
  readonly context: RowContext
  readonly view: ReadableView
  readonly list: ListPlan
  readonly start: PageStart | null
  readonly withKeys: boolean
  readonly keys: FlatPlan['keys']
  /** Policy first, then what the caller asks: a row that it does not fit neither comes nor takes part in a search. */
  readonly filter: Filter
  readonly key: Extract<ColumnBinding, { kind: 'column' }>
  /** Names of fields that rows come with; the key is among them. */
  readonly outputs: readonly string[]
  readonly selections: readonly RowSelection[]
  readonly search: SearchReading | null
  readonly hasTotal: boolean
}

export interface SearchReading extends Search {
  /** Null: the contract's field is bound to none, and no row has a score. */
  readonly column: string | null
  /**
   * How the server finds the nearest rows: `exact` by looking at each that fits, `approximate` by an index that rows of all kinds shape, which serves the owner's own people
   * alone. Null: it does not, and rows are scored here.
   */
  readonly near: 'exact' | 'approximate' | null
}

/** @throws GatewayError FIELD_NOT_USABLE for what this kind of store does not claim. Null: the view is an empty table. */
export function readingOf(authorized: AuthorizedPlan): Reading | null {
  const { organization, catalog } = authorized
  const { list, withKeys, keys, view } = flatPlanOf(authorized, (what) => unclaimed(what, organization))
  const entity = catalog.entities.get(list.type)
  invariant(entity, 'a plan is of types of the contract')
  const selections = selectionsOf(list)
  const table = view.source
  if (table === 'empty') return null
  const context = { organization, entity, table }
  const key = keyColumn(context)
  const search = list.search && searchReading(list.search, authorized, view, table)
  const fields = new Set([
    ...list.order.map(({ field }) => field),
    ...(search ? [search.field] : []),
    ...selections.flatMap((row) => selectedFields(row, view, (what) => unclaimed(what, organization))),
  ])
  if (list.order.some(({ path }) => path.length > 0)) throw unclaimed('an order by a relation', organization)
  const policy = scopeOf(context, null)
  const shown = search ? shownWhere(shownField(view, search.field), policy) : ALWAYS
  const filter = allOf([isTrue(view.rows, policy), shown, isTrue(list.where, scopeOf(context, view))])
  const columns = [...fields].flatMap((field) => columnsOf(field, shownField(view, field), context))
  return {
    ...{ organization, caller: authorized.caller, context, view, list, withKeys, keys, filter, key, selections, search },
    start: authorized.starts.get(list.path) ?? null,
    outputs: [...new Set([key.column, ...columns])],
    hasTotal: list.fields.some(({ kind }) => kind === 'totalCount'),
  }
}

function keyColumn({ entity, table }: RowContext): Reading['key'] {
  const [field = '', ...others] = entity.key
  const bound = table.columns.get(field)
  invariant(others.length === 0 && bound?.kind === 'column', 'a key of Milvus is one column')
  return bound
}

function searchReading(search: Search, { organization, caller, starts, plan }: AuthorizedPlan, view: ReadableView, table: TableBinding): SearchReading {
  const shown = shownField(view, search.field)
  // Scores would give away what may not be read.
  if (shown.kind !== 'plain' && shown.kind !== 'cell') throw unclaimed('a search by a field that is not shown', organization)
  const bound = table.columns.get(search.field)
  if (bound?.kind !== 'column') return { ...search, column: null, near: null }
  const isFirstPage = plan.kind === 'list' && !starts.has(plan.list.path)
  const isHome = caller === organization && shown.kind === 'plain' && isFirstPage
  const near = bound.exactBy?.includes(search.metric) ? 'exact' : isHome && bound.nearBy?.includes(search.metric) ? 'approximate' : null
  return { ...search, column: bound.column, near }
}

/** Where a field has its value; in no row where that depends on what is not known. */
function shownWhere(shown: ViewField, policy: Scope): Filter {
  return shown.kind === 'cell' ? isTrue(shown.condition, policy) : ALWAYS
}

/** What is masked by what says nothing of the value does not leave the store at all. */
function columnsOf(field: string, shown: ViewField, { table, organization }: RowContext): readonly string[] {
  const own = (name: string): readonly string[] => {
    const bound = table.columns.get(name)
    return bound?.kind === 'column' ? [bound.column] : []
  }
  switch (shown.kind) {
    case 'absent':
      return []
    case 'plain':
      return own(field)
    case 'cell':
      return [...own(field), ...conditionFields(shown.condition).flatMap(own)]
    case 'masked':
      switch (shown.mask.kind) {
        case 'null':
        case 'constant':
          return []
        case 'redact':
          return own(field)
        case 'pseudonym':
        case 'generalize':
        case 'generalizeTime':
          throw unclaimed(shown.mask.kind, organization)
      }
  }
}

/** `view` null: of the owner's rows. */
function scopeOf(context: RowContext, view: ReadableView | null): Scope {
  const { entity, table, organization } = context
  const policy = view ? scopeOf(context, null) : null
  const scope: Scope = {
    type: entity.name,
    organization,
    key: keyField(entity),
    logic: view ? 'twoValued' : 'threeValued',
    constants: new SourceRow(context, () => {
      throw new Error('invariant: a constant is not stored')
    }),
    source: (field) => {
      const shown = view ? shownField(view, field) : null
      if (shown?.kind === 'absent') return null
      if (shown?.kind === 'masked') throw unclaimed('a condition on a field that is masked', organization)
      const bound = table.columns.get(field)
      if (!bound) return null
      const where = shown && policy ? shownWhere(shown, policy) : ALWAYS
      return bound.kind === 'column' ? { field: valueField(entity, field), column: bound, shown: where } : { constant: true, shown: where }
    },
  }
  return scope
}

function keyField({ key }: EntityType): string {
  const [field] = key
  invariant(field !== undefined, 'a type has a key')
  return field
}
