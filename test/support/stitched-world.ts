/** Three organizations with a PostgreSQL database each, their policies, and a real engine: what foreign services are joined to in tests. */
import { generateKeyPair, exportJWK, CompactSign } from 'jose'
import { resolveBinding } from '../../src/connectors/postgres/bind-tables.js'
import { PostgresConnector } from '../../src/connectors/postgres/connector.js'
import { describeStore } from '../../src/connectors/postgres/describe.js'
import { apiIndex, apiSchema } from '../../src/gateway/api-schema.js'
import { parseContract } from '../../src/gateway/contract.js'
import { cursors } from '../../src/gateway/cursor.js'
import { Engine } from '../../src/gateway/engine.js'
import type { EngineLimits, EngineOrganization } from '../../src/gateway/run.js'
import { parseInput } from '../../src/gateway/scalars.js'
import { authorityOf, type AuthorityContext } from '../../src/policy/authority-of.js'
import type { Authority } from '../../src/policy/authority.js'
import { canonicalText } from '../../src/policy/agreement.js'
import { policySetOf, type PolicyFile, type PolicySet } from '../../src/policy/policy-set.js'
import type { Principal } from '../../src/policy/principal.js'
import type { GraphQLSchema } from 'graphql'
import { withClient, type TestPostgres } from './postgres.js'

const CONTRACT = `
type User @entity { key: ID!  name: String!  agents: [Agent!] @inverse(of: "owner") }
type Agent @entity {
  key: ID!  name: String!  status: AgentStatus!  configuration: JSON  notes: [JSON!]  monthlyBudget: Decimal  quota: BigInt  load: Float  createdAt: DateTime
  owner: User
  executions: [WorkflowExecution!] @inverse(of: "agent")
}
type WorkflowExecution @entity(name: "execution") { key: ID!  status: String!  agent: Agent }
enum AgentStatus { ACTIVE PAUSED ARCHIVED }
`
export const catalog = parseContract([{ name: 'contract.graphql', text: CONTRACT }])
export const contractSchema = apiSchema(catalog)

const TABLES = `
CREATE TABLE users (key text PRIMARY KEY, name text NOT NULL);
CREATE TABLE agents (
  key bigint PRIMARY KEY, name text NOT NULL, status text NOT NULL, configuration jsonb, notes jsonb[], monthly_budget numeric, quota bigint, load float8,
  created_at timestamptz, owner_key text REFERENCES users
);
CREATE TABLE workflow_executions (key bigint PRIMARY KEY, status text NOT NULL, agent_key bigint REFERENCES agents);
`

/** Agents 1 to 4 of each owner; 3 is archived. Agent 1 has what numbers of JavaScript would not hold. */
function rows(owner: string): string {
  return `
INSERT INTO users VALUES ('u1', 'Ursula of ${owner}');
INSERT INTO agents VALUES
  (1, '${owner} one', 'ACTIVE', '{"model": "small", "limit": 12345678901234567890.500}', '{"1.0","[2.50]"}', 1250.00, 9007199254740993, 1e-7, '2026-03-01 22:14:03.120511+00', 'u1'),
  (2, '${owner} two', 'PAUSED', '[1.0, "two", null]', NULL, 0.10, 2, 2, '2026-03-02 00:00:00+00', 'u1'),
  (3, '${owner} three', 'ARCHIVED', 'null', NULL, NULL, NULL, NULL, NULL, NULL),
  (4, '${owner} four', 'ACTIVE', NULL, NULL, NULL, NULL, NULL, NULL, 'u1');
INSERT INTO workflow_executions VALUES (10, 'done', 1), (11, 'done', 1), (12, 'failed', 2), (13, 'done', 3);
`
}

const PSEUDONYMS = `
CREATE SCHEMA concordat;
CREATE FUNCTION concordat.pseudonym(grantee text, domain text, value text) RETURNS text LANGUAGE sql IMMUTABLE
  AS $$ SELECT 'p-' || left(md5(grantee || domain || value), 8) $$;
`

export const OWNERS = ['aurora', 'borealis', 'cascade'] as const
const JURISDICTIONS: Readonly<Record<string, string>> = { aurora: 'DE', borealis: 'CA', cascade: 'US' }

const ALL_FIELDS = ['key', 'name', 'status', 'configuration', 'notes', 'monthlyBudget', 'quota', 'load', 'createdAt', 'owner', 'executions']

/**
 * Every organization sees its own. By agreement for `operations`: aurora and cascade show borealis all; borealis shows aurora what is not archived; cascade shows
 * aurora pseudonyms for keys. For `reporting` nobody shows anything.
 */
const AGREEMENTS = [
  { grantor: 'borealis', grantee: 'aurora', Agent: { rows: { status: { ne: 'ARCHIVED' } }, allow: ALL_FIELDS } },
  { grantor: 'cascade', grantee: 'aurora', Agent: { allow: ALL_FIELDS.filter((field) => field !== 'key'), mask: { key: { pseudonym: {} } } } },
  { grantor: 'aurora', grantee: 'borealis', Agent: { allow: ALL_FIELDS } },
  { grantor: 'cascade', grantee: 'borealis', Agent: { allow: ALL_FIELDS } },
]

const NOW_MS = Date.parse('2026-06-01T00:00:00Z')

