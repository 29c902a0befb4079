/** The data of the connector contract as a document database holds them: what BSON cannot hold is left out on both sides. */
import { Binary, type Db, Decimal128, Double, Int32, Long } from 'mongodb'
import type { StoredRow, StoredValue } from '../../src/connectors/memory/stored.js'
import type { ColumnBinding, OrganizationBinding, TableBinding, TypeBinding } from '../../src/query/binding.js'
import type { AuthorizedPlan } from '../../src/query/plan.js'
import type { ContractData, ContractTable } from '../connectors/contract-data.js'
import { contractData } from '../connectors/contract-data.js'

export interface DocumentData {
  /** For the oracle. */
  readonly data: ContractData
  /** The same for the store. */
  readonly binding: OrganizationBinding
}

/** Types whose key a document database cannot hold exactly: `1.50` and `1.5` would be two ids of one key. */
const LEFT_OUT = new Set(['Reading'])

export function documentData(): DocumentData {
  const whole = contractData()
  const types = new Map([...whole.binding.types].filter(([name]) => !LEFT_OUT.has(name)).map(([name, bound]) => [name, fittingBinding(bound)]))
  const entities = new Map(
    [...whole.catalog.entities]
      .filter(([name]) => !LEFT_OUT.has(name))
      .map(([name, entity]) => {
        const dropped = droppedOf(whole.binding.types.get(name))
        return [name, { ...entity, fields: new Map([...entity.fields].filter(([field]) => !dropped.has(field))) }] as const
      }),
  )
  const tables = whole.tables.map((table) => ({ ...table, rows: table.rows.map((row) => storableRow(table, row)) }))
  const catalog = { ...whole.catalog, entities }
  const binding = { ...whole.binding, types }
  return {
    data: { ...whole, catalog, binding, tables },
    binding: { ...binding, types: new Map([...types].map(([name, bound]) => [name, inDocuments(bound)])) },
  }
}

/** The plan over the store's own binding, where the oracle's speaks of PostgreSQL's types. */
export function rebound(plan: AuthorizedPlan, binding: OrganizationBinding): AuthorizedPlan {
  const views = [...plan.views].map(([type, view]) => {
    const source = binding.types.get(type)
    return [type, view.source === 'empty' || source?.kind !== 'table' ? view : { ...view, source }] as const
  })
  return { ...plan, binding, views: new Map(views) }
}

export async function fillDatabase(database: Db, { tables }: ContractData): Promise<void> {
  for (const table of tables) {
    const collection = database.collection(collectionOf(table.table))
    await collection.insertMany(table.rows.map((row) => documentOf(table, row)) as unknown as object[]) // maps, since a name can be `__proto__`
  }
}

// --- bindings --------------------------------------------------------------------------------------------------------------------------------------------------

const BSON: Readonly<Record<string, string>> = {
  text: 'string',
  'character varying': 'string',
  character: 'string',
  bigint: 'long',
  integer: 'int',
  smallint: 'int',
  uuid: 'uuid',
  numeric: 'decimal',
  'double precision': 'double',
  boolean: 'bool',
  'timestamp with time zone': 'date',
  'timestamp without time zone': 'date',
  date: 'date',
  jsonb: 'json',
}

/** Without fields of numbers that are multiplied, of single precision, of more than 64 bits, and of JSON that is no object. */
function droppedOf(bound: TypeBinding | undefined): ReadonlySet<string> {
  if (bound?.kind !== 'table') return new Set()
  const isDropped = (name: string, column: ColumnBinding): boolean =>
    name === 'wide' || (column.kind === 'column' && (column.multiply !== null || column.native === 'real' || column.native === 'json'))
  return new Set([...bound.columns].filter(([name, column]) => isDropped(name, column)).map(([name]) => name))
}

function fittingBinding(bound: TypeBinding): TypeBinding {
  const dropped = droppedOf(bound)
  return bound.kind === 'table' ? { ...bound, columns: new Map([...bound.columns].filter(([name]) => !dropped.has(name))) } : bound
}

