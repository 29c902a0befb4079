/** A small world for journeys through a running gateway: three owners of agents, each with keys of another type, and a partner's agreement for each way. */
import type { TestClaims, TestWorld } from './gateway.js'
import { agreementOf } from './gateway.js'

export const ANA: TestClaims = { organization: 'aurora', roles: ['analyst'], subject: 'ana@aurora.example' }
/** May use Aurora's agents, but not what they spend. */
export const BO: TestClaims = { organization: 'borealis', roles: ['analyst'], subject: 'bo@borealis.example' }
export const CY: TestClaims = { organization: 'cascade', roles: ['analyst'], subject: 'cy@cascade.example' }

const CONTRACT = `
type Person @entity(plural: "people") {
  key: ID!  name: String!  team: String
  agents: [Agent!] @inverse(of: "owner")
}
type Agent @entity {
  key: ID!  name: String!  status: AgentStatus!  note: String  tags: [String!]  settings: JSON
  budget: Decimal  tokens: BigInt  load: Float  slots: Int  isActive: Boolean
  createdAt: DateTime!  seenAt: LocalDateTime  startsOn: Date  trace: UUID
  owner: Person
}
enum AgentStatus { ACTIVE PAUSED }
`

/** An agent's columns; a key is a text in Aurora, a bigint in Borealis, a UUID in Cascade. */
function tables(key: string, keyOf: (row: string) => string): string {
  return `
    CREATE TABLE person (key ${key} PRIMARY KEY, name text NOT NULL, team text);
    CREATE TABLE agent (
      key ${key} PRIMARY KEY, name text NOT NULL, status text NOT NULL, note text, tags text[], settings jsonb, budget numeric, tokens bigint,
      load double precision, slots integer, is_active boolean, created_at timestamptz NOT NULL, seen_at timestamp, starts_on date, trace uuid,
      owner_id ${key} REFERENCES person
    );
    CREATE INDEX ON agent (owner_id);
    INSERT INTO person SELECT ${keyOf('i')}, 'Person ' || i, (ARRAY['red', 'blue'])[1 + i % 2] FROM generate_series(1, 4) AS i;
    INSERT INTO agent SELECT ${keyOf('i')}, 'Agent ' || i, (ARRAY['ACTIVE', 'PAUSED'])[1 + i % 2], 'note ' || i, ARRAY['a', 'b'], '{"model": "small"}',
      i * 12.5, i * 1000, i / 4.0, i, true, '2026-01-01T00:00:00Z'::timestamptz + i * interval '1 day', '2026-01-01', '2026-01-01',
      '00000000-0000-4000-8000-000000000001', ${keyOf('1 + i % 4')} FROM generate_series(1, 20) AS i;`
}

/** What an organization's database holds; `more` is SQL that runs after it. */
export function journeyTables(organization: 'aurora' | 'borealis' | 'cascade', more = ''): string {
  const made = {
    aurora: tables('text', (row) => `'a' || (${row})`),
    borealis: tables('bigint', (row) => `${row}`),
    cascade: tables('uuid', (row) => `('00000000-0000-4000-8000-' || lpad((${row})::text, 12, '0'))::uuid`),
  }
  return `${made[organization]}\n${more}`
}

const FIELDS = [
  ...['key', 'name', 'status', 'note', 'tags', 'settings', 'budget', 'tokens', 'load', 'slots', 'isActive'],
  ...['createdAt', 'seenAt', 'startsOn', 'trace', 'owner'],
]
const EVERYTHING = { Person: { fields: 'all' }, Agent: { fields: 'all' } }
const PARTNER = { Person: { allow: ['key', 'name', 'team', 'agents'] }, Agent: { allow: FIELDS } }

/** Aurora may use everything of the others; Borealis and Cascade may use Aurora's agents but for their budgets and notes, and nothing of each other. */
export function journeyWorld(more: { readonly aurora?: string; readonly borealis?: string; readonly cascade?: string } = {}): TestWorld {
  const roles = {
    analyst: { read: EVERYTHING, crossOrganization: ['testing'] },
    // Only agents whose owner is of the caller's team.
    member: { read: { Person: { fields: 'all' }, Agent: { fields: 'all', rows: { owner: { team: { eq: { claim: 'team' } } } } } } },
    auditor: { read: {}, audit: ['list', 'export'] },
  }
  const narrow = { ...PARTNER, Agent: { allow: FIELDS.filter((field) => field !== 'budget' && field !== 'note') } }
  return {
    contract: CONTRACT,
    organizations: {
      aurora: { sql: journeyTables('aurora', more.aurora), roles },
      borealis: { sql: journeyTables('borealis', more.borealis), roles },
      cascade: { sql: journeyTables('cascade', more.cascade), roles },
    },
    agreements: [
      agreementOf('borealis', 'aurora', PARTNER),
      agreementOf('cascade', 'aurora', PARTNER),
      agreementOf('aurora', 'borealis', narrow),
      agreementOf('aurora', 'cascade', narrow),
    ],
  }
}
