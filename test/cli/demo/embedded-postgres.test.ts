import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import type { Server } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { PostgresOptions, RunningPostgres } from '../../../src/cli/demo/embedded-postgres.js'
import { startPostgres } from '../../../src/cli/demo/embedded-postgres.js'
import { PostgresLaunchError } from '../../../src/cli/demo/postgres-binaries.js'
import { processIdentity } from '../../../src/cli/demo/process-identity.js'
import { withClient } from '../../support/postgres.js'
import type { Caller, LauncherProject } from './launcher-project.js'
import { makeLauncherProject, other, watchdogOf } from './launcher-project.js'

let scratch = ''
let directory = ''
const running: RunningPostgres[] = []
const callers: Caller[] = []

beforeEach(() => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'concordat-test-')))
  directory = join(scratch, 'server')
})

afterEach(async () => {
  for (const caller of callers.splice(0)) await caller.stop()
  for (const server of running.splice(0)) await server.stop()
  rmSync(scratch, { recursive: true, force: true })
})

async function start(options: Partial<PostgresOptions> = {}): Promise<RunningPostgres> {
  const server = await startPostgres({ directory, durability: 'disposable', ...options })
  running.push(server)
  return server
}

async function ask(url: string, sql: string): Promise<unknown[]> {
  return withClient(url, async (client) => (await client.query<Record<string, unknown>>(sql)).rows.map((row) => Object.values(row)[0]))
}

async function untilGone(pid: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < 15_000; waitedMs += 20) {
    if ((await processIdentity(pid)) === undefined) return
    await delay(20)
  }
  throw new Error(`process ${pid} still runs`)
}

/** Until initdb is at work. */
async function untilBeingMade(): Promise<void> {
  while (!existsSync(directory) || !readdirSync(directory).some((name) => name.startsWith('data.new-'))) await delay(5)
}

