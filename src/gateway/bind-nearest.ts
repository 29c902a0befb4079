/** Searches: the rows whose vectors are nearest to a vector, or to that of a text or a row. */
import type { FieldNode } from 'graphql'
import { invariant } from '../errors.js'
import type { EntityType, ValueField, VectorMetric } from '../query/catalog.js'
import type { ListPlan, RowSelection } from '../query/plan.js'
import type { Operand, Predicate } from '../query/predicate.js'
import { ONE } from './bind-aggregate.js'
import { bindRanked } from './bind-edges.js'
import { whereOf } from './bind-where.js'
import type { BoundRoot, CostNode, FieldUse, Pivot, RootBase } from './bound-plan.js'
import { type BindRow, type Binding, operandOf, optionalOperand, present, refuse } from './document.js'
import { type Input, slot } from './input.js'

/** As `bindRow` of `bind.ts`. */
/** What a search costs beyond its rows: every row of the view may have to be looked at. */
const SEARCH_COST = 20

export function bindNearest(
  entity: EntityType,
  nodes: readonly FieldNode[],
  args: ReadonlyMap<string, Input>,
  base: RootBase,
  bindRow: BindRow,
  context: Binding,
): { readonly root: Extract<BoundRoot, { kind: 'connection' }>; readonly cost: CostNode } {
  const path = base.responseKey
  const field = vectorField(entity, args.get('field'), context)
  const { dimensions, metric } = field.vector
  const limit = operandOf(args.get('k'))
  context.checks.push({ operand: limit, kind: 'nearestRows', argument: `${path}.k` })
  context.uses.push({ type: entity.name, field: field.name, how: 'search', place: base.place })
  const where = whereOf(entity, present(args.get('where')), `${path}.where`, context)
  const { to, pivot } = targetOf(entity, field, args.get('to'), base, context)
  context.checks.push({ operand: to, kind: { dimensions }, argument: `${path}.to.vector` })
  const { fields, nested } = bindRanked(entity, nodes, { type: `${entity.name}Nearest`, rank: 'score', path }, bindRow, context)
  const list: ListPlan = {
    type: entity.name,
    where,
    order: [{ path: [], field: field.name, descending: true, nulls: 'last' }],
    search: { field: field.name, metric: metricOf(present(args.get('metric'))) ?? metric, to },
    limit,
    backward: false,
    cursor: null,
    fields,
    path,
  }
  const root = { ...base, kind: 'connection' as const, list, organizations: optionalOperand(args.get('organizations')), pivot }
  return { root, cost: { rows: limit, fixed: SEARCH_COST, nested } }
}

function vectorField(entity: EntityType, input: Input | undefined, context: Binding): ValueField & { readonly vector: NonNullable<ValueField['vector']> } {
  const { vectorFields } = context.index.types.get(entity.name) ?? {}
  const [first] = vectorFields?.values() ?? []
  const name = input?.kind === 'leaf' ? vectorFields?.get(String(input.current)) : first
  const field = entity.fields.get(name ?? '')
  invariant(field?.kind === 'value' && field.vector, 'a vector of the contract')
  return { ...field, vector: field.vector }
}

function metricOf(input: Input | null): VectorMetric | null {
  return input?.kind === 'leaf' ? (input.current as VectorMetric) : null // checked by the schema's enum
}

function targetOf(
  entity: EntityType,
  field: ValueField,
  input: Input | undefined,
  base: RootBase,
  context: Binding,
): { readonly to: Operand; readonly pivot: Pivot | null } {
  invariant(input?.kind === 'object', 'what to search for is an object')
  const [given, ...others] = [...input.fields].filter(([, value]) => value.kind !== 'null')
  if (!given || others.length > 0) throw refuse('BAD_USER_INPUT', 'exactly one of `vector`, `text` and `id`', input.place, `${base.responseKey}.to`)
  const [name, value] = given
  if (name === 'vector') return { to: operandOf(value), pivot: null }
  const to = slot(context.slots, { kind: 'pivot' })
  invariant(to.kind === 'slot' && field.vector, 'a slot for a vector')
  if (name === 'text') return { to, pivot: { kind: 'text', text: operandOf(value), space: field.vector, field: field.name, slot: to.index } }
  const id = operandOf(value)
  const uses: FieldUse[] = [
    ...entity.key.map((key): FieldUse => ({ type: entity.name, field: key, how: 'equal', place: base.place })),
    { type: entity.name, field: field.name, how: 'search', place: base.place },
  ]
  const where: Predicate = { kind: 'idIn', operand: id }
  const row: RowSelection = { type: entity.name, fields: [{ kind: 'value', responseKey: field.name, field: field.name }] }
  const list: ListPlan = {
    ...{ type: entity.name, where, order: [], search: null, limit: ONE, backward: false, cursor: null },
    fields: [{ kind: 'nodes', responseKey: 'nodes', row }],
    path: `${base.responseKey}.to`,
  }
  return { to, pivot: { kind: 'row', id, list, uses, slot: to.index } }
}
