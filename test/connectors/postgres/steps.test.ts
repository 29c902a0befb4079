import { afterAll, beforeAll } from '@jest/globals'
import type { TestPostgres } from '../../support/postgres.js'
import { startTestPostgres } from '../../support/postgres.js'
import type { ContractData } from '../contract-data.js'
import { connectorContract, type ContractHarness } from '../contract.js'
import { dataOfStore, dataWithPartsIn, STORES, stepsOver } from '../steps-data.js'
import { makeStores } from './contract-store.js'

let server: TestPostgres
beforeAll(async () => {
  server = await startTestPostgres()
}, 120_000)
afterAll(async () => {
  await server?.stop()
}, 60_000)

async function makeSteps(data: ContractData): Promise<ContractHarness> {
  const options = { collation: '"en-x-icu"', extensionSchema: null }
  const [main, other] = await Promise.all(STORES.map((store) => makeStores(server, dataOfStore(data, store), options)))
  if (!main || !other) throw new Error('there are two stores')
  if (!main.endless || !other.endless) throw new Error('stores of PostgreSQL can be made to last')
  return {
    connector: stepsOver(main.connector, other.connector),
    broken: stepsOver(main.broken, other.broken),
    endless: stepsOver(main.endless, other.endless),
    close: async () => void (await Promise.all([main.close(), other.close()])),
  }
}

connectorContract('steps over two databases of PostgreSQL, where some fields lie apart from their rows', makeSteps, { data: dataWithPartsIn('other') })
