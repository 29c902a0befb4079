/** From single runs to figures: medians over the rounds, and ratios to `limit` of the same round. */

/** Throughput as a fraction of `limit`. `noise`: how far a ratio strays on a quiet machine. */
export const GOALS = {
  W1: { must: 0.5, aim: 0.75 },
  W2: { must: 0.65, aim: 0.85 },
  W3: { must: 0.72, aim: 0.88 },
  W4: { must: 0.85, aim: 1.3 },
  W5: { must: 0.82, aim: 0.92 },
  W6: { must: 0.85, aim: 0.93 },
}
/** A ratio may lie this far below its goal before `--check` fails. */
const NOISE = 0.1

export function summary(runs) {
  const rows = []
  for (const [workload, ofWorkload] of grouped(runs, 'workload')) {
    for (const [contestant, own] of grouped(ofWorkload, 'contestant')) {
      const rate = (run) => run.requests / run.seconds
      const ratios = own.flatMap((run) => {
        const limit = ofWorkload.find((each) => each.contestant === 'limit' && each.round === run.round)
        return limit ? [rate(run) / rate(limit)] : []
      })
      const cpu = (name) => median(own.map((run) => run.cpuMs[name] / run.requests))
      rows.push({
        workload,
        contestant,
        requestsPerSecond: median(own.map(rate)),
        ratio: ratios.length > 0 ? median(ratios) : null,
        ratios,
        p50Ms: median(own.map((run) => run.p50Ms)),
        p99Ms: median(own.map((run) => run.p99Ms)),
        bytes: Math.round(median(own.map((run) => run.bytesEach))),
        cpuMs: {
          contestant: cpu('contestant'),
          stores: cpu('stores'),
          ledger: cpu('ledger'),
          all: median(own.map((run) => (run.cpuMs.contestant + run.cpuMs.stores + run.cpuMs.ledger) / run.requests)),
          load: median(own.map((run) => run.loadCpuMs / run.requests)),
        },
      })
    }
  }
  return rows
}

export function missed({ summary }, goals) {
  return summary.flatMap(({ workload, contestant, ratio }) => {
    const must = goals[workload]?.must
    if (contestant !== 'gateway' || ratio === null || must === undefined || ratio >= must - NOISE) return []
    return [`${workload}: ${ratio.toFixed(2)} of the limit, and it must be ${must} (less ${NOISE} for noise)`]
  })
}

export function printTables({ date, command, machine, settings, workloads, contestants, summary }) {
  const names = contestants.map(({ name }) => name)
  const cell = (workload, contestant, print) => {
    const row = summary.find((each) => each.workload === workload && each.contestant === contestant)
    return row ? print(row) : '-'
  }
  const table = (title, print) =>
    [
      `### ${title}`,
      '',
      `| | ${names.join(' | ')} |`,
      `|---|${names.map(() => '--:|').join('')}`,
      ...workloads.map(({ id }) => `| ${id} | ${names.map((name) => cell(id, name, print)).join(' | ')} |`),
      '',
    ].join('\n')
  return [
    `${date} · \`${command}\``,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}, Node ${machine.node}, PostgreSQL ${machine.postgres}`,
    `scale ${settings.scale}, ${settings.rounds} rounds of ${settings.seconds} s, ${settings.connections} connections, load average ${machine.loadAverage.before.toFixed(1)} before and ${machine.loadAverage.after.toFixed(1)} after`,
    '',
    ...workloads.map(({ id, title }) => `- ${id}: ${title}`),
    '',
    table('Requests a second', ({ requestsPerSecond }) => printed(requestsPerSecond)),
    table('Throughput as a fraction of `limit` in the same round (goal of the gateway: must, aim)', ({ ratio, ratios, workload, contestant }) => {
      const goal = contestant === 'gateway' && GOALS[workload] ? ` (${GOALS[workload].must}, ${GOALS[workload].aim})` : ''
      return ratio === null
        ? '-'
        : `${ratio.toFixed(2)}${ratios.length > 1 && contestant !== 'limit' ? ` [${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}]` : ''}${goal}`
    }),
    table(
      'Processor time a request, ms: contestant + stores + ledger = all',
      ({ cpuMs: { contestant, stores, ledger, all } }) => `${printed(contestant)} + ${printed(stores)} + ${printed(ledger)} = ${printed(all)}`,
    ),
    table('Latency, ms: p50 / p99', ({ p50Ms, p99Ms }) => `${printed(p50Ms)} / ${printed(p99Ms)}`),
    table('Bytes of an answer', ({ bytes }) => printed(bytes)),
  ].join('\n')
}

/** Three digits that count. */
function printed(value) {
  if (value >= 1_000) return Math.round(value).toLocaleString('en')
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value >= 1 ? value.toFixed(2) : value.toFixed(3)
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2
}

function grouped(rows, key) {
  const groups = new Map()
  for (const row of rows) groups.set(row[key], [...(groups.get(row[key]) ?? []), row])
  return groups
}
