/** The data of the connector contract in two stores, with relations of every kind from one to the other. */
import { StepsConnector } from '../../src/connectors/steps/steps-connector.js'
import type { Connector } from '../../src/connectors/connector.js'
import type { OrganizationBinding } from '../../src/query/binding.js'
import { type ContractData, contractData, ORGANIZATION } from './contract-data.js'

const STORE_OF: ReadonlyMap<string, string> = new Map([
  ['Thing', 'main'],
  ['Token', 'main'],
  ['Person', 'other'],
  ['Place', 'other'],
  ['Reading', 'other'],
])

export const STORES = ['main', 'other'] as const

/** All of the data, with types bound to their stores. */
export function dataOfStores(): ContractData {
  const whole = contractData()
  const types: OrganizationBinding['types'] = new Map(
    [...whole.binding.types].map(([type, bound]) => [type, bound.kind === 'table' ? { ...bound, store: STORE_OF.get(type) ?? 'main' } : bound]),
  )
  return { ...whole, binding: { ...whole.binding, types } }
}

/** What one store holds. */
export function dataOfStore(data: ContractData, store: (typeof STORES)[number]): ContractData {
  const own = [...data.binding.types.values()].flatMap((bound) => (bound.kind === 'table' && bound.store === store ? [bound.table] : []))
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
