/**
 * From an operation and the structure of its variables to a bound plan: what each root field asks of every owner, which fields it uses where, and what it costs.
 * Nothing here knows who asks. A bound plan holds no value of a request: it is kept per (document, input shape) and serves all requests of that shape.
 */
import type { FieldNode, GraphQLInputType, GraphQLObjectType, GraphQLSchema, SelectionSetNode } from 'graphql'
import { getNamedType, isEnumType, isInputObjectType, isListType, isNonNullType, Kind, typeFromAST } from 'graphql'
import { GatewayError, invariant } from '../errors.js'
import type { Catalog, EntityType } from '../query/catalog.js'
import type {
  AggregateField,
  AggregatePlan,
  ConnectionField,
  EdgeField,
  GroupField,
  GroupKey,
  GroupOrder,
  Having,
  ListPlan,
  Measure,
  MeasureFunction,
  OrderKey,
  PageInfoField,
  RowField,
  RowSelection,
  TimeUnit,
} from '../query/plan.js'
import type { Operand, Predicate, Scalar } from '../query/predicate.js'
import { ALL, and, NONE, not, or } from '../query/predicate.js'
import type { ApiIndex } from './api-schema.js'
import { parseGlobalId } from '../query/global-id.js'
import type { Input, Place, Slot } from './input.js'
import { inputOf, placeOf } from './input.js'
import type { Operation } from './operation.js'

/** A place where the operation touches a field of a type. Everything but `select` is an input position. */
export interface FieldUse {
  readonly type: string
  readonly field: string
  readonly how: 'select' | 'equal' | 'range' | 'text' | 'null' | 'related' | 'order' | 'group' | 'measure' | 'countDistinct'
  readonly place: Place | null
}

interface RootBase {
  readonly responseKey: string
  readonly uses: readonly FieldUse[]
  readonly place: Place | null
}
export type BoundRoot =
  | (RootBase & { readonly kind: 'connection'; readonly list: ListPlan; readonly organizations: Operand | null })
  | (RootBase & { readonly kind: 'lookup'; readonly list: ListPlan; readonly organization: Operand })
  /** `node` and `nodes`: one list for each type that an id names. */
  | (RootBase & {
      readonly kind: 'nodes'
      readonly single: boolean
      readonly ids: Operand
      readonly lists: ReadonlyMap<string, { readonly list: ListPlan; readonly uses: readonly FieldUse[] }>
    })
  | (RootBase & { readonly kind: 'aggregate'; readonly aggregate: AggregatePlan; readonly organizations: Operand | null })
  | (RootBase & {
      readonly kind: 'organizations'
      readonly fields: readonly { readonly responseKey: string; readonly field: 'id' | 'name' | 'jurisdiction' | '__typename' }[]
    })
  | (RootBase & { readonly kind: 'typename' })
  | (RootBase & { readonly kind: 'introspection'; readonly nodes: readonly FieldNode[] })

/** What must hold of a value in each request, beyond its type. */
export interface ValueCheck {
  readonly operand: Operand
  readonly kind: 'rows' | 'nestedRows' | 'likePattern' | 'ids'
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
  readonly onForbidden: 'REFUSE' | 'EXCLUDE'
  readonly onUnavailable: 'REPORT' | 'EXCLUDE' | 'FAIL'
}

export interface BindParts {
  readonly schema: GraphQLSchema
  readonly catalog: Catalog
  readonly index: ApiIndex
  readonly limits: { readonly rows: number; readonly nestedRows: number; readonly defaultRows: number; readonly terms: number }
}

interface Binding extends BindParts {
  readonly operation: Operation
  readonly variables: Readonly<Record<string, unknown>>
  readonly slots: Slot[]
  readonly checks: ValueCheck[]
  uses: FieldUse[]
  terms: number
}

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
  return { roots, slots: context.slots, checks: context.checks, cost, ...sovereigntyOf(operation, context) }
}

/**
 * Names what of the variables a plan depends on: which are there and which are null, API enums, booleans, and the types of global ids; never other scalar values.
 */
