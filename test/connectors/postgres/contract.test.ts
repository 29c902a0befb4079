import { afterAll, beforeAll } from '@jest/globals'
import type { TestPostgres } from '../../support/postgres.js'
import { startTestPostgres } from '../../support/postgres.js'
import { connectorContract } from '../contract.js'
import { makeStores } from './contract-store.js'

let server: TestPostgres
beforeAll(async () => {
  server = await startTestPostgres()
}, 120_000)
afterAll(async () => {
  await server?.stop()
}, 60_000)

connectorContract('postgres', (data) => makeStores(server, data, { collation: '"en-x-icu"', extensionSchema: null }))
