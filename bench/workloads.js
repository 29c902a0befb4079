/**
 * What is asked. Every workload is the same question to every contestant, each in its own language, with the same series of values; `rows` brings an answer into one
 * form, in which the answers of all contestants must be equal before anything is measured.
 */

/** Different requests of a workload; a connection goes through them in turn. */
const VARIATIONS = 64

const EIGHT = 'key name status description monthlyBudget maxConcurrency createdAt updatedAt'

/**
 * @typedef {object} Workload
 * @property {string} id
 * @property {string} title
 * @property {(sample: Sample) => readonly Record<string, string>[]} variations values of the requests
 * @property {Record<string, string>} documents GraphQL by dialect; a contestant without one does not take part
 * @property {Record<string, (data: any) => any[]>} rows by dialect
 */

/** @typedef {{ agents: readonly string[], busy: readonly string[] }} Sample keys of active agents; of those that have 1,000 executions */

/** Times from which agents count, all early: most agents are younger. */
const since = () => Array.from({ length: VARIATIONS }, (_, index) => ({ since: new Date(Date.UTC(2024, 0, 1 + index)).toISOString() }))

/** @type {readonly Workload[]} */
export const WORKLOADS = [
  {
    id: 'W1',
    title: 'point lookup, 8 fields',
    variations: ({ agents }) => spread(agents, VARIATIONS * 8).map((key) => ({ key })),
    documents: {
      gateway: `query W1($key: ID!) { agent(key: $key, organization: "aurora") { ${EIGHT} } }`,
      apollo: `query W1($key: ID!) { agent(key: $key, organization: "aurora") { ${EIGHT} } }`,
      postgraphile: `query W1($key: BigInt!) { agent: agentByKey(key: $key) { ${EIGHT} } }`,
    },
    rows: { all: ({ agent }) => [agent] },
  },
  {
    id: 'W2',
    title: '50 agents of one organization, filter and order, 8 fields',
    variations: since,
    documents: {
      gateway: `query W2($since: DateTime!) { agents(first: 50, where: { status: { eq: ACTIVE }, createdAt: { gte: $since } }, orderBy: [{ name: ASC }], organizations: ["aurora"]) { nodes { ${EIGHT} } } }`,
      apollo: `query W2($since: DateTime!) { agents(first: 50, status: ACTIVE, since: $since, order: NAME, organizations: ["aurora"]) { ${EIGHT} } }`,
      postgraphile: `query W2($since: Datetime!) { agents: allAgents(first: 50, filter: { status: { equalTo: "ACTIVE" }, createdAt: { greaterThanOrEqualTo: $since } }, orderBy: [NAME_ASC, KEY_ASC]) { nodes { ${EIGHT} } } }`,
    },
    rows: { all: ({ agents }) => nodesOf(agents) },
  },
  {
    id: 'W3',
    title: '20 agents with their latest 5 executions and the name of the workflow',
    variations: since,
    documents: {
      gateway: `query W3($since: DateTime!) { agents(first: 20, where: { status: { eq: ACTIVE }, createdAt: { gte: $since } }, orderBy: [{ name: ASC }], organizations: ["aurora"]) { nodes { key name executions(first: 5, orderBy: [{ startedAt: DESC }]) { nodes { key status startedAt endedAt workflow { name } } } } } }`,
      apollo: `query W3($since: DateTime!) { agents(first: 20, status: ACTIVE, since: $since, order: NAME, organizations: ["aurora"]) { key name executions(first: 5) { key status startedAt endedAt workflow { name } } } }`,
      postgraphile: `query W3($since: Datetime!) { agents: allAgents(first: 20, filter: { status: { equalTo: "ACTIVE" }, createdAt: { greaterThanOrEqualTo: $since } }, orderBy: [NAME_ASC, KEY_ASC]) { nodes { key name executions: workflowExecutionsByAgentKey(first: 5, orderBy: [STARTED_AT_DESC, KEY_ASC]) { nodes { key status startedAt endedAt workflow: workflowByWorkflowKey { name } } } } } }`,
    },
    rows: { all: ({ agents }) => nodesOf(agents).map((agent) => ({ ...agent, executions: nodesOf(agent.executions) })) },
  },
  {
    id: 'W4',
    title: 'W2 over three organizations, merged',
    variations: since,
    documents: {
      gateway: `query W4($since: DateTime!) { agents(first: 50, where: { status: { eq: ACTIVE }, createdAt: { gte: $since } }, orderBy: [{ name: ASC }]) { nodes { organization ${EIGHT} } } }`,
      apollo: `query W4($since: DateTime!) { agents(first: 50, status: ACTIVE, since: $since, order: NAME) { organization ${EIGHT} } }`,
    },
    rows: { all: ({ agents }) => nodesOf(agents) },
  },
  {
    id: 'W5',
    title: 'count and average by status over the 1,000 metrics of one agent',
    variations: ({ busy }) => spread(busy, VARIATIONS).map((key) => ({ key })),
    documents: {
      gateway: `query W5($key: ID!) { agent(key: $key, organization: "aurora") { metricsAggregate(groupBy: [{ field: STATUS }]) { groups { keys { status } count avg { cpuUsage } } } } }`,
      apollo: `query W5($key: ID!) { agent(key: $key, organization: "aurora") { metricsByStatus { status count cpuUsage } } }`,
      postgraphile: `query W5($key: BigInt!) { agent: agentByKey(key: $key) { metrics: agentExecutionMetricsByAgentKey { groups: groupedAggregates(groupBy: [STATUS]) { keys distinctCount { key } average { cpuUsage } } } } }`,
    },
    rows: {
      gateway: ({ agent }) => byStatus(agent.metricsAggregate.groups.map(({ keys, count, avg }) => ({ status: keys.status, count, cpuUsage: avg.cpuUsage }))),
      apollo: ({ agent }) => byStatus(agent.metricsByStatus),
      postgraphile: ({ agent }) =>
        byStatus(agent.metrics.groups.map(({ keys, distinctCount, average }) => ({ status: keys[0], count: distinctCount.key, cpuUsage: average.cpuUsage }))),
    },
  },
  {
    id: 'W6',
    title: '5,000 rows of 8 fields',
    variations: () => since().slice(0, 8),
    documents: {
      gateway: `query W6($since: DateTime!) { agents(first: 5000, where: { status: { eq: ACTIVE }, createdAt: { gte: $since } }, organizations: ["aurora"]) { nodes { ${EIGHT} } } }`,
      apollo: `query W6($since: DateTime!) { agents(first: 5000, status: ACTIVE, since: $since, organizations: ["aurora"]) { ${EIGHT} } }`,
      postgraphile: `query W6($since: Datetime!) { agents: allAgents(first: 5000, filter: { status: { equalTo: "ACTIVE" }, createdAt: { greaterThanOrEqualTo: $since } }) { nodes { ${EIGHT} } } }`,
    },
    rows: { all: ({ agents }) => nodesOf(agents) },
  },
]

