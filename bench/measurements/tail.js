/** How long the slowest wait while the gateway is busy, yet not full: requests arrive at 70 % of the rate that it was seen to keep just before. */
import { requestOf, startGateway } from '../contestants.js'
import { printed, table } from '../markdown.js'
import { median } from '../statistics.js'

const LOAD = 0.7
const RATIO_MAX = 5
/** Enough that none waits for a free one in the client. */
const CONNECTIONS = 256
const ASKED = ['W1', 'W2']

export const tail = {
  name: 'tail',
  title: 'Tail: latency at 70 % of the saturation rate, audit included',
  measure: async (bench) => {
    const { settings, stores } = bench
    // All requests come from one principal, whose seats are those of a person unless the configuration says otherwise.
    const gateway = await bench.started(startGateway({ ...bench, name: 'tail', ground: { limits: { concurrentPerPrincipal: 10_000 } } }))
    const generator = bench.generator()
    const sample = await bench.sample()
    const runs = []
    for (const workload of bench.workloads.filter(({ id }) => ASKED.includes(id))) {
      const requests = workload.variations(sample).map((values) => requestOf(gateway, workload, values))
      const base = { port: gateway.port, requests, pids: { contestant: gateway.pid, ...stores.pids }, measuredMs: settings.seconds * 1_000 }
      const closed = { ...base, connections: settings.connections }
      await generator.run({ ...closed, warmMs: settings.primeSeconds * 1_000, measuredMs: 0 })
      for (let round = 0; round < settings.rounds; round += 1) {
        const full = await generator.run({ ...closed, warmMs: settings.warmSeconds * 1_000 })
        const saturation = full.requests / full.seconds
        const ratePerSecond = LOAD * saturation
        const open = await generator.run({ ...base, connections: CONNECTIONS, ratePerSecond, warmMs: settings.warmSeconds * 1_000 })
        runs.push({ round, workload: workload.id, saturation, ratePerSecond, ratio: open.p99Ms / open.p50Ms, ...open })
        bench.say(`round ${round + 1} ${workload.id} ${Math.round(ratePerSecond)} requests/s: p50 ${printed(open.p50Ms)} ms, p99 ${printed(open.p99Ms)} ms`)
      }
    }
    const ids = [...new Set(runs.map(({ workload }) => workload))]
    const of = (id, name) => median(runs.filter(({ workload }) => workload === id).map((run) => run[name]))
    return {
      figures: { runs },
      goals: ids.map((id) => ({ what: `${id}, p99 ÷ p50`, value: of(id, 'ratio'), kind: 'atMost', must: RATIO_MAX, noise: 0.15 })),
      tables: table({
        title: 'Open loop, latency from the arrival',
        columns: ['', 'saturation, requests/s', 'asked for, requests/s', 'answered, requests/s', 'p50, ms', 'p99, ms', 'p99 ÷ p50'],
        rows: ids.map((id) => [
          id,
          printed(of(id, 'saturation')),
          printed(of(id, 'ratePerSecond')),
          printed(of(id, 'requests') / of(id, 'seconds')),
          printed(of(id, 'p50Ms')),
          printed(of(id, 'p99Ms')),
          printed(of(id, 'ratio')),
        ]),
      }),
      chart: {
        title: 'Latency at 70 % of saturation, ms',
        groups: ids.map((id) => ({ label: id, bars: ['p50Ms', 'p99Ms'].map((name) => ({ name, value: of(id, name), text: printed(of(id, name)) })) })),
      },
    }
  },
}
