/** The data of the connector contract as Pinecone holds them: what it cannot hold is left out on both sides. */
import type { StoredRow, StoredValue } from '../../src/connectors/memory/stored.js'
import type { ColumnBinding, OrganizationBinding, TypeBinding } from '../../src/query/binding.js'
import type { EntityType } from '../../src/query/catalog.js'
import type { AuthorizedPlan } from '../../src/query/plan.js'
import type { ContractData, ContractTable } from '../connectors/contract-data.js'
import { contractData } from '../connectors/contract-data.js'
import type { Metadata, StubIndex, StubRecord } from '../support/pinecone-stub.js'

export interface PineconeData {
  /** For the oracle. */
  readonly data: ContractData
  /** The same for the store. */
  readonly binding: OrganizationBinding
}

type Column = Extract<ColumnBinding, { kind: 'column' }>

export const INDEX = 'contract'
/** Types with a key of several fields have none that a record could have. */
const LEFT_OUT = new Set(['Reading', 'Place'])

/** Columns of the suite's tables, as the oracle and as the store have them. */
const TEXT = { oracle: 'text', stored: 'string' } as const
const TYPES: Readonly<Record<string, { readonly oracle: string; readonly stored: string }>> = {
  text: TEXT,
  'character varying': TEXT,
  character: TEXT,
  uuid: TEXT,
  integer: { oracle: 'integer', stored: 'number' },
  smallint: { oracle: 'integer', stored: 'number' },
  'double precision': { oracle: 'double precision', stored: 'number' },
  real: { oracle: 'double precision', stored: 'number' },
  boolean: { oracle: 'boolean', stored: 'boolean' },
}

export function pineconeData(): PineconeData {
  const whole = contractData()
  const kept = <Value>(of: ReadonlyMap<string, Value>): [string, Value][] => [...of].filter(([name]) => !LEFT_OUT.has(name))
  const bound = new Map(kept(whole.binding.types).map(([name, type]) => [name, fitting(type, whole.catalog.entities.get(name))]))
  const entities = new Map(
    kept(whole.catalog.entities).map(([name, entity]) => {
      const type = bound.get(name)
      const fields = [...entity.fields].filter(
        ([field, { kind }]) => kind === 'value' && (type?.kind !== 'table' || type.columns.has(field) || field === 'missing'),
      )
      return [name, { ...entity, fields: new Map(fields) }] as const
    }),
  )
  const keyOf = new Map(
    [...bound.values()].flatMap((type) => {
      const key = type.kind === 'table' ? type.columns.get(entities.get(type.type)?.key[0] ?? '') : undefined
      return type.kind === 'table' && key?.kind === 'column' ? [[type.table, key.column] as const] : []
    }),
  )
  const tables = whole.tables.map((table) => {
    const key = keyOf.get(table.table)
    const rows = table.rows.filter((row) => key === undefined || isId(row.get(key) ?? null))
    return { ...table, rows: rows.map((row, index) => storableRow(table, row, index)) }
  })
  const data = { ...whole, catalog: { ...whole.catalog, entities }, binding: { ...whole.binding, types: bound }, tables }
  const types = new Map([...bound].map(([name, type]) => [name, inPinecone(type, entities.get(name))]))
  return { data, binding: { ...whole.binding, types } }
}

/** The plan over the store's own binding, where the oracle's speaks of PostgreSQL's types. */
export function rebound(plan: AuthorizedPlan, binding: OrganizationBinding): AuthorizedPlan {
  const views = [...plan.views].map(([type, view]) => {
    const source = binding.types.get(type)
    return [type, view.source === 'empty' || source?.kind !== 'table' ? view : { ...view, source }] as const
  })
  return { ...plan, binding, views: new Map(views) }
}

// --- bindings --------------------------------------------------------------------------------------------------------------------------------------------------

function fitting(type: TypeBinding, entity: EntityType | undefined): TypeBinding {
  if (type.kind === 'none') return type
  const columns = [...type.columns].flatMap(([name, column]): [string, ColumnBinding][] => {
    const field = entity?.fields.get(name)
    if (field?.kind !== 'value') return []
    if (column.kind === 'constant') return column.value === null ? [] : [[name, column]]
    if (field.vector) return [[name, column]]
    // A key is a text, and so is an id over numbers.
    if (field.type.name === 'ID') return [[name, { ...column, native: 'text' }]]
    if (column.native.includes('Mood')) return [[name, column]]
    const held = TYPES[column.native]
    if (!held || column.multiply !== null || ['UUID', 'BigInt', 'Decimal'].includes(field.type.name) || (column.array && held.stored !== 'string')) return []
    return [[name, { ...column, native: held.oracle }]]
  })
  return { ...type, columns: new Map(columns), relations: new Map() }
}

