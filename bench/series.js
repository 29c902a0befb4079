/**
 * `npm run bench:series`: hourly series over a year of one-minute measurements of 50 agents, as `concordat serve` answers them, against SQL that is written by hand with
 * the same conditions and asked by `pg` alone: time, rows read, memory. `--quick`: of 20 days; `--check`: ends with 1 where an answer differs or takes too long.
 *
 * It needs Linux, 9 GB of disk for the year, six minutes to fill them the first time, and twenty for three rounds.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { printed, table } from './markdown.js'
import { residentMiB, resetPeak } from './memory.js'
import { median } from './statistics.js'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const { status } = spawnSync(process.execPath, [join(HERE, '../infra/scripts/build-if-stale.js')], { stdio: 'inherit' })
if (status !== 0) process.exit(status ?? 1)
const { ask, startGateway } = await import('./contestants.js')
const { startStores } = await import('./stores.js')

const { values: options } = parseArgs({
  options: {
    days: { type: 'string' },
    rounds: { type: 'string' },
    only: { type: 'string', default: '' },
    data: { type: 'string', default: join(os.homedir(), '.cache/concordat/bench') },
    quick: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
  },
})
const DAYS = Number(options.days ?? (options.quick ? 20 : 365))
const ROUNDS = Number(options.rounds ?? (options.quick ? 5 : 3))
const AGENTS = 50
/** What a series may take beside what any request does, in times of SQL that gives the same numbers; and what two equal contestants may differ by on a busy machine where the rows are few. */
const [RATIO_MAX, QUICK_NOISE] = [1.15, 0.25]
const START = '2025-01-01T00:00:00Z'
const END = new Date(Date.parse(START) + DAYS * 86_400_000).toISOString().replace('.000', '')
const WEEK_END = '2025-01-08T00:00:00Z'
/** Of the bench's roles (`ground.js`). */
const SINCE = '2020-01-01T00:00:00Z'
/** After so long an idle session tells what it read. */
const STATISTICS_MS = 10_500
const say = (line) => process.stderr.write(`${line}\n`)

const POLICY = 'started_at >= $3::timestamptz'
const RANGE = `started_at >= $1::timestamptz AND started_at < $2::timestamptz AND ${POLICY}`
const HOUR = `date_bin('1 hour', started_at, '2025-01-01Z')`
const WHOLE = 'count sum { memoryUsage } avg { inputSize } max { outputSize }'
const WHOLE_SQL = 'count(*) AS count, sum(memory_usage) AS sum, avg(input_size) AS avg, max(output_size) AS max'
const series = (selection, bucket = 'PT1H', more = '') =>
  `metricSeries(range: { from: $from, to: $to }, bucket: "${bucket}"${more}) { buckets { start ${selection} } }`

/**
 * What is asked, and by hand. Both give rows of a key (null where there is none), a start, and numbers; `plain` is SQL whose floats are those of one order of the rows.
 */
const QUESTIONS = [
  {
    name: 'whole numbers of all agents, by hour',
    document: `query ($from: DateTime!, $to: DateTime!) { ${series(WHOLE)} }`,
    sql: `SELECT NULL AS key, ${HOUR} AS start, ${WHOLE_SQL} FROM agent_execution_metrics WHERE ${RANGE} GROUP BY 2 ORDER BY 2`,
  },
  {
    name: 'a float of all agents, by hour',
    document: `query ($from: DateTime!, $to: DateTime!) { ${series('avg { cpuUsage }')} }`,
    sql: `SELECT NULL AS key, ${HOUR} AS start, avg(cpu_usage::numeric) AS avg FROM agent_execution_metrics WHERE ${RANGE} GROUP BY 2 ORDER BY 2`,
    plain: `SELECT NULL AS key, ${HOUR} AS start, avg(cpu_usage) AS avg FROM agent_execution_metrics WHERE ${RANGE} GROUP BY 2 ORDER BY 2`,
  },
  {
    name: 'whole numbers of all agents, by day of Berlin',
    document: `query ($from: DateTime!, $to: DateTime!) { ${series(WHOLE, 'P1D', ', timezone: "Europe/Berlin"')} }`,
    sql: `SELECT NULL AS key, date_trunc('day', started_at, 'Europe/Berlin') AS start, ${WHOLE_SQL} FROM agent_execution_metrics WHERE ${RANGE} GROUP BY 2 ORDER BY 2`,
  },
  {
    name: 'whole numbers of each agent, by hour',
    document: `query ($from: DateTime!, $to: DateTime!) { agents(first: ${AGENTS}) { nodes { key ${series(WHOLE)} } } }`,
    sql: `SELECT agent_key AS key, ${HOUR} AS start, ${WHOLE_SQL} FROM agent_execution_metrics JOIN agents ON agents.key = agent_key
      WHERE ${RANGE} AND agents.status <> 'ARCHIVED' AND agents.max_concurrency <= 64 GROUP BY 1, 2 ORDER BY 1, 2`,
  },
  {
    name: 'a week of one agent, by hour',
    to: WEEK_END,
    repeat: 20,
    document: `query ($from: DateTime!, $to: DateTime!) { ${series(WHOLE, 'PT1H', ', where: { agent: { key: { eq: "7" } } }')} }`,
    sql: `SELECT NULL AS key, ${HOUR} AS start, ${WHOLE_SQL} FROM agent_execution_metrics
      WHERE ${RANGE} AND agent_key = 7 AND EXISTS (SELECT FROM agents WHERE key = 7 AND status <> 'ARCHIVED' AND max_concurrency <= 64) GROUP BY 2 ORDER BY 2`,
  },
]

