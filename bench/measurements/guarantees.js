/** What the guarantees cost: the same workloads with row policy, row-level security and audit switched off, one by one and all of them. */
import { startGateway } from '../contestants.js'
import { percent, printed, table } from '../markdown.js'
import { alternate, verify } from '../rounds.js'
import { cpuOfRequest, grouped, median } from '../statistics.js'

/** Conditions on rows are what the policy of a query costs: tokens, grants and agreements stay, or nobody would know whom to answer. */
const ENTRANTS = [
  { name: 'all on' },
  { name: 'no row policy', ground: { rowPolicy: 'none' } },
  { name: 'no row-level security', ground: { isProtected: false } },
  { name: 'no audit', switches: { isUnrecorded: true } },
  { name: 'all off', ground: { rowPolicy: 'none', isProtected: false }, switches: { isUnrecorded: true } },
]

/** (all on − all off) ÷ all on, of the processor time of gateway, PostgreSQL and ledger. */
const SHARE_MAX = { W1: 0.45, W2: 0.2, W3: 0.2, W4: 0.15, W5: 0.15, W6: 0.15 }
/** A difference of two figures that each stray: the share strays by so much of itself, at least. */
const NOISE = 0.15

export const guarantees = {
  name: 'guarantees',
  title: 'Cost of the guarantees',
  measure: async (bench) => {
    const entrants = []
    for (const { name, ground, switches = {} } of ENTRANTS) {
      const gateway = await bench.started(startGateway({ ...bench, name: name.replaceAll(' ', '-'), ground, switches }))
      entrants.push({ ...gateway, name, isRecorded: !switches.isUnrecorded })
    }
    const sample = await bench.sample()
    // All share the databases, whose row-level security is that of who is asked.
    const before = ({ ground }) => ground.protect()
    await verify({ entrants, workloads: bench.workloads, sample, before })
    for (const entrant of entrants) await proveSwitch(entrant, before)
    const runs = await alternate({ bench, entrants, workloads: bench.workloads, sample, before })
    const rows = [...grouped(runs, 'workload')].map(([workload, own]) => rowOf(workload, grouped(own, 'contestant')))
    const names = ENTRANTS.map(({ name }) => name)
    return {
      figures: { rows, runs },
      goals: rows.map(({ workload, shareOf }) => ({
        what: `${workload}, share of all guarantees`,
        value: 100 * shareOf['all off'],
        kind: 'atMost',
        must: 100 * SHARE_MAX[workload],
        noise: NOISE,
        unit: '%',
      })),
      tables:
        table({
          title: 'Processor time a request, ms: gateway + PostgreSQL + ledger',
          columns: ['', ...names],
          rows: rows.map(({ workload, cpuMs }) => [workload, ...names.map((name) => printed(cpuMs[name]))]),
        }) +
        table({
          title: 'Share that goes away with it: (all on − this) ÷ all on',
          columns: ['', ...names.slice(1)],
          rows: rows.map(({ workload, shareOf }) => [workload, ...names.slice(1).map((name) => percent(shareOf[name]))]),
        }),
      chart: {
        title: 'Share of the processor time that goes away with a guarantee',
        groups: rows.map(({ workload, shareOf }) => ({
          label: workload,
          bars: names.slice(1).map((name) => ({ name, value: shareOf[name], text: percent(shareOf[name]) })),
        })),
      },
    }
  },
}

function rowOf(workload, byEntrant) {
  const cpuMs = {}
  const shareOf = {}
  const on = byEntrant.get('all on')
  for (const [name, runs] of byEntrant) {
    cpuMs[name] = median(runs.map((run) => cpuOfRequest(run).all))
    shareOf[name] = median(runs.map((run, index) => 1 - cpuOfRequest(run).all / cpuOfRequest(on[index]).all))
  }
  return { workload, cpuMs, shareOf }
}

/** A switch that does nothing would make the guarantee look free. @throws Error where audit is not as the entrant says */
async function proveSwitch(entrant, before) {
  await before(entrant)
  const response = await fetch(`http://127.0.0.1:${entrant.port}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...entrant.headers },
    body: JSON.stringify({ query: '{ agents(first: 1, organizations: ["aurora"]) { nodes { key } } }' }),
  })
  const isRecorded = (await response.text()).includes('"receipt":{')
  if (isRecorded !== entrant.isRecorded) throw new Error(`${entrant.name}: the answer has ${isRecorded ? 'a' : 'no'} receipt`)
}
