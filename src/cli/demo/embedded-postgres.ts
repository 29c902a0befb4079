import type { ChildProcess } from 'node:child_process'
import { execFile, spawn } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { chmod, chown, link, lstat, mkdir, mkdtemp, open, readdir, readFile, readlink, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Account, PostgresBinaries } from './postgres-binaries.js'
import { callerUid, canEnter, isGuarded, locateBinaries, PostgresLaunchError } from './postgres-binaries.js'
import { processIdentity } from './process-identity.js'

export interface PostgresOptions {
  /** Folder of this server alone, made when missing: `data` (the cluster), `postgres.log`, `owner.json` (who runs it now). */
  readonly directory: string
  /**
   * `durable`: commits survive a power cut. `relaxed`: the last commits may be lost, nothing is damaged. `disposable`: for tests; a power cut may damage it, the
   * kill of a process does not.
   */
  readonly durability: 'durable' | 'relaxed' | 'disposable'
  /** Server settings that override ours, such as `{ max_connections: '200' }`. */
  readonly settings?: Readonly<Record<string, string>>
  /** From `locateBinaries`, for the account that `accountFor` gives; looked for when absent. */
  readonly binaries?: PostgresBinaries
  /** How long a start may take, crash recovery included; 60,000 when absent. */
  readonly startTimeoutMs?: number
  readonly signal?: AbortSignal
}

export interface RunningPostgres {
  /** Private folder of the server's unix socket; the server listens nowhere else. */
  readonly socketDirectory: string
  /** Part of the socket's name only: no TCP port is opened. */
  readonly port: number
  /** Of the postmaster. */
  readonly pid: number
  /** Settles when the server has ended, for whatever reason. */
  readonly exited: Promise<void>
  /** Connection string for `pg`. The socket's folder is the credential, so there is no password. `user` is the superuser `postgres` when absent. */
  url(database: string, user?: string): string
  /** Fast shutdown: open transactions are rolled back. Harder signals follow when it hangs. May be called more than once. */
  stop(): Promise<void>
}

const run = promisify(execFile)
const PORT = 5432
const POLL_MS = 10
const FAST_STOP_MS = 15_000
const IMMEDIATE_STOP_MS = 5_000
/** The shortest of the systems' limits on a socket's path, in bytes (macOS: 104 with the closing NUL; Linux: 108). */
const SOCKET_PATH_BYTES_MAX = 103
/** The conventional `nobody`. Root hands the server to it; the folder above its data stays private to root. */
const NOBODY: Account = { uid: 65534, gid: 65534 }

/**
 * Starts PostgreSQL on a data folder of its own, creating it when there is none, from the binaries that came with npm. Works as root (the server then runs as an
 * unprivileged account) and as anybody else, wherever the folder lies.
 *
 * A server that a killed process has left behind is ended first. The server has its own session, so Ctrl-C reaches only the caller; a watchdog ends it when the
 * caller dies without `stop`.
 *
 * @throws PostgresLaunchError when another live process runs this folder, when the folder is of another version or not ours, or when the server does not start.
 */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const { signal } = options
  const directory = await ownDirectory(options.directory)
  const account = await accountFor(directory)
  const release = await claim(directory)
  try {
    signal?.throwIfAborted()
    const binaries = options.binaries ?? (await locateBinaries({ account }))
    const cluster: Cluster = { directory, data: join(directory, 'data'), account, binaries }
    await endLeftover(cluster)
    await prepareData(cluster, options)
    const socketDirectory = await makeSocketDirectory(cluster)
    try {
      return handle(await launch(cluster, socketDirectory, options), { socketDirectory, release })
    } catch (error) {
      await rm(socketDirectory, { recursive: true, force: true })
      throw error
    }
  } catch (error) {
    await release()
    throw error
  }
}

