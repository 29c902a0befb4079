/** What plans ask of stores whose rows have no relations. Pure. */
import type { GatewayError } from '../errors.js'
import type { ListPlan, ReadableView, RowSelection } from '../query/plan.js'
import type { Predicate } from '../query/predicate.js'
import { shownField } from './shown-row.js'

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
