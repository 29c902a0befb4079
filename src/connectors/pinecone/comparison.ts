/** What a comparison of a field with a value asks Pinecone for: of rows where it is TRUE, and of rows where it is FALSE. Neither has rows without the field. */
import type { ColumnBinding } from '../../query/binding.js'
import type { ValueField } from '../../query/catalog.js'
import { compareSortKeys, fitsOrder } from '../../query/order.js'
import type { CompareOp, Scalar } from '../../query/predicate.js'
import { operandSortKey } from '../../query/value.js'
import { filterTypeOf } from './metadata-type.js'
import { ASK_ALL, type Asked, type FieldFilter, type MetadataFilter } from './pushdown.js'

export interface Compared {
  readonly field: ValueField
  readonly column: Extract<ColumnBinding, { kind: 'column' }>
}

export interface Sides {
  readonly whenTrue: Asked
  readonly whenFalse: Asked
}

/** Of what is unknown neither is so. */
const UNKNOWN: Sides = { whenTrue: null, whenFalse: null }
const UNASKED: Sides = { whenTrue: ASK_ALL, whenFalse: ASK_ALL }

/** Beyond these the filter would be longer than what it saves; the service itself takes 10,000 items, and metadata of 40 KB. */
const ITEMS_MAX = 1_000
const TEXT_MAX = 10_000

export function comparison(of: Compared, op: CompareOp, scalar: Scalar): Sides {
  const sortKey = operandSortKey(of.field.type, 'text', scalar)
  if (sortKey === null) return UNKNOWN
  const { field, column } = of
  if (column.native === 'id') return op === '=' ? { whenTrue: withIds([sortKey]), whenFalse: ASK_ALL } : UNASKED
  const held = filterTypeOf(column.native)
  if (held === null || column.array || sortKey.length > TEXT_MAX) return UNASKED
  if (field.type.kind === 'enum') return namedSides(of, (name) => fitsOrder(op, compareSortKeys(field.type, name, sortKey)))
  if (held === 'number') return numberSides(column.column, op, Number(sortKey))
  if (op !== '=') return UNASKED
  const value = held === 'boolean' ? sortKey === 'true' : sortKey
  return { whenTrue: asked(column.column, { $eq: value }), whenFalse: knownAnd(column.column, { $ne: value }) }
}

export function membership(of: Compared, scalars: readonly Scalar[]): Sides {
  if (scalars.length === 0) return { whenTrue: null, whenFalse: ASK_ALL }
  const sortKeys = scalars.map((scalar) => operandSortKey(of.field.type, 'text', scalar))
  const known = sortKeys.filter((sortKey) => sortKey !== null)
  const sides = known.length === 0 ? UNKNOWN : membershipOf(of, known)
  // Unequal to all that are known may still be equal to what is not.
  return known.length === sortKeys.length ? sides : { whenTrue: sides.whenTrue, whenFalse: null }
}

function membershipOf(of: Compared, sortKeys: readonly string[]): Sides {
  const { field, column } = of
  if (column.native === 'id') return { whenTrue: withIds(sortKeys), whenFalse: ASK_ALL }
  const held = filterTypeOf(column.native)
  if (held === null || held === 'boolean' || column.array || sortKeys.length > ITEMS_MAX || sortKeys.some(({ length }) => length > TEXT_MAX)) return UNASKED
  if (field.type.kind === 'enum') return namedSides(of, (name) => sortKeys.includes(name))
  return itemSides(column.column, held === 'number' ? sortKeys.map(Number) : sortKeys)
}

/** Every element of the operand is an element of the stored list, which fits `$eq` of each that it has. */
export function holdsAll({ field, column }: Compared, scalars: readonly Scalar[]): Sides {
  const sortKeys = scalars.map((scalar) => operandSortKey(field.type, 'text', scalar))
  const known = sortKeys.filter((sortKey) => sortKey !== null)
  const whenTrue = (): Asked => {
    if (known.length < sortKeys.length) return null
    if (filterTypeOf(column.native) === null || known.length === 0 || known.length > ITEMS_MAX || known.some(({ length }) => length > TEXT_MAX)) return ASK_ALL
    const [first, ...others] = known.map((value): MetadataFilter => ({ [column.column]: { $eq: value } }))
    return { ids: null, filter: others.length === 0 && first ? first : { $and: first ? [first, ...others] : others } }
  }
  return { whenTrue: whenTrue(), whenFalse: ASK_ALL }
}

/** Any set of texts; those that are no ids are fetched in vain. */
export function withIds(ids: readonly string[]): Asked {
  return { ids: new Set(ids), filter: null }
}

const OPERATORS = {
  '=': { whenTrue: (value: number): FieldFilter => ({ $eq: value }), whenFalse: (value: number): FieldFilter => ({ $ne: value }) },
  '<': { whenTrue: (value: number): FieldFilter => ({ $lt: value }), whenFalse: (value: number): FieldFilter => ({ $gte: value }) },
  '<=': { whenTrue: (value: number): FieldFilter => ({ $lte: value }), whenFalse: (value: number): FieldFilter => ({ $gt: value }) },
  '>': { whenTrue: (value: number): FieldFilter => ({ $gt: value }), whenFalse: (value: number): FieldFilter => ({ $lte: value }) },
  '>=': { whenTrue: (value: number): FieldFilter => ({ $gte: value }), whenFalse: (value: number): FieldFilter => ({ $lt: value }) },
} as const

/** Doubles on both sides, none of them NaN: JSON has none. */
function numberSides(name: string, op: CompareOp, value: number): Sides {
  const { whenTrue, whenFalse } = OPERATORS[op]
  return { whenTrue: asked(name, whenTrue(value)), whenFalse: op === '=' ? knownAnd(name, whenFalse(value)) : asked(name, whenFalse(value)) }
}

/** Of an enum: as its names are stored. */
function namedSides({ field, column }: Compared, fits: (name: string) => boolean): Sides {
  if (field.type.kind !== 'enum') return UNASKED
  const names: ReadonlyMap<string, string> = column.values ?? new Map(field.type.values.map((name) => [name, name]))
  const stored = (wanted: boolean): readonly (string | number)[] =>
    [...names].flatMap(([text, name]) => (fits(name) === wanted ? [filterTypeOf(column.native) === 'number' ? Number(text) : text] : []))
  const side = (items: readonly (string | number)[]): Asked => (items.length === 0 ? null : asked(column.column, { $in: items }))
  return { whenTrue: side(stored(true)), whenFalse: side(stored(false)) }
}

function itemSides(name: string, items: readonly (string | number)[]): Sides {
  return { whenTrue: asked(name, { $in: items }), whenFalse: knownAnd(name, { $nin: items }) }
}

/** What `$ne` and `$nin` say of a record without the field is not documented. */
function knownAnd(name: string, filter: FieldFilter): Asked {
  return { ids: null, filter: { $and: [{ [name]: { $exists: true } }, { [name]: filter }] } }
}

function asked(name: string, filter: FieldFilter): Asked {
  return { ids: null, filter: { [name]: filter } }
}