/** Under which account the server of this folder runs: undefined is the caller's own, root's servers run as the owner of their data or as `nobody`. */
export async function accountFor(directory: string): Promise<Account | undefined> {
  if (callerUid() !== 0) return undefined
  if (process.platform !== 'linux') throw new PostgresLaunchError('the embedded PostgreSQL does not run for root here; start it as another user')
  const data = await stat(join(directory, 'data')).catch(() => undefined)
  return data === undefined || data.uid === 0 ? NOBODY : { uid: data.uid, gid: data.gid }
}

interface Cluster {
  /** Real path. */
  readonly directory: string
  readonly data: string
  readonly account: Account | undefined
  readonly binaries: PostgresBinaries
}

interface Server {
  readonly child: ChildProcess
  readonly pid: number
  readonly exited: Promise<void>
  readonly watchdog: ChildProcess
}

async function ownDirectory(path: string): Promise<string> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    const directory = await realpath(path)
    // Proves that the folder is ours to write, before anything is half done.
    const trial = join(directory, `.write-${randomUUID()}`)
    await writeFile(trial, '')
    await rm(trial)
    return directory
  } catch (error) {
    throw new PostgresLaunchError(`the folder \`${path}\` cannot be written by this user; choose another one`, error)
  }
}

/**
 * Makes this process the only one that runs the folder's server, until the returned function is called or the process ends. The claim of a process that is gone
 * is taken over.
 */
async function claim(directory: string): Promise<() => Promise<void>> {
  const path = join(directory, 'owner.json')
  const mine = JSON.stringify({ pid: process.pid, identity: await processIdentity(process.pid), claim: randomUUID() })
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, mine, { mode: 0o600 })
  try {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const taken = await link(draft, path).then(
        () => false,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'EEXIST') return true
          throw error
        },
      )
      if (!taken) {
        return async () => {
          if ((await readFile(path, 'utf8').catch(() => '')) === mine) await rm(path, { force: true })
        }
      }
      const theirs = await readFile(path, 'utf8').catch(() => '')
      const owner = await livingOwner(theirs)
      if (owner !== undefined)
        throw new PostgresLaunchError(`process ${owner} already runs the databases in \`${directory}\`; stop it, or choose another folder`)
      await discardClaim(path, theirs)
    }
    throw new PostgresLaunchError(`several processes are starting the databases in \`${directory}\`; start one`)
  } finally {
    await rm(draft, { force: true })
  }
}

async function livingOwner(text: string): Promise<number | undefined> {
  const { pid, identity } = parseOwner(text)
  return pid !== undefined && identity !== undefined && (await processIdentity(pid)) === identity ? pid : undefined
}

function parseOwner(text: string): { readonly pid?: number; readonly identity?: string } {
  try {
    const owner: unknown = JSON.parse(text)
    if (typeof owner !== 'object' || owner === null || !('pid' in owner) || !('identity' in owner)) return {}
    return typeof owner.pid === 'number' && typeof owner.identity === 'string' ? { pid: owner.pid, identity: owner.identity } : {}
  } catch {
    return {}
  }
}

/** Removes the claim that was read as `text`, and no newer one: what is moved away by mistake is put back. */
async function discardClaim(path: string, text: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  const moved = await rename(path, aside).then(
    () => true,
    () => false,
  )
  if (!moved) return
  if ((await readFile(aside, 'utf8')) !== text) await link(aside, path).catch(() => undefined)
  await rm(aside, { force: true })
}

/** Ends a postmaster that a dead process left running on this data, and removes the files by which it would seem alive. */
async function endLeftover(cluster: Cluster): Promise<void> {
  const found = await readPostmasterFile(cluster.data)
  if (found === undefined) return
  if (await isServerOf(cluster, found.pid)) await endProcess(found.pid)
  await rm(join(cluster.data, 'postmaster.pid'), { force: true })
  if (found.socketDirectory === '') return
  for (const name of [`.s.PGSQL.${PORT}`, `.s.PGSQL.${PORT}.lock`]) await rm(join(found.socketDirectory, name), { force: true }).catch(() => undefined)
}

