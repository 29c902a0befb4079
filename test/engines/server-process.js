/** An engine as a process of its own: started with a log file, awaited until it answers, ended with its starter. */
import { spawn } from 'node:child_process'
import { open, readFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

const START_MS = 180_000
const TRY_MS = 2_000
const POLL_MS = 100
const GENTLE_STOP_MS = 20_000

/**
 * @typedef {object} Launch
 * @property {string} command
 * @property {readonly string[]} args
 * @property {string} directory where it runs
 * @property {string} log path of the file that it writes its output to
 * @property {Record<string, string>} [env] beside PATH and a neutral locale, all that it gets
 * @property {() => Promise<void>} answers fails as long as the engine does not answer
 */

/**
 * @param {Launch} launch
 * @returns {Promise<{ pid: number, stop(): Promise<void> }>}
 */
export async function startProcess({ command, args, directory, log, env = {}, answers }) {
  const output = await open(log, 'a', 0o600)
  const child = spawn(command, args, {
    cwd: directory,
    env: { PATH: process.env.PATH, HOME: directory, LANG: 'C.UTF-8', TZ: 'UTC', ...env },
    detached: true,
    stdio: ['ignore', output.fd, output.fd],
  })
  await output.close()
  let failure
  const exited = new Promise((done) => {
    child.once('exit', done).once('error', (error) => {
      failure = error
      done()
    })
  })
  const watchdog = guard(child.pid)
  const stop = async () => {
    if (child.pid !== undefined && isAlive(child)) {
      child.kill('SIGTERM')
      const patience = new AbortController()
      await Promise.race([exited, delay(GENTLE_STOP_MS, undefined, { signal: patience.signal }).catch(() => undefined)])
      patience.abort()
      if (isAlive(child)) child.kill('SIGKILL')
      await exited
    }
    watchdog?.stdin.end('\n')
  }
  try {
    const until = Date.now() + START_MS
    for (;;) {
      if (failure || !isAlive(child)) throw new Error(`${command} ended before it was ready`, { cause: failure })
      if (await answers().then(() => true, () => false)) break // prettier-ignore
      if (Date.now() > until) throw new Error(`${command} was not ready after ${START_MS} ms`)
      await delay(POLL_MS)
    }
  } catch (error) {
    await stop()
    const tail = (await readFile(log, 'utf8')).trimEnd().split('\n').slice(-15).join('\n')
    throw new Error(`${error.message}:\n${tail}`, { cause: error })
  }
  return { pid: child.pid, stop }
}

/** A shell that waits for a line, finds the end of its input instead when this process has died, and ends the engine then. */
function guard(pid) {
  if (pid === undefined) return undefined
  const watchdog = spawn('/bin/sh', ['-c', 'trap "" INT TERM HUP; read -r line || kill "$1"', 'watchdog', String(pid)], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  watchdog.on('error', () => undefined)
  watchdog.stdin.on('error', () => undefined)
  watchdog.unref()
  watchdog.stdin.unref()
  return watchdog
}

function isAlive(child) {
  return child.exitCode === null && child.signalCode === null
}

/** Ports of the loopback that nobody listens on. They are taken together, so that they differ. */
export async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await new Promise((done, fail) => server.once('listening', done).once('error', fail))
      return server
    }),
  )
  const ports = servers.map((server) => server.address().port)
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))))
  return ports
}

/** Whether somebody listens on the port. */
export async function accepts(port) {
  const socket = connect(port, '127.0.0.1')
  socket.setTimeout(TRY_MS, () => socket.destroy(new Error('no connection')))
  await new Promise((done, fail) => socket.once('connect', done).once('error', fail)).finally(() => socket.destroy())
}