export function inputShape(operation: Operation, variables: Readonly<Record<string, unknown>>, parts: BindParts): string {
  const marks: string[] = []
  for (const definition of operation.definition.variableDefinitions ?? []) {
    const name = definition.variable.name.value
    const type = typeFromAST(parts.schema, definition.type as Parameters<typeof typeFromAST>[1]) as GraphQLInputType | undefined
    invariant(type, 'validated variable type')
    marks.push(Object.hasOwn(variables, name) ? shapeOf(variables[name], type, parts) : '-')
  }
  return marks.join(';')
}

function shapeOf(value: unknown, type: GraphQLInputType, parts: BindParts): string {
  if (isNonNullType(type)) return shapeOf(value, type.ofType, parts)
  if (value === undefined) return '-'
  if (value === null) return 'n'
  const named = getNamedType(type)
  if (isListType(type)) {
    if (named.name === 'ID') return `[${[...new Set((value as unknown[]).map((id) => parseGlobalId(String(id))?.type ?? ''))].filter((name) => parts.catalog.entities.has(name)).sort().join(',')}]` // prettier-ignore
    if (isInputObjectType(named) || (isEnumType(named) && !parts.catalog.enums.has(named.name)))
      return `[${(value as unknown[]).map((item) => shapeOf(item, type.ofType, parts)).join(',')}]`
    return 'L'
  }
  if (isInputObjectType(type)) {
    const given = value as Record<string, unknown>
    const fields = Object.entries(type.getFields()).filter(([name]) => Object.hasOwn(given, name) && given[name] !== undefined)
    return `{${fields.map(([name, field]) => `${name}:${shapeOf(given[name], field.type, parts)}`).join(',')}}`
  }
  if (isEnumType(type) && !parts.catalog.enums.has(type.name)) return String(value)
  if (named.name === 'Boolean') return String(value)
  if (named.name === 'ID') {
    const typeName = parseGlobalId(String(value))?.type
    return typeName !== undefined && parts.catalog.entities.has(typeName) ? `i${typeName}` : 'v'
  }
  return 'v'
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
      return { root: { ...base, kind: 'connection', list, organizations: optionalOperand(args.get('organizations')) }, costs: [cost] }
    }
    case 'aggregate': {
      const entity = entityOf(entry.type, context)
      const { aggregate, cost } = bindAggregate(entity, nodes, args, { path: responseKey, nested: false }, context)
      return { root: { ...base, kind: 'aggregate', aggregate, organizations: optionalOperand(args.get('organizations')) }, costs: [cost] }
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
  return { list: { type: entity.name, where, order: [], limit, backward: false, cursor: null, fields, path }, cost: { rows: limit, fixed: 1, nested } }
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
  const list: ListPlan = { type: entity.name, where, order, limit, backward, cursor: cursor ? operandOf(cursor) : null, fields, path }
  return { list, cost: { rows: limit, fixed, nested: costs } }
}

const COUNT_COST = 10
const RELATED_TERMS = 5

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

const ONE: Operand = { kind: 'constant', value: 1 }

// --- where -----------------------------------------------------------------------------------------------------------------------------------------------------

function whereOf(entity: EntityType, input: Input | null, argument: string, context: Binding): Predicate {
  if (!input) return ALL
  invariant(input.kind === 'object', 'where is an object')
  const terms: Predicate[] = []
  for (const [name, value] of input.fields) {
    const path = `${argument}.${name}`
    if (++context.terms > context.limits.terms) throw refuse('QUERY_TOO_COSTLY', 'too many conditions', value.place, path)
    if (value.kind === 'null') throw refuse('BAD_USER_INPUT', 'null where a condition is expected', value.place, path)
    if (name === 'and' || name === 'or') {
      const parts = itemsOf(value).map((item, index) => whereOf(entity, notNull(item, path), `${path}.${index}`, context))
      terms.push(name === 'and' ? and(parts) : or(parts))
    } else if (name === 'not') terms.push(not(whereOf(entity, value, path, context)))
    else if (name === 'id') {
      for (const field of entity.key) context.uses.push({ type: entity.name, field, how: 'equal', place: value.place })
      terms.push(idFilter(value, path))
    } else {
      const field = entity.fields.get(name)
      invariant(field, `where knows ${name}`)
      if (field.kind === 'value')
        terms.push(filterOf({ type: entity.name, field: name, list: field.list, json: field.type.name === 'JSON' }, value, path, context))
      else {
        context.uses.push({ type: entity.name, field: name, how: 'related', place: value.place })
        context.terms += RELATED_TERMS
        const target = entityOf(field.target, context)
        if (field.kind === 'toOne') terms.push(related(name, whereOf(target, value, path, context)))
        else terms.push(quantified(name, target, value, path, context))
      }
    }
  }
  return and(terms)
}