interface PostmasterFile {
  readonly pid: number
  readonly socketDirectory: string
  readonly status: string
}

/** `postmaster.pid`, a value a line: pid, data folder, start, port, first socket folder, address, shared memory key, status (PostgreSQL's miscadmin.h). */
async function readPostmasterFile(data: string): Promise<PostmasterFile | undefined> {
  const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const lines = text.split('\n').map((line) => line.trim())
  const pid = Number(lines[0])
  if (!Number.isSafeInteger(pid) || pid <= 1) return { pid: -1, socketDirectory: '', status: '' }
  return { pid, socketDirectory: lines[4] ?? '', status: lines[7] ?? '' }
}

/** Whether `pid` is a server on this very data, and not a stranger that has got the number since. */
async function isServerOf(cluster: Cluster, pid: number): Promise<boolean> {
  if (pid <= 1 || (await processIdentity(pid)) === undefined) return false
  // A postmaster works in its data folder.
  if (process.platform === 'linux') return (await readlink(`/proc/${pid}/cwd`).catch(() => '')) === (await realpath(cluster.data))
  const { stdout } = await run('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => ({ stdout: '' }))
  return stdout.includes(cluster.data)
}

async function endProcess(pid: number): Promise<void> {
  const identity = await processIdentity(pid)
  const gone = async (withinMs: number): Promise<boolean> => {
    for (const since = performance.now(); performance.now() - since < withinMs;) {
      if (identity === undefined || (await processIdentity(pid)) !== identity) return true
      await delay(POLL_MS)
    }
    return false
  }
  for (const [name, withinMs] of SHUTDOWN) {
    if (await gone(1)) return
    kill(pid, name)
    if (await gone(withinMs)) return
  }
}

/** PostgreSQL's fast and immediate shutdown; children end by themselves when their postmaster is killed. */
const SHUTDOWN = [
  ['SIGINT', FAST_STOP_MS],
  ['SIGQUIT', IMMEDIATE_STOP_MS],
  ['SIGKILL', IMMEDIATE_STOP_MS],
] as const

function kill(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended in the meantime.
  }
}

/**
 * Makes the cluster when there is none. It is made under another name and renamed when complete: what a killed initdb leaves is never taken for a cluster, and
 * is removed at the next start.
 */
async function prepareData(cluster: Cluster, options: PostgresOptions): Promise<void> {
  for (const name of await readdir(cluster.directory)) {
    if (name.startsWith('data.new-')) await removeDraft(join(cluster.directory, name))
  }
  const version = await readFile(join(cluster.data, 'PG_VERSION'), 'utf8').catch(() => undefined)
  if (version !== undefined) {
    if (version.trim() === cluster.binaries.major) return
    throw new PostgresLaunchError(
      `\`${cluster.data}\` was made by PostgreSQL ${version.trim()}, this is ${cluster.binaries.major}; choose another folder, or move it away`,
    )
  }
  if ((await lstat(cluster.data).catch(() => undefined)) !== undefined) {
    throw new PostgresLaunchError(`\`${cluster.data}\` exists and is not a PostgreSQL data folder; choose another folder, or move it away`)
  }
  const draft = await mkdtemp(join(cluster.directory, 'data.new-'))
  await give(draft, cluster.account)
  await initialise(cluster, draft, options)
  await rename(draft, cluster.data)
  const folder = await open(cluster.directory, 'r')
  await folder.sync().finally(() => folder.close())
}

async function initialise(cluster: Cluster, folder: string, options: PostgresOptions): Promise<void> {
  const trust = ['--auth-local=trust', '--auth-host=reject', '--username=postgres']
  const sync = options.durability === 'durable' ? [] : ['--no-sync']
  const command = [...dataArgument(cluster, folder), '--locale=C', '--encoding=UTF8', ...trust, ...sync]
  try {
    await run(cluster.binaries.initdb, command, { ...cluster.account, cwd: folder, env: ENVIRONMENT, ...(options.signal ? { signal: options.signal } : {}) })
  } catch (error) {
    await removeDraft(folder)
    options.signal?.throwIfAborted()
    throw new PostgresLaunchError(`initdb failed: ${error instanceof Error ? error.message.trim() : String(error)}`, error)
  }
}

