/** Which fields of the contract can be read from which columns. */
import type { BuiltinScalar, ValueField, ValueType, VectorMetric, VectorSpace } from '../../query/catalog.js'
import type { ColumnDescription, TableDescription } from './describe.js'
import { listed } from './finding.js'

/** A column as a binding uses it. */
export interface ColumnUse {
  readonly column: ColumnDescription
  readonly values: ReadonlyMap<string, string> | null
  readonly multiply: string | null
}

const INTEGERS: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint'])
const TEXTS: ReadonlySet<string> = new Set(['text', 'character varying', 'character', 'name'])

/** Where the extension is installed decides its schema. */
export function isText(column: ColumnDescription): boolean {
  return TEXTS.has(column.native) || /(^|\.)citext$/.test(column.native)
}

/** What each scalar is read from, in words; `fits` says the same. */
const READ_FROM: Readonly<Record<BuiltinScalar, string>> = {
  ID: 'text, integers, uuid',
  String: 'text, character varying, character, citext, enum types',
  Int: 'smallint, integer',
  Float: 'real, double precision',
  Boolean: 'boolean',
  BigInt: 'smallint, integer, bigint, numeric without a fraction',
  Decimal: 'numeric, smallint, integer, bigint',
  DateTime: 'timestamp with time zone',
  LocalDateTime: 'timestamp without time zone',
  Date: 'date',
  UUID: 'uuid',
  JSON: 'json, jsonb',
  Vector: 'real[], and vector or halfvec of pgvector with its dimensions',
}

function fits(scalar: BuiltinScalar, column: ColumnDescription): boolean {
  const { native } = column
  switch (scalar) {
    case 'ID':
      return isText(column) || INTEGERS.has(native) || native === 'uuid'
    case 'String':
      return isText(column) || column.labels !== null
    case 'Int':
      return native === 'smallint' || native === 'integer'
    case 'Float':
      return native === 'real' || native === 'double precision'
    case 'Boolean':
      return native === 'boolean'
    case 'BigInt':
      return INTEGERS.has(native) || /^numeric\(\d+,0\)(\[\])?$/.test(column.declared)
    case 'Decimal':
      return native === 'numeric' || INTEGERS.has(native)
    case 'DateTime':
      return native === 'timestamp with time zone'
    case 'LocalDateTime':
      return native === 'timestamp without time zone'
    case 'Date':
      return native === 'date'
    case 'UUID':
      return native === 'uuid'
    case 'JSON':
      return native === 'json' || native === 'jsonb'
    case 'Vector':
      return column.array ? native === 'real' : dimensionsOf(column) !== null
  }
}

/** Of a column of pgvector that says how many dimensions its vectors have. */
function dimensionsOf({ declared }: ColumnDescription): number | null {
  const [, dimensions] = /(?:^|\.)(?:vector|halfvec)\((\d+)\)$/.exec(declared) ?? []
  return dimensions === undefined ? null : Number(dimensions)
}

/** The scalar that holds all values of the column; null where there is none. Enum types are `String` here. */
export function naturalScalar(column: ColumnDescription): BuiltinScalar | null {
  const inOrder: readonly BuiltinScalar[] = ['Int', 'BigInt', 'Decimal', 'Float', 'Boolean', 'DateTime', 'LocalDateTime', 'Date', 'UUID', 'JSON', 'String']
  return inOrder.find((scalar) => fits(scalar, column)) ?? null
}

export interface Misfit {
  readonly problem: string
  readonly hint: string
}

/** Why the field cannot be read from the column; null where it can. */
export function misfitOf(field: ValueField, use: ColumnUse): Misfit | null {
  const { column, values, multiply } = use
  const { type } = field
  if (field.vector) return vectorMisfit(field, field.vector, use)
  if (field.list !== column.array) {
    return {
      problem: `\`${field.name}\` is ${field.list ? 'a list' : 'no list'}, the column is \`${column.declared}\``,
      hint: field.list ? 'bind an array column' : 'bind a column that is no array',
    }
  }
  if (field.list && (values || multiply !== null)) return { problem: '`values` and `multiply` are not for lists', hint: 'convert the elements in a view' }
  if (multiply !== null) {
    const isDecimal = type.name === 'Decimal' && fits('Decimal', column)
    return isDecimal ? null : { problem: '`multiply` makes a Decimal of a number', hint: 'use it for a field of type `Decimal` over numeric or an integer' }
  }
  if (type.kind === 'enum') return enumMisfit(field, type, use)
  if (values) return { problem: '`values` is for enums', hint: 'take it out, or convert in a view' }
  if (fits(type.name, column)) return null
  const natural = naturalScalar(column)
  return {
    problem: `\`${type.name}\` cannot be read from \`${column.declared}\``,
    hint: `it is read from ${READ_FROM[type.name]}; bind another column or a view that converts it${natural ? `, or say \`${natural}\` in the contract` : ''}`,
  }
}

function vectorMisfit(field: ValueField, { dimensions }: VectorSpace, { column, values, multiply }: ColumnUse): Misfit | null {
  if (values || multiply !== null) return { problem: '`values` and `multiply` are not for vectors', hint: 'take them out' }
  if (!fits('Vector', column)) return { problem: `\`Vector\` cannot be read from \`${column.declared}\``, hint: `it is read from ${READ_FROM.Vector}` }
  const held = column.array ? dimensions : dimensionsOf(column)
  if (held === dimensions) return null
  return { problem: `\`${field.name}\` has ${dimensions} dimensions, the column ${held}`, hint: 'bind a column of vectors that the same model made' }
}

