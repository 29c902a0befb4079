import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { startPostgres } from '../../src/cli/demo/embedded-postgres.js'

export interface TestPostgres {
  /** An empty database of its own name; the connection string of the superuser, or of `user`. */
  createDatabase(name?: string): Promise<TestDatabase>
  /** For `postgresql://` strings with another user or database. */
  url(database: string, user?: string): string
  readonly socketDirectory: string
  readonly pid: number
  /** The server's own log. */
  readonly logFile: string
  /** Ends the server and removes its files. Call it in `afterAll`. */
  stop(): Promise<void>
}

export interface TestDatabase {
  readonly name: string
  url(user?: string): string
}

/** One real PostgreSQL server in a temporary folder; `fsync` is off. Several databases in it are cheaper than several servers. */
export async function startTestPostgres(settings: Readonly<Record<string, string>> = {}): Promise<TestPostgres> {
  const run = process.env['CONCORDAT_TEST_RUN']
  if (run === undefined) throw new Error('the tests run by `test/run.js`')
  const directory = await mkdtemp(join(run, 'server-'))
  const started = copyCluster(run, directory).then(() => startPostgres({ directory, durability: 'disposable', settings }))
  const server = await started.catch(async (error: unknown) => {
    await rm(directory, { recursive: true, force: true })
    throw error
  })
  return {
    url: server.url,
    socketDirectory: server.socketDirectory,
    pid: server.pid,
    logFile: join(directory, 'postgres.log'),
    createDatabase: async (name = `test_${randomUUID().replaceAll('-', '')}`) => {
      await withClient(server.url('postgres'), (client) => client.query(`CREATE DATABASE ${pg.escapeIdentifier(name)} STRATEGY FILE_COPY`))
      return { name, url: (user) => server.url(name, user) }
    },
    stop: async () => {
      await server.stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/** A data folder that was made once in this run, which takes a second; whoever comes second to making it takes the first one's. */
async function copyCluster(run: string, directory: string): Promise<void> {
  const cluster = join(run, 'cluster')
  if (!existsSync(cluster)) {
    const maker = await mkdtemp(join(run, 'maker-'))
    const server = await startPostgres({ directory: maker, durability: 'disposable' })
    await server.stop()
    await rename(join(maker, 'data'), cluster).catch((error: unknown) => {
      if (!existsSync(cluster)) throw error
    })
    await rm(maker, { recursive: true, force: true })
  }
  // With its owner, who is another one where root runs the tests.
  await promisify(execFile)('cp', ['-a', cluster, join(directory, 'data')])
}

/** Runs `work` on a connection of its own and closes it. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