/** A killed initdb leaves a child that goes on writing for a moment, so this is tried for some seconds. */
async function removeDraft(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 15, retryDelay: 50 })
}

/** Nothing of the caller's environment: `PGDATA`, `PGOPTIONS` or a locale would change what the server does. */
const ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }

/**
 * Names the data folder to a server that starts in it. Another account than the caller's may not be able to enter the folders above, so it gets the folder by its
 * own working directory, which needs no path.
 */
function dataArgument(cluster: Cluster, folder: string): readonly string[] {
  return ['-D', cluster.account === undefined ? folder : '/proc/self/cwd']
}

async function give(path: string, account: Account | undefined): Promise<void> {
  await chmod(path, 0o700)
  if (account !== undefined) await chown(path, account.uid, account.gid)
}

/** A private folder with a short path, the same at every start unless somebody else holds its name. */
async function makeSocketDirectory(cluster: Cluster): Promise<string> {
  const name = `concordat-${createHash('sha256').update(`${callerUid()}:${cluster.directory}`).digest('hex').slice(0, 12)}`
  for (const candidate of [tmpdir(), '/tmp', '/var/tmp']) {
    const parent = await realpath(candidate).catch(() => undefined)
    if (parent === undefined || !(await isGuarded(parent)) || !(await canEnter(parent, cluster.account))) continue
    const path = join(parent, name)
    // Six random letters may be added below.
    if (Buffer.byteLength(`${path}-xxxxxx/.s.PGSQL.${PORT}`) > SOCKET_PATH_BYTES_MAX) continue
    const taken = await mkdir(path, { mode: 0o700 }).then(
      () => false,
      () => true,
    )
    const socketDirectory = taken && !(await isPrivate(path, cluster.account)) ? await mkdtemp(`${path}-`) : path
    await give(socketDirectory, cluster.account)
    return socketDirectory
  }
  throw new PostgresLaunchError('no folder for the database sockets: the temporary folder must be short, and private or sticky; set TMPDIR to such a folder')
}

async function isPrivate(path: string, account: Account | undefined): Promise<boolean> {
  const entry = await lstat(path)
  return entry.isDirectory() && (entry.uid === callerUid() || entry.uid === account?.uid) && (entry.mode & 0o077) === 0
}

/** Small, private and quiet; values of parameters are never written to the log. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  port: String(PORT),
  max_connections: '60',
  shared_buffers: '32MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  io_method: 'sync',
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_destination: 'stderr',
  logging_collector: 'off',
  log_parameter_max_length: '0',
  log_parameter_max_length_on_error: '0',
}

const DURABILITY: Readonly<Record<PostgresOptions['durability'], Readonly<Record<string, string>>>> = {
  durable: { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' },
  relaxed: { fsync: 'on', synchronous_commit: 'off', full_page_writes: 'on' },
  disposable: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' },
}

async function launch(cluster: Cluster, socketDirectory: string, options: PostgresOptions): Promise<Server> {
  const settings = { ...SETTINGS, ...DURABILITY[options.durability], ...options.settings, unix_socket_directories: socketDirectory }
  const command = [...dataArgument(cluster, cluster.data), ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
  const logPath = join(cluster.directory, 'postgres.log')
  await rename(logPath, `${logPath}.1`).catch(() => undefined)
  const log = await open(logPath, 'w', 0o600)
  try {
    // A file, not a pipe: a server whose reader has gone would die of its own log.
    const child = spawn(cluster.binaries.postgres, command, {
      ...cluster.account,
      cwd: cluster.data,
      env: ENVIRONMENT,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    })
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()).once('error', () => resolve()))
    const { pid } = child
    if (pid === undefined) throw new PostgresLaunchError(`the server \`${cluster.binaries.postgres}\` cannot be run by this user`)
    const watchdog = startWatchdog(pid, cluster.account)
    const server = { child, pid, exited, watchdog }
    try {
      await untilReady(cluster, server, options)
    } catch (error) {
      await endServer(server)
      throw error
    }
    child.unref()
    return server
  } finally {
    await log.close()
  }
}

/**
 * Ends the server when this process dies: a shell that waits for a line which never comes, and finds the end of its input instead. It runs as the server does,
 * so that it can signal nothing else.
 */
