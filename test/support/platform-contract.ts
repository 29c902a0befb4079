/** The contract of the demo's platform as policies need it, for tests. */
import { parseContract } from '../../src/gateway/contract.js'
import { parseInput } from '../../src/gateway/scalars.js'
import type { Words } from '../../src/policy/condition.js'
import type { EntityType } from '../../src/query/catalog.js'

const SDL = `
type User @entity {
  key: ID!  name: String!  email: String  team: String  createdAt: DateTime
  agents: [Agent!] @inverse(of: "owner")
}
type Agent @entity {
  key: ID!  name: String!  status: AgentStatus!  description: String  tags: [String!]  configuration: JSON
  monthlyBudget: Decimal  maxConcurrency: Int  quota: BigInt  load: Float  active: Boolean  day: Date  trace: UUID  local: LocalDateTime
  createdAt: DateTime!  updatedAt: DateTime
  owner: User
  executions: [WorkflowExecution!] @inverse(of: "agent")
}
type WorkflowExecution @entity(name: "execution") {
  key: ID!  status: ExecutionStatus!  startedAt: DateTime!  error: String
  agent: Agent
}
enum AgentStatus { ACTIVE PAUSED ARCHIVED }
enum ExecutionStatus { QUEUED RUNNING SUCCEEDED FAILED }
`

export const catalog = parseContract([{ name: 'contract.graphql', text: SDL }])
export const words: Words = { catalog, parseScalar: parseInput }

export function entity(name: string): EntityType {
  const type = catalog.entities.get(name)
  if (!type) throw new Error(`the contract of the tests has no ${name}`)
  return type
}