export interface StitchedWorld {
  readonly context: AuthorityContext
  readonly policies: PolicySet
  /** The engine over a schema, and the organizations' connectors for what tests look at. */
  engine(schema: GraphQLSchema, limits?: Partial<EngineLimits>): Engine
  url(owner: string): string
  authority(principal: Principal): Authority
  stop(): Promise<void>
}

export function principalOf(organization: string, purposes: readonly string[] = ['operations']): Principal {
  return {
    subject: `somebody of ${organization}`,
    organization,
    issuer: `https://id.${organization}.example`,
    roles: ['analyst'],
    purposes,
    actors: [],
    tokenId: 'jti',
    proof: 'none',
    claims: new Map(),
    expiresMs: NOW_MS + 60_000,
  }
}

export const LIMITS: EngineLimits = {
  deadlineMs: 5_000,
  pageRows: 1_000,
  defaultRows: 50,
  nestedRows: 100,
  groups: 1_000,
  seriesBuckets: 1_000,
  steps: 10,
  conditions: 100,
  listValues: 5_000,
  cost: 50_000,
  answerBytes: 8_388_608,
  bufferedBytes: 1_048_576,
  streamMs: 60_000,
  derived: 100,
}

export async function stitchedWorld(postgres: TestPostgres): Promise<StitchedWorld> {
  const policies = await policySet()
  const connectors: PostgresConnector[] = []
  const urls = new Map<string, string>()
  const organizations = new Map<string, EngineOrganization>()
  for (const owner of OWNERS) {
    const url = (await postgres.createDatabase()).url()
    urls.set(owner, url)
    const description = await withClient(url, async (client) => {
      await client.query(TABLES)
      await client.query(rows(owner))
      await client.query(PSEUDONYMS)
      return describeStore(client, { timeoutMs: 5_000 })
    })
    const { binding } = resolveBinding({ catalog, organization: owner, configured: new Map(), stores: new Map([['main', { schema: 'public', description }]]) })
    const pool = { max: 4, waitingMax: 100, connectMs: 5_000, idleMs: 60_000 }
    const connector = new PostgresConnector({ store: 'main', pool, connection: { connectionString: url }, named: true, preparedMax: 100 })
    connectors.push(connector)
    organizations.set(owner, {
      id: owner,
      name: owner,
      jurisdiction: JURISDICTIONS[owner] ?? '',
      steps: null,
      stores: new Map([['main', { jurisdiction: JURISDICTIONS[owner] ?? '', connector }]]),
      binding: () => binding,
    })
  }
  const context: AuthorityContext = {
    catalog,
    nowMs: NOW_MS,
    gatewayJurisdiction: 'DE',
    organizations: OWNERS.map((id) => ({ id, jurisdiction: JURISDICTIONS[id] ?? '', storeJurisdictions: [JURISDICTIONS[id] ?? ''] })),
    epoch: 0n,
  }
  return {
    context,
    policies,
    engine: (schema, limits = {}) =>
      new Engine({
        schema,
        catalog,
        index: apiIndex(catalog),
        organizations,
        cursors: cursors(Buffer.alloc(32, 1)),
        embeddings: null,
        gatewayJurisdiction: 'DE',
        limits: { ...LIMITS, ...limits },
      }),
    url: (owner) => urls.get(owner) ?? '',
    authority: (principal) => authorityOf(principal, { purposeHeader: null }, policies, context),
    stop: async () => {
      await Promise.all(connectors.map((connector) => connector.close()))
    },
  }
}

async function policySet(): Promise<PolicySet> {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true })
  const verifyKeys = [await exportJWK(publicKey)]
  const roleFiles = OWNERS.map((organization): PolicyFile => {
    const read = { User: { fields: 'all' }, Agent: { fields: 'all' }, WorkflowExecution: { fields: 'all' } }
    const content = { organization, version: 1, roles: { analyst: { read, crossOrganization: ['operations', 'reporting'] } } }
    return { file: `roles/${organization}.yaml`, kind: 'roles', content, signature: null }
  })
  const agreements = AGREEMENTS.map(async ({ grantor, grantee, Agent }): Promise<PolicyFile> => {
    const id = `${grantor}-${grantee}-operations`
    const everywhere = ['DE', 'CA', 'US']
    const content = {
      agreement: id,
      version: 3,
      grantor,
      grantee,
      purposes: ['operations'],
      from: '2026-01-01T00:00:00Z',
      until: '2027-01-01T00:00:00Z',
      jurisdictions: { stored: everywhere, gateway: everywhere, grantee: everywhere },
      types: { Agent, User: { allow: ['key', 'name'] }, WorkflowExecution: { allow: ['key', 'status', 'agent'] } },
    }
    const signature = await new CompactSign(new TextEncoder().encode(canonicalText(content))).setProtectedHeader({ alg: 'EdDSA' }).sign(privateKey)
    return { file: `agreements/${id}.yaml`, kind: 'agreement', content, signature }
  })
  const parties = OWNERS.map((id) => ({ id, verifyKeys }))
  const outcome = await policySetOf([...roleFiles, ...(await Promise.all(agreements))], parties, { catalog, parseScalar: parseInput })
  if (outcome.kind === 'refused') throw new Error(outcome.mistakes.map(({ file, path, problem }) => `${file} ${path.join('.')} ${problem}`).join('\n'))
  return outcome.set
}
