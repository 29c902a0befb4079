import { createHmac } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import pg from 'pg'
import { signAgreement } from '../../../src/cli/agreement.js'
import { renderRls, RlsError, rlsFindings, rlsScript, scriptText } from '../../../src/cli/rls.js'
import { generateKeyPair } from '../../../src/cli/token.js'
import type { Config, OrganizationConfig, StoreConfig } from '../../../src/config.js'
import type { TypeBindingConfig } from '../../../src/config.js'
import { resolveBinding } from '../../../src/connectors/postgres/bind-tables.js'
import { textOf } from '../../../src/connectors/texts.js'
import { PostgresConnector } from '../../../src/connectors/postgres/connector.js'
import type { WirePool } from '../../../src/connectors/postgres/wire-pool.js'
import type { Receiver } from '../../../src/connectors/postgres/wire.js'
import type { StoreDescription } from '../../../src/connectors/postgres/describe.js'
import { describeStore } from '../../../src/connectors/postgres/describe.js'
import { outerBound } from '../../../src/connectors/postgres/row-security.js'
import { name, parameter, sql } from '../../../src/connectors/sql/fragment.js'
import { inlined, literal } from '../../../src/connectors/sql/literal.js'
import { encodeParameters } from '../../../src/connectors/sql/parameter.js'
import { parseContract } from '../../../src/gateway/contract.js'
import { parseInput } from '../../../src/gateway/scalars.js'
import { parseAgreement } from '../../../src/policy/agreement.js'
import type { TypeGrant } from '../../../src/policy/authority.js'
import { parseCondition, truth, type Words } from '../../../src/policy/condition.js'
import type { PolicySet } from '../../../src/policy/policy-set.js'
import { Reading } from '../../../src/policy/reading.js'
import { restrict } from '../../../src/policy/restrict.js'
import type { OrganizationBinding } from '../../../src/query/binding.js'
import type { Secret } from '../../../src/settings.js'
import type { EntityType } from '../../../src/query/catalog.js'
import type { Plan } from '../../../src/query/plan.js'
import type { Predicate, Scalar } from '../../../src/query/predicate.js'
import { ALL } from '../../../src/query/predicate.js'
import type { TestDatabase, TestPostgres } from '../../support/postgres.js'
import { startTestPostgres, withClient } from '../../support/postgres.js'
import { times } from '../../support/times.js'

const SDL = `
  type User @entity { key: ID!  name: String  team: String  agents: [Agent!] @inverse(of: "owner") }
  type Agent @entity {
    key: ID!  name: String  status: AgentStatus  phase: AgentStatus  budget: Decimal  quota: BigInt  load: Int  weight: Float
    active: Boolean  createdAt: DateTime  day: Date  trace: UUID  owner: User
  }
  type Setting @entity { key: ID!  name: String }
  enum AgentStatus { ACTIVE PAUSED ARCHIVED }
`
const catalog = parseContract([{ name: 'contract.graphql', text: SDL }])
const words: Words = { catalog, parseScalar: parseInput }
const entity = (type: string): EntityType => {
  const found = catalog.entities.get(type)
  if (!found) throw new Error(`no type ${type}`)
  return found
}
const HOME = 'borealis'
const GATEWAY = 'gateway'
const NOW = Date.parse('2026-06-01T00:00:00Z')

const TABLES = `
  CREATE SCHEMA "ops ""1""";
  CREATE TABLE people (id bigint PRIMARY KEY, name text COLLATE "C", team text COLLATE "C");
  CREATE TABLE "ops ""1""".bots (
    id bigint PRIMARY KEY, name text COLLATE "C", state smallint, phase varchar(20), cents numeric(12, 0), quota bigint, load integer, weight float8,
    active boolean, created_at timestamptz, day date, trace uuid, person_id bigint REFERENCES people
  );
  CREATE INDEX ON "ops ""1""".bots (person_id);
  CREATE TABLE settings (key text COLLATE "C" PRIMARY KEY, name text);
  INSERT INTO people VALUES (1, 'Ada', 'research'), (2, 'Bo', 'operations'), (3, 'Cy', NULL), (4, NULL, 'finance');
  INSERT INTO "ops ""1""".bots VALUES
    (1, 'Reader', 1, 'ACTIVE', 100, 10, 1, 0.5, true, '2026-01-01Z', '2026-01-01', '00000000-0000-4000-8000-000000000001', 1),
    (2, 'Writer', 2, 'PAUSED', 200, 20, 2, 1.5, false, '2026-02-01Z', '2026-02-01', '00000000-0000-4000-8000-000000000002', 2),
    (3, 'Sorter', 9, 'ARCHIVED', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 3),
    (4, NULL, NULL, NULL, 400, 40, 4, 'NaN', true, '2026-04-01Z', '2026-04-01', '00000000-0000-4000-8000-000000000004', NULL),
    (5, 'O''Reilly \\', 5, 'odd', 500, 50, 5, 2.5, false, 'infinity', '2026-05-01', NULL, 4);
  INSERT INTO settings VALUES ('a', 'x'), ('b', 'y');
`
const GRANTS = `
  GRANT USAGE ON SCHEMA public, "ops ""1""" TO ${GATEWAY};
  GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${GATEWAY};
  GRANT SELECT ON ALL TABLES IN SCHEMA "ops ""1""" TO ${GATEWAY};
`
const STATES = new Map([
  ['1', 'ACTIVE'],
  ['2', 'PAUSED'],
  ['9', 'ARCHIVED'],
])
const column = (column: string, more: { values?: ReadonlyMap<string, string>; multiply?: string } = {}) => ({
  kind: 'column' as const,
  columns: [column],
  values: more.values ?? null,
  multiply: more.multiply ?? null,
})
const CONFIGURED: ReadonlyMap<string, TypeBindingConfig> = new Map<string, TypeBindingConfig>([
  ['User', { kind: 'table', table: { store: null, schema: null, table: 'people' }, fields: new Map([['key', column('id')]]) }],
  [
    'Agent',
    {
      kind: 'table',
      table: { store: null, schema: 'ops "1"', table: 'bots' },
      fields: new Map([
        ['key', column('id')],
        ['status', column('state', { values: STATES })],
        ['budget', column('cents', { multiply: '0.01' })],
        ['owner', column('person_id')],
      ]),
    },
  ],
])

