/**
 * From an operation and the structure of its variables to a bound plan: what each root field asks of every owner, which fields it uses where, and what it costs.
 * Nothing here knows who asks. A bound plan holds no value of a request: it is kept per (document, input shape) and serves all requests of that shape.
 */
import type { FieldNode, GraphQLObjectType, SelectionSetNode } from 'graphql'
import { getNamedType } from 'graphql'
import { invariant } from '../errors.js'
import type { EntityType } from '../query/catalog.js'
import { parseGlobalId } from '../query/global-id.js'
import type { ConnectionField, EdgeField, ListPlan, PageInfoField, RowField, RowSelection } from '../query/plan.js'
import { and, type Operand, type Predicate, type Scalar } from '../query/predicate.js'
import { bindAggregate, COUNT_COST, ONE } from './bind-aggregate.js'
import { bindNearest } from './bind-nearest.js'
import { bindSeries } from './bind-series.js'
import { bindTraversal } from './bind-traversal.js'
import { orderOf, whereOf } from './bind-where.js'
import type { BoundPlan, BoundRoot, CostNode, FieldUse, RootBase } from './bound-plan.js'
import {
  argumentsOf,
  type BindParts,
  type Binding,
  entityOf,
  fieldsOf,
  firstOf,
  operandOf,
  optionalOperand,
  present,
  refuse,
  selectionsOf,
} from './document.js'
import { type Input, inputOf, placeOf } from './input.js'
import type { Operation } from './operation.js'
import { listsWithCursors } from './page-position.js'

/**
 * @param variables coerced by graphql-js; scalars canonical.
 * @throws GatewayError BAD_USER_INPUT, BAD_REQUEST, QUERY_TOO_COSTLY
 */
export function bind(operation: Operation, variables: Readonly<Record<string, unknown>>, parts: BindParts): BoundPlan {
  const context: Binding = { ...parts, operation, variables, slots: [], checks: [], uses: [], terms: 0 }
  const roots: BoundRoot[] = []
  const cost: CostNode[] = []
  const queryType = parts.schema.getQueryType()
  invariant(queryType, 'schema has a query type')
  for (const [responseKey, nodes] of fieldsOf([operation.definition.selectionSet], queryType, context)) {
    context.uses = []
    const { root, costs } = bindRoot(responseKey, nodes, queryType, context)
    roots.push(root)
    cost.push(...costs)
  }
  const hasPivots = roots.some((root) => root.kind === 'connection' && root.pivot !== null)
  const facts = { hasCursors: roots.some(hasCursor), hasPivots, namesVary: roots.some(namesVary) }
  return { roots, slots: context.slots, checks: context.checks, cost, ...facts, ...sovereigntyOf(operation, context) }
}

function hasCursor(root: BoundRoot): boolean {
  const lists = root.kind === 'nodes' ? [...root.lists.values()].map(({ list }) => list) : 'list' in root ? [root.list] : []
  return lists.some((list) => listsWithCursors(list).length > 0)
}

function namesVary(root: BoundRoot): boolean {
  if (root.kind === 'nodes') return true
  if (root.kind === 'lookup') return root.organization.kind !== 'constant'
  if (root.kind === 'connection' && root.pivot?.kind === 'row') return true
  return 'organizations' in root && root.organizations !== null && root.organizations.kind !== 'constant'
}

function sovereigntyOf(operation: Operation, context: Binding): Pick<BoundPlan, 'onForbidden' | 'onUnavailable'> {
  const directive = operation.definition.directives?.find((node) => node.name.value === 'sovereignty')
  const definition = context.schema.getDirective('sovereignty')
  const read = (name: string): string | null => {
    const argument = directive?.arguments?.find((node) => node.name.value === name)
    const type = definition?.args.find((candidate) => candidate.name === name)?.type
    const input = argument && type ? inputOf(argument.value, type, context) : undefined
    return input?.kind === 'leaf' ? String(input.current) : null
  }
  return {
    onForbidden: (read('onForbidden') ?? 'REFUSE') as BoundPlan['onForbidden'], // checked by the schema's enum
    onUnavailable: (read('onUnavailable') ?? 'REPORT') as BoundPlan['onUnavailable'],
  }
}

