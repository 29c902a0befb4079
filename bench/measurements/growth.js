/** What an organization more costs: one that answers, and one that the caller may not query. */
import { setTimeout as delay } from 'node:timers/promises'
import { graphqlRequest, startGateway } from '../contestants.js'
import { printed, table } from '../markdown.js'
import { cpuSnapshot } from '../process-cpu.js'
import { cpuOfRequest, median } from '../statistics.js'

const COUNTS = [1, 3, 10, 30, 100]
/** Connections to each store: a hundred stores share one server. */
const STORE_CONNECTIONS = 2
const CONNECTIONS = 8
const IDLE_MS = 3_000
const NOISE = 0.15

const DOCUMENT = `query Growth { agents(first: 20, where: { status: { eq: ACTIVE } }, orderBy: [{ name: ASC }]) { nodes { organization key name status createdAt } } }`

export const growth = {
  name: 'growth',
  title: 'Growth: organizations that answer, and organizations that the caller may not query',
  measure: async (bench) => {
    const organizations = await bench.stores.small(COUNTS.at(-1))
    const generator = bench.generator()
    const rows = []
    for (const count of COUNTS) rows.push(await measured({ bench, generator, organizations: organizations.slice(0, count) }))
    const steps = rows.slice(1).map((row, index) => row.answering.all / rows[index].answering.all / (row.count / rows[index].count))
    return {
      figures: { rows },
      goals: [
        { what: 'growth with organizations that answer ÷ their growth, worst step', value: Math.max(...steps), kind: 'atMost', must: 1, noise: NOISE },
        {
          what: '100 organizations, 1 may be queried ÷ 1 organization',
          value: rows.at(-1).denied.all / rows[0].denied.all,
          kind: 'atMost',
          must: 1,
          noise: NOISE,
        },
      ],
      tables: tablesOf(rows),
      chart: {
        title: 'Processor time a request, ms, by organizations',
        groups: rows.map(({ count, answering, denied }) => ({
          label: String(count),
          bars: [
            { name: 'all answer', value: answering.all, text: printed(answering.all) },
            { name: 'one answers', value: denied.all, text: printed(denied.all) },
          ],
        })),
      },
    }
  },
}

async function measured({ bench, generator, organizations }) {
  const { settings, stores, say } = bench
  const count = organizations.length
  const gateway = await startGateway({ ...bench, name: `growth-${count}`, ground: { organizations, connections: STORE_CONNECTIONS } })
  try {
    const base = { port: gateway.port, connections: CONNECTIONS, pids: { contestant: gateway.pid, ...stores.pids } }
    /** Members of the first organization may query all; those of any other only their own. */
    const cpuOf = async (organization, served) => {
      const authorization = `Bearer ${await gateway.ground.tokenOf(organization)}`
      const requests = [graphqlRequest({ port: gateway.port, headers: { authorization } }, DOCUMENT, {})]
      await proveServed(gateway, authorization, served)
      await generator.run({ ...base, requests, warmMs: settings.primeSeconds * 1_000, measuredMs: 0 })
      const runs = []
      // Requests over many take longer: those at the edges of the time, which are counted whole or not at all, must stay few among them.
      const measuredMs = settings.seconds * 1_000 * Math.max(1, served / 20)
      for (let round = 0; round < settings.rounds; round += 1)
        runs.push(cpuOfRequest(less(idle, await generator.run({ ...base, requests, warmMs: settings.warmSeconds * 1_000, measuredMs }))))
      return Object.fromEntries(Object.keys(runs[0]).map((name) => [name, median(runs.map((run) => run[name]))]))
    }
    const idle = await idleShare(base.pids)
    const answering = await cpuOf(organizations[0], count)
    const denied = await cpuOf(organizations.at(-1), 1)
    say(`${count} organizations: ${printed(answering.all)} ms where all answer, ${printed(denied.all)} ms where one does`)
    return { count, answering, denied, idle }
  } finally {
    await gateway.stop()
  }
}

/** Milliseconds a second that processes take while nobody asks anything: every ledger gets its checkpoints, whoever asks. They are no part of a request. */
async function idleShare(pids) {
  const before = cpuSnapshot()
  await delay(IDLE_MS)
  const after = cpuSnapshot()
  return Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, (after(pid) - before(pid)) / (IDLE_MS / 1_000)]))
}

function less(idle, { cpuMs, requests, seconds }) {
  return { requests, cpuMs: Object.fromEntries(Object.entries(cpuMs).map(([name, ms]) => [name, ms - idle[name] * seconds])) }
}

/** @throws Error where another number of organizations answered than was meant to */
async function proveServed({ port }, authorization, served) {
  const response = await fetch(`http://127.0.0.1:${port}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization },
    body: JSON.stringify({ query: DOCUMENT }),
  })
  const text = await response.text()
  const found = JSON.parse(text).extensions?.sovereignty?.served.length
  if (found !== served) throw new Error(`${served} organizations were to answer: ${text.slice(0, 1_000)}`)
}

function tablesOf(rows) {
  const figures = (title, of) =>
    table({
      title,
      columns: ['organizations', 'gateway', 'PostgreSQL', 'ledger', 'all', 'all, for each that answers', 'idle, ms a second'],
      rows: rows.map((row) => {
        const { contestant, stores, ledger, all } = row[of]
        return [
          String(row.count),
          printed(contestant),
          printed(stores),
          printed(ledger),
          printed(all),
          printed(all / (of === 'answering' ? row.count : 1)),
          printed(row.idle.contestant + row.idle.ledger),
        ]
      }),
    })
  return (
    figures('All answer: processor time a request, ms', 'answering') +
    figures('One answers, the caller may not query the others: processor time a request, ms', 'denied')
  )
}
