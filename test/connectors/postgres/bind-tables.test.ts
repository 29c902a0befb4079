import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { ConfiguredField, ConfiguredType } from '../../../src/connectors/configured.js'
import { resolveBinding } from '../../../src/connectors/postgres/bind-tables.js'
import { describeStore } from '../../../src/connectors/postgres/describe.js'
import { parseContract } from '../../../src/gateway/contract.js'
import type { TestDatabase, TestPostgres } from '../../support/postgres.js'
import { startTestPostgres, withClient } from '../../support/postgres.js'

let server: TestPostgres
let database: TestDatabase
let schemas = 0
beforeAll(async () => {
  server = await startTestPostgres({ log_parameter_max_length: '0', log_parameter_max_length_on_error: '0' })
  await withClient(server.url('postgres'), (client) => client.query('CREATE ROLE gateway LOGIN'))
  database = await server.createDatabase()
  await withClient(database.url(), (client) => client.query('CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing'))
})
afterAll(() => server.stop())

const catalogOf = (contract: string) => parseContract([{ name: 'contract.graphql', text: contract }])

/** What the gateway's role reads of a schema of its own, made by this SQL, with everything granted and row-level security on. */
async function schemaOf(sql: string, as: 'gateway' | 'postgres' = 'gateway') {
  const schema = `s${++schemas}`
  await withClient(database.url(), async (client) => {
    await client.query(`CREATE SCHEMA ${schema}; SET search_path TO ${schema}; ${sql}`)
    const { rows } = await client.query<{ schema: string; name: string; kind: string }>(
      `SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'`,
    )
    for (const { schema, name, kind } of rows) {
      const table = `${client.escapeIdentifier(schema)}.${client.escapeIdentifier(name)}`
      await client.query(`GRANT USAGE ON SCHEMA ${client.escapeIdentifier(schema)} TO gateway; GRANT SELECT ON ${table} TO gateway`)
      if (kind === 'r') await client.query(`ALTER TABLE ${table} ENABLE ROW LEVEL SECURITY`)
    }
  })
  return { schema, description: await withClient(database.url(as), (client) => describeStore(client, { timeoutMs: 10_000 })) }
}

interface Case {
  readonly contract: string
  readonly sql: string
  readonly configured?: Readonly<Record<string, ConfiguredType>>
  readonly as?: 'gateway' | 'postgres'
}

async function resolved({ contract, sql, configured = {}, as = 'gateway' }: Case) {
  const store = await schemaOf(sql, as)
  const { binding, findings } = resolveBinding({
    catalog: catalogOf(contract),
    organization: 'aurora',
    configured: new Map(Object.entries(configured)),
    stores: new Map([['main', store]]),
  })
  return {
    ...store,
    binding,
    findings,
    brief: findings.map(({ severity, rule, type, field }) => `${severity} ${rule} ${[type, field].filter(Boolean).join('.')}`.trim()),
  }
}

type Fields = Readonly<Record<string, ConfiguredField | string>>
const table = (name: string | null, fields: Fields = {}, more: { uniqueKey?: boolean } = {}): ConfiguredType => {
  const [schema = '', local = ''] = (name ?? '').split('.')
  return {
    kind: 'table',
    table: name === null ? null : { store: null, schema, table: local },
    fields: new Map(Object.entries(fields).map(([field, given]) => [field, typeof given === 'string' ? column(given) : given])),
    ...more,
  }
}
const vouched = (): ConfiguredType => table(null, {}, { uniqueKey: true })
const column = (name: string, extra: { values?: Record<string, string>; multiply?: string } = {}): ConfiguredField => ({
  kind: 'column',
  columns: [name],
  values: extra.values ? new Map(Object.entries(extra.values)) : null,
  multiply: extra.multiply ?? null,
})
const constant = (value: string | number | boolean | null): ConfiguredField => ({ kind: 'constant', value })

