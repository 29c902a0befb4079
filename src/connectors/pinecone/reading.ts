/** From an authorized plan to what Pinecone is asked for and what is made of its records. Pure. */
import { invariant } from '../../errors.js'
import type { TableBinding } from '../../query/binding.js'
import type { EntityType } from '../../query/catalog.js'
import type { AuthorizedPlan, ReadableView, Search, ViewField } from '../../query/plan.js'
import type { Predicate } from '../../query/predicate.js'
import type { PageReading } from '../flat-page.js'
import { conditionFields, type FlatPlan, flatPlanOf, selectedFields, selectionsOf } from '../flat-plan.js'
import { shownField, valueField } from '../shown-row.js'
import { type Scope, whenTrue } from './condition.js'
import { allOf, EVERY, type Pushdown } from './pushdown.js'
import type { RowContext } from './row.js'
import { unclaimed } from './unclaimed.js'

export interface Reading extends PageReading {
  readonly caller: string
  readonly context: RowContext
  readonly keys: FlatPlan['keys']
  readonly search: SearchReading | null
  /** Of policy, of the condition of a vector that is shown in some rows only, and of what the caller asks: what saves reading rows that do not fit. */
  readonly pushdown: Pushdown
  readonly hasTotal: boolean
}

export interface SearchReading extends Search {
  /** The index finds near rows, which rows of all kinds shape: it serves the owner's own people alone. Else every row that fits is scored. */
  readonly isApproximate: boolean
}

/** @throws GatewayError FIELD_NOT_USABLE for what this kind of store does not claim. Null: the view is an empty table. */
export function readingOf(authorized: AuthorizedPlan): Reading | null {
  const { organization, catalog } = authorized
  const { list, withKeys, keys, view, key } = flatPlanOf(authorized, (what) => unclaimed(what, organization))
  const entity = catalog.entities.get(list.type)
  invariant(entity, 'a plan is of types of the contract')
  const table = view.source
  if (table === 'empty') return null
  if (list.order.some(({ path }) => path.length > 0)) throw unclaimed('an order by a relation', organization)
  const selections = selectionsOf(list)
  const context = { organization, entity, table }
  const used = [
    ...list.order.map(({ field }) => field),
    ...conditionFields(list.where),
    ...selections.flatMap((row) => selectedFields(row, view, (what) => unclaimed(what, organization))),
  ]
  for (const field of used) refuseMask(shownField(view, field), organization)
  const policy = policyScope(context)
  const search = list.search && searchReading({ search: list.search, where: list.where }, authorized, view, table)
  const shown = search ? shownWhere(shownField(view, search.field), policy) : EVERY
  return {
    ...{ organization, caller: authorized.caller, context, entity, view, list, withKeys, keys, selections, search },
    pushdown: allOf([whenTrue(view.rows, policy), shown, whenTrue(list.where, viewScope(context, view, policy))]),
    start: authorized.starts.get(list.path) ?? null,
    keyType: valueField(entity, key).type,
    hasTotal: list.fields.some(({ kind }) => kind === 'totalCount'),
  }
}

function searchReading(
  { search, where }: { readonly search: Search; readonly where: Predicate },
  { organization, caller, starts, plan }: AuthorizedPlan,
  view: ReadableView,
  table: TableBinding,
): SearchReading {
  const shown = shownField(view, search.field)
  // Scores would give away what may not be read.
  if (shown.kind !== 'plain' && shown.kind !== 'cell') throw unclaimed('a search by a field that is not shown', organization)
  const bound = table.columns.get(search.field)
  const isFirstPage = plan.kind === 'list' && !starts.has(plan.list.path)
  const isHome = caller === organization && shown.kind === 'plain' && isFirstPage
  // Records that another store names are read by their ids.
  const isNamed = where.kind === 'in' && where.operand.kind === 'step'
  return { ...search, isApproximate: isHome && !isNamed && bound?.kind === 'column' && bound.nearBy?.includes(search.metric) === true }
}

function refuseMask(shown: ViewField, organization: string): void {
  if (shown.kind !== 'masked') return
  switch (shown.mask.kind) {
    case 'null':
    case 'constant':
    case 'redact':
      return
    case 'pseudonym':
    case 'generalize':
    case 'generalizeTime':
      throw unclaimed(shown.mask.kind, organization)
  }
}

/** Where a field has its value. */
function shownWhere(shown: ViewField, policy: Scope): Pushdown {
  return shown.kind === 'cell' ? whenTrue(shown.condition, policy) : EVERY
}

function policyScope({ entity, table, organization }: RowContext): Scope {
  return { type: entity.name, organization, logic: 'threeValued', source: (field) => columnOf(entity, table, field, EVERY) }
}

/** A masked field is compared as it is shown, which is not what is stored. */
function viewScope({ entity, table, organization }: RowContext, view: ReadableView, policy: Scope): Scope {
  const source: Scope['source'] = (field) => {
    const shown = shownField(view, field)
    return shown.kind === 'plain' || shown.kind === 'cell' ? columnOf(entity, table, field, shownWhere(shown, policy)) : null
  }
  return { type: entity.name, organization, logic: 'twoValued', source }
}

function columnOf(entity: EntityType, table: TableBinding, field: string, shown: Pushdown): ReturnType<Scope['source']> {
  const definition = entity.fields.get(field)
  const column = definition?.kind === 'value' ? table.columns.get(field) : undefined
  return definition?.kind === 'value' && column?.kind === 'column' ? { field: definition, column, shown } : null
}
