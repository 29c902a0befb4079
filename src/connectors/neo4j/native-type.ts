/** Which types of Neo4j hold which values of the contract, and how a stored value is read: one of another type than the binding says is null. */
import type { ColumnBinding, NativeType } from '../../query/binding.js'
import type { BuiltinScalar, ValueField, ValueType } from '../../query/catalog.js'
import { operandSortKey } from '../../query/value.js'
import { type Cypher, cypher, name, NULL, value } from './cypher.js'
import { graphValue } from './graph-value.js'

export type GraphType = 'STRING' | 'INTEGER' | 'FLOAT' | 'BOOLEAN' | 'ZONED DATETIME' | 'LOCAL DATETIME' | 'DATE'

/** The first is meant where a binding names none. */
const HELD_BY: Readonly<Record<BuiltinScalar, readonly GraphType[]>> = {
  ID: ['STRING', 'INTEGER'],
  String: ['STRING'],
  Int: ['INTEGER'],
  Float: ['FLOAT'],
  Boolean: ['BOOLEAN'],
  BigInt: ['INTEGER'],
  Decimal: [],
  DateTime: ['ZONED DATETIME'],
  LocalDateTime: ['LOCAL DATETIME'],
  Date: ['DATE'],
  UUID: ['STRING'],
  JSON: [],
  Vector: [],
}

export function graphTypesOf(type: ValueType): readonly GraphType[] {
  return type.kind === 'enum' ? ['STRING', 'INTEGER'] : HELD_BY[type.name]
}

/** Names of PostgreSQL's types say which texts an ID over the property can have (see `operandSortKey`). */
export function idNative(native: NativeType | null): NativeType | null {
  return native === 'INTEGER' ? 'bigint' : native
}

/** The contract's value of a field of a node, or null. */
export function storedValue(field: ValueField, bound: ColumnBinding | undefined, node: Cypher): Cypher {
  if (!bound) return NULL
  if (bound.kind === 'constant') {
    const text = bound.value === null ? null : operandSortKey(field.type, null, bound.value)
    return text === null ? NULL : value(graphValue(field.type, null, text))
  }
  const property = cypher`${node}.${name(bound.column)}`
  if (!bound.array) return element(field.type, bound, property)
  const typed = cypher`CASE WHEN ${property} IS :: LIST<${[bound.native]} NOT NULL> NOT NULL THEN ${property} END`
  // A list that holds what is no value of the contract is null, as every such value is.
  return cypher`CASE WHEN all(e IN ${typed} WHERE ${element(field.type, bound, ['e'])} IS NOT NULL) THEN [e IN ${typed} | ${element(field.type, bound, ['e'])}] END`
}

type Column = Extract<ColumnBinding, { kind: 'column' }>

function element(type: ValueType, { native, values }: Column, of: Cypher): Cypher {
  const isOfType = cypher`${of} IS :: ${[native]} NOT NULL`
  if (type.kind === 'enum') {
    if (!values) return cypher`CASE WHEN ${of} IN ${value(type.values)} THEN ${of} END`
    const cases = [...values].map(([stored, named]) => cypher` WHEN ${value(native === 'INTEGER' ? BigInt(stored) : stored)} THEN ${value(named)}`)
    return cypher`CASE ${of}${cases.flat()} END`
  }
  switch (type.name) {
    case 'Int':
      return cypher`CASE WHEN ${isOfType} AND ${of} >= -2147483648 AND ${of} <= 2147483647 THEN ${of} END`
    case 'UUID':
      return cypher`CASE WHEN ${isOfType} AND ${of} =~ '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}' THEN ${of} END`
    case 'DateTime':
      // Times are one where they are the same moment, whatever the zone of their clock.
      return cypher`CASE WHEN ${isOfType} THEN datetime({datetime: ${of}, timezone: 'Z'}) END`
    default:
      return cypher`CASE WHEN ${isOfType} THEN ${of} END`
  }
}
