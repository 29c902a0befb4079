/** JSON containment as PostgreSQL's `@>`, spelled out for one operand: its names and texts stand as literals. */
import { Decimal128 } from 'mongodb'
import { printDecimal } from '../../query/decimal.js'
import type { JsonValue } from '../../query/json-value.js'
import { allOf, anyOf, literal, type Template } from './template.js'

/** Only at the top a list also contains a scalar that is one of its items. */
export function containsExpression(whole: Template, part: JsonValue): Template {
  const deep = contains(whole, part, 0)
  return part.kind === 'object' || part.kind === 'list' ? deep : anyOf([deep, someItem(whole, part, 0)])
}

function contains(whole: Template, part: JsonValue, depth: number): Template {
  switch (part.kind) {
    case 'object':
      return allOf([isOf(whole, ['object']), ...[...part.members].map(([name, value]) => contains(memberOf(whole, name), value, depth))])
    case 'list':
      return allOf([isOf(whole, ['array']), ...part.items.map((item) => someItem(whole, item, depth))])
    case 'null':
      return isOf(whole, ['null'])
    case 'boolean':
      return { $eq: [whole, part.value] }
    case 'string':
      return { $eq: [whole, literal(part.value)] }
    case 'number': {
      const text = printDecimal(part.value)
      const digits = text.replace(/^-?0*\.?0*|\./g, '').replace(/0+$/, '')
      return (
        digits.length <= 34 && allOf([isOf(whole, ['int', 'long', 'double', 'decimal']), { $eq: [whole, literal(Decimal128.fromString(shortened(text)))] }])
      )
    }
  }
}

/** Zeros at the end of a whole number as an exponent: Decimal128 takes 34 digits. */
function shortened(text: string): string {
  const zeros = text.includes('.') ? 0 : (/0+$/.exec(text)?.[0].length ?? 0)
  return zeros > 0 && text.length > zeros + 1 ? `${text.slice(0, -zeros)}E${zeros}` : text
}

function isOf(value: Template, types: readonly string[]): Template {
  return { $in: [{ $type: value }, types] }
}

function memberOf(whole: Template, name: string): Template {
  const asObject = { $cond: [isOf(whole, ['object']), whole, {}] }
  // The first member of this name; none gives a type that no part has.
  const found = { $filter: { input: { $objectToArray: asObject }, as: 'member', cond: { $eq: ['$$member.k', literal(name)] } } }
  return {
    $let: {
      vars: { found },
      in: { $cond: [{ $eq: [{ $size: '$$found' }, 0] }, literal(ABSENT), { $getField: { field: 'v', input: { $arrayElemAt: ['$$found', 0] } } }] },
    },
  }
}

/** No JSON value is a time. */
const ABSENT = new Date(0)

function someItem(whole: Template, item: JsonValue, depth: number): Template {
  const name = `item${depth}`
  const items = { $cond: [{ $isArray: [whole] }, whole, []] }
  return { $anyElementTrue: [{ $map: { input: items, as: name, in: contains(`$$${name}`, item, depth + 1) } }] }
}
