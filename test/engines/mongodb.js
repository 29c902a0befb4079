/**
 * A server of MongoDB's wire protocol: SecantusDB, which is written in Python over MongoDB's own storage engine, and held by its authors against the tests of the
 * official drivers. It is not `mongod`, which no package registry has. It knows no server-side JavaScript, sharding and text indexes, and
 * answers otherwise where a path in an expression goes through an array: `$runs.cpu` is null there, and an array of each run's `cpu` in MongoDB.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fetchWheels, installed } from './installation.js'
import { accepts, freePorts, startProcess } from './server-process.js'

/** Answers as MongoDB 8.2. */
const VERSION = '0.7.0b3'
const PACKAGES = [
  `secantusdb==${VERSION}`,
  'pymongo==4.17.0',
  'dnspython==2.8.0',
  's2sphere==0.2.5',
  'future==1.0.0',
  'shapely==2.1.2',
  'numpy==2.4.6',
  'python-dateutil==2.9.0.post0',
  'six==1.17.0',
]

export function install() {
  return installed({ name: 'mongodb', version: VERSION, make: (folder) => fetchWheels(folder, PACKAGES) })
}

/**
 * @param {{ directory: string, port?: number }} options
 * @returns {Promise<{ url: string, stop(): Promise<void> }>}
 */
export async function start({ directory, port }) {
  const packages = await install()
  const [free] = port ? [port] : await freePorts(1)
  const data = join(directory, 'data')
  await mkdir(data, { recursive: true })
  const server = await startProcess({
    command: 'python3',
    args: [join(packages, 'bin', 'secantusd-py'), '--host', '127.0.0.1', '--port', String(free), '--storage-path', data, '--log-level', 'WARNING'],
    directory,
    log: join(directory, 'mongodb.log'),
    env: { PYTHONPATH: packages, PYTHONDONTWRITEBYTECODE: '1' },
    answers: () => accepts(free),
  })
  return { url: `mongodb://127.0.0.1:${free}/?directConnection=true`, stop: server.stop }
}
