/** What tables in memory hold, and what it means in the contract. */
import { invariant } from '../../errors.js'
import type { ColumnBinding } from '../../query/binding.js'
import type { ValueField, ValueType, VectorSpace } from '../../query/catalog.js'
import { multiplyDecimals, parseDecimal, printDecimal, printFloat } from '../../query/decimal.js'
import type { FieldValue } from '../../query/evaluate.js'
import { operandSortKey } from '../../query/value.js'

/** A column's value as PostgreSQL's cast to text prints it (times in UTC and ISO style), a list of such texts for an array, or null. */
export type StoredValue = string | null | readonly (string | null)[]

/** By column; a map, since columns may have any name. */
export type StoredRow = ReadonlyMap<string, StoredValue>

export interface MemoryTable {
  readonly schema: string
  readonly table: string
  readonly rows: readonly StoredRow[]
}

/** The contract's value of a field; null where the binding gives none. */
export function boundValue(field: ValueField, bound: ColumnBinding | undefined, row: StoredRow): FieldValue {
  if (!bound) return null
  if (bound.kind === 'constant') return bound.value === null ? null : operandSortKey(field.type, null, bound.value)
  const stored = row.get(bound.column)
  invariant(stored !== undefined, `a row has the column of \`${field.name}\``)
  if (field.vector) return vectorText(stored, field.vector)
  const sortKey = (text: string | null): string | null => (text === null ? null : storedSortKey(field.type, bound, text))
  return typeof stored === 'string' || stored === null ? sortKey(stored) : stored.map(sortKey)
}

function storedSortKey(type: ValueType, bound: Extract<ColumnBinding, { kind: 'column' }>, text: string): string | null {
  if (bound.values) return bound.values.get(text) ?? null
  if (bound.multiply !== null) return printDecimal(multiplyDecimals(parseDecimal(text), parseDecimal(bound.multiply)))
  if (type.kind === 'enum') return text
  switch (type.name) {
    case 'DateTime':
      return text.replace(' ', 'T').replace('+00', '')
    case 'LocalDateTime':
      return text.replace(' ', 'T')
    case 'Float':
      return printFloat(bound.native === 'real' ? Math.fround(Number(text)) : Number(text))
    case 'ID':
    case 'String':
    case 'Int':
    case 'Boolean':
    case 'BigInt':
    case 'Decimal':
    case 'Date':
    case 'UUID':
    case 'JSON':
    case 'Vector':
      return text
  }
}

/** The JSON text of a vector that has the contract's dimensions and finite elements; null for any other. */
function vectorText(stored: string | readonly (string | null)[] | null, { dimensions }: VectorSpace): string | null {
  const elements = typeof stored === 'string' ? (JSON.parse(stored) as readonly number[]).map(String) : (stored ?? [])
  const isVector = elements.length === dimensions && elements.every((element) => element !== null && Number.isFinite(Number(element)))
  return isVector ? `[${elements.map((element) => printFloat(Number(element))).join(',')}]` : null
}
