/**
 * The gateway with switches that no configuration has, for measurements that need them. Without any it is `concordat serve`.
 * Usage: node server.js CONFIG SWITCHES (JSON of the type below)
 *
 * @typedef {object} Switches
 * @property {boolean} [isUnrecorded] no ledger entry is made and none is waited for
 * @property {boolean} [isFree] stores cost nothing: what they answered once is answered from memory
 * @property {Record<string, number>} [limits] of `config.ts`, beyond what a configuration may say
 * @property {number} [workers] processes that share the port; one, and no other process, where absent
 *
 * A message `memory` is answered with `process.memoryUsage()` after a collection of garbage (node --expose-gc).
 */
import cluster from 'node:cluster'
import { loadConfig } from '../../dist/config.js'
import { startGateway } from '../../dist/main.js'
import { remembering } from './free-store.js'

const [path, text = '{}'] = process.argv.slice(2)
/** @type {Switches} */
const { isUnrecorded = false, isFree = false, limits = {}, workers = 1 } = JSON.parse(text)

if (cluster.isPrimary && workers > 1) {
  for (let index = 0; index < workers; index += 1) cluster.fork()
  process.once('SIGTERM', () => cluster.disconnect(() => process.exit()))
  process.on('disconnect', () => process.exit())
} else {
  const config = loadConfig(path, process.env)
  const gateway = await startGateway({
    config: { ...config, gateway: { ...config.gateway, limits: { ...config.gateway.limits, ...limits } } },
    demo: null,
    bench: { unrecorded: isUnrecorded, ...(isFree && { connectorOf: remembering }) },
  })
  process.once('SIGTERM', () => void gateway.stop().then(() => process.exit()))
  process.on('disconnect', () => process.exit())
  process.on('message', (message) => {
    if (message !== 'memory') return
    globalThis.gc?.()
    process.send(process.memoryUsage())
  })
}
