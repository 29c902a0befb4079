/** The data of the connector contract as Milvus holds them: what it cannot hold is left out on both sides, and there are no nulls. */
import { MilvusClient } from '@zilliz/milvus2-sdk-node'
import type { StoredRow, StoredValue } from '../../src/connectors/memory/stored.js'
import type { ColumnBinding, OrganizationBinding, TableBinding, TypeBinding } from '../../src/query/binding.js'
import type { EntityType } from '../../src/query/catalog.js'
import type { AuthorizedPlan } from '../../src/query/plan.js'
import type { ContractData, ContractTable } from '../connectors/contract-data.js'
import { contractData } from '../connectors/contract-data.js'

export interface MilvusData {
  /** For the oracle. */
  readonly data: ContractData
  /** The same for the store. */
  readonly binding: OrganizationBinding
}

type Column = Extract<ColumnBinding, { kind: 'column' }>

/** Milvus 2.3 takes a row of this key, and never gives it. */
const LOST_KEY = '9223372036854775807'

/** Types with a key of several fields have none that Milvus could keep. */
const LEFT_OUT = new Set(['Reading', 'Place'])

const TYPES: Readonly<Record<string, string>> = {
  text: 'VarChar',
  'character varying': 'VarChar',
  character: 'VarChar',
  uuid: 'VarChar',
  bigint: 'Int64',
  integer: 'Int32',
  smallint: 'Int16',
  'double precision': 'Double',
  real: 'Float',
  boolean: 'Bool',
}
const LISTED = new Set(['text', 'integer', 'bigint'])

export function milvusData(): MilvusData {
  const whole = contractData()
  const bound = new Map(
    [...whole.binding.types].filter(([name]) => !LEFT_OUT.has(name)).map(([name, type]) => [name, fitting(type, whole.catalog.entities.get(name))]),
  )
  const entities = new Map(
    [...whole.catalog.entities]
      .filter(([name]) => !LEFT_OUT.has(name))
      .map(([name, entity]) => {
        const type = bound.get(name)
        const fields = [...entity.fields].filter(
          ([field, { kind }]) => kind === 'value' && (type?.kind !== 'table' || type.columns.has(field) || field === 'missing'),
        )
        return [name, { ...entity, fields: new Map(fields) }] as const
      }),
  )
  const tables = whole.tables.map((table) => ({
    ...table,
    rows: table.rows.filter((row) => row.get('id') !== LOST_KEY).map((row, index) => storableRow(table, row, index)),
  }))
  const data = { ...whole, catalog: { ...whole.catalog, entities }, binding: { ...whole.binding, types: bound }, tables }
  return { data, binding: { ...whole.binding, types: new Map([...bound].map(([name, type]) => [name, inMilvus(type)])) } }
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
    if (column.kind === 'constant') return column.value === null ? [] : [[name, column]]
    const isVector = field?.kind === 'value' && field.vector !== null
    const isEnumOfStore = column.native.includes('Mood')
    if (field?.kind === 'value' && field.type.name === 'UUID') return []
    if (column.multiply !== null || (!isVector && !isEnumOfStore && !(column.native in TYPES)) || (column.array && !isVector && !LISTED.has(column.native)))
      return []
    // An id over a UUID is text here.
    return [[name, column.native === 'uuid' ? { ...column, native: 'text', nullable: false } : { ...column, nullable: false }]]
  })
  return { ...type, columns: new Map(columns), relations: new Map() }
}

function inMilvus(type: TypeBinding): TypeBinding {
  if (type.kind === 'none') return type
  const columns = [...type.columns].map(([name, column]): [string, ColumnBinding] => [name, column.kind === 'constant' ? column : inField(name, column)])
  const table: TableBinding = { ...type, schema: '', table: collectionOf(type.type), columns: new Map(columns) }
  return table
}

/** Milvus takes no name that would have to be quoted. */
function inField(name: string, column: Column): ColumnBinding {
  return isVectorColumn(column)
    ? { ...column, column: name, native: 'FloatVector', array: false, exactBy: ['COSINE'] }
    : { ...column, column: name, native: TYPES[column.native] ?? 'VarChar' }
}

function isVectorColumn({ native, array }: Column): boolean {
  return native === 'real' && array
}

function collectionOf(type: string): string {
  return `contract_${type}`
}

// --- values ----------------------------------------------------------------------------------------------------------------------------------------------------

const VECTORS: readonly (readonly string[])[] = [
  ['1', '0', '0'],
  ['0', '0', '0'],
  ['3', '4', '0'],
  ['-0.5', '0.25', '2'],
  ['2', '0', '0'],
  ['-1', '0', '0'],
  ['0.1', '0.2', '0.3'],
  ['-0', '1e-05', '1000'],
  ['0.7071068', '0.7071068', '0'],
  ['1e-05', '1', '1'],
]

function storableRow({ columns }: ContractTable, row: StoredRow, index: number): StoredRow {
  return new Map([...row].map(([name, value]) => [name, storable(columns.find((column) => column.name === name)?.declared ?? '', value, index)]))
}

