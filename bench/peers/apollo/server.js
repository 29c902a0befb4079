/**
 * Apollo Server with a schema and resolvers written by hand: dataloaders against N+1 queries, prepared statements, only the columns of the type. It enforces nothing:
 * no token, no policy, no audit. Usage: node server.js PORT (stores in BENCH_STORES, connections to each in BENCH_CONNECTIONS)
 */
import { ApolloServer } from '@apollo/server'
import { startStandaloneServer } from '@apollo/server/standalone'
import DataLoader from 'dataloader'
import { GraphQLScalarType } from 'graphql'
import pg from 'pg'

const stores = JSON.parse(process.env.BENCH_STORES)
const pools = new Map(
  Object.entries(stores).map(([organization, connectionString]) => [
    organization,
    new pg.Pool({ connectionString, max: Number(process.env.BENCH_CONNECTIONS) }),
  ]),
)

const typeDefs = `#graphql
  scalar DateTime
  enum AgentStatus { ACTIVE PAUSED ARCHIVED }
  enum ExecutionStatus { QUEUED RUNNING SUCCEEDED FAILED CANCELLED }
  enum AgentOrder { KEY NAME }
  type Agent {
    organization: ID!
    key: ID!
    name: String!
    status: AgentStatus!
    description: String
    monthlyBudget: String
    maxConcurrency: Int
    createdAt: DateTime!
    updatedAt: DateTime
    executions(first: Int!): [WorkflowExecution!]!
    metricsByStatus: [MetricGroup!]!
  }
  type WorkflowExecution {
    key: ID!
    status: ExecutionStatus!
    startedAt: DateTime!
    endedAt: DateTime
    workflow: Workflow
  }
  type Workflow { key: ID! name: String! }
  type MetricGroup { status: ExecutionStatus! count: Int! cpuUsage: Float }
  type Query {
    agent(key: ID!, organization: ID!): Agent
    agents(first: Int!, status: AgentStatus, since: DateTime, order: AgentOrder! = KEY, organizations: [ID!]): [Agent!]!
  }
`

const DateTime = new GraphQLScalarType({
  name: 'DateTime',
  serialize: (value) => value.toISOString(),
  parseValue: (value) => new Date(value),
})

const AGENT = `key, name, status, description, monthly_budget AS "monthlyBudget", max_concurrency AS "maxConcurrency", created_at AS "createdAt", updated_at AS "updatedAt"`
const ORDERS = { KEY: 'key', NAME: 'name, key' }

async function rowsOf(organization, name, text, values) {
  const { rows } = await pools.get(organization).query({ name, text, values })
  return rows
}

async function agentsOf(organization, { first, status, since, order }) {
  const values = [status ?? null, since ?? null, first]
  // The text without the filters that are not given: the planner uses its index.
  const where = [status && 'status = $1', since && 'created_at >= $2'].filter(Boolean)
  const condition = where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''
  const text = `SELECT ${AGENT} FROM agents ${condition} ORDER BY ${ORDERS[order]} LIMIT $3`
  const rows = await rowsOf(organization, `agents-${order}-${where.length}`, text, values)
  for (const row of rows) row.organization = organization
  return rows
}

const resolvers = {
  DateTime,
  Query: {
    agent: async (_, { key, organization }) => {
      const [row] = await rowsOf(organization, 'agent', `SELECT ${AGENT} FROM agents WHERE key = $1`, [key])
      return row ? Object.assign(row, { organization }) : null
    },
    agents: async (_, { organizations = [...pools.keys()], ...query }) => {
      const lists = await Promise.all(organizations.map((organization) => agentsOf(organization, query)))
      if (lists.length === 1) return lists[0]
      const compare = query.order === 'NAME' ? (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0) : (a, b) => Number(a.key) - Number(b.key)
      return lists.flat().sort(compare).slice(0, query.first)
    },
  },
  Agent: {
    executions: ({ organization, key }, { first }, { loaders }) => loaders.executions(organization, first).load(key),
    metricsByStatus: ({ organization, key }) =>
      rowsOf(
        organization,
        'metrics',
        'SELECT status, count(*)::int AS count, avg(cpu_usage) AS "cpuUsage" FROM agent_execution_metrics WHERE agent_key = $1 GROUP BY status',
        [key],
      ),
  },
  WorkflowExecution: {
    workflow: ({ organization, workflow_key: key }, _, { loaders }) => (key === null ? null : loaders.workflows(organization).load(key)),
  },
}

/** Of one request. */
function loadersOf() {
  const made = new Map()
  const once = (name, make) => {
    if (!made.has(name)) made.set(name, make())
    return made.get(name)
  }
  return {
    executions: (organization, first) =>
      once(`executions ${organization} ${first}`, () => new DataLoader((keys) => latestExecutions(organization, keys, first))),
    workflows: (organization) => once(`workflows ${organization}`, () => new DataLoader((keys) => workflowsOf(organization, keys))),
  }
}

async function latestExecutions(organization, keys, first) {
  const text = `SELECT e.* FROM unnest($1::bigint[]) AS wanted(key) CROSS JOIN LATERAL (
    SELECT key, status, started_at AS "startedAt", ended_at AS "endedAt", workflow_key, agent_key
    FROM workflow_executions WHERE agent_key = wanted.key ORDER BY started_at DESC, key LIMIT $2) AS e`
  const rows = await rowsOf(organization, 'executions', text, [keys, first])
  const lists = new Map(keys.map((key) => [key, []]))
  for (const row of rows) lists.get(row.agent_key).push(Object.assign(row, { organization }))
  return keys.map((key) => lists.get(key))
}

async function workflowsOf(organization, keys) {
  const rows = await rowsOf(organization, 'workflows', 'SELECT key, name FROM workflows WHERE key = ANY ($1::bigint[])', [keys])
  const found = new Map(rows.map((row) => [row.key, row]))
  return keys.map((key) => found.get(key) ?? null)
}

const server = new ApolloServer({ typeDefs, resolvers, csrfPrevention: false })
await startStandaloneServer(server, {
  listen: { port: Number(process.argv[2]), host: '127.0.0.1' },
  context: async () => ({ loaders: loadersOf() }),
})
process.on('disconnect', () => process.exit())
