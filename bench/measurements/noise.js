/** How far two equal contestants differ here: the limit against itself. What a ratio may miss its goal by before that means anything. */
import { CONTESTANTS, startContestant } from '../contestants.js'
import { percent, printed, table } from '../markdown.js'
import { summary } from '../report.js'
import { alternate } from '../rounds.js'
import { deviation, median } from '../statistics.js'

export const noise = {
  name: 'noise',
  title: 'Noise: the limit against itself',
  measure: async (bench) => {
    const [limit] = CONTESTANTS
    const entrants = []
    for (const name of ['limit', 'again']) entrants.push(await bench.started(startContestant({ ...limit, name }, bench)))
    const runs = await alternate({ bench, entrants, workloads: bench.workloads, sample: await bench.sample() })
    const rows = summary(runs)
      .filter(({ contestant }) => contestant === 'again')
      .map(({ workload, ratios: { limit: ratios }, loadShare }) => ({ workload, ratio: median(ratios), noise: 2 * deviation(ratios), ratios, loadShare }))
    return {
      figures: { rows, runs },
      goals: [],
      tables: table({
        title: `Ratio of equal contestants over ${bench.settings.rounds} rounds`,
        columns: ['', 'median', 'lowest', 'highest', 'noise: 2 deviations', 'load generator, of one core'],
        rows: rows.map(({ workload, ratio, noise: share, ratios, loadShare }) => [
          workload,
          printed(ratio),
          printed(Math.min(...ratios)),
          printed(Math.max(...ratios)),
          percent(share),
          percent(loadShare),
        ]),
      }),
      chart: {
        title: 'Noise of a ratio: two deviations',
        groups: rows.map(({ workload, noise: share }) => ({ label: workload, bars: [{ name: 'noise', value: share, text: percent(share) }] })),
      },
    }
  },
}