interface Store {
  readonly database: TestDatabase
  readonly description: StoreDescription
  readonly binding: OrganizationBinding
}

let server: TestPostgres
beforeAll(async () => {
  server = await startTestPostgres()
  await withClient(server.url('postgres'), (client) =>
    client.query(`CREATE ROLE ${GATEWAY} LOGIN NOINHERIT; CREATE ROLE platform LOGIN; CREATE ROLE reports LOGIN`),
  )
}, 60_000)
afterAll(() => server?.stop())

async function makeStore(tables = TABLES, configured = CONFIGURED, grants = GRANTS): Promise<Store> {
  const database = await server.createDatabase()
  await withClient(database.url(), async (client) => {
    await client.query(tables)
    await client.query(grants)
  })
  return { database, ...(await bind(database, configured)) }
}

async function bind(database: TestDatabase, configured: ReadonlyMap<string, TypeBindingConfig>): Promise<Omit<Store, 'database'>> {
  const description = await withClient(database.url(GATEWAY), (client) => describeStore(client, { timeoutMs: 10_000 }))
  const { binding, findings } = resolveBinding({ catalog, organization: HOME, configured, stores: new Map([['main', { schema: 'public', description }]]) })
  expect(findings.filter(({ severity }) => severity === 'error')).toEqual([])
  return { description, binding }
}

interface Terms {
  readonly grantee: string
  readonly purpose?: string
  readonly until?: string
  readonly types: Readonly<Record<string, unknown>>
}

function contentOf({ grantee, purpose = 'operations', until = '2027-01-01T00:00:00Z', types }: Terms, index: number): object {
  const jurisdictions = { stored: ['CA'], gateway: ['CA'], grantee: ['DE'] }
  return { agreement: `a${index}`, version: 1, grantor: HOME, grantee, purposes: [purpose], from: '2026-01-01T00:00:00Z', until, jurisdictions, types }
}

function policiesOf(...terms: readonly Terms[]): PolicySet {
  const agreements = terms.map((each, index) => {
    const reading = new Reading()
    const agreement = parseAgreement(contentOf(each, index), words, reading)
    if (!agreement) throw new Error(JSON.stringify(reading.mistakes))
    return { ...agreement, digest: String(index) }
  })
  return { digest: '', roles: new Map(), agreements }
}

const ALLOW: Readonly<Record<string, readonly string[]>> = {
  User: ['key', 'name', 'team'],
  Agent: ['key', 'name', 'status', 'owner'],
  Setting: ['key', 'name'],
}
const rows = (type: string, condition?: unknown) => ({ [type]: { allow: ALLOW[type], ...(condition === undefined ? {} : { rows: condition }) } })

const script = ({ binding, description }: Omit<Store, 'database'>, policies: PolicySet, options: { ownRoles?: readonly string[]; role?: string } = {}) =>
  rlsScript({ catalog, binding, policies, store: 'main', description, role: options.role ?? GATEWAY, ownRoles: options.ownRoles ?? [], nowMs: NOW })

async function apply(store: Store, policies: PolicySet, options: { ownRoles?: readonly string[]; role?: string; as?: string } = {}): Promise<void> {
  const text = scriptText(script(store, policies, options))
  await withClient(store.database.url(options.as), (client) => client.query(text))
}

/** Keys that the gateway's role reads straight from a table, the first wall being away. */
async function seen(store: Store, caller: string | null, table = '"ops ""1""".bots', user = GATEWAY): Promise<string[]> {
  return withClient(store.database.url(user), async (client) => {
    await client.query('BEGIN')
    if (caller !== null) await client.query("SELECT set_config('concordat.caller', $1, true)", [caller])
    const key = table === 'settings' ? 'key' : 'id'
    const { rows } = await client.query<{ key: string }>(`SELECT ${key}::text AS key FROM ${table} ORDER BY 1`)
    await client.query('COMMIT')
    return rows.map((row) => row.key)
  })
}

function listOf(type: string, where: Predicate = ALL): Plan {
  const row = { type, fields: [{ kind: 'value' as const, responseKey: 'key', field: 'key' }] }
  return {
    kind: 'list',
    withKeys: true,
    list: {
      type,
      where,
      order: [],
      search: null,
      limit: { kind: 'constant', value: 1000 },
      backward: false,
      cursor: null,
      fields: [{ kind: 'nodes', responseKey: 'nodes', row }],
      path: 'list',
    },
  }
}

/** What the compiled statement answers: with row-level security as the gateway, without it as a superuser. */
async function answered(
  connector: PostgresConnector,
  { binding }: Pick<Store, 'binding'>,
  asked: { policies: PolicySet; grantee: string; type: string },
  caller = asked.grantee,
): Promise<string[]> {
  const types = new Map<string, TypeGrant>()
  for (const { grantee, types: agreed } of asked.policies.agreements) {
    if (grantee !== asked.grantee) continue
    for (const [type, terms] of agreed) types.set(type, { ...terms, type, source: { kind: 'agreement', agreement: 'a', version: 1, digest: '' } })
  }
  const plan = restrict(listOf(asked.type), { organization: HOME, types }, { catalog, binding, caller, starts: new Map() })
  const claims = new Map<string, Scalar>([['team', 'research']])
  const statement = { native: connector.compile(plan).native, values: { slots: [], claims } }
  const options = { signal: new AbortController().signal, deadlineMs: 10_000, bufferBytes: 1_000_000 }
  const [answer] = await connector.execute([statement], caller, options)
  return [...(answer?.first.texts[0] ?? [])].map((text) => String((JSON.parse(textOf(text)) as { key: string }).key))
}

