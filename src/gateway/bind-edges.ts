/** Fields whose rows are their whole answer, each with a number that says why it stands where it does: how near it is, or how many steps away. */
import type { FieldNode, GraphQLObjectType } from 'graphql'
import type { EntityType } from '../query/catalog.js'
import type { RowSelection } from '../query/plan.js'
import type { CostNode } from './bound-plan.js'
import { type Binding, type BindRow, fieldsOf, firstOf, selectionsOf } from './document.js'

export type RankedField<Rank> =
  | { readonly kind: 'typename'; readonly responseKey: string }
  | { readonly kind: 'edges'; readonly responseKey: string; readonly fields: readonly RankedEdgeField<Rank>[] }
export type RankedEdgeField<Rank> =
  { readonly kind: 'typename' | Rank; readonly responseKey: string } | { readonly kind: 'node'; readonly responseKey: string; readonly row: RowSelection }

/** @param ranked name of the field's type, of which `…Edge` is that of its edges, and of the number. */
export function bindRanked<Rank extends 'score' | 'depth'>(
  entity: EntityType,
  nodes: readonly FieldNode[],
  { type, rank, path }: { readonly type: string; readonly rank: Rank; readonly path: string },
  bindRow: BindRow,
  context: Binding,
): { readonly fields: readonly RankedField<Rank>[]; readonly nested: readonly CostNode[] } {
  const whole = context.schema.getType(type) as GraphQLObjectType
  const edge = context.schema.getType(`${type}Edge`) as GraphQLObjectType
  const nested: CostNode[] = []
  const fields = [...fieldsOf(selectionsOf(nodes), whole, context)].map(([responseKey, edges]): RankedField<Rank> => {
    if (firstOf(edges).name.value === '__typename') return { kind: 'typename', responseKey }
    const members = [...fieldsOf(selectionsOf(edges), edge, context)].map(([key, inner]): RankedEdgeField<Rank> => {
      const name = firstOf(inner).name.value
      if (name !== 'node') return { kind: name === rank ? rank : 'typename', responseKey: key }
      const bound = bindRow(entity, selectionsOf(inner), `${path}.${responseKey}.${key}`, context)
      nested.push(...bound.nested)
      return { kind: 'node', responseKey: key, row: bound.row }
    })
    return { kind: 'edges', responseKey, fields: members }
  })
  return { fields, nested }
}