describe('startPostgres', () => {
  it('creates a cluster, answers over a private socket, and opens no port', async () => {
    const server = await start()
    expect(await ask(server.url('postgres'), 'SELECT current_user')).toEqual(['postgres'])
    expect(await ask(server.url('postgres'), 'SHOW listen_addresses')).toEqual([''])
    expect(await ask(server.url('postgres'), 'SHOW server_encoding')).toEqual(['UTF8'])
    expect(await ask(server.url('postgres'), `SELECT datcollate FROM pg_database WHERE datname = 'template1'`)).toEqual(['C'])
    expect(statSync(server.socketDirectory).mode & 0o777).toBe(0o700)
    expect(statSync(join(directory, 'data')).mode & 0o777).toBe(0o700)
  })

  it('starts again on the same data, within two seconds', async () => {
    const first = await start()
    await ask(first.url('postgres'), 'CREATE TABLE note AS SELECT 7 AS number')
    await first.stop()
    expect(existsSync(first.socketDirectory)).toBe(false)
    const since = performance.now()
    const second = await start()
    expect(performance.now() - since).toBeLessThan(2_000)
    expect(await ask(second.url('postgres'), 'SELECT number FROM note')).toEqual([7])
  })

  it('keeps what was committed durable when it is to be durable, and lets settings be overridden', async () => {
    const server = await start({ durability: 'durable', settings: { max_connections: '25', work_mem: '5MB' } })
    expect(await ask(server.url('postgres'), 'SHOW fsync')).toEqual(['on'])
    expect(await ask(server.url('postgres'), 'SHOW synchronous_commit')).toEqual(['on'])
    expect(await ask(server.url('postgres'), 'SHOW max_connections')).toEqual(['25'])
    expect(await ask(server.url('postgres'), 'SHOW work_mem')).toEqual(['5MB'])
  })

  it('does not care that the port of PostgreSQL is taken', async () => {
    const squatter: Server = createServer()
    await new Promise<void>((resolve) => squatter.once('error', () => resolve()).listen(5432, '127.0.0.1', () => resolve()))
    const [one, two] = await Promise.all([start(), start({ directory: join(scratch, 'second') })])
    expect(await ask(one.url('postgres'), 'SELECT 1')).toEqual([1])
    expect(await ask(two.url('postgres'), 'SELECT 2')).toEqual([2])
    squatter.close()
  })

  it('starts in a folder whose path is too long for a socket and holds quotes and spaces', async () => {
    directory = join(scratch, `it's a "long" path `.repeat(8), 'größe')
    const server = await start()
    expect(Buffer.byteLength(server.socketDirectory)).toBeLessThan(80)
    expect(await ask(server.url('postgres'), 'SELECT 1')).toEqual([1])
  })

  it('finds another place for the socket when its name is held by somebody else', async () => {
    const first = await start()
    await first.stop()
    const elsewhere = join(scratch, 'elsewhere')
    mkdirSync(elsewhere)
    symlinkSync(elsewhere, first.socketDirectory)
    try {
      const second = await start()
      expect(second.socketDirectory).not.toBe(first.socketDirectory)
      expect(readdirSync(elsewhere)).toEqual([])
      expect(lstatSync(second.socketDirectory).isDirectory()).toBe(true)
    } finally {
      rmSync(first.socketDirectory)
    }
  })

  it('stops although transactions are open, as often as it is asked to', async () => {
    const server = await start()
    const client = new pg.Client({ connectionString: server.url('postgres') })
    client.on('error', () => undefined)
    await client.connect()
    await client.query('BEGIN')
    await client.query('CREATE TABLE unfinished ()')
    await Promise.all([server.stop(), server.stop()])
    await server.exited
    expect(await processIdentity(server.pid)).toBeUndefined()
    const again = await start()
    expect(await ask(again.url('postgres'), `SELECT to_regclass('unfinished')`)).toEqual([null])
  })

  it('leaves nothing behind when the start is called off', async () => {
    const controller = new AbortController()
    const started = startPostgres({ directory, durability: 'disposable', signal: controller.signal })
    await untilBeingMade()
    controller.abort()
    await expect(started).rejects.toThrow('aborted')
    expect(readdirSync(directory).filter((name) => name !== 'data' && !name.startsWith('postgres.log'))).toEqual([])
    const server = await start()
    expect(await ask(server.url('postgres'), 'SELECT 1')).toEqual([1])
  })

  it('says what the server said when it does not start, and can be tried again', async () => {
    const refused = start({ settings: { shared_buffers: 'much' } })
    await expect(refused).rejects.toThrow(PostgresLaunchError)
    await expect(refused).rejects.toThrow('shared_buffers')
    expect(await ask((await start()).url('postgres'), 'SELECT 1')).toEqual([1])
  })

  it('refuses a folder that is not a PostgreSQL data folder, and leaves it alone', async () => {
    mkdirSync(join(directory, 'data'), { recursive: true })
    writeFileSync(join(directory, 'data', 'letters.txt'), 'dear')
    await expect(start()).rejects.toThrow('is not a PostgreSQL data folder')
    expect(readFileSync(join(directory, 'data', 'letters.txt'), 'utf8')).toBe('dear')
    expect(existsSync(join(directory, 'owner.json'))).toBe(false)
  })

  it('refuses the data of another version, and leaves them alone', async () => {
    const first = await start()
    await first.stop()
    writeFileSync(join(directory, 'data', 'PG_VERSION'), '17\n')
    await expect(start()).rejects.toThrow('was made by PostgreSQL 17')
    writeFileSync(join(directory, 'data', 'PG_VERSION'), '18\n')
    expect(await ask((await start()).url('postgres'), 'SELECT 1')).toEqual([1])
  })

  it('refuses a folder that a living process runs, and does not disturb it', async () => {
    const first = await start()
    await expect(start()).rejects.toThrow(`process ${process.pid} already runs`)
    expect(await ask(first.url('postgres'), 'SELECT 1')).toEqual([1])
  })

  it('lets one of several win that start at once', async () => {
    const results = await Promise.allSettled(Array.from({ length: 4 }, () => start()))
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
    for (const result of results) if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(PostgresLaunchError)
  })

  it('is not misled by a pid file that names a stranger', async () => {
    const first = await start()
    await first.stop()
    const stranger = spawn('sleep', ['60'], { stdio: 'ignore', ...other })
    writeFileSync(
      join(directory, 'data', 'postmaster.pid'),
      `${stranger.pid}\n${join(directory, 'data')}\n1\n5432\n${first.socketDirectory}\n\n1 1\nready   \n`,
    )
    const second = await start()
    expect(await ask(second.url('postgres'), 'SELECT 1')).toEqual([1])
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull()
    stranger.kill()
  })

  it('is not misled by a claim whose process number now belongs to another', async () => {
    const first = await start()
    await first.stop()
    writeFileSync(join(directory, 'owner.json'), JSON.stringify({ pid: process.pid, identity: 'another boot/1' }))
    const second = await start()
    expect(await ask(second.url('postgres'), 'SELECT 1')).toEqual([1])
    await second.stop()
    writeFileSync(join(directory, 'owner.json'), '{"pid":')
    expect(await ask((await start()).url('postgres'), 'SELECT 1')).toEqual([1])
  })
})

