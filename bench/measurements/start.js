/** From the command `concordat serve` to a gateway that is ready, on databases that are there. */
import { startContestant, startGateway } from '../contestants.js'
import { printed, table } from '../markdown.js'
import { median } from '../statistics.js'

const STARTS = 5
const READY_MS_MAX = 1_500

/** A busy machine takes twice as long. */
const READY_MS_GUARD = 3_000

export const start = {
  name: 'start',
  title: 'Start',
  measure: async (bench) => {
    // The first one makes the tables of the ledgers; the others find them.
    const first = await startGateway({ ...bench, name: 'start' })
    await first.stop()
    const readyMs = []
    for (let index = 0; index < STARTS; index += 1) {
      const gateway = await startContestant(first, { ...bench, port: first.port })
      readyMs.push(gateway.readyMs)
      await gateway.stop()
    }
    const value = median(readyMs)
    return {
      figures: { readyMs },
      goals: [{ what: 'from `serve` to ready', value, kind: 'atMost', must: READY_MS_MAX, noise: 0.1, guard: READY_MS_GUARD, unit: 'ms' }],
      tables: table({
        title: `Milliseconds until /readyz answers 200, ${STARTS} times`,
        columns: ['', 'median', 'lowest', 'highest'],
        rows: [['ms', printed(value), printed(Math.min(...readyMs)), printed(Math.max(...readyMs))]],
      }),
      chart: {
        title: 'Milliseconds from `serve` to ready',
        mark: READY_MS_MAX,
        groups: readyMs.map((ms, index) => ({ label: `${index + 1}`, bars: [{ name: 'ms', value: ms, text: printed(ms) }] })),
      },
    }
  },
}
