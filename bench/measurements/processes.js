/** One worker and two: over stores that cost nothing, where the processes of the gateway are all that works, and over real ones. */
import { requestOf, startGateway } from '../contestants.js'
import { percent, printed, table } from '../markdown.js'
import { median } from '../statistics.js'
import { WORKLOADS } from '../workloads.js'

const WORKERS = [1, 2]
const [TIMES, LOAD_SHARE_MAX] = [1.7, 0.2]
/** Without the option it is one process. */
const served = (workers) => (workers > 1 ? { options: ['--workers', String(workers)] } : {})
const SETUPS = [
  { name: 'free stores, no ledger', workload: 'W4', gatewayOf: (workers) => ({ switches: { isFree: true, isUnrecorded: true, workers } }), isGoal: true },
  { name: 'free stores', workload: 'W4', gatewayOf: (workers) => ({ switches: { isFree: true, workers } }) },
  { name: 'real stores', workload: 'W1', gatewayOf: (workers) => served(workers) },
  { name: 'real stores', workload: 'W4', gatewayOf: (workers) => served(workers) },
]

export const processes = {
  name: 'processes',
  title: 'Processes: `serve --workers`',
  measure: async (bench) => {
    const sample = await bench.sample()
    const generator = bench.generator()
    const rows = []
    for (const { name, workload: id, gatewayOf, isGoal = false } of SETUPS) {
      const workload = WORKLOADS.find((each) => each.id === id)
      const gateways = []
      for (const workers of WORKERS) {
        const label = `${name} ${id} ${workers}`.replaceAll(/\W+/g, '-')
        gateways.push(await startGateway({ ...bench, name: label, ...gatewayOf(workers) }).catch((error) => (bench.say(`${label}: ${error.message}`), null)))
      }
      try {
        if (gateways.includes(null)) rows.push({ name, workload: id, isGoal, times: NaN, rates: [NaN, NaN], loadShare: NaN })
        else rows.push({ name, workload: id, isGoal, ...(await compared({ bench, generator, gateways, workload, sample })) })
      } finally {
        for (const gateway of gateways) await gateway?.stop()
      }
      const { rates, times } = rows.at(-1)
      bench.say(`${name} ${id}: ${rates.map((rate) => Math.round(rate)).join(' and ')} requests/s, ${printed(times)} times`)
    }
    return {
      figures: { rows },
      goals: rows
        .filter(({ isGoal }) => isGoal)
        .flatMap(({ name, workload, times, loadShare }) => [
          { what: `${name}, ${workload}: 2 workers ÷ 1`, value: times, kind: 'atLeast', must: TIMES, noise: 0.05 },
          { what: `${name}, ${workload}: load generator, of the machine`, value: 100 * loadShare, kind: 'atMost', must: 100 * LOAD_SHARE_MAX, unit: '%' },
        ]),
      tables: table({
        title: 'Requests a second',
        columns: ['', ...WORKERS.map((count) => `${count} worker${count > 1 ? 's' : ''}`), 'times', 'load generator, of the machine'],
        rows: rows.map(({ name, workload, rates, times, loadShare }) => [`${name}, ${workload}`, ...rates.map(printed), printed(times), percent(loadShare)]),
      }),
      chart: {
        title: 'Requests a second of one worker and of two',
        groups: rows.map(({ name, workload, rates }) => ({
          label: `${name}, ${workload}`,
          bars: rates.map((rate, index) => ({ name: `${WORKERS[index]}`, value: rate || 0, text: `${printed(rate)}/s` })),
        })),
      },
    }
  },
}

/** In turns. The share of the load generator is the larger one. */
async function compared({ bench, generator, gateways, workload, sample }) {
  const { settings, stores } = bench
  const runs = gateways.map(() => [])
  const one = (gateway, { warmMs, measuredMs }) => {
    const requests = workload.variations(sample).map((values) => requestOf(gateway, workload, values))
    return generator.run({
      port: gateway.port,
      requests,
      connections: settings.connections,
      warmMs,
      measuredMs,
      pids: { contestant: gateway.pid, ...stores.pids },
    })
  }
  for (const gateway of gateways) await one(gateway, { warmMs: settings.primeSeconds * 1_000, measuredMs: 0 })
  for (let round = 0; round < settings.rounds; round += 1)
    for (const [index, gateway] of gateways.entries())
      runs[index].push(await one(gateway, { warmMs: settings.warmSeconds * 1_000, measuredMs: settings.seconds * 1_000 }))
  const rateOf = ({ requests, seconds }) => requests / seconds
  return {
    rates: runs.map((own) => median(own.map(rateOf))),
    times: median(runs[1].map((run, round) => rateOf(run) / rateOf(runs[0][round]))),
    loadShare: Math.max(...runs.map((own) => median(own.map(({ loadCpuMs, seconds }) => loadCpuMs / seconds / 1_000)))) / settings.cores,
    runs,
  }
}