function related(field: string, where: Predicate): Predicate {
  return where.kind === 'none' ? NONE : { kind: 'related', field, where }
}

function quantified(field: string, target: EntityType, input: Input, argument: string, context: Binding): Predicate {
  invariant(input.kind === 'object', 'quantifiers are an object')
  const terms: Predicate[] = []
  for (const [name, value] of input.fields) {
    const inner = whereOf(target, notNull(value, `${argument}.${name}`), `${argument}.${name}`, context)
    if (name === 'some') terms.push(related(field, inner))
    else if (name === 'none') terms.push(not(related(field, inner)))
    else terms.push(not(related(field, not(inner)))) // `every`: no related row that does not fit
  }
  return and(terms)
}

function idFilter(input: Input, argument: string): Predicate {
  return eachOperator(input, argument, (operator, operand) => {
    const list: Predicate = { kind: 'idIn', operand }
    return operator === 'ne' || operator === 'notIn' ? not(list) : list
  })
}

function filterOf(field: { type: string; field: string; list: boolean; json: boolean }, input: Input, argument: string, context: Binding): Predicate {
  const use = (how: FieldUse['how']): number => context.uses.push({ type: field.type, field: field.field, how, place: input.place })
  return eachOperator(input, argument, (operator, operand, value) => {
    const name = field.field
    switch (operator) {
      case 'eq':
      case 'ne':
        use('equal')
        return operator === 'eq' ? { kind: 'compare', field: name, op: '=', operand } : not({ kind: 'compare', field: name, op: '=', operand })
      case 'in':
      case 'notIn':
        use('equal')
        return operator === 'in' ? { kind: 'in', field: name, operand } : not({ kind: 'in', field: name, operand })
      case 'lt':
      case 'lte':
      case 'gt':
      case 'gte':
        use('range')
        return { kind: 'compare', field: name, op: COMPARE[operator], operand }
      case 'isNull':
        use('null')
        return value.current === true ? { kind: 'isNull', field: name } : not({ kind: 'isNull', field: name })
      case 'like':
      case 'ilike':
        use('text')
        context.checks.push({ operand, kind: 'likePattern', argument: `${argument}.${operator}` })
        return { kind: 'like', field: name, operand, fold: operator === 'ilike' }
      case 'startsWith':
        use('text')
        return { kind: 'startsWith', field: name, operand }
      case 'contains':
        use('text')
        return { kind: field.list ? 'listContains' : field.json ? 'jsonContains' : 'contains', field: name, operand }
      default:
        throw invariantFailure(`operator ${operator}`)
    }
  })
}

const COMPARE = { lt: '<', lte: '<=', gt: '>', gte: '>=' } as const

function eachOperator(
  input: Input,
  argument: string,
  term: (operator: string, operand: Operand, value: Extract<Input, { kind: 'leaf' }>) => Predicate,
): Predicate {
  invariant(input.kind === 'object', 'filter is an object')
  if (input.fields.size === 0) throw refuse('BAD_USER_INPUT', 'an empty filter', input.place, argument)
  return and(
    [...input.fields].map(([operator, value]) => {
      if (value.kind !== 'leaf') throw refuse('BAD_USER_INPUT', `null operand of \`${operator}\``, value.place, `${argument}.${operator}`)
      return term(operator, value.operand, value)
    }),
  )
}

// --- order -----------------------------------------------------------------------------------------------------------------------------------------------------

