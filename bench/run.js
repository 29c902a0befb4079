/** `npm run bench`: see README.md beside this file. */
import { fork, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join, resolve } from 'node:path'
import { isDeepStrictEqual, parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const { status } = spawnSync(process.execPath, [join(HERE, '../infra/scripts/build-if-stale.js')], { stdio: 'inherit' })
if (status !== 0) process.exit(status ?? 1)

const { cacheFolder } = await import('../dist/cli/demo/demo-folder.js')
const { ask, CONTESTANTS, installPackages, requestOf, startContestant } = await import('./contestants.js')
const { chart } = await import('./chart.js')
const { GOALS, missed, printTables, summary } = await import('./report.js')
const { sizesOf, startStores } = await import('./stores.js')
const { normalRows, WORKLOADS } = await import('./workloads.js')

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    scale: { type: 'string' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    warm: { type: 'string' },
    prime: { type: 'string' },
    connections: { type: 'string', default: '32' },
    workloads: { type: 'string' },
    contestants: { type: 'string' },
    data: { type: 'string' },
    profile: { type: 'string' },
  },
})
const given = (text, fallback) => (text === undefined ? fallback : Number(text))
const settings = {
  scale: given(options.scale, options.quick ? 0.1 : 1),
  rounds: given(options.rounds, 3),
  seconds: given(options.seconds, options.quick ? 1.5 : 5),
  warmSeconds: given(options.warm, options.quick ? 0.5 : 1),
  /** Before the first round, so that everybody has compiled what it runs. */
  primeSeconds: given(options.prime, options.quick ? 1 : 3),
  connections: Number(options.connections),
}
const workloads = chosen(WORKLOADS, options.workloads, ({ id }) => id)
const contestants = chosen(CONTESTANTS, options.contestants ?? (options.quick ? 'limit,gateway' : undefined), ({ name }) => name)
const directory = resolve(options.data ?? join(cacheFolder(process.env), 'bench'))
const say = (line) => process.stderr.write(`${line}\n`)

const ending = []
process.once('SIGINT', () => void end().then(() => process.exit(130)))
process.once('SIGTERM', () => void end().then(() => process.exit(143)))
try {
  const results = await bench()
  mkdirSync(join(HERE, 'results'), { recursive: true })
  writeFileSync(join(HERE, 'results/latest.json'), `${JSON.stringify(results, null, 2)}\n`)
  writeFileSync(join(HERE, 'results/latest.svg'), chart(results))
  process.stdout.write(printTables(results))
  if (options.check) {
    const failures = missed(results, GOALS)
    for (const failure of failures) say(failure)
    if (failures.length > 0) process.exitCode = 1
  }
} finally {
  await end()
}

function chosen(all, names, nameOf) {
  if (names === undefined) return all
  return names.split(',').map((name) => {
    const found = all.find((each) => nameOf(each) === name)
    if (!found) throw new Error(`there is no \`${name}\`; choose of ${all.map(nameOf).join(', ')}`)
    return found
  })
}

async function end() {
  for (const stop of ending.splice(0).reverse()) await stop()
}

async function bench() {
  for (const contestant of contestants) installPackages(contestant, say)
  const startedAt = new Date()
  const stores = await startStores({ directory, scale: settings.scale, say })
  ending.push(() => stores.stop())
  const running = []
  for (const contestant of contestants) {
    const started = await startContestant(contestant, { directory, stores, profile: options.profile })
    running.push(started)
    ending.push(() => started.stop())
  }
  const sample = await sampleOf(stores)
  for (const workload of workloads) await verify(workload, running, sample)
  say('all answers are equal')
  const load = fork(join(HERE, 'load.js'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  ending.push(async () => load.disconnect())
  const loadBefore = os.loadavg()[0]
  const runs = []
  const one = async (workload, contestant, { warmMs, measuredMs }) => {
    const requests = workload.variations(sample).map((values) => requestOf(contestant, workload, values))
    if (requests.some((request) => request === null)) return null
    const pids = { contestant: contestant.pid, ...stores.pids }
    return measured(load, { port: contestant.port, requests, connections: settings.connections, warmMs, measuredMs, pids })
  }
  say(`warming up, ${settings.primeSeconds} s for each contestant and workload`)
  for (const workload of workloads) for (const contestant of running) await one(workload, contestant, { warmMs: settings.primeSeconds * 1_000, measuredMs: 0 })
  for (let round = 0; round < settings.rounds; round += 1) {
    for (const workload of workloads) {
      // Another order in each round: nobody always comes after the same one.
      for (const contestant of rotated(running, round)) {
        const figures = await one(workload, contestant, { warmMs: settings.warmSeconds * 1_000, measuredMs: settings.seconds * 1_000 })
        if (figures === null) continue
        runs.push({ round, workload: workload.id, contestant: contestant.name, ...figures })
        say(`round ${round + 1} ${workload.id} ${contestant.name.padEnd(13)}${Math.round(figures.requests / figures.seconds)} requests/s`)
      }
    }
  }
  return {
    date: startedAt.toISOString(),
    command: `npm run bench -- ${process.argv.slice(2).join(' ')}`.trim(),
    machine: {
      cpu: os.cpus()[0]?.model ?? 'unknown',
      cores: os.cpus().length,
      memoryGiB: Math.round(os.totalmem() / 1024 ** 3),
      system: `${os.type()} ${os.release()}`,
      node: process.version,
      postgres: (await stores.query('aurora', 'SHOW server_version'))[0].server_version,
      loadAverage: { before: loadBefore, after: os.loadavg()[0] },
    },
    settings: { ...settings, sizes: sizesOf(settings.scale) },
    contestants: contestants.map(({ name, about }) => ({ name, about })),
    workloads: workloads.map(({ id, title }) => ({ id, title })),
    summary: summary(runs),
    runs,
  }
}

async function sampleOf(stores) {
  const { busy } = sizesOf(settings.scale)
  const rows = await stores.query('aurora', `SELECT key::text FROM agents WHERE status = 'ACTIVE' ORDER BY key`)
  const agents = rows.map(({ key }) => key)
  return { agents, busy: agents.filter((key) => Number(key) <= busy) }
}

/** Three questions of each workload, to everybody: equal answers, or there is nothing to compare. */
async function verify(workload, running, sample) {
  const variations = workload.variations(sample)
  for (const values of [variations[0], variations[1], variations.at(-1)]) {
    let expected = null
    for (const contestant of running) {
      if (requestOf(contestant, workload, values) === null) continue
      const data = await ask(contestant, workload, values).catch((error) => {
        throw new Error(`${contestant.name} cannot answer ${workload.id}: ${error.message}`)
      })
      const rows = normalRows(workload, contestant.dialect, data)
      if (rows.length === 0) throw new Error(`${contestant.name} gives nothing for ${workload.id}`)
      expected ??= { by: contestant.name, rows }
      if (isDeepStrictEqual(rows, expected.rows)) continue
      const first = rows.findIndex((row, index) => !isDeepStrictEqual(row, expected.rows[index]))
      throw new Error(
        `${workload.id}: ${contestant.name} gives ${rows.length} rows and ${expected.by} ${expected.rows.length}; the first to differ: ${JSON.stringify(rows[first])} and ${JSON.stringify(expected.rows[first])}`,
      )
    }
  }
}

function measured(load, run) {
  return new Promise((resolve, reject) => {
    load.once('message', ({ figures, error }) => (error === undefined ? resolve(figures) : reject(new Error(error))))
    load.send(run)
  })
}

function rotated(list, by) {
  const start = by % list.length
  return [...list.slice(start), ...list.slice(0, start)]
}
