/** W1 to W6: the gateway with everything on, the physical limit, and peers that enforce nothing. */
import { CONTESTANTS, installPackages, startContestant } from '../contestants.js'
import { goalsOf, summary, workloadChart, workloadTables } from '../report.js'
import { alternate, verify } from '../rounds.js'

export const workloads = {
  name: 'workloads',
  title: 'Workloads, against the limit and against peers that enforce nothing',
  measure: async (bench) => {
    const contestants = CONTESTANTS.filter(({ name }) => bench.settings.contestants?.includes(name) ?? true)
    for (const contestant of contestants) installPackages(contestant, bench.say)
    const entrants = []
    for (const contestant of contestants) entrants.push(await bench.started(startContestant(contestant, bench)))
    const sample = await bench.sample()
    await verify({ entrants, workloads: bench.workloads, sample })
    bench.say('all answers are equal')
    const runs = await alternate({ bench, entrants, workloads: bench.workloads, sample })
    const rows = summary(runs)
    const words = {
      workloads: bench.workloads.map(({ id, title }) => ({ id, title })),
      contestants: contestants.map(({ name, about }) => ({ name, about })),
      rows,
    }
    return { figures: { ...words, runs }, goals: goalsOf(rows), tables: workloadTables(words), chart: workloadChart(words) }
  },
}
