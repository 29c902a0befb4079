/** Rows that are some steps away, as a document asks for them. */
import type { FieldNode } from 'graphql'
import { invariant } from '../errors.js'
import type { EntityType } from '../query/catalog.js'
import type { Traversal } from '../query/plan.js'
import type { Operand } from '../query/predicate.js'
import { COUNT_COST, ONE } from './bind-aggregate.js'
import { bindRanked } from './bind-edges.js'
import { whereOf } from './bind-where.js'
import type { CostNode } from './bound-plan.js'
import { type BindRow, type Binding, firstOf, operandOf, present } from './document.js'
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
  const { fields, nested } = bindRanked(entity, nodes, { type: `${entity.name}Related`, rank: 'depth', path }, bindRow, context)
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