describe('startPostgres in a program of its own', () => {
  let open: LauncherProject
  let closed: LauncherProject
  // Root has two ways to run, others one.
  const accounts = other === undefined ? [{ who: 'the user', account: other }] : [{ who: 'root' }, { who: 'a user without rights', account: other }]

  beforeAll(() => {
    open = makeLauncherProject({ mode: 0o755 })
    closed = makeLauncherProject({ mode: 0o700 })
  })

  afterAll(() => {
    open.remove()
    closed.remove()
  })

  function call(project: LauncherProject, options: Parameters<LauncherProject['start']>[1] = {}): Caller {
    const caller = project.start(directory, options)
    callers.push(caller)
    return caller
  }

  it.each(accounts)('works for $who, whatever the environment says', async ({ account }) => {
    chmodSync(scratch, 0o777)
    const env = { PGDATA: '/nowhere', PGOPTIONS: '-c nonsense=1', PGPORT: '1', LC_ALL: 'xx_XX', HOME: scratch }
    const caller = call(open, { account, env })
    const { url, root, pid } = await caller.said
    expect(await ask(url, 'SELECT 1')).toEqual([1])
    expect(root).toBe(open.native)
    await caller.stop()
    await untilGone(pid)
  })

  it.each(accounts)('works for $who when the temporary folder is too long for a socket', async ({ account }) => {
    chmodSync(scratch, 0o777)
    const long = join(scratch, 'x'.repeat(90))
    mkdirSync(long, { mode: 0o700 })
    if (account !== undefined) chownSync(long, account.uid, account.gid)
    const { url } = await call(open, { account, env: { TMPDIR: long } }).said
    expect(await ask(url, 'SELECT 1')).toEqual([1])
  })

  it('works in a project and a data folder that only the caller may enter', async () => {
    chmodSync(scratch, 0o700)
    const { url, root } = await call(closed).said
    expect(await ask(url, 'SELECT 1')).toEqual([1])
    // Only root needs a copy: its server runs as somebody else.
    expect(root.startsWith(closed.folder)).toBe(other === undefined)
  })

  it('runs for root on the data of a user, as that user', async () => {
    chmodSync(scratch, 0o777)
    const first = call(open, { account: other })
    await first.said
    await first.stop()
    const owner = statSync(join(directory, 'data')).uid
    const { url } = await call(open).said
    expect(await ask(url, 'SELECT 1')).toEqual([1])
    expect(statSync(join(directory, 'data', 'postmaster.pid')).uid).toBe(owner)
  })

  it('says that the folder cannot be written', async () => {
    directory = join(scratch, 'server')
    mkdirSync(directory)
    chmodSync(scratch, 0o755)
    chmodSync(directory, 0o555)
    const { error, message } = await call(open, { account: other }).said
    expect(error).toBe('PostgresLaunchError')
    expect(message).toContain('cannot be written by this user')
  })

  it('ends soon after its caller was killed', async () => {
    const caller = call(open)
    const { pid, url } = await caller.said
    await ask(url, 'CREATE TABLE note AS SELECT 7 AS number')
    caller.kill()
    await untilGone(pid)
    expect(await ask((await start()).url('postgres'), 'SELECT number FROM note')).toEqual([7])
  })

  it('takes over from a killed caller whose server goes on', async () => {
    const caller = call(open)
    const { pid, url } = await caller.said
    await ask(url, 'CREATE TABLE note AS SELECT 7 AS number')
    process.kill(watchdogOf(pid), 'SIGKILL')
    caller.kill()
    await caller.ended
    expect(await processIdentity(pid)).toBeDefined()
    const server = await start()
    await untilGone(pid)
    expect(await ask(server.url('postgres'), 'SELECT number FROM note')).toEqual([7])
  })

  it('recovers what was committed when caller and server were killed together', async () => {
    const caller = call(open, { env: { DURABILITY: 'durable' } })
    const { pid, url } = await caller.said
    await ask(url, 'CREATE TABLE note AS SELECT 7 AS number')
    process.kill(pid, 'SIGKILL')
    caller.kill()
    await caller.ended
    await untilGone(pid)
    expect(await ask((await start()).url('postgres'), 'SELECT number FROM note')).toEqual([7])
  })

  it('begins anew when its caller was killed while the cluster was being made', async () => {
    const caller = call(open)
    await untilBeingMade()
    await delay(20)
    caller.kill()
    await caller.ended
    expect(existsSync(join(directory, 'data'))).toBe(false)
    expect(await ask((await start()).url('postgres'), 'SELECT 1')).toEqual([1])
    expect(readdirSync(directory).filter((name) => name.startsWith('data.new-'))).toEqual([])
  })

  it('goes on when Ctrl-C reaches the caller, until the caller stops it', async () => {
    const caller = call(open)
    const { pid, url } = await caller.said
    caller.interrupt()
    while (!caller.output().includes('interrupted')) await delay(5)
    await delay(100)
    expect(await ask(url, 'SELECT 1')).toEqual([1])
    await caller.stop()
    await untilGone(pid)
  })
})
