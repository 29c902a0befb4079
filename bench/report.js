/** From single runs of the workloads to figures: medians over the rounds, and ratios of two contestants in the same round. */
import { percent, printed, table } from './markdown.js'
import { cpuOfRequest, grouped, median } from './statistics.js'

/** Throughput of the gateway as a multiple of another contestant's in the same round: what it must be, and what we aim for. */
export const GOALS = {
  limit: {
    W1: { must: 0.5, aim: 0.75 },
    W2: { must: 0.65, aim: 0.85 },
    W3: { must: 0.72, aim: 0.88 },
    W4: { must: 0.85, aim: 1.3 },
    W5: { must: 0.82, aim: 0.92 },
    W6: { must: 0.85, aim: 0.93 },
  },
  postgraphile: { W1: { must: 2 }, W2: { must: 3.5 }, W3: { must: 2.5 }, W5: { must: 1.2 }, W6: { must: 6 } },
  apollo: { W1: { must: 1.6 }, W2: { must: 4 }, W3: { must: 8 }, W4: { must: 3 }, W6: { must: 6 } },
}

/**
 * Processor time of the limit, stores included, as a share of the gateway's, ledger included: what `--check` holds a change to. Throughput depends on how long a commit
 * takes as well, and on the machine of 2026-11-25 that went from 0.15 ms to 3 ms within an hour, while these moved by a tenth. Reached then: .35 to .46, .62, .67, .85, .70 and .79 (W1 needs the longest to warm up).
 */
export const CPU_GUARDS = { W1: 0.27, W2: 0.48, W3: 0.52, W4: 0.65, W5: 0.56, W6: 0.62 }

/**
 * Share by which a ratio of equal contestants strays from 1: twice the deviation over rounds of `npm run bench -- --only noise --rounds 9`.
 * Assumed, not measured: to be replaced by the figures of an idle machine, with their date.
 */
export const NOISE = { W1: 0.1, W2: 0.1, W3: 0.1, W4: 0.1, W5: 0.1, W6: 0.1 }

const rate = ({ requests, seconds }) => requests / seconds

export function summary(runs) {
  const rows = []
  for (const [workload, ofWorkload] of grouped(runs, 'workload')) {
    for (const [contestant, own] of grouped(ofWorkload, 'contestant')) {
      const cpu = (name) => median(own.map((run) => cpuOfRequest(run)[name]))
      rows.push({
        workload,
        contestant,
        requestsPerSecond: median(own.map(rate)),
        /** By the name of another: the ratios of all rounds. */
        ratios: Object.fromEntries([...grouped(ofWorkload, 'contestant')].map(([other, theirs]) => [other, ratiosOf(own, theirs)])),
        p50Ms: median(own.map((run) => run.p50Ms)),
        p99Ms: median(own.map((run) => run.p99Ms)),
        bytes: Math.round(median(own.map((run) => run.bytesEach))),
        cpuMs: { contestant: cpu('contestant'), stores: cpu('stores'), ledger: cpu('ledger'), all: cpu('all') },
        /** Of the machine's cores, during the measured time: what the load generator took, and so what it left. */
        loadShare: median(own.map(({ loadCpuMs, seconds }) => loadCpuMs / seconds / 1_000)),
      })
    }
  }
  return rows
}

function ratiosOf(own, theirs) {
  return own.flatMap((run) => {
    const other = theirs.find(({ round }) => round === run.round)
    return other ? [rate(run) / rate(other)] : []
  })
}

/** @returns {readonly import('./goal.js').Goal[]} of those contestants that took part */
export function goalsOf(rows) {
  return Object.entries(GOALS)
    .flatMap(([other, goals]) =>
      rows
        .filter(({ contestant, workload, ratios }) => contestant === 'gateway' && workload in goals && ratios[other]?.length > 0)
        .map(({ workload, ratios }) => ({
          what: `${workload}, throughput ÷ ${other}`,
          value: median(ratios[other]),
          kind: 'atLeast',
          ...goals[workload],
          noise: NOISE[workload],
          guard: 0, // told, and not held against a change: see `CPU_GUARDS`
        })),
    )
    .concat(cpuGoals(rows))
}

function cpuGoals(rows) {
  const cpuOf = (name, workload) => rows.find((row) => row.contestant === name && row.workload === workload)?.cpuMs.all
  return Object.entries(CPU_GUARDS).flatMap(([workload, guard]) => {
    const [limit, gateway] = [cpuOf('limit', workload), cpuOf('gateway', workload)]
    if (limit === undefined || gateway === undefined) return []
    return [
      {
        what: `${workload}, processor time of limit ÷ gateway`,
        value: limit / gateway,
        kind: 'atLeast',
        ...GOALS.limit[workload],
        noise: NOISE[workload],
        guard,
      },
    ]
  })
}

export function workloadTables({ workloads, contestants, rows }) {
  const names = contestants.map(({ name }) => name)
  const figures = (title, print) =>
    table({
      title,
      columns: ['', ...names],
      rows: workloads.map(({ id }) => [
        id,
        ...names.map((name) => {
          const row = rows.find(({ workload, contestant }) => workload === id && contestant === name)
          return row ? print(row) : '-'
        }),
      ]),
    })
  return [
    `${workloads.map(({ id, title }) => `- ${id}: ${title}`).join('\n')}\n\n`,
    figures('Requests a second', ({ requestsPerSecond }) => printed(requestsPerSecond)),
    names.includes('limit') ? figures('Throughput as a fraction of `limit` in the same round', ({ ratios }) => spread(ratios.limit)) : '',
    names.includes('gateway')
      ? figures('Throughput of the gateway as a multiple of theirs', ({ workload, contestant }) => spread(theGateways(rows, workload, contestant)))
      : '',
    figures(
      'Processor time a request, ms: contestant + stores + ledger = all',
      ({ cpuMs: { contestant, stores, ledger, all } }) => `${printed(contestant)} + ${printed(stores)} + ${printed(ledger)} = ${printed(all)}`,
    ),
    figures('Latency, ms: p50 / p99', ({ p50Ms, p99Ms }) => `${printed(p50Ms)} / ${printed(p99Ms)}`),
    figures('Bytes of an answer', ({ bytes }) => printed(bytes)),
    figures('Share of one core that the load generator took', ({ loadShare }) => percent(loadShare)),
  ].join('')
}

function theGateways(rows, workload, contestant) {
  return rows.find((row) => row.workload === workload && row.contestant === 'gateway')?.ratios[contestant] ?? []
}

/** The median, and the lowest and highest. */
function spread(ratios = []) {
  if (ratios.length === 0) return '-'
  const [low, high] = [Math.min(...ratios), Math.max(...ratios)]
  return low === high ? printed(median(ratios)) : `${printed(median(ratios))} [${printed(low)}–${printed(high)}]`
}

export function workloadChart({ workloads, rows }) {
  return {
    title: 'Throughput as a fraction of the physical limit',
    mark: 1,
    groups: workloads.map(({ id }) => ({
      label: id,
      bars: rows
        .filter(({ workload, ratios }) => workload === id && ratios.limit?.length > 0)
        .map(({ contestant, ratios, requestsPerSecond }) => ({
          name: contestant,
          value: median(ratios.limit),
          text: `${printed(median(ratios.limit))} · ${printed(requestsPerSecond)}/s`,
        })),
    })),
  }
}
