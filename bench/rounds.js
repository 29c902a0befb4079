/** Who is compared takes turns: every entrant answers a workload before the next workload begins, in another order in each round. */
import { isDeepStrictEqual } from 'node:util'
import { ask, requestOf } from './contestants.js'
import { normalRows } from './workloads.js'

/** Measured on each connection: W6 has about one answer a second there. */
const ANSWERS_EACH = 6

/**
 * @param {{
 *   bench: object, entrants: readonly object[], workloads: readonly object[], sample: object,
 *   before?: (entrant: object) => Promise<void>,
 * }} options `entrants`: started contestants; `before` puts the databases into an entrant's state, before each of its runs
 * @returns the figures of each run, with `round`, `workload` and `contestant`
 */
export async function alternate({ bench, entrants, workloads, sample, before = async () => undefined }) {
  const { settings, stores, say } = bench
  const generator = bench.generator()
  const one = async (workload, entrant, { warmMs, measuredMs }) => {
    const requests = workload.variations(sample).map((values) => requestOf(entrant, workload, values))
    if (requests.some((request) => request === null)) return null
    await before(entrant)
    const pids = { contestant: entrant.pid, ...stores.pids }
    const answersMin = measuredMs > 0 ? ANSWERS_EACH * settings.connections : 0
    return generator.run({ port: entrant.port, requests, connections: settings.connections, warmMs, measuredMs, answersMin, pids })
  }
  say(`warming up, ${settings.primeSeconds} s for each of ${entrants.map(({ name }) => name).join(', ')} and each workload`)
  for (const workload of workloads) for (const entrant of entrants) await one(workload, entrant, { warmMs: settings.primeSeconds * 1_000, measuredMs: 0 })
  const runs = []
  for (let round = 0; round < settings.rounds; round += 1) {
    for (const workload of workloads) {
      for (const entrant of rotated(entrants, round)) {
        const figures = await one(workload, entrant, { warmMs: settings.warmSeconds * 1_000, measuredMs: settings.seconds * 1_000 })
        if (figures === null) continue
        runs.push({ round, workload: workload.id, contestant: entrant.name, ...figures })
        say(`round ${round + 1} ${workload.id} ${entrant.name.padEnd(18)}${Math.round(figures.requests / figures.seconds)} requests/s`)
      }
    }
  }
  return runs
}

/** Three questions of each workload, to everybody: equal answers, or there is nothing to compare. @throws Error with the first difference */
export async function verify({ entrants, workloads, sample, before = async () => undefined }) {
  for (const workload of workloads) {
    const variations = workload.variations(sample)
    for (const values of [variations[0], variations[1], variations.at(-1)]) {
      let expected = null
      for (const entrant of entrants) {
        if (requestOf(entrant, workload, values) === null) continue
        await before(entrant)
        const data = await ask(entrant, workload, values).catch((error) => {
          throw new Error(`${entrant.name} cannot answer ${workload.id}: ${error.message}`)
        })
        const rows = normalRows(workload, entrant.dialect, data)
        if (rows.length === 0) throw new Error(`${entrant.name} gives nothing for ${workload.id}`)
        expected ??= { by: entrant.name, rows }
        if (!isDeepStrictEqual(rows, expected.rows)) throw new Error(difference({ workload, entrant, rows, expected }))
      }
    }
  }
}

function difference({ workload, entrant, rows, expected }) {
  const first = rows.findIndex((row, index) => !isDeepStrictEqual(row, expected.rows[index]))
  return `${workload.id}: ${entrant.name} gives ${rows.length} rows and ${expected.by} ${expected.rows.length}; the first to differ: ${JSON.stringify(rows[first])} and ${JSON.stringify(expected.rows[first])}`
}

function rotated(list, by) {
  const start = by % list.length
  return [...list.slice(start), ...list.slice(0, start)]
}