function startWatchdog(pid: number, account: Account | undefined): ChildProcess {
  const watchdog = spawn('/bin/sh', ['-c', 'trap "" INT TERM HUP; read -r line || kill -INT "$1"', 'watchdog', String(pid)], {
    ...account,
    cwd: '/',
    env: ENVIRONMENT,
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  // Without a shell there is no watchdog; the next start ends what was left behind.
  watchdog.on('error', () => undefined)
  watchdog.stdin?.on('error', () => undefined)
  watchdog.unref()
  if (watchdog.stdin !== null && 'unref' in watchdog.stdin && typeof watchdog.stdin.unref === 'function') watchdog.stdin.unref()
  return watchdog
}

async function untilReady(cluster: Cluster, server: Server, options: PostgresOptions): Promise<void> {
  const timeoutMs = options.startTimeoutMs ?? 60_000
  const failed = server.exited.then(() => 'ended' as const)
  for (const since = performance.now(); performance.now() - since < timeoutMs;) {
    options.signal?.throwIfAborted()
    const found = await readPostmasterFile(cluster.data)
    if (found?.pid === server.pid && found.status === 'ready') return
    if ((await Promise.race([failed, delay(POLL_MS)])) === 'ended') throw new PostgresLaunchError(`PostgreSQL did not start:\n${await logTail(cluster)}`)
  }
  throw new PostgresLaunchError(`PostgreSQL was not ready within ${timeoutMs} ms:\n${await logTail(cluster)}`)
}

async function logTail(cluster: Cluster): Promise<string> {
  const text = await readFile(join(cluster.directory, 'postgres.log'), 'utf8').catch(() => '')
  return text.trimEnd().split('\n').slice(-10).join('\n')
}

async function endServer(server: Server): Promise<void> {
  server.child.ref()
  for (const [name, withinMs] of SHUTDOWN) {
    if (server.child.exitCode !== null || server.child.signalCode !== null) break
    server.child.kill(name)
    const patience = new AbortController()
    await Promise.race([server.exited, delay(withinMs, undefined, { signal: patience.signal }).catch(() => undefined)])
    patience.abort()
  }
  dismiss(server.watchdog)
}

/** A line on its input tells the watchdog that nothing is left to guard. */
function dismiss(watchdog: ChildProcess): void {
  watchdog.stdin?.end('\n')
}

function handle(server: Server, parts: { readonly socketDirectory: string; readonly release: () => Promise<void> }): RunningPostgres {
  void server.exited.then(() => dismiss(server.watchdog))
  let stopped: Promise<void> | undefined
  const stop = async (): Promise<void> => {
    await endServer(server)
    await rm(parts.socketDirectory, { recursive: true, force: true })
    await parts.release()
  }
  return {
    socketDirectory: parts.socketDirectory,
    port: PORT,
    pid: server.pid,
    exited: server.exited,
    // `localhost` gives way to the socket's folder; it is there because a URL with a user and no host is none.
    url: (database, user = 'postgres') =>
      `postgresql://${encodeURIComponent(user)}@localhost:${PORT}/${encodeURIComponent(database)}?host=${encodeURIComponent(parts.socketDirectory)}`,
    stop: () => (stopped ??= stop()),
  }
}
