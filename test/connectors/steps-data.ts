/** The data of the connector contract in two stores, with relations of every kind from one to the other, and with the vectors of rows in another table than the rows. */
import { StepsConnector } from '../../src/connectors/steps/steps-connector.js'
import type { Connector } from '../../src/connectors/connector.js'
import type { StoredValue } from '../../src/connectors/memory/stored.js'
import type { OrganizationBinding, TableBinding } from '../../src/query/binding.js'
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

const VECTORS = 'vectors of "things"'

/** Likewise, with the vectors of things in a table of the store. */
export function dataWithVectorsIn(store: Store): ContractData {
  const whole = dataOfStores()
  const thing = whole.binding.types.get('Thing')
  if (thing?.kind !== 'table') throw new Error('things are bound to a table')
  const { embedding, ...others } = Object.fromEntries(thing.columns)
  const key = thing.columns.get('key')
  if (embedding?.kind !== 'column' || key?.kind !== 'column') throw new Error('things have a key and an embedding')
  const part = { store, schema: thing.schema, table: VECTORS, key: [{ column: key.column, native: key.native, nullable: false }], column: embedding }
  const apart: TableBinding = { ...thing, columns: new Map(Object.entries(others)), parts: new Map([['embedding', part]]) }
  return {
    ...whole,
    apart: { binding: { ...whole.binding, types: new Map([...whole.binding.types, ['Thing', apart]]) }, fields: new Set(['embedding']) },
    tables: [...whole.tables, vectorTable(whole, [key.column, embedding.column], thing)],
  }
}

/** Some things have none, and two are of things that are not there. */
function vectorTable({ tables }: ContractData, names: readonly string[], { schema, table: name }: TableBinding): ContractTable {
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
  return { schema, table: VECTORS, columns, rows: [...orphans, ...rows.filter((row) => row.get(names[1] ?? '') !== null)] }
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