function inDocuments(bound: TypeBinding): TypeBinding {
  if (bound.kind === 'none') return bound
  const columns = [...bound.columns].map(([name, column]): [string, ColumnBinding] => [name, column.kind === 'constant' ? column : inDocument(column)])
  const relations = [...bound.relations].map(
    ([name, { columns: links }]) =>
      [name, { columns: links.map((link) => ({ ...link, column: pathOf(link.column), native: bsonType(link.native) })) }] as const,
  )
  const table: TableBinding = { ...bound, schema: '', table: collectionOf(bound.table), columns: new Map(columns), relations: new Map(relations) }
  return table
}

function inDocument(column: Extract<ColumnBinding, { kind: 'column' }>): ColumnBinding {
  return { ...column, column: pathOf(column.column), native: bsonType(column.native), nullable: true }
}

/** Enum types are strings. */
function bsonType(native: string): string {
  return BSON[native] ?? 'string'
}

/** No collection has a dollar in its name. */
function collectionOf(table: string): string {
  return table.replaceAll('$', '')
}

/** One field stands within another. */
function pathOf(column: string): string {
  return column === 'CODE' ? 'profile.code' : column
}

// --- values ----------------------------------------------------------------------------------------------------------------------------------------------------

function storableRow({ columns }: ContractTable, row: StoredRow): StoredRow {
  return new Map([...row].map(([name, value]) => [name, storable(columns.find((column) => column.name === name)?.declared ?? '', value)]))
}

function storable(declared: string, value: StoredValue): StoredValue {
  if (value === null) return null
  if (typeof value === 'string') return storableText(declared, value)
  const items = value.map((item) => (item === null ? null : storableText(declared.replace('[]', ''), item)))
  return items.some((item, index) => item === null && value[index] !== null) ? null : items
}

/** Times have milliseconds and years from 1 to 9999 (as this server, which MongoDB is not, has them), numbers have 34 digits, JSON is an object or a list. */
function storableText(declared: string, text: string): string | null {
  if (/^(timestamp|date)/.test(declared)) {
    const year = Number(/^\d+/.exec(text)?.[0] ?? NaN)
    return year >= 1 && year <= 9999 && !text.endsWith('BC') ? text.replace(/\.\d+/, (fraction) => fraction.slice(0, 4).replace(/\.?0+$/, '')) : null
  }
  if (declared.startsWith('numeric')) return text.replace(/[-.]/g, '').replace(/^0+/, '').length <= 34 ? text : null
  if (!declared.startsWith('jsonb')) return text
  const value: unknown = JSON.parse(text)
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : null
}

function documentOf({ columns }: ContractTable, row: StoredRow): ReadonlyMap<string, unknown> {
  const document = new Map<string, unknown>()
  for (const { name, declared } of columns) {
    const value = row.get(name) ?? null
    const stored = value === null || typeof value === 'string' ? bsonOf(declared, value) : value.map((item) => bsonOf(declared.replace('[]', ''), item))
    const [parent, child] = pathOf(name).split('.')
    // A null and a member that is not there are one.
    if (stored === null && name.length % 2 === 0) continue
    if (child === undefined) document.set(name, stored)
    else document.set(parent ?? '', new Map([[child, stored]]))
  }
  return document
}

function bsonOf(declared: string, text: string | null): unknown {
  if (text === null) return null
  if (/^bigint/.test(declared)) return Long.fromString(text)
  if (/^(integer|smallint)/.test(declared)) return new Int32(Number(text))
  if (/^uuid/.test(declared)) return new Binary(Buffer.from(text.replaceAll('-', ''), 'hex'), 4)
  if (/^numeric/.test(declared)) return Decimal128.fromString(text)
  if (/^double/.test(declared)) return new Double(Number(text))
  if (/^boolean/.test(declared)) return text === 'true'
  if (/^(timestamp|date)/.test(declared)) return momentOf(text)
  return /^jsonb/.test(declared) ? (JSON.parse(text) as unknown) : text
}

function momentOf(text: string): Date {
  const [, year = '', month, day, hour = '0', minute = '0', second = '0', fraction = ''] =
    /^(\d+)-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d+))?)?/.exec(text) ?? []
  const at = new Date(0)
  at.setUTCFullYear(Number(year), Number(month) - 1, Number(day))
  at.setUTCHours(Number(hour), Number(minute), Number(second), Number(fraction.padEnd(3, '0')))
  return at
}