describe('resolveBinding', () => {
  it('binds what fits by name: tables, columns, relations', async () => {
    const { binding, findings, schema } = await resolved({
      contract: `
        type User @entity { key: ID!  fullName: String }
        type WorkflowExecution @entity { key: ID!  startedAt: DateTime  agent: User  owner: User  user: User  boss: User  labels: [String!] }
      `,
      sql: `
        CREATE TABLE users (key bigint PRIMARY KEY, "fullName" text);
        CREATE TABLE workflow_execution (key uuid PRIMARY KEY, started_at timestamptz, agent_key int, owner bigint, user_id bigint, ceo bigint REFERENCES users, labels text[]);
        CREATE INDEX ON workflow_execution (agent_key); CREATE INDEX ON workflow_execution (owner); CREATE INDEX ON workflow_execution (user_id);
        CREATE INDEX ON workflow_execution (ceo);
      `,
    })
    expect(findings).toEqual([])
    const plain = { kind: 'column', array: false, nullable: true, values: null, multiply: null }
    expect(binding.types.get('User')).toEqual({
      kind: 'table',
      type: 'User',
      store: 'main',
      schema,
      table: 'users',
      columns: new Map([
        ['key', { ...plain, column: 'key', native: 'bigint', nullable: false }],
        ['fullName', { ...plain, column: 'fullName', native: 'text' }],
      ]),
      relations: new Map(),
    })
    const execution = binding.types.get('WorkflowExecution')
    expect(execution).toMatchObject({ table: 'workflow_execution' })
    expect(execution?.kind === 'table' && execution.columns.get('labels')).toEqual({ ...plain, column: 'labels', native: 'text', array: true })
    expect(execution?.kind === 'table' && [...execution.relations].map(([name, { columns }]) => [name, columns])).toEqual([
      ['agent', [{ column: 'agent_key', native: 'integer', nullable: true }]],
      ['owner', [{ column: 'owner', native: 'bigint', nullable: true }]],
      ['user', [{ column: 'user_id', native: 'bigint', nullable: true }]],
      ['boss', [{ column: 'ceo', native: 'bigint', nullable: true }]],
    ])
  })

  it('binds what the configuration names: tables, columns, values, factors, constants, nothing', async () => {
    const { binding, findings } = await resolved({
      contract: `
        type User @entity { key: ID! name: String! }
        type Agent @entity { key: ID! status: Status! monthlyBudget: Decimal description: String plan: Plan owner: User runs: [Run!] @inverse(of: "agent") }
        type Run @entity { key: ID! agent: Agent }
        enum Status { ACTIVE PAUSED ARCHIVED } enum Plan { FREE PAID }
      `,
      sql: `
        CREATE SCHEMA ops; CREATE SCHEMA hr;
        CREATE TABLE hr.people (person_id int PRIMARY KEY, full_name text COLLATE "C" NOT NULL UNIQUE);
        CREATE TABLE ops.bots (bot_id bigint PRIMARY KEY, state smallint NOT NULL, budget_cents bigint, person_id bigint);
        CREATE INDEX ON ops.bots (person_id);
      `,
      configured: {
        User: table('hr.people', { key: 'person_id', name: 'full_name' }),
        Agent: table('ops.bots', {
          key: 'bot_id',
          status: column('state', { values: { 1: 'ACTIVE', 2: 'PAUSED', 9: 'ARCHIVED' } }),
          monthlyBudget: column('budget_cents', { multiply: '0.01' }),
          owner: 'person_id',
          description: constant(null),
          plan: constant('FREE'),
        }),
        Run: { kind: 'none' },
      },
    })
    expect(findings).toEqual([])
    expect(binding.types.get('Run')).toEqual({ kind: 'none', type: 'Run' })
    const agent = binding.types.get('Agent')
    expect(agent?.kind === 'table' && [...agent.columns]).toEqual([
      ['key', { kind: 'column', column: 'bot_id', native: 'bigint', array: false, nullable: false, values: null, multiply: null }],
      [
        'status',
        {
          kind: 'column',
          column: 'state',
          native: 'smallint',
          array: false,
          nullable: false,
          values: new Map([
            ['1', 'ACTIVE'],
            ['2', 'PAUSED'],
            ['9', 'ARCHIVED'],
          ]),
          multiply: null,
        },
      ],
      ['monthlyBudget', { kind: 'column', column: 'budget_cents', native: 'bigint', array: false, nullable: true, values: null, multiply: '0.01' }],
      ['description', { kind: 'constant', value: null }],
      ['plan', { kind: 'constant', value: 'FREE' }],
    ])
  })

  it('binds composite keys, by name, by foreign key and as configured', async () => {
    const contract = `
      type Site @entity(key: ["tenant", "code"]) { tenant: UUID! code: String! }
      type Visit @entity { key: ID! site: Site previous: Site next: Site }
    `
    const sql = `
      CREATE TABLE sites (code text COLLATE "C" NOT NULL, tenant uuid NOT NULL, PRIMARY KEY (tenant, code));
      CREATE TABLE visits (key text COLLATE "C" PRIMARY KEY, site_tenant uuid, site_code text, c text, t uuid, c2 varchar(9), t2 uuid,
        CONSTRAINT far FOREIGN KEY (c, t) REFERENCES sites (code, tenant));
    `
    const { binding, brief } = await resolved({
      contract,
      sql,
      configured: { Visit: table(null, { next: { kind: 'column', columns: ['t2', 'c2'], values: null, multiply: null } }) },
    })
    const visit = binding.types.get('Visit')
    expect(visit?.kind === 'table' && [...visit.relations].map(([name, { columns }]) => [name, columns.map((part) => part.column)])).toEqual([
      ['site', ['site_tenant', 'site_code']],
      ['previous', ['t', 'c']],
      ['next', ['t2', 'c2']],
    ])
    expect(brief).toEqual(['warning index Visit.site', 'warning index Visit.previous', 'warning index Visit.next'])
  })

  it('lets a relation to a type that the organization does not hold lead nowhere', async () => {
    const { binding, findings } = await resolved({
      contract: 'type Agent @entity { key: ID! } type Run @entity { key: ID! agent: Agent }',
      sql: 'CREATE TABLE runs (key int PRIMARY KEY)',
      configured: { Agent: { kind: 'none' } },
    })
    expect(findings).toEqual([])
    expect(binding.types.get('Run')).toMatchObject({ relations: new Map([['agent', { columns: [] }]]) })
  })

  /** One table with a column of each type, read once; `x` is bound to the one that a case asks for. */
  const COLUMN_TYPES = [
    ...['text', 'uuid', 'smallint', 'integer', 'bigint', 'real', 'bool', 'numeric', 'numeric(10,2)', 'numeric(30,0)', 'money', 'varchar(10)', 'date', 'point'],
    ...['timestamp', 'timestamptz', 'timestamptz(3)', 'json', 'jsonb', 'mood', 'short', 'int[]', 'mood[]'],
  ]
  let matrix: ReturnType<typeof schemaOf> | undefined
  const overColumn = async (scalar: string, type: string) => {
    matrix ??= schemaOf(`
      CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN short AS varchar(3);
      CREATE TABLE things (key int PRIMARY KEY, ${COLUMN_TYPES.map((each) => `"${each}" ${each}`).join(', ')})`)
    return resolveBinding({
      catalog: catalogOf(`type Thing @entity { key: ID! x: ${scalar} } enum Mood { good bad }`),
      organization: 'aurora',
      configured: new Map([['Thing', table(null, { x: type })]]),
      stores: new Map([['main', await matrix]]),
    })
  }

  it.each<[string, string, string]>([
    ['ID', 'text', 'text'],
    ['ID', 'uuid', 'uuid'],
    ['ID', 'bigint', 'bigint'],
    ['String', 'varchar(10)', 'character varying'],
    ['String', 'mood', 'mood'],
    ['Int', 'smallint', 'smallint'],
    ['Float', 'real', 'real'],
    ['Boolean', 'bool', 'boolean'],
    ['BigInt', 'integer', 'integer'],
    ['BigInt', 'numeric(30,0)', 'numeric'],
    ['Decimal', 'numeric', 'numeric'],
    ['Decimal', 'bigint', 'bigint'],
    ['DateTime', 'timestamptz(3)', 'timestamp with time zone'],
    ['LocalDateTime', 'timestamp', 'timestamp without time zone'],
    ['Date', 'date', 'date'],
    ['UUID', 'uuid', 'uuid'],
    ['JSON', 'json', 'json'],
    ['JSON', 'jsonb', 'jsonb'],
    ['Mood', 'text', 'text'],
    ['Mood', 'mood', 'mood'],
    ['[Int!]', 'int[]', 'integer'],
    ['[Mood!]', 'mood[]', 'mood'],
    ['String', 'short', 'character varying'],
  ])('reads %s from %s', async (scalar, type, native) => {
    const { binding, findings } = await overColumn(scalar, type)
    expect(findings).toEqual([])
    expect(binding.types.get('Thing')).toMatchObject({
      columns: new Map([
        ['key', expect.anything()],
        ['x', expect.objectContaining({ native: expect.stringMatching(new RegExp(`^(s\\d+\\.)?${native}$`)) })],
      ]),
    })
  })

  it.each([
    ['ID', 'numeric'],
    ['ID', 'mood'],
    ['String', 'uuid'],
    ['String', 'jsonb'],
    ['Int', 'bigint'],
    ['Int', 'numeric'],
    ['BigInt', 'numeric(10,2)'],
    ['BigInt', 'numeric'],
    ['BigInt', 'real'],
    ['Float', 'numeric'],
    ['Decimal', 'real'],
    ['Decimal', 'money'],
    ['DateTime', 'timestamp'],
    ['DateTime', 'date'],
    ['LocalDateTime', 'timestamptz'],
    ['Date', 'timestamp'],
    ['UUID', 'text'],
    ['JSON', 'text'],
    ['Boolean', 'integer'],
    ['Mood', 'integer'],
    ['Int', 'int[]'],
    ['[Int!]', 'integer'],
    ['[String!]', 'int[]'],
    ['String', 'point'],
  ])('refuses %s over %s, and leaves the field unbound', async (scalar, type) => {
    const { binding, findings } = await overColumn(scalar, type)
    expect(findings).toMatchObject([{ severity: 'error', rule: 'type', type: 'Thing', field: 'x', place: expect.stringMatching(/^main\.s\d+\.things\./) }])
    expect(findings[0]?.hint).not.toBe('')
    const thing = binding.types.get('Thing')
    expect(thing?.kind === 'table' && [...thing.columns.keys()]).toEqual(['key'])
  })

  const THING = 'type Thing @entity { key: ID! x: String m: Mood other: Thing  others: [Thing!] @inverse(of: "other") } enum Mood { GOOD BAD }'
  const THINGS = 'CREATE TABLE things (key int PRIMARY KEY, x text, m text, other int); CREATE INDEX ON things (other);'
  it.each<[string, Case, string[]]>([
    ['a missing table', { contract: THING, sql: 'CREATE TABLE thingies (key int)' }, ['error table Thing']],
    ['two tables that fit', { contract: THING, sql: `${THINGS} CREATE TABLE thing (key int PRIMARY KEY)` }, ['error table Thing']],
    ['a configured table that is missing', { contract: THING, sql: THINGS, configured: { Thing: table('public.thing') } }, ['error table Thing']],
    ['a missing column', { contract: THING, sql: `${THINGS} ALTER TABLE things DROP COLUMN x` }, ['error column Thing.x']],
    ['a configured column that is missing', { contract: THING, sql: THINGS, configured: { Thing: table(null, { x: 'y' }) } }, ['error column Thing.x']],
    ['a missing relation', { contract: THING, sql: `${THINGS} ALTER TABLE things DROP COLUMN other` }, ['error relation Thing.other']],
    ['a relation over another type', { contract: THING, sql: `${THINGS} ALTER TABLE things ALTER other TYPE text` }, ['error relation Thing.other']],
    [
      'a configured relation over another type',
      { contract: THING, sql: THINGS, configured: { Thing: table(null, { other: 'x' }) } },
      ['error type Thing.other'],
    ],
    [
      'a configured relation over a missing column',
      { contract: THING, sql: THINGS, configured: { Thing: table(null, { other: 'y' }) } },
      ['error column Thing.other'],
    ],
    ['an unknown type', { contract: THING, sql: THINGS, configured: { Thingy: { kind: 'none' } } }, ['error name Thingy']],
    ['an unknown field', { contract: THING, sql: THINGS, configured: { Thing: table(null, { y: 'x' }) } }, ['error name Thing.y']],
    ['a binding of the many end', { contract: THING, sql: THINGS, configured: { Thing: table(null, { others: 'other' }) } }, ['error name Thing.others']],
    [
      'an unknown value',
      { contract: THING, sql: THINGS, configured: { Thing: table(null, { m: column('m', { values: { a: 'UGLY' } }) }) } },
      ['error type Thing.m'],
    ],
    [
      'values for no enum',
      { contract: THING, sql: THINGS, configured: { Thing: table(null, { x: column('x', { values: { a: 'GOOD' } }) }) } },
      ['error type Thing.x'],
    ],
    [
      'a stored value that cannot be',
      {
        contract: THING,
        sql: `${THINGS} ALTER TABLE things ALTER m TYPE smallint USING 1`,
        configured: { Thing: table(null, { m: column('m', { values: { 40000: 'GOOD' } }) }) },
      },
      ['error type Thing.m'],
    ],
    [
      'a factor for a text',
      { contract: THING, sql: THINGS, configured: { Thing: table(null, { x: column('x', { multiply: '2' }) }) } },
      ['error type Thing.x'],
    ],
    ['a constant of another type', { contract: THING, sql: THINGS, configured: { Thing: table(null, { x: constant(1) }) } }, ['error type Thing.x']],
    ['a constant that the enum lacks', { contract: THING, sql: THINGS, configured: { Thing: table(null, { m: constant('UGLY') }) } }, ['error type Thing.m']],
    ['a constant relation', { contract: THING, sql: THINGS, configured: { Thing: table(null, { other: constant(1) }) } }, ['error relation Thing.other']],
    ['a constant key', { contract: THING, sql: THINGS, configured: { Thing: table(null, { key: constant('1') }) } }, ['error key Thing.key']],
    [
      'a key that can be null',
      { contract: THING, sql: 'CREATE TABLE things (key int UNIQUE, x text, m text, other int); CREATE INDEX ON things (other);' },
      ['error nullability Thing.key'],
    ],
    [
      'a key that is not unique',
      { contract: THING, sql: 'CREATE TABLE things (key int NOT NULL, x text, m text, other int); CREATE INDEX ON things (other);' },
      ['error key Thing.key'],
    ],
    [
      'an inverse list without an index',
      { contract: THING, sql: 'CREATE TABLE things (key int PRIMARY KEY, x text, m text, other int)' },
      ['error index Thing.other'],
    ],
    [
      'a `!` over a column that can be null',
      { contract: 'type Thing @entity { key: ID! x: Int! }', sql: 'CREATE TABLE things (key int PRIMARY KEY, x int)' },
      ['error nullability Thing.x'],
    ],
    [
      'a `!` over a constant null',
      {
        contract: 'type Thing @entity { key: ID! x: Int! }',
        sql: 'CREATE TABLE things (key int PRIMARY KEY)',
        configured: { Thing: table(null, { x: constant(null) }) },
      },
      ['error nullability Thing.x'],
    ],
    [
      'a `!` over labels that the contract lacks',
      {
        contract: 'type Thing @entity { key: ID! x: E! } enum E { A }',
        sql: "CREATE TYPE e AS ENUM ('A', 'B'); CREATE TABLE things (key int PRIMARY KEY, x e NOT NULL)",
      },
      ['error type Thing.x'],
    ],
    [
      'a text key in another order',
      { contract: 'type Thing @entity { key: ID! }', sql: 'CREATE TABLE things (key text PRIMARY KEY)' },
      ['warning order Thing.key'],
    ],
    [
      'a likely order without an index',
      { contract: 'type Thing @entity { key: ID! at: DateTime! }', sql: 'CREATE TABLE things (key int PRIMARY KEY, at timestamptz NOT NULL)' },
      ['warning order Thing.at'],
    ],
    [
      'a text order in another collation',
      { contract: 'type Thing @entity { key: ID! x: String! }', sql: 'CREATE TABLE things (key int PRIMARY KEY, x text NOT NULL UNIQUE)' },
      ['warning order Thing.x'],
    ],
    [
      'a view',
      { contract: 'type Thing @entity { key: ID! x: Int! }', sql: 'CREATE VIEW things AS SELECT 1 AS key, 2 AS x' },
      ['error key Thing.key', 'warning rowSecurity'],
    ],
    [
      'a view whose key the owner vouches for',
      {
        contract: 'type Thing @entity { key: ID! x: Int! }',
        sql: 'CREATE VIEW things AS SELECT 1 AS key, 2 AS x',
        configured: { Thing: vouched() },
      },
      ['warning key Thing.key', 'warning rowSecurity'],
    ],
    [
      'a materialized view without a unique index',
      { contract: 'type Thing @entity { key: ID! }', sql: 'CREATE MATERIALIZED VIEW things AS SELECT 1 AS key' },
      ['error key Thing.key'],
    ],
    [
      'a materialized view with one not at all',
      { contract: 'type Thing @entity { key: ID! }', sql: 'CREATE MATERIALIZED VIEW things AS SELECT 1 AS key; CREATE UNIQUE INDEX ON things (key)' },
      [],
    ],
    [
      'a table whose key only the owner vouches for',
      {
        contract: 'type Thing @entity { key: ID! at: Date! }',
        sql: 'CREATE TABLE things (key int NOT NULL, at date NOT NULL, PRIMARY KEY (at, key)) PARTITION BY RANGE (at)',
        configured: { Thing: vouched() },
      },
      ['warning key Thing.key', 'warning rowSecurity'],
    ],
    [
      'a text that is compared by a nondeterministic collation',
      {
        contract: 'type Thing @entity { key: ID! x: String }',
        sql: "CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE TABLE things (key int PRIMARY KEY, x text COLLATE folding)",
      },
      ['warning collation Thing.x'],
    ],
    [
      'indexes that row-level security keeps from serving',
      {
        contract: 'type Thing @entity { key: ID! x: E y: Decimal z: Decimal w: Int } enum E { A }',
        sql: `CREATE TYPE e AS ENUM ('A'); CREATE TABLE things (key int PRIMARY KEY, x e, y numeric, z numeric, w int);
          CREATE INDEX ON things (x); CREATE INDEX ON things (y); CREATE INDEX ON things (w, z)`,
      },
      ['warning index Thing.x', 'warning index Thing.y'],
    ],
  ])('reports %s', async (_, given, expected) => {
    expect((await resolved(given)).brief).toEqual(expected)
  })

  it('leaves a type out whose key or `!` field has an error, and relations to it unbound', async () => {
    const { binding, brief } = await resolved({
      contract: 'type A @entity { key: ID! x: Int! } type B @entity { key: ID! a: A }',
      sql: 'CREATE TABLE a (key int PRIMARY KEY, x int); CREATE TABLE b (key int PRIMARY KEY, a int)',
    })
    expect(brief).toContain('error nullability A.x')
    expect([...binding.types.keys()]).toEqual(['B'])
    expect(binding.types.get('B')).toMatchObject({ relations: new Map() })
  })

  it.each([
    ['a table', 'CREATE TABLE a (key int NOT NULL)'],
    ['a partitioned table', 'CREATE TABLE a (key int NOT NULL) PARTITION BY RANGE (key)'],
    ['a view', 'CREATE VIEW a AS SELECT 1 AS key'],
    ['a materialized view', 'CREATE MATERIALIZED VIEW a AS SELECT 1 AS key'],
    ['a foreign table', `CREATE FOREIGN TABLE a (key int NOT NULL) SERVER elsewhere`],
  ])('leaves a type out that is read from %s where nothing says that its key is unique, unless the owner does', async (_, sql) => {
    const given = { contract: 'type A @entity { key: ID! } type B @entity { key: ID! a: A }', sql: `${sql}; CREATE TABLE b (key int PRIMARY KEY, a int)` }
    const unsaid = await resolved(given)
    expect(unsaid.brief).toContain('error key A.key')
    expect([...unsaid.binding.types.keys()]).toEqual(['B'])
    expect(unsaid.binding.types.get('B')).toMatchObject({ relations: new Map() })
    const said = await resolved({ ...given, configured: { A: vouched() } })
    expect(said.brief).toContain('warning key A.key')
    expect(said.binding.types.get('B')).toMatchObject({ relations: new Map([['a', expect.anything()]]) })
  })

  it('reads labels that the contract does not have as null', async () => {
    const { binding, findings } = await resolved({
      contract: 'type Thing @entity { key: ID! x: E } enum E { A C }',
      sql: "CREATE TYPE e AS ENUM ('A', 'B'); CREATE TABLE things (key int PRIMARY KEY, x e)",
    })
    expect(findings).toEqual([])
    const thing = binding.types.get('Thing')
    expect(thing?.kind === 'table' && thing.columns.get('x')).toMatchObject({ values: new Map([['A', 'A']]) })
  })

  it('reports what the role may not read, and where row-level security does not hold', async () => {
    const contract = 'type Thing @entity { key: ID! x: Int }'
    const sql = 'CREATE TABLE things (key int PRIMARY KEY, x int)'
    expect((await resolved({ contract, sql, as: 'postgres' })).brief).toEqual(['warning rowSecurity'])
    const { schema, description } = await schemaOf(sql)
    const [thing] = description.tables.filter((each) => each.schema === schema)
    const check = (change: object, store: object = {}) =>
      resolveBinding({
        catalog: catalogOf(contract),
        organization: 'aurora',
        configured: new Map(),
        stores: new Map([['main', { schema, description: { ...description, ...store, tables: thing ? [{ ...thing, ...change }] : [] } }]]),
      }).findings.map(({ severity, rule, problem }) => `${severity} ${rule}: ${problem}`)
    expect(check({})).toEqual([])
    expect(check({ reachable: false })).toEqual([`error privilege: the gateway's role may not use the schema \`${schema}\``])
    expect(check({ columns: new Map([...(thing?.columns ?? [])].map(([name, each]) => [name, { ...each, readable: name === 'key' }])) })).toEqual([
      "error privilege: the gateway's role may not read `x`",
    ])
    expect(check({ rowSecurity: { enabled: false, forced: false } })).toEqual([`warning rowSecurity: row-level security is off for \`${schema}.things\``])
    expect(check({ owned: true })).toEqual([`warning rowSecurity: the gateway's role owns \`${schema}.things\`, so row-level security does not hold for it`])
    expect(check({ owned: true, rowSecurity: { enabled: true, forced: true } })).toEqual([])
    expect(check({}, { encoding: 'SQL_ASCII' })).toEqual(['error store: the database is encoded in SQL_ASCII'])
    expect(check({}, { version: 130_000 })).toEqual(['error store: the server is older than PostgreSQL 14'])
    expect(check({}, { loggedParameterBytes: { statements: -1, errors: 0 } })).toEqual([expect.stringMatching(/^warning setting/)])
  })

  it('says nothing of types whose store could not be read, and has relations between stores over keys whose texts are the same in both', async () => {
    const a = await schemaOf('CREATE TABLE a (key int PRIMARY KEY); CREATE TABLE c (key numeric PRIMARY KEY)')
    const b = await schemaOf('CREATE TABLE b (key int PRIMARY KEY, a bigint, c numeric); CREATE INDEX ON b (a); CREATE INDEX ON b (c)')
    const resolve = (far: typeof b.description | null, contract: string) =>
      resolveBinding({
        catalog: catalogOf(contract),
        organization: 'aurora',
        configured: new Map<string, ConfiguredType>([['B', { kind: 'table', table: { store: 'far', schema: null, table: 'b' }, fields: new Map() }]]),
        stores: new Map([
          ['main', a],
          ['far', { schema: b.schema, description: far }],
        ]),
      })
    const near = 'type A @entity { key: ID! bs: [B!] @inverse(of: "a") } type B @entity { key: ID! a: A }'
    const { binding, findings } = resolve(b.description, near)
    expect(findings).toEqual([])
    expect(binding.types.get('B')).toMatchObject({
      store: 'far',
      relations: new Map([['a', { columns: [{ column: 'a', native: 'bigint', nullable: true }] }]]),
    })
    expect(resolve(null, near).findings).toEqual([])
    expect([...resolve(null, near).binding.types.keys()]).toEqual(['A'])
    const decimal = 'type C @entity { key: Decimal! bs: [B!] @inverse(of: "c") } type B @entity { key: ID! c: C }'
    expect(resolve(b.description, decimal).findings.filter((finding) => finding.severity === 'error')).toMatchObject([
      { severity: 'error', rule: 'relation', type: 'B', field: 'c' },
    ])
  })

  it('survives any name', async () => {
    const names = ['a.b', 'a"b', "a'b", 'select', 'Ümläut', '日本', 'a b', '$1', '--']
    const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`
    const { binding, findings } = await resolved({
      contract: `type Thing @entity { key: ID! ${names.map((_, index) => `f${index}: Int`).join(' ')} }`,
      sql: `CREATE SCHEMA "s.""x"; CREATE TABLE "s.""x"."t.'y" (key int PRIMARY KEY, ${names.map((name) => `${quoted(name)} int`).join(', ')})`,
      configured: {
        Thing: {
          kind: 'table',
          table: { store: 'main', schema: 's."x', table: "t.'y" },
          fields: new Map(names.map((name, index) => [`f${index}`, column(name)])),
        },
      },
    })
    expect(findings).toEqual([])
    const thing = binding.types.get('Thing')
    expect(thing?.kind === 'table' && [...thing.columns.values()].slice(1).map((bound) => bound.kind === 'column' && bound.column)).toEqual(names)
  })
})

describe('a field in another table', () => {
  const contract = `type Agent @entity { key: ID!  name: String!  bio: String  embedding: Vector @vector(model: "m", dimensions: 2) }
    type Spot @entity(key: ["room", "place"]) { room: String!  place: Int!  label: String }
    type Day @entity { key: Date!  note: String }`
  const sql = `CREATE TABLE agents (key bigint PRIMARY KEY, name text NOT NULL);
    CREATE TABLE vectors (agent text PRIMARY KEY, other text, value real[]);
    CREATE TABLE spots (room text, place int, PRIMARY KEY (room, place)); CREATE TABLE labels (r text, p smallint, label text, PRIMARY KEY (p, r));
    CREATE TABLE days (key date PRIMARY KEY); CREATE TABLE notes (day date PRIMARY KEY, note text);`
  const table = (name: string) => ({ store: 'main', schema: null, table: name })
  const part = (name: string, key: readonly string[], column: string): ConfiguredField => ({
    kind: 'column',
    columns: [column],
    values: null,
    multiply: null,
    part: { table: table(name), key },
  })
  const fieldsOf = (fields: Readonly<Record<string, ConfiguredField>>): ConfiguredType => ({
    kind: 'table',
    table: null,
    fields: new Map(Object.entries(fields)),
  })

  it('has a key and a column there, and none beside its row', async () => {
    const { binding, findings } = await resolved({
      contract,
      sql,
      configured: { Agent: fieldsOf({ embedding: part('vectors', ['agent'], 'value') }), Spot: fieldsOf({ label: part('labels', ['r', 'p'], 'label') }) },
    })
    const agent = binding.types.get('Agent')
    const spot = binding.types.get('Spot')
    if (agent?.kind !== 'table' || spot?.kind !== 'table') throw new Error('both are bound')
    expect(agent.columns.has('embedding')).toBe(false)
    expect(agent.parts?.get('embedding')).toMatchObject({
      store: 'main',
      table: 'vectors',
      key: [{ column: 'agent', native: 'text' }],
      column: { column: 'value', native: 'real', array: true },
    })
    expect(spot.parts?.get('label')?.key.map(({ column }) => column)).toEqual(['r', 'p'])
    expect(findings.filter(({ type, severity }) => type !== 'Day' && type !== 'Agent' && severity === 'error')).toEqual([])
  })

  it.each<[what: string, type: string, field: string, bound: ConfiguredField]>([
    ['whose table is not there', 'Agent', 'bio', part('nowhere', ['agent'], 'value')],
    ['whose column is not there', 'Agent', 'embedding', part('vectors', ['agent'], 'nothing')],
    ['whose key is not there', 'Agent', 'embedding', part('vectors', ['nobody'], 'value')],
    ['whose key is not unique there', 'Agent', 'embedding', part('vectors', ['other'], 'value')],
    ['whose key has too few columns', 'Spot', 'label', part('labels', ['r'], 'label')],
    ['whose key is of days, which have more than one text', 'Day', 'note', part('notes', ['day'], 'note')],
    ['that is required', 'Agent', 'name', part('vectors', ['agent'], 'other')],
    ['that is a key', 'Agent', 'key', part('vectors', ['agent'], 'agent')],
    ['of another type than the column', 'Agent', 'bio', part('vectors', ['agent'], 'value')],
  ])('is refused, %s', async (_what, type, field, bound) => {
    const { binding, brief } = await resolved({ contract, sql, configured: { [type]: fieldsOf({ [field]: bound }) } })
    const found = binding.types.get(type)
    expect(found?.kind === 'table' && found.parts?.has(field)).not.toBe(true)
    expect(brief.filter((line) => line.startsWith('error') && line.includes(type))).not.toEqual([])
  })
})
