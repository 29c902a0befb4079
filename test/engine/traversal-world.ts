/** Agents with a parent, and with what they need: over rows of another type, each of which may be hidden too. */
import type { TestClaims } from '../support/gateway.js'
import { agreementOf } from '../support/gateway.js'

export const CONTRACT = `
type Agent @entity {
  key: ID!  name: String!  level: Int  parent: Agent
  children: [Agent!] @inverse(of: "parent")
  needs: [Need!] @inverse(of: "agent")
  neededBy: [Need!] @inverse(of: "on")
}
type Need @entity { key: ID!  kind: String  agent: Agent  on: Agent }`

export const AGENTS = 40
export const SQL = `
  CREATE TABLE agent (key int PRIMARY KEY, name text NOT NULL, level int, parent_key int REFERENCES agent);
  CREATE TABLE need (key int PRIMARY KEY, kind text, agent_key int REFERENCES agent, on_key int REFERENCES agent);
  CREATE INDEX ON need (agent_key); CREATE INDEX ON need (on_key); CREATE INDEX ON agent (parent_key);
  INSERT INTO agent SELECT n, 'agent ' || n, n % 4, NULLIF(n / 3, 0) FROM generate_series(1, ${AGENTS}) n;
  INSERT INTO need SELECT n, CASE n % 3 WHEN 0 THEN 'hard' WHEN 1 THEN 'soft' END, 1 + (n * 7) % ${AGENTS}, 1 + (n * 13 + 5) % ${AGENTS} FROM generate_series(1, 60) n;`

const all = { fields: 'all' }
export const roles = {
  chief: { read: { Agent: all, Need: all }, explain: true, crossOrganization: ['testing'] },
  /** Some agents and some needs are hidden. */
  some: { read: { Agent: { fields: 'all', rows: { level: { gt: 0 } } }, Need: { fields: 'all', rows: { kind: { eq: 'hard' } } } } },
  /** Every agent, and of some where they lead. */
  cells: {
    read: {
      Agent: [{ fields: ['key', 'name', 'level', 'children', 'needs', 'neededBy'] }, { fields: ['parent'], rows: { level: { lt: 3 } } }],
      Need: [{ fields: ['key', 'kind', 'agent'] }, { fields: ['on'], rows: { kind: { eq: 'soft' } } }],
    },
  },
  blind: { read: { Agent: { fields: ['key', 'name', 'level', 'parent'] } } },
}
export const of = (role: string): TestClaims => ({ organization: 'alpha', roles: [role] })
export const partner: TestClaims = { organization: 'beta', roles: ['chief'] }
export const AGREEMENT = agreementOf('alpha', 'beta', {
  Agent: { rows: { level: { lt: 3 } }, allow: ['key', 'level', 'parent', 'needs'], mask: { name: { redact: { keepLast: 1 } } } },
  Need: { rows: { kind: { eq: 'soft' } }, allow: ['key', 'agent', 'on'] },
})

export const DOCUMENT = `query ($from: ID!, $via: AgentRelatedVia!, $direction: RelationDirection!, $depth: Int!, $first: Int, $where: AgentWhere) {
  agent(key: $from, organization: "alpha") { key related(via: $via, direction: $direction, depth: $depth, first: $first, where: $where) { edges { depth node { key name } } } }
}`

export interface Case {
  readonly from: number
  readonly via: string
  readonly direction: 'OUT' | 'IN' | 'BOTH'
  readonly depth: number
  readonly first: number
}