function storable(declared: string, value: StoredValue, index: number): StoredValue {
  if (declared === 'real[]') return VECTORS[index % VECTORS.length] ?? []
  if (declared.endsWith('[]')) return (typeof value === 'string' ? [] : (value ?? [])).filter((item) => item !== null)
  return value ?? (/^(bigint|integer|smallint|double|real)/.test(declared) ? '0' : declared === 'boolean' ? 'false' : '')
}

// --- the store -------------------------------------------------------------------------------------------------------------------------------------------------

export async function withMilvus<Result>(address: string, work: (client: MilvusClient) => Promise<Result>): Promise<Result> {
  const client = new MilvusClient({ address, ssl: false, logLevel: 'error' })
  try {
    return await work(client)
  } finally {
    await client.closeConnection()
  }
}

export function succeeded(status: { readonly error_code: unknown; readonly reason?: string }): void {
  if (status.error_code !== 'Success') throw new Error(`Milvus refused: ${String(status.error_code)} ${status.reason ?? ''}`)
}

export interface NewCollection {
  readonly name: string
  readonly fields: readonly Readonly<Record<string, unknown>>[]
  readonly rows: readonly Readonly<Record<string, unknown>>[]
  /** Over each vector. */
  readonly indexes: readonly { readonly field: string; readonly type: string; readonly metric: string; readonly params?: Readonly<Record<string, number>> }[]
}

/** Made anew, with all that it holds to be seen. */
export async function createCollection(client: MilvusClient, { name, fields, rows, indexes }: NewCollection): Promise<void> {
  await client.dropCollection({ collection_name: name })
  succeeded(await client.createCollection({ collection_name: name, fields, consistency_level: 'Bounded' } as never)) // names of types, which the driver takes as well
  for (const { field, type, metric, params = {} } of indexes)
    succeeded(await client.createIndex({ collection_name: name, field_name: field, index_type: type, metric_type: metric, params }))
  succeeded(await client.loadCollectionSync({ collection_name: name }))
  if (rows.length > 0) await insertRows(client, name, rows)
}

export async function insertRows(client: MilvusClient, name: string, rows: readonly Readonly<Record<string, unknown>>[]): Promise<void> {
  const { status } = await client.insert({ collection_name: name, data: rows as never }) // rows of its own fields
  succeeded(status)
  await settled(client, name)
}

/** What was written before is read after. */
export async function settled(client: MilvusClient, name: string): Promise<void> {
  const { status } = await client.query({ collection_name: name, filter: '', output_fields: ['count(*)'], consistency_level: 'Strong' } as never) // as its protocol has it
  succeeded(status)
}

export async function fillStore(address: string, { data, binding }: MilvusData): Promise<void> {
  await withMilvus(address, async (client) => {
    for (const bound of binding.types.values()) {
      const own = data.binding.types.get(bound.type)
      if (bound.kind === 'none' || own?.kind !== 'table') continue
      const table = data.tables.find(({ table: name }) => name === own.table)
      if (!table) throw new Error('a type has a table')
      const columns = [...bound.columns].flatMap(([field, column]) => {
        const source = own.columns.get(field)
        return column.kind === 'column' && source?.kind === 'column' ? [{ field, column, source: source.column }] : []
      })
      const key = data.catalog.entities.get(bound.type)?.key[0]
      const hasVector = columns.some(({ column }) => column.native === 'FloatVector')
      const fields = columns.map(({ field, column }) => ({ ...fieldOf(column), name: field, is_primary_key: field === key }))
      const rows = table.rows.map((row) => {
        const values = columns.map(({ field, column, source }) => [field, valueOf(column, row.get(source) ?? null)] as const)
        return Object.fromEntries([...values, ...(hasVector ? [] : [['pad', [0, 1]] as const])])
      })
      await createCollection(client, {
        name: bound.table,
        // Each collection has a vector.
        fields: [...fields, ...(hasVector ? [] : [{ name: 'pad', data_type: 'FloatVector', dim: 2 }])],
        rows,
        indexes: [hasVector ? { field: 'embedding', type: 'FLAT', metric: 'COSINE' } : { field: 'pad', type: 'FLAT', metric: 'L2' }],
      })
    }
  })
}

function fieldOf({ native, array }: Column): Readonly<Record<string, unknown>> {
  const size = native === 'VarChar' ? { max_length: 65_535 } : {}
  if (array) return { data_type: 'Array', element_type: native, max_capacity: 100, ...size }
  return { data_type: native, ...size, ...(native === 'FloatVector' && { dim: 3 }) }
}

function valueOf({ native, array }: Column, value: StoredValue): unknown {
  if (value !== null && typeof value !== 'string')
    return value.map((item) => (native === 'FloatVector' ? Math.fround(Number(item)) : scalarOf(native, item ?? '')))
  return array ? [] : scalarOf(native, value ?? '')
}

function scalarOf(native: string, text: string): unknown {
  if (native === 'VarChar' || native === 'Int64') return text
  return native === 'Bool' ? text === 'true' : Number(text)
}