function orderOf(entity: EntityType, input: Input | null, argument: string, context: Binding): readonly OrderKey[] {
  if (!input) return []
  return itemsOf(input).map((item, index) => orderKey(entity, notNull(item, argument), [], `${argument}.${index}`, context))
}

function orderKey(entity: EntityType, input: Input, path: readonly string[], argument: string, context: Binding): OrderKey {
  invariant(input.kind === 'object', 'an order is an object')
  const [entry, ...others] = input.fields
  if (!entry || others.length > 0 || entry[1].kind === 'null') throw refuse('BAD_USER_INPUT', 'exactly one key in each order', input.place, argument)
  const [name, value] = entry
  const field = entity.fields.get(name)
  invariant(field, `order knows ${name}`)
  context.uses.push({ type: entity.name, field: name, how: field.kind === 'value' ? 'order' : 'related', place: value.place })
  if (field.kind !== 'value') return orderKey(entityOf(field.target, context), value, [...path, name], `${argument}.${name}`, context)
  return { path, field: name, ...directionOf(value) }
}

function directionOf(input: Input): Pick<OrderKey, 'descending' | 'nulls'> {
  invariant(input.kind === 'leaf', 'a direction')
  const direction = String(input.current)
  return {
    descending: direction === 'DESC' || direction === 'DESC_NULLS_LAST',
    nulls: direction === 'DESC' || direction === 'ASC_NULLS_FIRST' ? 'first' : 'last',
  }
}

// --- aggregates ------------------------------------------------------------------------------------------------------------------------------------------------

const MEASURE_FUNCTIONS: readonly string[] = ['sum', 'avg', 'min', 'max', 'countDistinct'] satisfies MeasureFunction[]

function bindAggregate(
  entity: EntityType,
  nodes: readonly FieldNode[],
  args: ReadonlyMap<string, Input>,
  position: { readonly path: string; readonly nested: boolean },
  context: Binding,
): { aggregate: AggregatePlan; cost: CostNode } {
  const { path, nested } = position
  const measures: Measure[] = []
  const place = placeOf(firstOf(nodes))
  const measure = (fn: MeasureFunction, field: string, where: Place | null): Measure => {
    const known = measures.find((candidate) => candidate.fn === fn && candidate.field === field)
    if (known) return known
    context.uses.push({ type: entity.name, field, how: fn === 'countDistinct' ? 'countDistinct' : 'measure', place: where })
    const made: Measure = { fn, field }
    measures.push(made)
    return made
  }
  const where = whereOf(entity, present(args.get('where')), `${path}.where`, context)
  const groupBy = groupKeysOf(entity, present(args.get('groupBy')), `${path}.groupBy`, context)
  const having = havingOf(present(args.get('having')), `${path}.having`, measure, context)
  const order = groupOrderOf(entity, present(args.get('orderBy')), groupBy, `${path}.orderBy`, measure, context)
  const first = present(args.get('first'))
  const limit: Operand = first ? operandOf(first) : { kind: 'constant', value: Math.min(context.limits.defaultRows, nested ? context.limits.nestedRows : context.limits.rows) }
  if (first) context.checks.push({ operand: limit, kind: nested ? 'nestedRows' : 'rows', argument: `${path}.first` })
  const object = context.schema.getType(`${entity.name}Aggregate`) as GraphQLObjectType
  const fields = [...fieldsOf(selectionsOf(nodes), object, context)].map(([responseKey, inner]): AggregateField => {
    if (firstOf(inner).name.value === '__typename') return { kind: 'typename', responseKey }
    return { kind: 'groups', responseKey, fields: groupFieldsOf(entity, inner, measure, context) }
  })
  const fixed = COUNT_COST * (1 + measures.length)
  return {
    aggregate: { type: entity.name, where, groupBy, measures, having, order, limit, fields },
    cost: { rows: groupBy.length === 0 ? ONE : limit, fixed, nested: [] },
  }

  function groupFieldsOf(type: EntityType, groupNodes: readonly FieldNode[], makeMeasure: typeof measure, inside: Binding): readonly GroupField[] {
    const group = inside.schema.getType(`${type.name}Group`) as GraphQLObjectType
    return [...fieldsOf(selectionsOf(groupNodes), group, inside)].map(([responseKey, inner]): GroupField => {
      const name = firstOf(inner).name.value
      if (name === '__typename') return { kind: 'typename', responseKey }
      if (name === 'count') return { kind: 'count', responseKey }
      const definition = group.getFields()[name]
      invariant(definition, `group has ${name}`)
      const parts = [...fieldsOf(selectionsOf(inner), getNamedType(definition.type) as GraphQLObjectType, inside)].map(([key, leaf]) => ({
        responseKey: key,
        field: firstOf(leaf).name.value,
      }))
      if (name === 'keys') return { kind: 'keys', responseKey, fields: parts.map((part) => ({ responseKey: part.responseKey, key: part.field })) }
      invariant(MEASURE_FUNCTIONS.includes(name), `measure ${name}`)
      const fn = name as MeasureFunction // just checked
      for (const part of parts) if (part.field !== '__typename') makeMeasure(fn, part.field, place)
      return { kind: fn, responseKey, fields: parts }
    })
  }
}