function inPinecone(type: TypeBinding, entity: EntityType | undefined): TypeBinding {
  if (type.kind === 'none') return type
  const columns = [...type.columns].map(([name, column]): [string, ColumnBinding] => {
    const field = entity?.fields.get(name)
    if (column.kind === 'constant' || field?.kind !== 'value') return [name, column]
    if (entity?.key.includes(name)) return [name, { ...column, column: 'id', native: 'id' }]
    if (field.vector) return [name, { ...column, column: 'values', native: 'values', array: false, nearBy: ['COSINE'], exactBy: [] }]
    // No name of metadata begins as an operator does.
    return [name, { ...column, column: column.column.replace(/^\$/, '_$'), nullable: true, native: storedType(column) }]
  })
  return { ...type, schema: INDEX, table: type.type, columns: new Map(columns) }
}

function storedType({ native, values }: Column): string {
  if (values && [...values.keys()].every((text) => /^\d+$/.test(text))) return 'number'
  return TYPES[native]?.stored ?? 'string'
}

// --- values ----------------------------------------------------------------------------------------------------------------------------------------------------

const VECTORS: readonly (readonly string[])[] = [
  ['1', '0', '0'],
  ['3', '4', '0'],
  ['-0.5', '0.25', '2'],
  ['2', '0', '0'],
  ['-1', '0', '0'],
  ['0.1', '0.2', '0.3'],
  ['0', '1e-05', '1000'],
  ['0.7071068', '0.7071068', '0'],
  ['1e-05', '1', '1'],
]

function isId(value: StoredValue): boolean {
  return typeof value === 'string' && /^[\x01-\x7f]{1,512}$/.test(value)
}

function storableRow({ columns }: ContractTable, row: StoredRow, index: number): StoredRow {
  return new Map([...row].map(([name, value]) => [name, storable(columns.find((column) => column.name === name)?.declared ?? '', value, index)]))
}

/** JSON has neither a negative zero nor what is not finite. */
function storable(declared: string, value: StoredValue, index: number): StoredValue {
  if (declared === 'real[]') return VECTORS[index % VECTORS.length] ?? []
  if (value !== null && typeof value !== 'string') return value.filter((item) => item !== null)
  if (!/^(double|real)/.test(declared) || value === null) return value
  return value === '-0' ? '0' : Number.isFinite(Number(value)) ? value : null
}

// --- the store -------------------------------------------------------------------------------------------------------------------------------------------------

export function fillStore(index: StubIndex, { data, binding }: PineconeData): void {
  for (const bound of binding.types.values()) {
    const own = data.binding.types.get(bound.type)
    const table = own?.kind === 'table' ? data.tables.find(({ table: name }) => name === own.table) : undefined
    if (bound.kind === 'none' || own?.kind !== 'table' || !table) continue
    const columns = [...bound.columns].flatMap(([field, column]) => {
      const source = own.columns.get(field)
      return column.kind === 'column' && source?.kind === 'column' ? [{ column, source: source.column }] : []
    })
    const records = table.rows.map((row): StubRecord => {
      const valueOf = (native: string): StoredValue => row.get(columns.find(({ column }) => column.native === native)?.source ?? '') ?? null
      const vector = valueOf('values')
      const metadata = columns.flatMap(({ column, source }): [string, Metadata[string]][] => {
        const value = row.get(source) ?? null
        return column.native === 'id' || column.native === 'values' || value === null ? [] : [[column.column, stored(column, value)]]
      })
      return {
        id: String(valueOf('id')),
        values: vector !== null && typeof vector !== 'string' ? vector.map(Number) : [1, 0, 0],
        metadata: Object.fromEntries(metadata),
      }
    })
    index.upsert(bound.table, records)
  }
}

function stored({ native }: Column, value: NonNullable<StoredValue>): Metadata[string] {
  if (typeof value !== 'string') return value.map(String)
  return native === 'number' ? Number(value) : native === 'boolean' ? value === 'true' : value
}
