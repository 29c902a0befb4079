/** One list of more and more rows: time, processor time and memory. */
import { graphqlRequest, startGateway } from '../contestants.js'
import { residentMiB, resetPeak } from '../memory.js'
import { printed, table } from '../markdown.js'
import { cpuOfRequest } from '../statistics.js'

const COUNTS = [50, 500, 5_000, 50_000]
/** Rows in all that are asked for in a second of measuring, at about the speed of the workloads; and the fewest requests that give a figure. */
const [ROWS_PER_SECOND, REQUESTS_MIN] = [200_000, 10]
const PATIENCE_MS = 300_000
export const LONG = 1_000_000
/** By which the peak may be higher for an answer ten times as long: garbage of the same requests, collected earlier or later. */
const GROWTH_MIB_MAX = 24
const DOCUMENT = 'query Rows($first: Int!) { users(first: $first) { nodes { key name team createdAt } } }'

/** A ground and switches for answers that no configuration allows. */
export async function longGateway(bench, name) {
  const organization = await bench.stores.long(LONG)
  const limits = { pageRows: LONG, cost: 10 * LONG, answerBytes: 1024 ** 3, deadlineMs: 300_000 }
  return bench.started(startGateway({ ...bench, name, ground: { organizations: [organization] }, switches: { limits } }))
}

export const rows = {
  name: 'rows',
  title: 'Growth: rows of one list',
  measure: async (bench) => {
    const gateway = await longGateway(bench, 'rows')
    const generator = bench.generator()
    const found = []
    for (const first of COUNTS) {
      const requests = [graphqlRequest(gateway, DOCUMENT, { first })]
      const run = { port: gateway.port, connections: 1, requests, pids: { contestant: gateway.pid, ...bench.stores.pids } }
      const requestsIn = (seconds) => Math.max(REQUESTS_MIN, Math.min(1_000 * seconds, (ROWS_PER_SECOND * seconds) / first))
      await generator.run({ ...run, warmMs: 0, measuredMs: PATIENCE_MS, requestsMax: requestsIn(bench.settings.primeSeconds) })
      await gateway.message('memory') // collects garbage
      const idleMiB = residentMiB(gateway.pid).now
      resetPeak(gateway.pid)
      const figures = await generator.run({ ...run, warmMs: 0, measuredMs: PATIENCE_MS, requestsMax: requestsIn(bench.settings.seconds) })
      const cpu = cpuOfRequest(figures)
      found.push({ first, p50Ms: figures.p50Ms, bytes: figures.bytesEach, cpu, idleMiB, peakMiB: residentMiB(gateway.pid).peak - idleMiB })
      bench.say(`${first} rows: ${printed(figures.p50Ms)} ms, ${printed(found.at(-1).peakMiB)} MiB above idle`)
    }
    const [shorter, longer] = found.slice(-2)
    const eachUs = ({ cpu, first }) => (1_000 * cpu.all) / first
    return {
      figures: { rows: found },
      goals: [
        { what: 'processor time a row, 50,000 ÷ 5,000 rows', value: eachUs(longer) / eachUs(shorter), kind: 'atMost', must: 1, noise: 0.2 },
        { what: 'time a row, 50,000 ÷ 5,000 rows', value: longer.p50Ms / longer.first / (shorter.p50Ms / shorter.first), kind: 'atMost', must: 1, noise: 0.2 },
        { what: 'peak of memory, 50,000 − 5,000 rows', value: longer.peakMiB - shorter.peakMiB, kind: 'atMost', must: GROWTH_MIB_MAX, unit: 'MiB' },
      ],
      tables: table({
        title: 'One client, one list',
        columns: ['rows', 'bytes', 'p50, ms', 'gateway, µs a row', 'PostgreSQL, µs a row', 'peak above idle, MiB'],
        rows: found.map(({ first, bytes, p50Ms, cpu, peakMiB }) => [
          printed(first),
          printed(bytes),
          printed(p50Ms),
          printed((1_000 * cpu.contestant) / first),
          printed((1_000 * cpu.stores) / first),
          printed(peakMiB),
        ]),
      }),
      chart: {
        title: 'Processor time a row, µs',
        groups: found.map((row) => ({ label: printed(row.first), bars: [{ name: 'all', value: eachUs(row), text: printed(eachUs(row)) }] })),
      },
    }
  },
}