mkdirSync(options.data, { recursive: true })
const stores = await startStores({ directory: options.data, scale: 0, say })
try {
  const organization = await stores.measured(AGENTS, DAYS)
  const limits = { seriesBuckets: 100_000, cost: 10_000_000, answerBytes: 1024 ** 3, deadlineMs: 600_000 }
  const gateway = await startGateway({ name: 'series', directory: options.data, stores, ground: { organizations: [organization] }, switches: { limits } })
  const client = new pg.Client({ connectionString: stores.url(organization) })
  try {
    await client.connect()
    const asked = QUESTIONS.filter(({ name }) => name.includes(options.only))
    const floorMs = await floor(gateway)
    const lines = []
    for (const question of asked) lines.push(await measured(question, { gateway, client }))
    report(lines, floorMs)
  } finally {
    await client.end()
    await gateway.stop()
  }
} finally {
  await stores.stop()
}

/** What any request takes: HTTP, token, policy, and an entry in the ledger that is on the disk before the answer leaves. */
async function floor(gateway) {
  const times = []
  for (let index = 0; index < 30; index += 1) {
    const startedMs = performance.now()
    await ask(gateway, { documents: { gateway: '{ agents(first: 1) { nodes { key } } }' } }, {})
    times.push(performance.now() - startedMs)
  }
  return median(times)
}

/** Everybody answers once before anything is measured, and the same; then in turn. */
async function measured(question, { gateway, client }) {
  const { name, document, sql, plain, repeat = 1, to = END } = question
  const contestants = {
    gateway: async () => gatewayRows(await ask(gateway, { documents: { gateway: document } }, { from: START, to })),
    hand: async () => handRows(await client.query(sql, [START, to, SINCE])),
    ...(plain && { plain: async () => handRows(await client.query(plain, [START, to, SINCE])) }),
  }
  const answers = {}
  const read = {}
  for (const [who, answer] of Object.entries(contestants)) {
    const before = await rowsRead(client)
    answers[who] = await answer()
    if (who === 'gateway') await delay(STATISTICS_MS)
    read[who] = (await rowsRead(client)) - before
  }
  compare(name, answers)
  const times = Object.fromEntries(Object.keys(contestants).map((who) => [who, []]))
  const backends = Object.fromEntries(Object.keys(contestants).map((who) => [who, 0]))
  await gateway.message('memory') // collects garbage
  const idleMiB = residentMiB(gateway.pid).now
  resetPeak(gateway.pid)
  for (let round = 0; round < ROUNDS; round += 1) {
    const order = Object.keys(contestants)
    for (const who of round % 2 === 0 ? order : order.reverse()) {
      const watch = watchBackends(stores.pids.stores)
      const startedMs = performance.now()
      for (let index = 0; index < repeat; index += 1) await contestants[who]()
      times[who].push((performance.now() - startedMs) / repeat)
      backends[who] = Math.max(backends[who], await watch.stop())
    }
  }
  const ms = Object.fromEntries(Object.entries(times).map(([who, each]) => [who, median(each)]))
  const ratio = median(times.gateway.map((each, round) => each / times.hand[round]))
  say(`${name}: ${printed(ms.gateway)} ms, by hand ${printed(ms.hand)} ms`)
  return { name, buckets: answers.gateway.length, ms, ratio, read, backends, peakMiB: residentMiB(gateway.pid).peak - idleMiB, times }
}

