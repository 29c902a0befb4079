/** What plans ask of stores whose rows have no relations. Pure. */
import { type GatewayError, invariant } from '../errors.js'
import type { AuthorizedPlan, ListPlan, ReadableView, RowSelection } from '../query/plan.js'
import type { Operand, Predicate } from '../query/predicate.js'
import { shownField } from './shown-row.js'

/** A page of rows, or rows by key. */
export interface FlatPlan {
  readonly list: ListPlan
  readonly withKeys: boolean
  /** The row of each of these is asked for, where there is one, and no page. */
  readonly keys: Operand | null
  readonly view: ReadableView
  /** The one field of the key. */
  readonly key: string
}

/** @throws what `unclaimed` makes of plans of another kind, and of keys that are masked, by which nothing could be found again. */
export function flatPlanOf({ plan, catalog, views }: AuthorizedPlan, unclaimed: (what: string) => GatewayError): FlatPlan {
  if (plan.kind !== 'list' && plan.kind !== 'outer') throw unclaimed(plan.kind)
  const type = plan.kind === 'list' ? plan.list.type : plan.row.type
  const view = views.get(type)
  const [key, ...others] = catalog.entities.get(type)?.key ?? []
  invariant(view && key !== undefined && (others.length === 0 || view.source === 'empty'), `the plan has a view of \`${type}\`, with a key of one field`)
  if (plan.kind === 'list') {
    if (view.source !== 'empty' && shownField(view, key).kind !== 'plain') throw unclaimed('a key that is masked')
    const { list, withKeys } = plan
    return { list: { ...list, where: byOwnKey(list.where, key) }, withKeys, keys: null, view, key }
  }
  const [keys] = plan.keys
  invariant(keys, 'rows are asked for by their keys')
  // The keys are known to who asks for them, and are not shown.
  const joined: ReadableView = { ...view, fields: new Map([...view.fields, [key, { kind: 'plain' }]]) }
  const list: ListPlan = { ...EVERY_ROW, type, where: { kind: 'in', field: key, operand: keys }, fields: [{ kind: 'nodes', responseKey: '', row: plan.row }] }
  return { list, withKeys: false, keys, view: joined, key }
}

const EVERY_ROW: Omit<ListPlan, 'type' | 'where' | 'fields'> = {
  order: [],
  search: null,
  limit: { kind: 'constant', value: 0 },
  backward: false,
  cursor: null,
  path: '',
}

/** Rows that other stores name are named by their own key. */
function byOwnKey(where: Predicate, key: string): Predicate {
  switch (where.kind) {
    case 'and':
    case 'or':
      return { ...where, terms: where.terms.map((term) => byOwnKey(term, key)) }
    case 'not':
    case 'isTrue':
    case 'isFalse':
      return { ...where, term: byOwnKey(where.term, key) }
    case 'linked': {
      const [operand] = where.keys
      return where.field === null && operand ? { kind: 'in', field: key, operand } : where
    }
    default:
      return where
  }
}

export function selectionsOf({ fields }: ListPlan): readonly RowSelection[] {
  return fields.flatMap((field): readonly RowSelection[] => {
    if (field.kind === 'nodes') return [field.row]
    return field.kind === 'edges' ? field.fields.flatMap((edge) => (edge.kind === 'node' ? [edge.row] : [])) : []
  })
}

/** Values that a row shows. @throws what `unclaimed` makes of a relation that the caller sees. */
export function selectedFields({ fields }: RowSelection, view: ReadableView, unclaimed: (what: string) => GatewayError): readonly string[] {
  return fields.flatMap((field) => {
    switch (field.kind) {
      case 'typename':
      case 'id':
      case 'organization':
      case 'absent':
        return []
      case 'value':
        return [field.field]
      case 'toOne':
      case 'list':
      case 'aggregate':
      case 'series':
        if (shownField(view, field.field).kind === 'absent') return []
        throw unclaimed(field.kind)
      case 'traversal':
        if (shownField(view, field.traversal.via[0] ?? '').kind === 'absent') return []
        throw unclaimed(field.kind)
      case 'reference':
        if (field.field === null) return []
        throw unclaimed(field.kind)
    }
  })
}

/** Fields that a condition speaks of, relations too. */
export function conditionFields(condition: Predicate): readonly string[] {
  switch (condition.kind) {
    case 'and':
    case 'or':
      return condition.terms.flatMap(conditionFields)
    case 'not':
    case 'isTrue':
    case 'isFalse':
      return conditionFields(condition.term)
    case 'isNull':
    case 'compare':
    case 'in':
    case 'like':
    case 'startsWith':
    case 'contains':
    case 'listContains':
    case 'jsonContains':
    case 'related':
      return [condition.field]
    case 'linked':
      return condition.field === null ? [] : [condition.field]
    case 'all':
    case 'none':
    case 'idIn':
      return []
  }
}