function bindRoot(
  responseKey: string,
  nodes: readonly FieldNode[],
  queryType: GraphQLObjectType,
  context: Binding,
): { root: BoundRoot; costs: readonly CostNode[] } {
  const node = firstOf(nodes)
  const base = { responseKey, uses: context.uses, place: placeOf(node) }
  const name = node.name.value
  if (name === '__typename') return { root: { ...base, kind: 'typename' }, costs: [] }
  if (name === '__schema' || name === '__type') return { root: { ...base, kind: 'introspection', nodes }, costs: [] }
  const entry = context.index.roots.get(name)
  const definition = queryType.getFields()[name]
  invariant(entry && definition, `root field ${name} is known`)
  const args = argumentsOf(node, definition.args, context)
  switch (entry.kind) {
    case 'organizations': {
      const type = getNamedType(definition.type) as GraphQLObjectType
      const fields = [...fieldsOf(selectionsOf(nodes), type, context)].map(([key, inner]) => ({ responseKey: key, field: firstOf(inner).name.value as 'id' }))
      return { root: { ...base, kind: 'organizations', fields }, costs: [] }
    }
    case 'lookup': {
      const entity = entityOf(entry.type, context)
      const terms = entity.key.map((field): Predicate => ({ kind: 'compare', field, op: '=', operand: operandOf(args.get(field)) }))
      for (const field of entity.key) context.uses.push({ type: entity.name, field, how: 'equal', place: base.place })
      const { list, cost } = rowsByKey(entity, and(terms), nodes, responseKey, context)
      return { root: { ...base, kind: 'lookup', list, organization: operandOf(args.get('organization')) }, costs: [cost] }
    }
    case 'node':
    case 'nodes':
      return bindNodes(entry.kind, args, nodes, base, context)
    case 'connection': {
      const entity = entityOf(entry.type, context)
      const { list, cost } = bindList(entity, nodes, args, { path: responseKey, nested: false }, context)
      return { root: { ...base, kind: 'connection', list, organizations: optionalOperand(args.get('organizations')), pivot: null }, costs: [cost] }
    }
    case 'nearest': {
      const { root, cost } = bindNearest(entityOf(entry.type, context), nodes, args, base, bindRow, context)
      return { root, costs: [cost] }
    }
    case 'aggregate': {
      const entity = entityOf(entry.type, context)
      const { aggregate, cost } = bindAggregate(entity, nodes, args, { path: responseKey, nested: false }, context)
      return { root: { ...base, kind: 'aggregate', aggregate, organizations: optionalOperand(args.get('organizations')) }, costs: [cost] }
    }
    case 'series': {
      const { series, cost } = bindSeries(entityOf(entry.type, context), nodes, args, responseKey, context)
      return { root: { ...base, kind: 'series', series, organizations: optionalOperand(args.get('organizations')) }, costs: [cost] }
    }
  }
}

function bindNodes(
  kind: 'node' | 'nodes',
  args: ReadonlyMap<string, Input>,
  nodes: readonly FieldNode[],
  base: RootBase,
  context: Binding,
): { root: BoundRoot; costs: readonly CostNode[] } {
  const input = args.get(kind === 'node' ? 'id' : 'ids')
  invariant(input?.kind === 'leaf', 'ids are required')
  const ids = [input.current].flat() as Scalar[]
  const limit = context.limits.rows
  context.checks.push({ operand: input.operand, kind: 'ids', argument: `${base.responseKey}.ids` })
  const lists = new Map<string, { list: ListPlan; uses: readonly FieldUse[] }>()
  const costs: CostNode[] = []
  for (const typeName of new Set(ids.map((id) => parseGlobalId(String(id))?.type))) {
    const entity = typeName === undefined ? undefined : context.catalog.entities.get(typeName)
    if (!entity) continue
    context.uses = []
    const { list, cost } = rowsByKey(entity, { kind: 'idIn', operand: input.operand }, nodes, base.responseKey, context)
    for (const field of entity.key) context.uses.push({ type: entity.name, field, how: 'equal', place: base.place })
    lists.set(entity.name, { list: { ...list, limit: { kind: 'constant', value: Math.max(1, limit) } }, uses: context.uses })
    costs.push({ ...cost, rows: input.operand })
  }
  return { root: { ...base, kind: 'nodes', single: kind === 'node', ids: input.operand, lists }, costs }
}

