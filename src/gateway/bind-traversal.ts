/** Rows that are some steps away, as a document asks for them. */
import type { FieldNode, GraphQLObjectType } from 'graphql'
import { invariant } from '../errors.js'
import type { EntityType } from '../query/catalog.js'
import type { Traversal, TraversalEdgeField, TraversalField } from '../query/plan.js'
import type { Operand } from '../query/predicate.js'
import { COUNT_COST, ONE } from './bind-aggregate.js'
import { whereOf } from './bind-where.js'
import type { CostNode } from './bound-plan.js'
import { type BindRow, type Binding, fieldsOf, firstOf, operandOf, present, selectionsOf } from './document.js'
import { type Input, placeOf } from './input.js'

/** @param bindRow selections of a row that was reached. @throws GatewayError as `bind` */
export function bindTraversal(
  entity: EntityType,
  nodes: readonly FieldNode[],
  args: ReadonlyMap<string, Input>,
  path: string,
  bindRow: BindRow,
  context: Binding,
): { readonly traversal: Traversal; readonly costs: readonly CostNode[] } {
  const step = context.index.types.get(entity.name)?.steps.get(wordOf(present(args.get('via'))) ?? '')
  invariant(step, 'the schema knows the relation')
  for (const { type, field } of step) context.uses.push({ type, field, how: 'select', place: placeOf(firstOf(nodes)) })
  const steps = present(args.get('depth'))
  const depth: Operand = steps ? operandOf(steps) : ONE
  if (steps) context.checks.push({ operand: depth, kind: 'steps', argument: `${path}.depth` })
  const first = present(args.get('first'))
  const limit: Operand = first ? operandOf(first) : { kind: 'constant', value: Math.min(context.limits.defaultRows, context.limits.nestedRows) }
  if (first) context.checks.push({ operand: limit, kind: 'nestedRows', argument: `${path}.first` })
  const where = whereOf(entity, present(args.get('where')), `${path}.where`, context)
  const { fields, nested } = bindSelections(entity, nodes, path, bindRow, context)
  const direction = DIRECTIONS.get(wordOf(present(args.get('direction'))) ?? 'OUT')
  invariant(direction, 'the schema knows the direction')
  const via = step.map(({ field }) => field)
  return {
    traversal: { type: entity.name, via, direction, depth, where, limit, fields },
    // Each step reads rows that nobody sees, as a count does.
    costs: [
      { rows: depth, fixed: 0, nested: [{ rows: { kind: 'constant', value: COUNT_COST }, fixed: 0, nested: [] }] },
      { rows: limit, fixed: 1, nested },
    ],
  }
}

const DIRECTIONS: ReadonlyMap<string, Traversal['direction']> = new Map([
  ['OUT', 'out'],
  ['IN', 'in'],
  ['BOTH', 'both'],
])

/** The value of an enum, which is part of a document's shape. */
function wordOf(input: Input | null): string | null {
  return input?.kind === 'leaf' ? String(input.current) : null
}

function bindSelections(
  entity: EntityType,
  nodes: readonly FieldNode[],
  path: string,
  bindRow: BindRow,
  context: Binding,
): { readonly fields: readonly TraversalField[]; readonly nested: readonly CostNode[] } {
  const related = context.schema.getType(`${entity.name}Related`) as GraphQLObjectType
  const edge = context.schema.getType(`${entity.name}RelatedEdge`) as GraphQLObjectType
  const nested: CostNode[] = []
  const fields = [...fieldsOf(selectionsOf(nodes), related, context)].map(([responseKey, edges]): TraversalField => {
    if (firstOf(edges).name.value === '__typename') return { kind: 'typename', responseKey }
    const members = [...fieldsOf(selectionsOf(edges), edge, context)].map(([key, inner]): TraversalEdgeField => {
      const name = firstOf(inner).name.value
      if (name !== 'node') return { kind: name === 'depth' ? 'depth' : 'typename', responseKey: key }
      const bound = bindRow(entity, selectionsOf(inner), `${path}.${responseKey}.${key}`, context)
      nested.push(...bound.nested)
      return { kind: 'node', responseKey: key, row: bound.row }
    })
    return { kind: 'edges', responseKey, fields: members }
  })
  return { fields, nested }
}