function spread(keys, count) {
  return Array.from({ length: count }, (_, index) => keys[Math.floor(((index * 7919) % count) * (keys.length / count))])
}

function nodesOf(connection) {
  return Array.isArray(connection) ? connection : connection.nodes
}

function byStatus(groups) {
  return [...groups].sort((a, b) => (a.status < b.status ? -1 : 1))
}

/** Rows in one form: names of the contract, numbers as numbers of 12 digits, times as milliseconds. */
export function normalRows(workload, dialect, data) {
  const rowsOf = workload.rows.all ?? workload.rows[dialect === 'limit' ? 'gateway' : dialect] // the limit answers in our form
  return rowsOf(data).map(normalised)
}

const NUMBERS = new Set(['monthlyBudget', 'maxConcurrency', 'cpuUsage', 'count'])
const TIMES = new Set(['createdAt', 'updatedAt', 'startedAt', 'endedAt'])

function normalised(value) {
  if (Array.isArray(value)) return value.map(normalised)
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).map(([key, member]) => {
    if (member === null) return [key, null]
    if (NUMBERS.has(key)) return [key, Number(Number(member).toPrecision(12))]
    if (TIMES.has(key)) return [key, Date.parse(member)]
    return [key, typeof member === 'object' ? normalised(member) : String(member)]
  })
  return Object.fromEntries(members.sort(([a], [b]) => (a < b ? -1 : 1)))
}