/** How many rows a connection of the pool sees that nobody has told who asks. */
async function rowsBare(pool: WirePool, text: string): Promise<number> {
  const wire = await pool.acquire(new AbortController().signal)
  let rows = 0
  await new Promise<void>((resolve, reject) => {
    const receiver: Receiver = {
      row: () => void (rows += 1),
      statementEnded: () => undefined,
      paused: () => undefined,
      ended: (error) => (error ? reject(error) : resolve()),
    }
    wire.send([{ name: '', text, values: [] }], receiver)
  })
  pool.release(wire)
  return rows
}

function connectorOf({ database }: Store, user?: string): PostgresConnector {
  const connection = { connectionString: database.url(user) }
  const pool = { max: 1, waitingMax: 10, connectMs: 5_000, idleMs: 60_000 }
  return new PostgresConnector({ store: 'main', pool, connection, named: true, preparedMax: 100 })
}

describe('row-level security', () => {
  let store: Store
  const policies = policiesOf(
    { grantee: 'aurora', types: { ...rows('User', { team: { ne: 'finance' } }), ...rows('Agent', { status: { ne: 'ARCHIVED' }, name: { isNull: false } }) } },
    { grantee: 'aurora', purpose: 'reporting', types: rows('Agent', { budget: { gt: '3' } }) },
    { grantee: 'cascade', until: '2026-02-01T00:00:00Z', types: rows('Agent') },
    { grantee: 'delta', types: rows('Agent', { owner: { team: { eq: 'operations' } } }) },
    { grantee: 'echo', types: rows('Agent', { or: [{ load: { lte: 2 } }, { name: { eq: { claim: 'team' } } }] }) },
  )
  beforeAll(async () => {
    store = await makeStore()
    await apply(store, policies)
  })

  it('shows nothing to nobody, to strangers, and to grantees whose agreements have ended', async () => {
    for (const caller of [null, '', 'zeta', 'BOREALIS', "borealis' OR true", 'cascade']) {
      expect(await seen(store, caller)).toEqual([])
      expect(await seen(store, caller, 'people')).toEqual([])
    }
  })

  it('shows home all of its rows', async () => {
    expect(await seen(store, HOME)).toEqual(['1', '2', '3', '4', '5'])
    expect(await seen(store, HOME, 'people')).toEqual(['1', '2', '3', '4'])
    expect(await seen(store, HOME, 'settings')).toEqual(['a', 'b'])
  })

  it('shows a grantee what any of its agreements could show it, and no table of which none speaks', async () => {
    // 1 and 2 under the first agreement (5 has a state that the contract does not know), 4 and 5 under the second.
    expect(await seen(store, 'aurora')).toEqual(['1', '2', '4', '5'])
    expect(await seen(store, 'aurora', 'people')).toEqual(['1', '2'])
    expect(await seen(store, 'aurora', 'settings')).toEqual([])
  })

  it('takes a part that depends on a claim, or on other rows, as open', async () => {
    expect(await seen(store, 'echo')).toEqual(['1', '2', '3', '4', '5'])
    expect(await seen(store, 'delta')).toEqual(['1', '2', '3', '4', '5'])
  })

  it('leaves the rows to a grantee that its conditions look at, and no more', async () => {
    expect(await seen(store, 'delta', 'people')).toEqual(['2'])
    expect(await seen(store, 'echo', 'people')).toEqual([])
  })

  it('forgets who asked with the end of the flush', async () => {
    const connector = connectorOf(store, GATEWAY)
    const pool = connector['pool']
    try {
      const everything = policiesOf({ grantee: 'zeta', types: rows('Agent') })
      expect(await answered(connector, store, { policies: everything, grantee: 'zeta', type: 'Agent' }, HOME)).toHaveLength(5)
      expect(await rowsBare(pool, 'SELECT FROM "ops ""1""".bots')).toBe(0)
      expect(await answered(connector, store, { policies, grantee: 'aurora', type: 'User' })).toEqual(['1', '2'])
      // The first wall lets all rows through, the second none.
      expect(await answered(connector, store, { policies: everything, grantee: 'zeta', type: 'Agent' })).toEqual([])
      expect(pool.size).toBe(1)
    } finally {
      await connector.close()
    }
  })

  it('holds whatever further policies the owner has for everybody', async () => {
    const opened = await makeStore()
    await apply(opened, policies)
    await withClient(opened.database.url(), (client) => client.query('CREATE POLICY everybody ON people USING (true)'))
    expect(await seen(opened, null, 'people')).toEqual([])
    expect(await seen(opened, 'aurora', 'people')).toEqual(['1', '2'])
  })
})