function gatewayRows({ agents, metricSeries }) {
  const all = agents ? agents.nodes.map(({ key, metricSeries: [one] }) => ({ key, one })) : [{ key: null, one: metricSeries[0] }]
  return all.flatMap(({ key, one }) =>
    one.buckets.map(({ start, count, sum, avg, max }) => ({
      key,
      start,
      numbers: [count, sum?.memoryUsage, avg?.inputSize ?? avg?.cpuUsage, max?.outputSize].filter((number) => number !== undefined).map(Number),
    })),
  )
}

function handRows({ rows }) {
  return rows.map(({ key, start, ...numbers }) => ({ key, start: start.toISOString().replace('.000', ''), numbers: Object.values(numbers).map(Number) }))
}

/** Averages are rounded in other places, and floats are added in another order. */
function compare(name, { gateway, ...others }) {
  const sorted = (rows) => [...rows].sort((a, b) => Number(a.key) - Number(b.key) || (a.start < b.start ? -1 : 1))
  const mine = sorted(gateway)
  for (const [who, rows] of Object.entries(others)) {
    const theirs = sorted(rows)
    const isSame = (row, at) =>
      row.key === mine[at].key && row.start === mine[at].start && row.numbers.every((number, index) => Math.abs(number / mine[at].numbers[index] - 1) < 1e-12)
    if (theirs.length !== mine.length || theirs.length === 0 || !theirs.every(isSame)) throw new Error(`${name}: the gateway and ${who} do not give the same`)
  }
}

/** Of the table of measurements, since the server started; by other sessions than this one as far as they have told. */
async function rowsRead(client) {
  await client.query('SELECT pg_stat_force_next_flush()')
  const { rows } = await client.query(
    `SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) AS read, pg_stat_clear_snapshot() FROM pg_stat_user_tables WHERE relname = 'agent_execution_metrics'`,
  )
  return Number(rows[0].read)
}

/** The most that all of the server's processes held at one time, in MiB, without what they share. */
function watchBackends(server) {
  let peak = 0
  let isOver = false
  const idle = privateMiB(server)
  const watching = (async () => {
    while (!isOver) {
      peak = Math.max(peak, privateMiB(server))
      await delay(20)
    }
  })()
  return {
    stop: async () => {
      isOver = true
      await watching
      return peak - idle
    },
  }
}

function privateMiB(server) {
  let sum = 0
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const text = readFileSync(`/proc/${pid}/status`, 'latin1')
      if (Number(/^PPid:\s+(\d+)/m.exec(text)?.[1]) === server) sum += Number(/^RssAnon:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) / 1_024
    } catch {
      // it has ended in the meantime
    }
  }
  return sum
}

function report(lines, floorMs) {
  const rows = lines.map(({ name, buckets, ms, ratio, read, backends, peakMiB }) => [
    name,
    printed(buckets),
    printed(ms.gateway),
    printed(ms.hand),
    printed(ratio),
    ms.plain === undefined ? '' : printed(ms.plain),
    `${printed(read.gateway)}, ${printed(read.hand)}`,
    printed(peakMiB),
    `${printed(backends.gateway)}, ${printed(backends.hand)}`,
  ])
  const columns = ['', 'buckets', 'gateway, ms', 'by hand, ms', 'ratio', 'floats as they come, ms', 'rows read', 'gateway, MiB', 'PostgreSQL, MiB']
  const about = `${printed(AGENTS * DAYS * 1_440)} measurements, medians of ${ROUNDS} rounds; ${os.cpus().length} cores, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}; any request takes ${printed(floorMs)} ms`
  console.log(table({ title: `Series: ${about}`, columns, rows }))
  mkdirSync(join(HERE, 'results'), { recursive: true })
  writeFileSync(join(HERE, 'results/series.json'), `${JSON.stringify({ days: DAYS, agents: AGENTS, floorMs, lines }, null, 2)}\n`)
  if (!options.check) return
  const most = RATIO_MAX + (options.quick ? QUICK_NOISE : 0)
  const slow = lines.filter(({ ratio, ms }) => ratio > most && ms.gateway - floorMs > most * ms.hand)
  if (slow.length === 0) return
  console.error(`more than ${most} times SQL by hand: ${slow.map(({ name }) => name).join(', ')}`)
  process.exitCode = 1
}
