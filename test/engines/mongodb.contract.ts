/** The connector contract against a server of MongoDB's protocol: `npm run test:engines -- mongodb` starts one and says where it is. */
import { connect, createServer, type Server, type Socket } from 'node:net'
import { MongoClient } from 'mongodb'
import type { Connector } from '../../src/connectors/connector.js'
import { MongoConnector, type MongoNative } from '../../src/connectors/mongodb/connector.js'
import { connectorContract } from '../connectors/contract.js'
import { documentData, fillDatabase, rebound } from './mongodb-store.js'

const URL_OF_ENGINE = new URL(process.env.CONCORDAT_ENGINE_URL ?? 'mongodb://127.0.0.1:27017/?directConnection=true')
const { data, binding } = documentData()

connectorContract(
  'mongodb',
  async () => {
    const name = `contract_${process.pid}`
    const client = await new MongoClient(URL_OF_ENGINE.href).connect()
    await fillDatabase(client.db(name), data)
    const silent = await silentServer()
    const connectors = [connectorTo(urlOf(URL_OF_ENGINE.host, name)), connectorTo(urlOf(`127.0.0.1:${silent.port}`, name))] as const
    const [connector, waiting] = connectors
    return {
      connector: over(connector, (native) => native),
      broken: over(connector, failing),
      endless: over(waiting, (native) => native),
      close: async () => {
        await Promise.all(connectors.map((one) => one.close()))
        silent.close()
        await client.db(name).dropDatabase()
        await client.close()
      },
    }
  },
  { data },
)

function connectorTo(url: string): MongoConnector {
  return new MongoConnector({ store: 'main', url, pool: { max: 4, waitingMax: 100, connectMs: 5_000, idleMs: 60_000 } })
}

function urlOf(host: string, name: string): string {
  return `mongodb://${host}/${name}?directConnection=true`
}

/** Plans speak of PostgreSQL's types, for the oracle. */
function over(connector: MongoConnector, change: (native: MongoNative) => MongoNative): Connector<MongoNative> {
  return {
    store: connector.store,
    capabilities: connector.capabilities,
    compile: (plan) => {
      const { native, residual } = connector.compile(rebound(plan, binding))
      return { native: change(native), residual }
    },
    execute: (statements, caller, options) => connector.execute(statements, caller, options),
    describe: (native) => connector.describe(native),
    close: () => connector.close(),
  }
}

/** The server names what it does not know. */
function failing(native: MongoNative): MongoNative {
  return native.kind === 'empty' ? native : { ...native, pipeline: { ...native.pipeline, stages: [{ '$secret words': 1 }, ...native.pipeline.stages] } }
}

/** Passes everything on but aggregations, which nobody ever answers. */
async function silentServer(): Promise<{ readonly port: number; close(): void }> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((near) => {
    const far = connect(Number(URL_OF_ENGINE.port), URL_OF_ENGINE.hostname)
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
    }
    near.on('data', (bytes) => {
      if (!bytes.includes('aggregate\0')) far.write(bytes)
    })
    near.on('close', () => far.destroy())
    far.pipe(near)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a server listens on a port')
  return {
    port: address.port,
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