function groupKeysOf(entity: EntityType, input: Input | null, argument: string, context: Binding): readonly GroupKey[] {
  if (!input) return []
  const keys = itemsOf(input).map((item, index): GroupKey => {
    invariant(item.kind === 'object', 'a group key is an object')
    const field = groupField(entity, item.fields.get('field'), context)
    const unit = item.fields.get('unit')
    const timezone = item.fields.get('timezone')
    const definition = entity.fields.get(field)
    const isTime = definition?.kind === 'value' && ['DateTime', 'LocalDateTime', 'Date'].includes(definition.type.name)
    if ((unit?.kind === 'leaf' || timezone?.kind === 'leaf') && !isTime)
      throw refuse('BAD_USER_INPUT', '`unit` and `timezone` are for times only', item.place, `${argument}.${index}`)
    if (timezone?.kind === 'leaf' && unit?.kind !== 'leaf') throw refuse('BAD_USER_INPUT', '`timezone` needs a `unit`', item.place, `${argument}.${index}`)
    // The plan holds the zone as text, so a zone in a variable is part of the shape only when it is written in the document.
    if (timezone?.kind === 'leaf' && timezone.operand.kind !== 'constant')
      throw refuse('BAD_USER_INPUT', '`timezone` must be written in the document', item.place, `${argument}.${index}`)
    if (timezone?.kind === 'leaf' && !isTimezone(String(timezone.current)))
      throw refuse('BAD_USER_INPUT', 'unknown time zone', item.place, `${argument}.${index}.timezone`)
    if (field !== 'organization') context.uses.push({ type: entity.name, field, how: 'group', place: item.place })
    return {
      field,
      unit: unit?.kind === 'leaf' ? (String(unit.current) as TimeUnit) : null, // checked by the schema's enum
      timezone: timezone?.kind === 'leaf' ? String(timezone.current) : null,
    }
  })
  if (new Set(keys.map((key) => key.field)).size < keys.length) throw refuse('BAD_USER_INPUT', 'a field is grouped by twice', input.place, argument)
  return keys
}

function isTimezone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return /^[A-Za-z][A-Za-z0-9_+\-/]*$/.test(name)
  } catch {
    return false
  }
}

function groupField(entity: EntityType, input: Input | undefined, context: Binding): string {
  invariant(input?.kind === 'leaf', 'a group field')
  const field = context.index.types.get(entity.name)?.groupFields.get(String(input.current))
  invariant(field !== undefined, `group field ${String(input.current)}`)
  return field
}