describe('a rendered script', () => {
  const first = policiesOf({ grantee: 'aurora', types: rows('Agent', { load: { lt: 2 } }) })
  const second = policiesOf({ grantee: 'cascade', types: rows('Agent', { load: { gt: 2 } }) })

  it('can be applied again, and replaces what another one said', async () => {
    const store = await makeStore()
    const policyRows = () => withClient(store.database.url(), async (client) => (await client.query('SELECT * FROM pg_policies ORDER BY 1, 2, 3')).rows)
    await apply(store, first)
    const before = await policyRows()
    await apply(store, first)
    expect(await policyRows()).toEqual(before)
    await apply(store, second)
    expect([await seen(store, 'aurora'), await seen(store, 'cascade')]).toEqual([[], ['4', '5']])
  })

  it('is the same text for the same policies', async () => {
    const store = await makeStore()
    expect(script(store, first)).toEqual(script(store, first))
    expect(script(store, first).tables.map(({ schema, table }) => [schema, table])).toEqual([
      ['ops "1"', 'bots'],
      ['public', 'people'],
      ['public', 'settings'],
    ])
    expect(script(store, first).tables[0]?.mark).not.toBe(script(store, second).tables[0]?.mark)
  })

  it('shows of a table what any of the types shows that are read from it', async () => {
    const store = await makeStore()
    const people: TypeBindingConfig = { kind: 'table', table: { store: null, schema: null, table: 'people' }, fields: new Map([['key', column('id')]]) }
    const twice = { ...store, ...(await bind(store.database, new Map<string, TypeBindingConfig>([...CONFIGURED, ['Setting', people]]))) }
    await apply(twice, policiesOf({ grantee: 'aurora', types: { ...rows('User', { team: { eq: 'research' } }), ...rows('Setting', { name: { eq: 'Bo' } }) } }))
    expect([await seen(store, 'aurora', 'people'), await seen(store, 'aurora', 'settings').catch(() => 'open')]).toEqual([
      ['1', '2'],
      ['a', 'b'],
    ])
  })

  it('takes the gateway away from a table that is bound no longer', async () => {
    const store = await makeStore()
    await apply(store, first)
    const rest = { ...store, ...(await bind(store.database, new Map<string, TypeBindingConfig>([...CONFIGURED, ['Setting', { kind: 'none' }]]))) }
    await apply(rest, first)
    expect([await seen(store, HOME, 'settings'), (await seen(store, HOME)).length]).toEqual([[], 5])
  })

  it("lets the owner and the organization's own programs go on, and asks for those that it does not know", async () => {
    const store = await makeStore()
    await withClient(store.database.url(), (client) =>
      client.query(`
        ALTER TABLE people OWNER TO platform; ALTER TABLE settings OWNER TO platform; ALTER SCHEMA "ops ""1""" OWNER TO platform;
        ALTER TABLE "ops ""1""".bots OWNER TO platform; GRANT CREATE ON DATABASE ${store.database.name} TO platform;
        GRANT SELECT (id) ON people TO reports; GRANT USAGE ON SCHEMA public TO reports;
      `),
    )
    await expect(apply(store, first, { as: 'platform' })).rejects.toThrow('roles would see no rows any more: reports in public.people')
    expect(await seen(store, null, 'people', 'reports')).toHaveLength(4)
    await apply(store, first, { as: 'platform', ownRoles: ['reports'] })
    expect(await seen(store, null, 'people', 'reports')).toHaveLength(4)
    expect(await seen(store, null, 'people', 'platform')).toHaveLength(4)
    expect(await seen(store, null, 'people')).toEqual([])
  })

  it('is refused whole where it would be no wall', async () => {
    const store = await makeStore()
    await withClient(store.database.url(), (client) =>
      client.query(`CREATE ROLE free_${store.database.name} LOGIN BYPASSRLS; CREATE ROLE keeper_${store.database.name} LOGIN`),
    )
    await expect(apply(store, first, { role: 'missing' })).rejects.toThrow('there is no role missing')
    await expect(apply(store, first, { role: `free_${store.database.name}` })).rejects.toThrow('row-level security does not hold')
    await expect(apply(store, first, { role: 'postgres' })).rejects.toThrow('row-level security does not hold')
    await expect(apply(store, first, { as: GATEWAY })).rejects.toThrow('may become, the one that applies this')
    const keeper = `keeper_${store.database.name}`
    await withClient(store.database.url(), (client) => client.query(`ALTER TABLE people OWNER TO ${keeper}`))
    await expect(apply(store, first, { role: keeper })).rejects.toThrow('owns public.people')
    const { rows } = await withClient(store.database.url(), (client) =>
      client.query<{ policies: string; schemas: string }>(
        `SELECT (SELECT count(*) FROM pg_policy) AS policies, (SELECT count(*) FROM pg_namespace WHERE nspname = 'concordat') AS schemas`,
      ),
    )
    expect(rows).toEqual([{ policies: '0', schemas: '0' }])
  })

  it('says of views that they are not protected', async () => {
    const declared: TypeBindingConfig = { kind: 'table', table: null, fields: new Map(), uniqueKey: true }
    const view = `${TABLES} DROP TABLE settings; CREATE VIEW settings AS SELECT 'a'::text AS key, 'b'::text AS name`
    const store = await makeStore(view, new Map([...CONFIGURED, ['Setting', declared]]))
    expect(script(store, first).warnings).toEqual(['public.settings is a view: only the tables below it can be protected'])
    await apply(store, first)
    expect(await seen(store, HOME)).toHaveLength(5)
  })
})

