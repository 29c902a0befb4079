import type { Config } from '../config.js'

/** The least that a ledger works with. */
const LEDGER_CONNECTIONS_MIN = 2

/**
 * The configuration of one of several workers. What counts connections to a database is the whole gateway's, as the database sees it, and each worker has an equal
 * part, at least one; all other limits are those of a process.
 */
export function workerShare(config: Config, workers: number): Config {
  const part = (whole: number): number => Math.max(1, Math.floor(whole / workers))
  const organizations = new Map(
    [...config.organizations].map(([id, organization]) => {
      const stores = [...organization.stores].map(([name, store]) => [name, { ...store, pool: { ...store.pool, max: part(store.pool.max) } }] as const)
      return [id, { ...organization, stores: new Map(stores) }]
    }),
  )
  const audit = { ...config.gateway.audit, connections: Math.max(LEDGER_CONNECTIONS_MIN, part(config.gateway.audit.connections)) }
  return { ...config, gateway: { ...config.gateway, audit }, organizations }
}
