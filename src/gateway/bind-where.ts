/** Conditions and orders of an operation as predicates and sort keys. */
import { invariant } from '../errors.js'
import type { EntityType } from '../query/catalog.js'
import type { OrderKey } from '../query/plan.js'
import { ALL, and, NONE, not, type Operand, or, type Predicate } from '../query/predicate.js'
import type { FieldUse } from './bound-plan.js'
import { type Binding, entityOf, invariantFailure, itemsOf, notNull, refuse } from './document.js'
import type { Input } from './input.js'

export function whereOf(entity: EntityType, input: Input | null, argument: string, context: Binding): Predicate {
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

export const COMPARE = { lt: '<', lte: '<=', gt: '>', gte: '>=' } as const

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

export function orderOf(entity: EntityType, input: Input | null, argument: string, context: Binding): readonly OrderKey[] {
  if (!input) return []
  return itemsOf(input).map((item, index) => orderKey(entity, notNull(item, argument), [], `${argument}.${index}`, context))
}

function orderKey(entity: EntityType, input: Input, path: readonly string[], argument: string, context: Binding): OrderKey {
  invariant(input.kind === 'object', 'an order is an object')
  if (++context.terms > context.limits.terms) throw refuse('QUERY_TOO_COSTLY', 'too many orders and conditions', input.place, argument)
  const [entry, ...others] = input.fields
  if (!entry || others.length > 0 || entry[1].kind === 'null') throw refuse('BAD_USER_INPUT', 'exactly one key in each order', input.place, argument)
  const [name, value] = entry
  const field = entity.fields.get(name)
  invariant(field, `order knows ${name}`)
  context.uses.push({ type: entity.name, field: name, how: field.kind === 'value' ? 'order' : 'related', place: value.place })
  if (field.kind !== 'value') return orderKey(entityOf(field.target, context), value, [...path, name], `${argument}.${name}`, context)
  return { path, field: name, ...directionOf(value) }
}

export function directionOf(input: Input): Pick<OrderKey, 'descending' | 'nulls'> {
  invariant(input.kind === 'leaf', 'a direction')
  const direction = String(input.current)
  return {
    descending: direction === 'DESC' || direction === 'DESC_NULLS_LAST',
    nulls: direction === 'DESC' || direction === 'ASC_NULLS_FIRST' ? 'first' : 'last',
  }
}

const RELATED_TERMS = 5