function havingOf(
  input: Input | null,
  argument: string,
  measure: (fn: MeasureFunction, field: string, place: Place | null) => Measure,
  context: Binding,
): Having {
  if (!input) return { kind: 'all' }
  invariant(input.kind === 'object', 'having is an object')
  const terms: Having[] = []
  for (const [name, value] of input.fields) {
    const path = `${argument}.${name}`
    if (++context.terms > context.limits.terms) throw refuse('QUERY_TOO_COSTLY', 'too many conditions', value.place, path)
    if (value.kind === 'null') throw refuse('BAD_USER_INPUT', 'null where a condition is expected', value.place, path)
    if (name === 'and' || name === 'or')
      terms.push({ kind: name, terms: itemsOf(value).map((item, index) => havingOf(notNull(item, path), `${path}.${index}`, measure, context)) })
    else if (name === 'not') terms.push({ kind: 'not', term: havingOf(value, path, measure, context) })
    else if (name === 'count') terms.push(havingFilter('count', value, path))
    else {
      invariant(value.kind === 'object' && MEASURE_FUNCTIONS.includes(name), `having knows ${name}`)
      for (const [field, filter] of value.fields) {
        if (filter.kind === 'null') throw refuse('BAD_USER_INPUT', 'null where a condition is expected', filter.place, `${path}.${field}`)
        terms.push(havingFilter(measure(name as MeasureFunction, field, filter.place), filter, `${path}.${field}`))
      }
    }
  }
  return { kind: 'and', terms }
}

function havingFilter(of: 'count' | Measure, input: Input, argument: string): Having {
  invariant(input.kind === 'object', 'filter is an object')
  if (input.fields.size === 0) throw refuse('BAD_USER_INPUT', 'an empty filter', input.place, argument)
  const terms = [...input.fields].map(([operator, value]): Having => {
    if (value.kind !== 'leaf') throw refuse('BAD_USER_INPUT', `null operand of \`${operator}\``, value.place, `${argument}.${operator}`)
    const { operand } = value
    switch (operator) {
      case 'eq':
        return { kind: 'compare', of, op: '=', operand }
      case 'ne':
        return { kind: 'not', term: { kind: 'compare', of, op: '=', operand } }
      case 'in':
        return { kind: 'in', of, operand }
      case 'notIn':
        return { kind: 'not', term: { kind: 'in', of, operand } }
      case 'isNull':
        return value.current === true ? { kind: 'isNull', of } : { kind: 'not', term: { kind: 'isNull', of } }
      case 'lt':
      case 'lte':
      case 'gt':
      case 'gte':
        return { kind: 'compare', of, op: COMPARE[operator], operand }
      default:
        throw invariantFailure(`operator ${operator}`)
    }
  })
  return { kind: 'and', terms }
}

function groupOrderOf(
  entity: EntityType,
  input: Input | null,
  groupBy: readonly GroupKey[],
  argument: string,
  measure: (fn: MeasureFunction, field: string, place: Place | null) => Measure,
  context: Binding,
): readonly GroupOrder[] {
  if (!input) return []
  return itemsOf(input).map((item, index): GroupOrder => {
    invariant(item.kind === 'object', 'an order is an object')
    const [entry, ...others] = item.fields
    if (!entry || others.length > 0 || entry[1].kind === 'null')
      throw refuse('BAD_USER_INPUT', 'exactly one key in each order', item.place, `${argument}.${index}`)
    const [name, value] = entry
    if (name === 'count') return { by: { kind: 'count' }, ...directionOf(value) }
    invariant(value.kind === 'object', 'an order of groups')
    if (name === 'key') {
      const field = groupField(entity, value.fields.get('field'), context)
      const order = value.fields.get('order')
      invariant(order, 'order is required')
      if (!groupBy.some((key) => key.field === field))
        throw refuse('BAD_USER_INPUT', 'an order by a key that is not grouped by', item.place, `${argument}.${index}`)
      return { by: { kind: 'key', field }, ...directionOf(order) }
    }
    const [part, ...rest] = value.fields
    if (!part || rest.length > 0 || part[1].kind === 'null') throw refuse('BAD_USER_INPUT', 'exactly one key in each order', item.place, `${argument}.${index}`)
    return { by: { kind: 'measure', measure: measure(name as MeasureFunction, part[0], part[1].place) }, ...directionOf(part[1]) } // names of the generated input type
  })
}

// --- the document ----------------------------------------------------------------------------------------------------------------------------------------------

