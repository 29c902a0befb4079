/** `npm run bench`: see README.md beside this file. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const { status } = spawnSync(process.execPath, [join(HERE, '../infra/scripts/build-if-stale.js')], { stdio: 'inherit' })
if (status !== 0) process.exit(status ?? 1)

const { cacheFolder } = await import('../dist/cli/demo/demo-folder.js')
const { chart } = await import('./chart.js')
const { CONTESTANTS } = await import('./contestants.js')
const { startGenerator } = await import('./generator.js')
const { goalTable, missed } = await import('./goal.js')
const { ALL, QUICK } = await import('./measurements.js')
const { sizesOf, startStores } = await import('./stores.js')
const { WORKLOADS } = await import('./workloads.js')

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    only: { type: 'string' },
    scale: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string' },
    warm: { type: 'string' },
    prime: { type: 'string' },
    connections: { type: 'string', default: '32' },
    workloads: { type: 'string' },
    contestants: { type: 'string' },
    data: { type: 'string' },
    profile: { type: 'string' },
    before: { type: 'string' },
  },
})
/** Without `--before` there is no earlier build to compare. */
const COMPARED = CONTESTANTS.filter(({ name }) => name !== 'before' || options.before !== undefined)
const QUICK_ASKED = options.before === undefined ? 'limit,gateway' : 'limit,gateway,before'
const given = (text, fallback) => (text === undefined ? fallback : Number(text))
const settings = {
  scale: Number(options.scale),
  rounds: Number(options.rounds),
  seconds: given(options.seconds, options.quick ? 1.5 : 5),
  warmSeconds: given(options.warm, options.quick ? 0.5 : 1),
  /** Before the first round, so that everybody has compiled what it runs. */
  primeSeconds: given(options.prime, options.quick ? 6 : 10),
  connections: Number(options.connections),
  cores: os.cpus().length,
  contestants: chosen(COMPARED, options.contestants ?? (options.quick ? QUICK_ASKED : undefined), ({ name }) => name).map(({ name }) => name),
}
const measurements = options.only === undefined ? (options.quick ? QUICK : ALL) : chosen(ALL, options.only, ({ name }) => name)
const directory = resolve(options.data ?? join(cacheFolder(process.env), 'bench'))
const say = (line) => process.stderr.write(`${line}\n`)

/** What ends each thing that was started, the last one first. */
const ending = []
process.once('SIGINT', () => void end(0).then(() => process.exit(130)))
process.once('SIGTERM', () => void end(0).then(() => process.exit(143)))
try {
  const stores = await startStores({ directory, scale: settings.scale, say })
  ending.push(() => stores.stop())
  const machine = {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.cpus().length,
    memoryGiB: Math.round(os.totalmem() / 1024 ** 3),
    system: `${os.type()} ${os.release()}`,
    node: process.version,
    postgres: (await stores.query('aurora', 'SHOW server_version'))[0].server_version,
  }
  const failures = []
  for (const measurement of measurements) {
    try {
      failures.push(...(await reported(measurement, stores, machine)))
    } catch (error) {
      // The others are worth having all the same.
      failures.push(`${measurement.name} failed: ${error.stack}`)
      process.exitCode = 1
    }
  }
  for (const failure of failures) say(failure)
  if (options.check && failures.length > 0) process.exitCode = 1
} finally {
  await end(0)
}

/** Measures, writes `results/NAME.json` and `.svg`, and prints the tables. @returns the goals that are missed, a line each */
async function reported({ name, title, measure }, stores, machine) {
  const date = new Date().toISOString()
  const command = `npm run bench -- ${process.argv.slice(2).join(' ')}`.trim()
  const before = os.loadavg()[0]
  const isIn = ending.length
  say(`\n${title}`)
  const { figures, goals, tables, chart: drawing } = await measure(contextOf(stores)).finally(() => end(isIn))
  const loadAverage = { before, after: os.loadavg()[0] }
  const results = { date, command, machine: { ...machine, loadAverage }, settings: { ...settings, sizes: sizesOf(settings.scale) }, goals, ...figures }
  mkdirSync(join(HERE, 'results'), { recursive: true })
  writeFileSync(join(HERE, `results/${name}.json`), `${JSON.stringify(results, null, 2)}\n`)
  writeFileSync(join(HERE, `results/${name}.svg`), chart({ note: `${date.slice(0, 10)}, ${machine.cores} cores, scale ${settings.scale}`, ...drawing }))
  const lines = [
    `## ${title}`,
    '',
    `${date} · \`${command}\`  `,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}, Node ${machine.node}, PostgreSQL ${machine.postgres}  `,
    `scale ${settings.scale}, ${settings.rounds} rounds of ${settings.seconds} s, ${settings.connections} connections, load average ${loadAverage.before.toFixed(1)} before and ${loadAverage.after.toFixed(1)} after`,
    '',
    tables,
  ]
  process.stdout.write(`${lines.join('\n')}${goals.length > 0 ? goalTable(goals) : ''}`)
  return missed(goals)
}

/** What a measurement works with. What it starts through here is ended with it. */
function contextOf(stores) {
  const started = async (starting) => {
    const one = await starting
    ending.push(() => one.stop())
    return one
  }
  return {
    settings,
    stores,
    directory,
    say,
    profile: options.profile,
    before: options.before && resolve(options.before),
    workloads: chosen(WORKLOADS, options.workloads, ({ id }) => id),
    started,
    generator: () => {
      const one = startGenerator()
      ending.push(() => one.stop())
      return one
    },
    sample: async () => {
      const rows = await stores.query('aurora', `SELECT key::text FROM agents WHERE status = 'ACTIVE' ORDER BY key`)
      const agents = rows.map(({ key }) => key)
      return { agents, busy: agents.filter((key) => Number(key) <= sizesOf(settings.scale).busy) }
    },
  }
}

function chosen(all, names, nameOf) {
  if (names === undefined) return all
  return names.split(',').map((name) => {
    const found = all.find((each) => nameOf(each) === name)
    if (!found) throw new Error(`there is no \`${name}\`; choose of ${all.map(nameOf).join(', ')}`)
    return found
  })
}

/** Ends what was started since there were `count` things. */
async function end(count) {
  for (const stop of ending.splice(count).reverse()) await stop()
}
