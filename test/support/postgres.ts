import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

/** A file system in memory, where there is one: making databases there takes a fifth of the time. */
const MEMORY = '/dev/shm'
/** Bytes that the servers of a few tests at once take at most. */
const ROOM_BYTES = 2 * 1024 ** 3

/** One real PostgreSQL server in a temporary folder; `fsync` is off. Several databases in it are cheaper than several servers. */
export async function startTestPostgres(settings: Readonly<Record<string, string>> = {}): Promise<TestPostgres> {
  const directory = await mkdtemp(join((await hasRoom(MEMORY)) ? MEMORY : tmpdir(), 'concordat-test-'))
  const server = await startPostgres({ directory, durability: 'disposable', settings }).catch(async (error: unknown) => {
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

async function hasRoom(folder: string): Promise<boolean> {
  const room = await statfs(folder).catch(() => null)
  return room !== null && room.bavail * room.bsize >= ROOM_BYTES
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