/** Fields of merged selection sets by response key, in the order of the answer (GraphQL specification, section 6.3.2, CollectFields). */
function fieldsOf(selections: readonly SelectionSetNode[], type: GraphQLObjectType, context: Binding): ReadonlyMap<string, FieldNode[]> {
  const fields = new Map<string, FieldNode[]>()
  const visited = new Set<string>()
  const visit = (set: SelectionSetNode): void => {
    for (const selection of set.selections) {
      if (!isIncluded(selection.directives ?? [], context)) continue
      if (selection.kind === Kind.FIELD) {
        const key = selection.alias?.value ?? selection.name.value
        const known = fields.get(key)
        if (known) known.push(selection)
        else fields.set(key, [selection])
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        if (applies(selection.typeCondition?.name.value, type)) visit(selection.selectionSet)
      } else if (!visited.has(selection.name.value)) {
        visited.add(selection.name.value)
        const fragment = context.operation.fragments.get(selection.name.value)
        if (fragment && applies(fragment.typeCondition.name.value, type)) visit(fragment.selectionSet)
      }
    }
  }
  selections.forEach(visit)
  return fields
}

function isIncluded(directives: NonNullable<FieldNode['directives']>, context: Binding): boolean {
  return directives.every((directive) => {
    const name = directive.name.value
    if (name !== 'skip' && name !== 'include') return true
    const argument = directive.arguments?.[0]?.value
    const condition = argument?.kind === Kind.VARIABLE ? context.variables[argument.name.value] : argument?.kind === Kind.BOOLEAN && argument.value
    if (typeof condition !== 'boolean') throw refuse('BAD_USER_INPUT', `null for \`@${name}\``, placeOf(directive), `@${name}.if`)
    return name === 'include' ? condition : !condition
  })
}

function applies(condition: string | undefined, type: GraphQLObjectType): boolean {
  return condition === undefined || condition === type.name || type.getInterfaces().some((candidate) => candidate.name === condition)
}

function argumentsOf(
  node: FieldNode,
  definitions: readonly { readonly name: string; readonly type: GraphQLInputType }[],
  context: Binding,
): ReadonlyMap<string, Input> {
  const inputs = new Map<string, Input>()
  for (const argument of node.arguments ?? []) {
    const definition = definitions.find((candidate) => candidate.name === argument.name.value)
    invariant(definition, 'validated argument')
    const input = inputOf(argument.value, definition.type, context)
    if (input) inputs.set(argument.name.value, { ...input, place: placeOf(argument) })
  }
  return inputs
}

function selectionsOf(nodes: readonly FieldNode[]): readonly SelectionSetNode[] {
  return nodes.flatMap((node) => (node.selectionSet ? [node.selectionSet] : []))
}

function firstOf(nodes: readonly FieldNode[]): FieldNode {
  const [node] = nodes
  invariant(node, 'a response key has a field')
  return node
}

function entityOf(name: string, context: BindParts): EntityType {
  const entity = context.catalog.entities.get(name)
  invariant(entity, `entity ${name}`)
  return entity
}

/** An argument that is null is one that was not given. */
function present(input: Input | undefined): Input | null {
  return input && input.kind !== 'null' ? input : null
}

function operandOf(input: Input | undefined): Operand {
  invariant(input?.kind === 'leaf', 'a scalar argument')
  return input.operand
}

function optionalOperand(input: Input | undefined): Operand | null {
  return input?.kind === 'leaf' ? input.operand : null
}

function itemsOf(input: Input): readonly Input[] {
  return input.kind === 'list' ? input.items : [input]
}

function notNull(input: Input, argument: string): Input {
  if (input.kind === 'null') throw refuse('BAD_USER_INPUT', 'null where a condition is expected', input.place, argument)
  return input
}

function refuse(code: 'BAD_USER_INPUT' | 'BAD_REQUEST' | 'QUERY_TOO_COSTLY', detail: string, place: Place | null, argument: string): GatewayError {
  return new GatewayError(code, detail, { argument, ...(place ? { locations: [place] } : {}) })
}

function invariantFailure(what: string): Error {
  return new Error(`invariant: unexpected ${what}`)
}