describe('concordat rls render', () => {
  let folder: string
  afterAll(() => rm(folder, { recursive: true, force: true }))

  async function configured(store: Store): Promise<Pick<Config, 'contract' | 'policies' | 'organizations'>> {
    folder = await mkdtemp(join(tmpdir(), 'concordat-rls-'))
    for (const inner of ['contract', 'policies/roles', 'policies/agreements']) await mkdir(join(folder, inner), { recursive: true })
    await writeFile(join(folder, 'contract', 'contract.graphql'), SDL)
    const { privateJwk, publicJwk } = await generateKeyPair('EdDSA')
    await writeFile(join(folder, 'key.jwk'), JSON.stringify(publicJwk))
    const file = join(folder, 'policies', 'agreements', 'a.yaml')
    const content = contentOf({ grantee: 'aurora', until: '2100-01-01T00:00:00Z', types: rows('User', { team: { eq: 'research' } }) }, 0)
    await writeFile(file, JSON.stringify(content))
    expect(await signAgreement(file, privateJwk)).toMatchObject({ kind: 'signed' })
    const url = { reveal: () => store.database.url(GATEWAY) } as Secret // only what is read of it
    const main: StoreConfig = {
      kind: 'postgres',
      url,
      jurisdiction: 'CA',
      schema: 'public',
      prepared: true,
      pool: { max: 1, queue: 1, connectMs: 10_000, idleMs: 1_000 },
      scanRows: 1,
    }
    const party = (id: string, stores: ReadonlyMap<string, StoreConfig>): OrganizationConfig => ({
      id,
      name: id,
      jurisdiction: 'CA',
      issuers: [],
      services: new Map(),
      embeddings: new Map(),
      verifyKey: join(folder, 'key.jwk'),
      ledgerKey: url,
      stores,
      bindings: CONFIGURED,
    })
    const organizations = new Map([
      [HOME, party(HOME, new Map([['main', main]]))],
      ['aurora', party('aurora', new Map())],
    ])
    return { contract: join(folder, 'contract'), policies: join(folder, 'policies'), organizations }
  }

  it('writes the script of an organization from its configuration, for the role that the gateway logs in as', async () => {
    const store = await makeStore()
    const config = await configured(store)
    const options = { organization: HOME, store: null, role: null, ownRoles: [] }
    const written: string[] = []
    const output = { nowMs: NOW, write: (text: string) => void written.push(text), writeError: () => undefined }
    expect(await renderRls(config, options, output)).toBe(0)
    await withClient(store.database.url(), (client) => client.query(written.join('')))
    expect([await seen(store, 'aurora', 'people'), await seen(store, HOME, 'people')]).toEqual([['1'], ['1', '2', '3', '4']])
    await expect(renderRls(config, { ...options, organization: 'zeta' }, output)).rejects.toThrow(RlsError)
    await expect(renderRls(config, { ...options, store: 'archive' }, output)).rejects.toThrow(RlsError)
    await expect(renderRls(config, { ...options, ownRoles: [GATEWAY] }, output)).rejects.toThrow(RlsError)
    await expect(renderRls(config, { ...options, organization: 'aurora' }, output)).rejects.toThrow(RlsError)
  })
})

describe('what `check` finds of row-level security', () => {
  const first = policiesOf({ grantee: 'aurora', types: { Agent: { allow: ['key', 'status'], mask: { name: { pseudonym: {} } } } } })
  const findings = (store: Store, policies: PolicySet) =>
    withClient(store.database.url(GATEWAY), async (client) =>
      (await rlsFindings(client, script(store, policies))).map(({ severity, place, problem }) => [severity, place, problem.replace(/:.*/, '')]),
    )

  it('is nothing where it is as rendered, whatever roles of their own the owner named', async () => {
    const store = await makeStore()
    await apply(store, first, { ownRoles: ['reports'] })
    expect(await findings(store, first)).toEqual([])
  })

  it('is each table whose policies are older than the agreements', async () => {
    const store = await makeStore()
    await apply(store, first)
    const stale = 'row-level security is not what agreements and bindings now say'
    expect(await findings(store, policiesOf({ grantee: 'aurora', types: { ...rows('Agent'), ...rows('User') } }))).toEqual([
      ['warning', 'main.public.people', stale],
    ])
    await withClient(store.database.url(), (client) =>
      client.query(
        'DROP POLICY concordat_gateway_bound ON settings; DROP POLICY concordat_gateway ON settings; CREATE POLICY mine ON people AS RESTRICTIVE USING (id > 1)',
      ),
    )
    expect(await findings(store, first)).toEqual([
      ['warning', 'main.public.people', 'further policies hide rows from the gateway'],
      ['warning', 'main.public.settings', stale],
    ])
  })

  it('is the grantee whose pseudonyms have no key, as they would be null', async () => {
    const store = await makeStore()
    expect(await findings(store, first)).toEqual([['error', 'main', 'there are no pseudonyms for `aurora`']])
    await apply(store, policiesOf({ grantee: 'cascade', types: rows('User') }))
    expect(await findings(store, first)).toContainEqual(['error', 'main', 'there are no pseudonyms for `aurora`'])
  })
})

// --- never narrower --------------------------------------------------------------------------------------------------------------------------------------------

/** Conditions of the policy language over all that bounds could get wrong: nulls, negations, claims, relations both ways. */
const conditions = fc.letrec<{ user: Record<string, unknown>; agent: Record<string, unknown> }>((tie) => {
  const team = fc.constantFrom<unknown>('research', 'operations', { claim: 'team' }, { claim: 'missing' })
  const status = fc.constantFrom('ACTIVE', 'PAUSED', 'ARCHIVED')
  const logic = (own: fc.Arbitrary<Record<string, unknown>>) => [
    fc.array(own, { minLength: 1, maxLength: 3 }).map((and) => ({ and })),
    fc.array(own, { minLength: 1, maxLength: 3 }).map((or) => ({ or })),
    own.map((not) => ({ not })),
  ]
  return {
    user: fc.oneof(
      { maxDepth: 3 },
      fc.oneof(
        team.map((eq) => ({ team: { eq } })),
        team.map((ne) => ({ team: { ne } })),
        fc.boolean().map((isNull) => ({ name: { isNull } })),
      ),
      ...logic(tie('user')),
      fc.tuple(fc.constantFrom('some', 'every', 'none'), tie('agent')).map(([quantifier, where]) => ({ agents: { [quantifier]: where } })),
    ),
    agent: fc.oneof(
      { maxDepth: 3 },
      fc.oneof(
        status.map((eq) => ({ status: { eq } })),
        status.map((ne) => ({ status: { ne } })),
        fc.subarray(['ACTIVE', 'PAUSED', 'ARCHIVED'], { minLength: 1 }).map((notIn) => ({ phase: { notIn } })),
        fc.constantFrom('1', '2.5', '4').map((gte) => ({ budget: { gte } })),
        fc.constantFrom(0.5, 1.5).map((lte) => ({ weight: { lte } })),
        fc.boolean().map((ne) => ({ active: { ne } })),
        fc.constantFrom('2026-02-01T00:00:00Z', '2026-04-01T00:00:00.000Z').map((lt) => ({ createdAt: { lt } })),
        fc.constantFrom('2026-02-01').map((gt) => ({ day: { gt } })),
        fc.constantFrom("O'Reilly \\", 'Reader', { claim: 'team' }).map((eq) => ({ name: { eq } })),
      ),
      ...logic(tie('agent')),
      tie('user').map((owner) => ({ owner })),
      fc.constant({ owner: {} }),
    ),
  }
})

