import { MemoryConnector } from '../../src/connectors/memory/memory-connector.js'
import { connectorContract, memoryOf } from './contract.js'

// The oracle against itself: the suite holds, and every plan that it draws can be executed.
connectorContract('memory', async (data) => {
  const broken = new MemoryConnector({ store: 'memory', tables: [], pseudonymKey: () => Buffer.alloc(32) })
  await broken.close()
  return { connector: memoryOf(data), broken, endless: null, close: async () => Promise.resolve() }
})