/** A list that stands for a lookup: its rows are told by key, each selected as the field itself is. */
function rowsByKey(entity: EntityType, where: Predicate, nodes: readonly FieldNode[], path: string, context: Binding): { list: ListPlan; cost: CostNode } {
  const { row, nested } = bindRow(entity, selectionsOf(nodes), path, context)
  const limit: Operand = { kind: 'constant', value: 1 }
  const fields: ConnectionField[] = [{ kind: 'nodes', responseKey: 'nodes', row }]
  return {
    list: { type: entity.name, where, order: [], search: null, limit, backward: false, cursor: null, fields, path },
    cost: { rows: limit, fixed: 1, nested },
  }
}

function bindList(
  entity: EntityType,
  nodes: readonly FieldNode[],
  args: ReadonlyMap<string, Input>,
  position: { readonly path: string; readonly nested: boolean },
  context: Binding,
): { list: ListPlan; cost: CostNode } {
  const { path, nested } = position
  const first = present(args.get('first'))
  const last = present(args.get('last'))
  const after = present(args.get('after'))
  const before = present(args.get('before'))
  if (first && last) throw refuse('BAD_REQUEST', '`first` with `last`', last.place, `${path}.last`)
  const backward = last !== null
  if (backward ? after : before) throw refuse('BAD_REQUEST', '`after` goes with `first`, `before` with `last`', (after ?? before)?.place ?? null, path)
  const size = first ?? last
  const limit: Operand = size
    ? operandOf(size)
    : { kind: 'constant', value: Math.min(context.limits.defaultRows, nested ? context.limits.nestedRows : context.limits.rows) }
  if (size) context.checks.push({ operand: limit, kind: nested ? 'nestedRows' : 'rows', argument: `${path}.${backward ? 'last' : 'first'}` })
  const where = whereOf(entity, present(args.get('where')), `${path}.where`, context)
  const order = orderOf(entity, present(args.get('orderBy')), `${path}.orderBy`, context)
  const connection = context.schema.getType(`${entity.name}Connection`) as GraphQLObjectType
  const fields: ConnectionField[] = []
  const costs: CostNode[] = []
  let fixed = 1
  for (const [responseKey, inner] of fieldsOf(selectionsOf(nodes), connection, context)) {
    const name = firstOf(inner).name.value
    if (name === '__typename') fields.push({ kind: 'typename', responseKey })
    else if (name === 'totalCount') {
      fields.push({ kind: 'totalCount', responseKey })
      fixed += COUNT_COST
    } else if (name === 'nodes') {
      const { row, nested: rows } = bindRow(entity, selectionsOf(inner), `${path}.${responseKey}`, context)
      fields.push({ kind: 'nodes', responseKey, row })
      costs.push(...rows)
    } else if (name === 'edges') {
      const edges = bindEdges(entity, inner, `${path}.${responseKey}`, context)
      fields.push({ kind: 'edges', responseKey, fields: edges.fields })
      costs.push(...edges.nested)
    } else {
      const pageInfo = context.schema.getType('PageInfo') as GraphQLObjectType
      const infos = [...fieldsOf(selectionsOf(inner), pageInfo, context)].map(([key, nodesOfKey]): PageInfoField => {
        const field = firstOf(nodesOfKey).name.value
        return { kind: field === '__typename' ? 'typename' : (field as 'hasNextPage'), responseKey: key } // the schema has no other field
      })
      fields.push({ kind: 'pageInfo', responseKey, fields: infos })
    }
  }
  const cursor = backward ? before : after
  const list: ListPlan = { type: entity.name, where, order, search: null, limit, backward, cursor: cursor ? operandOf(cursor) : null, fields, path }
  return { list, cost: { rows: limit, fixed, nested: costs } }
}