describe('the two walls', () => {
  it('give the answer of the first alone: the second is never narrower, whatever the conditions', async () => {
    const store = await makeStore()
    const [walled, open] = [connectorOf(store, GATEWAY), connectorOf(store)]
    try {
      await fc.assert(
        fc.asyncProperty(conditions.user, fc.option(conditions.agent, { nil: undefined }), fc.boolean(), async (user, agent, isAgentShared) => {
          const policies = policiesOf(
            { grantee: 'aurora', types: { ...rows('User', user), ...(isAgentShared ? rows('Agent', agent) : {}) } },
            { grantee: 'cascade', types: rows('Agent', agent) },
          )
          await apply(store, policies)
          const asked = [
            { policies, grantee: 'aurora', type: 'User' },
            { policies, grantee: 'cascade', type: 'Agent' },
            ...(isAgentShared ? [{ policies, grantee: 'aurora', type: 'Agent' }] : []),
          ]
          for (const each of asked) expect(await answered(walled, store, each)).toEqual(await answered(open, store, each))
        }),
        { numRuns: times(40) },
      )
    } finally {
      await Promise.all([walled.close(), open.close()])
    }
  }, 120_000)

  it('keeps a part of a condition whole or not at all', () => {
    const bound = (condition: unknown) => {
      const parsed = parseCondition(condition, { type: entity('Agent'), path: [] }, words, new Reading())
      return parsed && outerBound(truth(parsed))
    }
    const status = { kind: 'compare', field: 'status', op: '=', operand: { kind: 'constant', value: 'ACTIVE' } }
    expect(bound({ status: { eq: 'ACTIVE' }, name: { eq: { claim: 'team' } } })).toEqual(status)
    expect(bound({ or: [{ status: { eq: 'ACTIVE' } }, { name: { eq: { claim: 'team' } } }] })).toEqual(ALL)
    expect(bound({ not: { or: [{ status: { eq: 'ACTIVE' } }, { name: { eq: { claim: 'team' } } }] } })).toEqual({ kind: 'not', term: status })
    expect(bound({ not: { owner: { team: { eq: 'a' } } } })).toEqual(ALL)
  })
})

// --- indexes ---------------------------------------------------------------------------------------------------------------------------------------------------

