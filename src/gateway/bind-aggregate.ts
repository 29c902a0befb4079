/** Groups, measures and conditions on groups. */
import type { FieldNode, GraphQLObjectType } from 'graphql'
import { getNamedType } from 'graphql'
import { invariant } from '../errors.js'
import type { EntityType } from '../query/catalog.js'
import type { AggregateField, AggregatePlan, GroupField, GroupKey, GroupOrder, Having, Measure, MeasureFunction, TimeUnit } from '../query/plan.js'
import type { Operand } from '../query/predicate.js'
import { isTimezone } from '../query/zone.js'
import { COMPARE, directionOf, whereOf } from './bind-where.js'
import type { CostNode } from './bound-plan.js'
import { type Binding, fieldsOf, firstOf, invariantFailure, itemsOf, notNull, operandOf, present, refuse, selectionsOf } from './document.js'
import { type Input, type Place, placeOf } from './input.js'

const MEASURE_FUNCTIONS: readonly string[] = ['sum', 'avg', 'min', 'max', 'countDistinct'] satisfies MeasureFunction[]

/** Notes a measure that the plan needs, once, and the use of its field. */
type MakeMeasure = (fn: MeasureFunction, field: string, place: Place | null) => Measure

export function bindAggregate(
  entity: EntityType,
  nodes: readonly FieldNode[],
  args: ReadonlyMap<string, Input>,
  position: { readonly path: string; readonly nested: boolean },
  context: Binding,
): { aggregate: AggregatePlan; cost: CostNode } {
  const { path, nested } = position
  const measures: Measure[] = []
  const measure: MakeMeasure = (fn, field, place) => {
    const known = measures.find((candidate) => candidate.fn === fn && candidate.field === field)
    if (known) return known
    context.uses.push({ type: entity.name, field, how: fn === 'countDistinct' ? 'countDistinct' : 'measure', place })
    const made: Measure = { fn, field }
    measures.push(made)
    return made
  }
  const where = whereOf(entity, present(args.get('where')), `${path}.where`, context)
  const groupBy = groupKeysOf(entity, present(args.get('groupBy')), `${path}.groupBy`, context)
  const having = havingOf(present(args.get('having')), `${path}.having`, measure, context)
  const order = groupOrderOf(entity, present(args.get('orderBy')), groupBy, `${path}.orderBy`, measure, context)
  const first = present(args.get('first'))
  const limit: Operand = first
    ? operandOf(first)
    : { kind: 'constant', value: Math.min(context.limits.defaultRows, nested ? context.limits.nestedRows : context.limits.rows) }
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
}

function groupFieldsOf(entity: EntityType, nodes: readonly FieldNode[], measure: MakeMeasure, context: Binding): readonly GroupField[] {
  const group = context.schema.getType(`${entity.name}Group`) as GraphQLObjectType
  return [...fieldsOf(selectionsOf(nodes), group, context)].map(([responseKey, inner]): GroupField => {
    const name = firstOf(inner).name.value
    if (name === '__typename') return { kind: 'typename', responseKey }
    if (name === 'count') return { kind: 'count', responseKey }
    const definition = group.getFields()[name]
    invariant(definition, `group has ${name}`)
    const parts = [...fieldsOf(selectionsOf(inner), getNamedType(definition.type) as GraphQLObjectType, context)].map(([key, leaf]) => ({
      responseKey: key,
      field: firstOf(leaf).name.value,
    }))
    if (name === 'keys') return { kind: 'keys', responseKey, fields: parts.map((part) => ({ responseKey: part.responseKey, key: part.field })) }
    invariant(MEASURE_FUNCTIONS.includes(name), `measure ${name}`)
    const fn = name as MeasureFunction // just checked
    for (const part of parts) if (part.field !== '__typename') measure(fn, part.field, placeOf(firstOf(inner)))
    return { kind: fn, responseKey, fields: parts }
  })
}

export function groupKeysOf(entity: EntityType, input: Input | null, argument: string, context: Binding): readonly GroupKey[] {
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

function groupField(entity: EntityType, input: Input | undefined, context: Binding): string {
  invariant(input?.kind === 'leaf', 'a group field')
  const field = context.index.types.get(entity.name)?.groupFields.get(String(input.current))
  invariant(field !== undefined, `group field ${String(input.current)}`)
  return field
}

function havingOf(input: Input | null, argument: string, measure: MakeMeasure, context: Binding): Having {
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
  measure: MakeMeasure,
  context: Binding,
): readonly GroupOrder[] {
  if (!input) return []
  return itemsOf(input).map((item, index): GroupOrder => {
    invariant(item.kind === 'object', 'an order is an object')
    if (++context.terms > context.limits.terms) throw refuse('QUERY_TOO_COSTLY', 'too many orders and conditions', item.place, `${argument}.${index}`)
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

export const COUNT_COST = 10

export const ONE: Operand = { kind: 'constant', value: 1 }
