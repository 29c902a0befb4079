/** The data of the connector contract in two stores, with relations of every kind from one to the other, and with fields of rows in other tables than the rows. */
import { StepsConnector } from '../../src/connectors/steps/steps-connector.js'
import type { Connector } from '../../src/connectors/connector.js'
import type { StoredValue } from '../../src/connectors/memory/stored.js'
import type { OrganizationBinding, PartBinding, TableBinding } from '../../src/query/binding.js'
import { type ContractData, contractData, type ContractTable, ORGANIZATION } from './contract-data.js'

const STORE_OF: ReadonlyMap<string, string> = new Map([
  ['Thing', 'main'],
  ['Token', 'main'],
  ['Person', 'other'],
  ['Place', 'other'],
  ['Reading', 'other'],
])

export const STORES = ['main', 'other'] as const
type Store = (typeof STORES)[number]

/** All of the data, with types bound to their stores. */
export function dataOfStores(): ContractData {
  const whole = contractData()
  const types: OrganizationBinding['types'] = new Map(
    [...whole.binding.types].map(([type, bound]) => [type, bound.kind === 'table' ? { ...bound, store: STORE_OF.get(type) ?? 'main' } : bound]),
  )
  return { ...whole, binding: { ...whole.binding, types } }
}

/** A vector, and such as every kind of mask fits. */
const FIELDS_APART = ['embedding', 'serial', 'day', 'exact'] as const

/** Likewise, with some fields of things in tables of the store, each in its own. */
export function dataWithPartsIn(store: Store): ContractData {
  const whole = dataOfStores()
  const thing = whole.binding.types.get('Thing')
  if (thing?.kind !== 'table') throw new Error('things are bound to a table')
  const key = thing.columns.get('key')
  if (key?.kind !== 'column') throw new Error('things have a key')
  const held = FIELDS_APART.map((field) => {
    const column = thing.columns.get(field)
    if (column?.kind !== 'column') throw new Error(`things have \`${field}\``)
    return { field, column }
  })
  const parts = held.map(({ field, column }): [string, PartBinding] => [
    field,
    { store, schema: thing.schema, table: tableOf(field), key: [{ column: key.column, native: key.native, nullable: false }], column },
  ])
  const columns = [...thing.columns].filter(([field]) => !parts.some(([part]) => part === field))
  const apart: TableBinding = { ...thing, columns: new Map(columns), parts: new Map(parts) }
  return {
    ...whole,
    apart: { binding: { ...whole.binding, types: new Map([...whole.binding.types, ['Thing', apart]]) }, fields: new Set(FIELDS_APART) },
    tables: [...whole.tables, ...held.map(({ field, column }) => partTable(whole, field, [key.column, column.column], thing))],
  }
}

function tableOf(field: string): string {
  return `${field} of "things"`
}

/** Things that have none are in the table where it is an odd one, and not there where it is not; two vectors are of things that are not there. */
function partTable({ tables }: ContractData, field: string, names: readonly string[], { schema, table: name }: TableBinding): ContractTable {
  const things = tables.find(({ table }) => table === name)
  if (!things) throw new Error('there are things')
  const columns = names.flatMap((each) => things.columns.filter((column) => column.name === each))
  const rows = things.rows.map((row) => new Map(names.map((each) => [each, row.get(each) ?? null])))
  const orphans = ['-7', '-8'].map(
    (key, index) =>
      new Map<string, StoredValue>([
        [names[0] ?? '', key],
        [names[1] ?? '', index === 0 ? ['1', '0', '0'] : ['3', '4', '0']],
      ]),
  )
  const held = rows.filter((row, index) => index % 2 === 1 || row.get(names[1] ?? '') !== null)
  return { schema, table: tableOf(field), columns, rows: field === 'embedding' ? [...orphans, ...held] : held }
}

/** What one store holds. */
export function dataOfStore(data: ContractData, store: Store): ContractData {
  const { types } = data.apart?.binding ?? data.binding
  const tables = [...types.values()].flatMap((each) => (each.kind === 'table' ? [each, ...(each.parts?.values() ?? [])] : []))
  const own = tables.flatMap((each) => (each.store === store ? [each.table] : []))
  return { ...data, tables: data.tables.filter(({ table }) => own.includes(table)) }
}

export function stepsOver(main: Connector, other: Connector): StepsConnector {
  return new StepsConnector({
    organization: ORGANIZATION,
    stores: new Map([
      ['main', main],
      ['other', other],
    ]),
    keysMax: 10_000,
    answerBytes: 64 * 1024 * 1024,
  })
}