describe('under row-level security', () => {
  const ROWS = 20_000
  const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
  const policies = policiesOf({
    grantee: 'aurora',
    types: {
      Agent: {
        allow: ['key', 'name', 'status', 'phase', 'quota', 'load', 'weight', 'active', 'createdAt', 'day', 'trace', 'budget'],
        rows: { status: { ne: 'ARCHIVED' } },
      },
    },
  })
  let store: Store
  let connector: PostgresConnector
  beforeAll(async () => {
    store = await makeStore(`${TABLES}
      INSERT INTO "ops ""1""".bots
        SELECT g, 'agent ' || g, CASE WHEN g % 4000 = 0 THEN 2 ELSE 1 END, CASE WHEN g % 4000 = 0 THEN 'PAUSED' ELSE 'ACTIVE' END, g, g, g, g, g % 5000 = 0,
          '2026-01-01Z'::timestamptz + g * interval '1 minute', '2026-01-01'::date + g, ('00000000-0000-4000-8000-' || lpad(g::text, 12, '0'))::uuid, NULL
        FROM generate_series(101, ${ROWS}) AS g;
      ${['name', 'state', 'phase', 'quota', 'load', 'weight', 'active', 'created_at', 'day', 'trace'].map((name) => `CREATE INDEX bots_${name} ON "ops ""1""".bots (${name});`).join('\n')}
    `)
    await apply(store, policies)
    await withClient(store.database.url(), (client) => client.query('VACUUM ANALYZE'))
    connector = connectorOf(store, GATEWAY)
  }, 60_000)
  afterAll(() => connector?.close())

  const compare = (field: string, op: '=' | '<' | '<=' | '>' | '>=', value: Scalar): Predicate => ({
    kind: 'compare',
    field,
    op,
    operand: { kind: 'constant', value },
  })
  const among = (field: string, ...value: readonly Scalar[]): Predicate => ({ kind: 'in', field, operand: { kind: 'constant', value } })

  async function planOf(where: Predicate, caller: string): Promise<string> {
    const granted = policies.agreements[0]?.types.get('Agent')
    if (!granted) throw new Error('no terms')
    const types = new Map<string, TypeGrant>([['Agent', { ...granted, source: { kind: 'agreement', agreement: 'a', version: 1, digest: '' } }]])
    const plan = restrict(listOf('Agent', where), { organization: HOME, types }, { catalog, binding: store.binding, caller, starts: new Map() })
    const { native } = connector.compile(plan)
    if (native.kind === 'empty') throw new Error('the table is bound')
    return withClient(store.database.url(GATEWAY), async (client) => {
      await client.query('BEGIN')
      await client.query("SELECT set_config('concordat.caller', $1, true)", [caller])
      const values = encodeParameters(native.parameters, { slots: [], claims: new Map() })
      const { rows } = await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${native.text}`, values)
      return rows.map((row) => row['QUERY PLAN']).join('\n')
    })
  }

  const day = '2026-01-01'
  it.each<[string, string, Predicate]>([
    ['a key', 'bots_pkey', compare('key', '=', '4711')],
    ['keys', 'bots_pkey', among('key', '4711', '4712')],
    ['a text', 'bots_name', compare('name', '=', 'agent 4711')],
    ['texts', 'bots_name', among('name', 'agent 4711', 'agent 4712')],
    ['texts up to one', 'bots_name', compare('name', '<', 'agent 101')],
    ['texts from one', 'bots_name', compare('name', '>=', 'agent 9998')],
    ['texts that begin alike', 'bots_name', { kind: 'startsWith', field: 'name', operand: { kind: 'constant', value: 'agent 471' } }],
    ['an enum in a smallint', 'bots_state', compare('status', '=', 'PAUSED')],
    ['enums in a smallint', 'bots_state', among('status', 'PAUSED', 'ARCHIVED')],
    ['an enum in a text', 'bots_phase', compare('phase', '=', 'PAUSED')],
    ['enums in a text', 'bots_phase', among('phase', 'PAUSED', 'ARCHIVED')],
    ['a bigint', 'bots_quota', compare('quota', '=', '4711')],
    ['bigints', 'bots_quota', among('quota', '4711', '4712')],
    ['bigints below one', 'bots_quota', compare('quota', '<', '200')],
    ['bigints from one', 'bots_quota', compare('quota', '>=', '19900')],
    ['an integer', 'bots_load', compare('load', '=', 4711)],
    ['integers up to one', 'bots_load', compare('load', '<=', 200)],
    ['a float', 'bots_weight', compare('weight', '=', 4711)],
    ['floats below one', 'bots_weight', compare('weight', '<', 200)],
    ['a boolean', 'bots_active', compare('active', '=', true)],
    ['a time', 'bots_created_at', compare('createdAt', '=', `${day}T05:00:00Z`)],
    ['times before one', 'bots_created_at', compare('createdAt', '<', `${day}T05:00:00Z`)],
    ['times after one', 'bots_created_at', compare('createdAt', '>', '2026-01-14T20:00:00Z')],
    ['a day', 'bots_day', compare('day', '=', '2030-01-01')],
    ['days up to one', 'bots_day', compare('day', '<=', '2026-06-01')],
    ['a UUID', 'bots_trace', compare('trace', '=', id(4711))],
    ['UUIDs', 'bots_trace', among('trace', id(4711), id(4712))],
    ['UUIDs below one', 'bots_trace', compare('trace', '<', id(200))],
  ])('%s is found by its index', async (_, index, where) => {
    for (const caller of [HOME, 'aurora']) {
      const plan = await planOf(where, caller)
      expect(plan).toContain(index)
      expect(plan).toContain('Index Cond')
      expect(plan).not.toContain('Seq Scan')
    }
  })
})

// --- names and texts -------------------------------------------------------------------------------------------------------------------------------------------

const nasty = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }),
  fc.string({
    unit: fc.constantFrom("'", '"', '\\', '$', '1', ';', '-', '/', '*', '\n', '\r', ':', '%', 'E', 'é', '日', '🤖', '\u2028', '$concordat$'),
    minLength: 1,
    maxLength: 12,
  }),
)
/** PostgreSQL has no U+0000, and UTF-8 no lone surrogate. */
const text = nasty.filter((each) => !each.includes('\0') && !/\p{Surrogate}/u.test(each))
/** PostgreSQL cuts names off at 63 bytes. */
const identifier = text.filter((each) => Buffer.byteLength(each) <= 40)

describe('a literal', () => {
  it('is the text that it was made of, whatever the session says of backslashes', async () => {
    await withClient(server.url('postgres'), async (client) => {
      await fc.assert(
        fc.asyncProperty(text, fc.constantFrom('on', 'off'), async (value, setting) => {
          await client.query(`SET standard_conforming_strings = ${setting}; SET escape_string_warning = off`)
          const operand = { kind: 'constant' as const, value }
          const typed = parameter(operand, { kind: 'text' }, 'text')
          const { rows } = await client.query(
            inlined(sql`SELECT ${literal(value)} AS ${name('bare')}, ${typed} AS typed, 1 AS ${name(`x${value}`.slice(0, 8))}`),
          )
          expect(rows[0]).toMatchObject({ bare: value, typed: value })
        }),
        { numRuns: times(100) },
      )
    })
  })

  it('is made of constants only', () => {
    expect(() => inlined(sql`SELECT ${parameter({ kind: 'claim', name: 'team' }, { kind: 'text' }, 'text')}`)).toThrow('only constants become text')
    expect(() => inlined(sql`SELECT ${parameter({ kind: 'slot', index: 0 }, { kind: 'text' }, 'text')}`)).toThrow('only constants become text')
    expect(() => literal('a\0b')).toThrow('not a text')
  })
})

describe('any name and any constant', () => {
  it('means itself in a rendered script', async () => {
    const database = await server.createDatabase()
    await fc.assert(
      fc.asyncProperty(identifier, identifier, identifier, text, async (schema, table, field, value) => {
        const place = [`s${schema}`, table].map((step) => pg.escapeIdentifier(step)).join('.')
        const other = pg.escapeIdentifier(`x${field}`)
        await withClient(database.url(), async (client) => {
          await client.query(`CREATE SCHEMA ${pg.escapeIdentifier(`s${schema}`)}; CREATE TABLE ${place} (id bigint PRIMARY KEY, ${other} text COLLATE "C")`)
          await client.query(`INSERT INTO ${place} VALUES (1, $1), (2, $1 || 'x'), (3, NULL), (4, '')`, [value])
          await client.query(`GRANT USAGE ON SCHEMA ${pg.escapeIdentifier(`s${schema}`)} TO ${GATEWAY}; GRANT SELECT ON ${place} TO ${GATEWAY}`)
        })
        try {
          const configured = new Map<string, TypeBindingConfig>([
            ['User', { kind: 'none' }],
            ['Agent', { kind: 'none' }],
            [
              'Setting',
              {
                kind: 'table',
                table: { store: null, schema: `s${schema}`, table },
                fields: new Map([
                  ['key', column('id')],
                  ['name', column(`x${field}`)],
                ]),
              },
            ],
          ])
          const store = { database, ...(await bind(database, configured)) }
          await apply(
            store,
            policiesOf(
              { grantee: 'aurora', types: rows('Setting', { name: { eq: value } }) },
              { grantee: 'cascade', types: rows('Setting', { name: { notIn: [value] } }) },
            ),
          )
          expect([await seen(store, 'aurora', place), await seen(store, 'cascade', place)]).toEqual([['1'], ['2', '4']])
        } finally {
          await withClient(database.url(), (client) => client.query(`DROP SCHEMA ${pg.escapeIdentifier(`s${schema}`)} CASCADE`))
        }
      }),
      { numRuns: 40 },
    )
  }, 120_000)
})

// --- pseudonyms ------------------------------------------------------------------------------------------------------------------------------------------------

describe('concordat.pseudonym', () => {
  let store: Store
  const policies = policiesOf({ grantee: 'aurora', types: rows('User') }, { grantee: 'cascade', types: rows('User') })
  beforeAll(async () => {
    store = await makeStore()
    await apply(store, policies)
  })

  /** What the owner alone can read. */
  const keys = async (): Promise<ReadonlyMap<string, Buffer>> => {
    const { rows } = await withClient(store.database.url(), (client) =>
      client.query<{ grantee: string; inner_pad: Buffer; outer_pad: Buffer }>('SELECT * FROM concordat.pseudonym_key'),
    )
    return new Map(
      rows.map(({ grantee, inner_pad, outer_pad }) => {
        const key = Buffer.from(inner_pad.map((byte) => byte ^ 0x36))
        expect(Buffer.from(outer_pad.map((byte) => byte ^ 0x5c))).toEqual(key)
        expect(key.subarray(32)).toEqual(Buffer.alloc(32))
        return [grantee, key.subarray(0, 32)]
      }),
    )
  }
  const pseudonym = (client: pg.Client, ...values: readonly (string | null)[]) =>
    client.query<{ p: string | null }>('SELECT concordat.pseudonym($1, $2, $3) AS p', [...values]).then(({ rows }) => rows[0]?.p)

  it('is HMAC-SHA256 of domain and value under a key for each grantee, as the gateway may call it', async () => {
    const known = await keys()
    expect([...known.keys()].sort()).toEqual(['aurora', 'cascade'])
    expect(new Set([...known.values()].map((key) => key.toString('hex'))).size).toBe(2)
    await withClient(store.database.url(GATEWAY), async (client) => {
      await fc.assert(
        fc.asyncProperty(fc.constantFrom('aurora', 'cascade'), text, fc.option(fc.oneof(text, fc.constant(''))), async (grantee, domain, value) => {
          const message = value === null ? `${domain}\x1e` : `${domain}\x1f${value}`
          const digest = createHmac('sha256', known.get(grantee) ?? '')
            .update(message, 'utf8')
            .digest('hex')
          expect(await pseudonym(client, grantee, domain, value)).toBe(`p-${digest.slice(0, 32)}`)
        }),
        { numRuns: times(60) },
      )
    })
  })

  it('is NULL for a grantee without a key', async () => {
    await withClient(store.database.url(GATEWAY), async (client) => {
      for (const values of [
        ['delta', 'User', '1'],
        [null, 'User', '1'],
        ['aurora', null, '1'],
      ] as const)
        expect(await pseudonym(client, ...values)).toBeNull()
    })
  })

  it('keeps its keys from the gateway, and itself from everybody else', async () => {
    await withClient(store.database.url(GATEWAY), async (client) => {
      await expect(client.query('SELECT * FROM concordat.pseudonym_key')).rejects.toThrow('permission denied')
      await expect(client.query('CREATE TABLE concordat.mine ()')).rejects.toThrow('permission denied')
      // A function of the caller's own making takes no part in it.
      await client.query(`CREATE FUNCTION pg_temp.encode(bytea, text) RETURNS text LANGUAGE sql AS $$ SELECT 'caught' $$`)
      expect(await pseudonym(client, 'aurora', 'User', '1')).toMatch(/^p-[0-9a-f]{32}$/)
    })
    await withClient(store.database.url('reports'), async (client) => {
      await expect(pseudonym(client, 'aurora', 'User', '1')).rejects.toThrow('permission denied')
    })
  })

  it('stays the same when the script is applied again, and when an agreement ends', async () => {
    const before = await keys()
    await apply(store, policiesOf({ grantee: 'aurora', types: rows('User') }))
    expect(await keys()).toEqual(before)
    expect(scriptText(script(store, policies))).not.toContain(before.get('aurora')?.toString('hex'))
  })

  it('refuses a schema that the role of the gateway could change', async () => {
    const other = await makeStore()
    await withClient(other.database.url(), (client) => client.query(`CREATE SCHEMA concordat AUTHORIZATION ${GATEWAY}`))
    await expect(apply(other, policies)).rejects.toThrow('not out of reach')
    expect(await seen(other, null, 'people')).toHaveLength(4)
  })
})