/** Metrics by which an approximate index of pgvector over all rows finds what is near. */
export function nearMetrics(column: string, { indexes }: TableDescription): readonly VectorMetric[] {
  return indexes.flatMap(({ method, partial, columns: [only, ...others] }) => {
    if (partial || others.length > 0 || only?.column !== column || (method !== 'hnsw' && method !== 'ivfflat')) return []
    return NEAR_METRICS.get(only.operatorClass) ?? []
  })
}

const NEAR_METRICS: ReadonlyMap<string, VectorMetric> = new Map([
  ['vector_cosine_ops', 'COSINE'],
  ['vector_l2_ops', 'L2'],
  ['vector_ip_ops', 'INNER_PRODUCT'],
])

function enumMisfit(field: ValueField, type: Extract<ValueType, { kind: 'enum' }>, { column, values }: ColumnUse): Misfit | null {
  if (!values) {
    if (!isText(column) && column.labels === null) {
      return {
        problem: `\`${type.name}\` cannot be read from \`${column.declared}\` by name`,
        hint: `write \`{ column: ${column.name}, values: { stored: NAME } }\``,
      }
    }
    const strange = (column.labels ?? []).filter((label) => !type.values.includes(label))
    const hint = `map ${listed(strange)} with \`values\`, or add ${strange.length === 1 ? 'it' : 'them'} to \`${type.name}\``
    return strange.length > 0 && (field.required || field.list)
      ? { problem: `the column can hold ${listed(strange)}, which \`${type.name}\` does not have`, hint }
      : null
  }
  if (!isText(column) && column.labels === null && !INTEGERS.has(column.native)) {
    return { problem: `\`values\` cannot be read from \`${column.declared}\``, hint: 'bind a column of text, an enum type or integers' }
  }
  const unknown = [...values.values()].filter((name) => !type.values.includes(name))
  if (unknown.length > 0) return { problem: `\`${type.name}\` does not have ${listed(unknown)}`, hint: `its values are ${listed(type.values)}` }
  const impossible = [...values.keys()].filter((stored) => !canHold(column, stored))
  if (impossible.length > 0)
    return { problem: `\`${column.declared}\` cannot hold ${listed(impossible)}`, hint: 'write the stored values as the database prints them' }
  const left = (column.labels ?? []).filter((label) => !values.has(label))
  return field.required && left.length > 0
    ? { problem: `\`values\` leaves out ${listed(left)}, and the field has \`!\``, hint: 'give each of them a name' }
    : null
}

function canHold(column: ColumnDescription, stored: string): boolean {
  if (column.labels) return column.labels.includes(stored)
  if (isText(column)) return !stored.includes('\0')
  const bits = { smallint: 16, integer: 32, bigint: 64 }[column.native] ?? 0
  return /^(0|-?[1-9]\d{0,18})$/.test(stored) && BigInt.asIntN(bits, BigInt(stored)) === BigInt(stored)
}

/** Labels of an enum type that the contract does not have read as null, as stored values do that `values` does not list. */
export function valuesOf(field: ValueField, { column, values }: ColumnUse): ReadonlyMap<string, string> | null {
  const { type } = field
  if (values || type.kind !== 'enum' || !column.labels) return values
  const known = column.labels.filter((label) => type.values.includes(label))
  return known.length === column.labels.length ? null : new Map(known.map((label) => [label, label]))
}

/** Whether a relation's column and the key that it leads to are compared by the same rules. */
export function isComparable(column: ColumnDescription, key: ColumnDescription | undefined): boolean {
  if (!key || column.array) return false
  return column.native === key.native || (INTEGERS.has(column.native) && INTEGERS.has(key.native)) || (isVarying(column) && isVarying(key))
}

/** Texts that are compared character by character; `character` drops blanks, citext folds letters. */
export function isVarying(column: ColumnDescription): boolean {
  return column.native === 'text' || column.native === 'character varying'
}