function bindEdges(
  entity: EntityType,
  nodes: readonly FieldNode[],
  path: string,
  context: Binding,
): { fields: readonly EdgeField[]; nested: readonly CostNode[] } {
  const edge = context.schema.getType(`${entity.name}Edge`) as GraphQLObjectType
  const fields: EdgeField[] = []
  const nested: CostNode[] = []
  for (const [responseKey, inner] of fieldsOf(selectionsOf(nodes), edge, context)) {
    const name = firstOf(inner).name.value
    if (name === 'node') {
      const bound = bindRow(entity, selectionsOf(inner), `${path}.${responseKey}`, context)
      fields.push({ kind: 'node', responseKey, row: bound.row })
      nested.push(...bound.nested)
    } else fields.push(name === 'cursor' ? { kind: 'cursor', responseKey } : { kind: 'typename', responseKey })
  }
  return { fields, nested }
}

function bindRow(
  entity: EntityType,
  selections: readonly SelectionSetNode[],
  path: string,
  context: Binding,
): { row: RowSelection; nested: readonly CostNode[] } {
  const object = context.schema.getType(entity.name) as GraphQLObjectType
  const fields: RowField[] = []
  const nested: CostNode[] = []
  for (const [responseKey, nodes] of fieldsOf(selections, object, context)) {
    const node = firstOf(nodes)
    const name = node.name.value
    const place = placeOf(node)
    if (name === '__typename') fields.push({ kind: 'typename', responseKey })
    else if (name === 'id') {
      for (const field of entity.key) context.uses.push({ type: entity.name, field, how: 'select', place })
      fields.push({ kind: 'id', responseKey })
    } else if (name === 'organization') fields.push({ kind: 'organization', responseKey })
    else {
      const entry = context.index.types.get(entity.name)?.fields.get(name)
      if (entry?.kind === 'traversal') {
        const args = argumentsOf(node, object.getFields()[name]?.args ?? [], context)
        const { traversal, costs } = bindTraversal(entity, nodes, args, `${path}.${responseKey}`, bindRow, context)
        fields.push({ kind: 'traversal', responseKey, traversal })
        nested.push(...costs)
        continue
      }
      const field = entry && 'field' in entry ? entry.field : undefined
      if (!entry || !field) {
        fields.push({ kind: 'absent', responseKey })
        continue
      }
      context.uses.push({ type: entity.name, field: field.name, how: 'select', place })
      const args = argumentsOf(node, object.getFields()[name]?.args ?? [], context)
      if (field.kind === 'value') fields.push({ kind: 'value', responseKey, field: name })
      else {
        const target = entityOf(field.target, context)
        if (field.kind === 'toOne') {
          const bound = bindRow(target, selectionsOf(nodes), `${path}.${responseKey}`, context)
          fields.push({ kind: 'toOne', responseKey, field: name, row: bound.row })
          nested.push({ rows: ONE, fixed: 1, nested: bound.nested })
        } else if (entry.kind === 'aggregate') {
          const bound = bindAggregate(target, nodes, args, { path: `${path}.${responseKey}`, nested: true }, context)
          fields.push({ kind: 'aggregate', responseKey, field: field.name, aggregate: bound.aggregate })
          nested.push(bound.cost)
        } else if (entry.kind === 'series') {
          const bound = bindSeries(target, nodes, args, `${path}.${responseKey}`, context)
          fields.push({ kind: 'series', responseKey, field: field.name, series: bound.series })
          nested.push(bound.cost)
        } else {
          const bound = bindList(target, nodes, args, { path: `${path}.${responseKey}`, nested: true }, context)
          fields.push({ kind: 'list', responseKey, field: name, list: bound.list })
          nested.push(bound.cost)
        }
      }
    }
  }
  return { row: { type: entity.name, fields }, nested }
}
