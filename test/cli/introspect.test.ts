import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { checkReport } from '../../src/cli/check.js'
import { introspect, IntrospectError, type IntrospectOptions } from '../../src/cli/introspect.js'
import { loadConfig } from '../../src/config.js'
import { apiSchema } from '../../src/gateway/api-schema.js'
import { contractSources, parseContract } from '../../src/gateway/contract.js'
import { loadChinook } from '../support/chinook.js'
import type { TestPostgres } from '../support/postgres.js'
import { startTestPostgres, withClient } from '../support/postgres.js'

let server: TestPostgres
let folder: string
beforeAll(async () => {
  server = await startTestPostgres()
  folder = await mkdtemp(join(tmpdir(), 'concordat-introspect-'))
})
afterAll(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})
afterEach(() => rm(join(folder, 'out'), { recursive: true, force: true }))

async function databaseOf(sql: string): Promise<string> {
  const database = await server.createDatabase()
  await withClient(database.url(), (client) => client.query(sql))
  return database.url()
}

/** Introspects a database made by this SQL; what `check` then says must be no error. */
async function introspected(sql: string, options: Partial<IntrospectOptions> = {}) {
  const report = await introspect(await databaseOf(sql), { organization: 'aurora', out: join(folder, 'out'), ...options })
  const config = loadConfig(join(report.folder, 'concordat.yaml'), {})
  const checked = await checkReport(config)
  expect(checked.organizations.flatMap(({ findings }) => findings).filter(({ severity, rule }) => severity === 'error' && rule !== 'index')).toEqual([])
  const catalog = parseContract(await contractSources(config.contract))
  apiSchema(catalog)
  const sdl = await readFile(join(report.folder, 'schema/contract.graphql'), 'utf8')
  return { report, config, catalog, sdl, types: sdl.slice(sdl.indexOf('\n\n')).trim(), bindings: config.organizations.get('aurora')?.bindings }
}

describe('introspect', () => {
  it('gives a contract and a configuration of a database that nobody here wrote, without a binding', async () => {
    const database = await server.createDatabase()
    await loadChinook(database.url())
    const report = await introspect(database.url(), { organization: 'aurora', out: join(folder, 'out') })
    expect(report.notes).toEqual([])
    expect(await readFile(join(report.folder, 'schema/contract.graphql'), 'utf8')).toMatchSnapshot()
    const config = loadConfig(join(report.folder, 'concordat.yaml'), {})
    expect(config.organizations.get('aurora')?.bindings.size).toBe(0)
    const checked = await checkReport(config)
    expect(checked.errors).toBe(0)
    expect(checked.contract.types).toEqual(report.types)
  })

  it('names tables, columns, relations and lists as people would', async () => {
    const { types, bindings } = await introspected(`
      CREATE TABLE people (id bigserial PRIMARY KEY, full_name text NOT NULL, "homeAddress" text);
      CREATE TABLE "OrderLines" (id uuid PRIMARY KEY, "CustomerID" bigint REFERENCES people, sold_by bigint REFERENCES people, parent_id uuid REFERENCES "OrderLines");
      COMMENT ON TABLE people IS 'Everybody "we" know.';
      COMMENT ON COLUMN people.full_name IS E'As on the passport.\\nNot unique.';
    `)
    expect(types).toBe(`type OrderLine @entity {
  key: ID!
  customer: Person
  soldBy: Person
  parent: OrderLine
  orderLinesByParent: [OrderLine!] @inverse(of: "parent")
}

"Everybody \\"we\\" know."
type Person @entity {
  key: ID!
  "As on the passport.\\nNot unique."
  fullName: String
  homeAddress: String
  orderLinesByCustomer: [OrderLine!] @inverse(of: "customer")
  orderLinesBySoldBy: [OrderLine!] @inverse(of: "soldBy")
}`)
    expect(bindings?.get('OrderLine')).toMatchObject({ table: { table: 'OrderLines' } })
    expect(bindings?.get('Person')).toEqual({
      kind: 'table',
      table: null,
      fields: new Map([['key', expect.objectContaining({ columns: ['id'] })]]),
      uniqueKey: false,
    })
  })

  it('keeps natural types, and leaves out what no scalar holds, saying so', async () => {
    const { types, report } = await introspected(`
      CREATE DOMAIN short AS varchar(9);
      CREATE TABLE things (thing_no int PRIMARY KEY, a smallint, b bigint, c numeric(9,2), d real, e bool, f timestamptz, g timestamp, h date, i uuid, j jsonb, k char(3),
        l short, m text[], n int4range, o point, p "char", q numeric(20,0), r money, s tsvector, t interval, u time, v bytea, w inet);
    `)
    expect(types.split('\n').map((line) => line.trim())).toEqual([
      ...[
        'type Thing @entity(key: ["thingNo"]) {',
        'thingNo: Int!',
        'a: Int',
        'b: BigInt',
        'c: Decimal',
        'd: Float',
        'e: Boolean',
        'f: DateTime',
        'g: LocalDateTime',
      ],
      ...['h: Date', 'i: UUID', 'j: JSON', 'k: String', 'l: String', 'm: [String!]', 'q: BigInt'],
      ...['n (int4range)', 'o (point)', 'p ("char")', 'r (money)', 's (tsvector)', 't (interval)', 'u (time without time zone)', 'v (bytea)', 'w (inet)'].map(
        (column) => `# left out: ${column}`,
      ),
      '}',
    ])
    expect(report.notes).toHaveLength(9)
  })

  it('makes enums of enum types, with other names where labels cannot stand in GraphQL', async () => {
    const { types, bindings, catalog } = await introspected(`
      CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TYPE "order state" AS ENUM ('in transit', 'done', 'true', '', 'DONE', 'über', '2nd');
      CREATE TABLE jobs (id int PRIMARY KEY, mood mood, state "order state", moods mood[], states "order state"[]);
    `)
    expect(types).toContain('mood: Mood\n  state: OrderState\n  moods: [Mood!]\n  states: [String!]')
    expect(catalog.enums.get('Mood')?.values).toEqual(['good', 'bad'])
    expect(catalog.enums.get('OrderState')?.values).toEqual(['IN_TRANSIT', 'DONE', 'TRUE', 'EMPTY', 'DONE_2', 'UBER', '_2_ND'])
    expect(bindings?.get('Job')).toMatchObject({
      fields: new Map([
        ['key', expect.objectContaining({ columns: ['id'] })],
        [
          'state',
          expect.objectContaining({
            columns: ['state'],
            values: new Map([
              ['in transit', 'IN_TRANSIT'],
              ['done', 'DONE'],
              ['true', 'TRUE'],
              ['', 'EMPTY'],
              ['DONE', 'DONE_2'],
              ['über', 'UBER'],
              ['2nd', '_2_ND'],
            ]),
          }),
        ],
      ]),
    })
  })

  it('takes composite keys and the relations that they and others make', async () => {
    const { catalog, bindings } = await introspected(`
      CREATE TABLE countries (country text PRIMARY KEY);
      CREATE TABLE sites (tenant int, code text, country text REFERENCES countries, PRIMARY KEY (tenant, code));
      CREATE TABLE visits (id int PRIMARY KEY, tenant int, site_code text, FOREIGN KEY (site_code, tenant) REFERENCES sites (code, tenant));
      CREATE TABLE profiles (id int PRIMARY KEY REFERENCES visits);
      CREATE TABLE tags (country text REFERENCES countries, label text, PRIMARY KEY (country, label));
    `)
    expect(catalog.entities.get('Site')?.key).toEqual(['tenant', 'code'])
    const fields = (type: string) => [...(catalog.entities.get(type)?.fields.values() ?? [])].map(({ name, kind }) => `${name} ${kind}`)
    expect(fields('Site')).toEqual(['tenant value', 'code value', 'country toOne', 'visits toMany'])
    expect(fields('Visit')).toEqual(['key value', 'tenant value', 'siteCode value', 'site toOne', 'profiles toMany'])
    expect(fields('Profile')).toEqual(['key value', 'visit toOne'])
    expect(fields('Tag')).toEqual(['country value', 'label value', 'countryRef toOne'])
    expect(bindings?.get('Visit')).toMatchObject({ table: null, fields: new Map([['key', expect.anything()]]) })
    expect(bindings?.get('Profile')).toMatchObject({ table: null, fields: new Map([['key', expect.anything()]]) })
    expect(bindings?.get('Tag')).toBeUndefined()
  })

  it('says which of two relations to one table each column is', async () => {
    const { bindings } = await introspected(`
      CREATE TABLE airports (id int PRIMARY KEY);
      CREATE TABLE flights (id int PRIMARY KEY, "from" int REFERENCES airports, destination_airport int REFERENCES airports, via_no int REFERENCES airports);
    `)
    const flight = bindings?.get('Flight')
    expect(flight?.kind === 'table' && [...flight.fields].map(([name, field]) => [name, field.kind === 'column' && field.columns])).toEqual([['key', ['id']]])
  })

  it('leaves out tables and views without a key, unless it is told one', async () => {
    const sql = `
      CREATE TABLE logs (line text);
      CREATE TABLE codes (code text NOT NULL UNIQUE);
      CREATE TABLE measures (m float8 PRIMARY KEY);
      CREATE VIEW latest AS SELECT 1 AS n, 'x'::text AS line;
      CREATE TABLE events (id int, at date) PARTITION BY RANGE (at); CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    `
    const first = await introspected(sql)
    expect(first.report.types).toEqual(['Code'])
    expect(first.report.notes).toEqual([
      '`public.events` is left out: it has neither a primary key nor a unique key without NULL.',
      '`public.latest` is left out: a view has no key; name its key columns to have it.',
      '`public.logs` is left out: it has neither a primary key nor a unique key without NULL.',
      '`public.measures` is left out: its key column `m` has a type that cannot be a key, or may not be read.',
    ])
    await rm(join(folder, 'out'), { recursive: true })
    const second = await introspected(
      `${sql} CREATE TABLE batches (lot int NOT NULL); CREATE MATERIALIZED VIEW shelves AS SELECT 1 AS shelf; CREATE UNIQUE INDEX ON shelves (shelf);`,
      {
        keys: new Map([
          ['public.batches', ['lot']],
          ['public.latest', ['n']],
          ['public.logs', ['line']],
          ['public.shelves', ['shelf']],
        ]),
      },
    )
    expect(second.report.types).toEqual(['Batch', 'Code', 'Latest', 'Shelf'])
    // Only where no unique index says so is it written that the key is unique.
    expect([...(second.bindings ?? [])].map(([type, settings]) => [type, settings.kind === 'table' && settings.uniqueKey])).toEqual([
      ['Batch', true],
      ['Latest', true],
    ])
    expect(second.report.notes).toContain('`public.logs` is left out: its key column `line` can hold NULL.')
  })

  it('gives way to the names of GraphQL, of the API and of JavaScript', async () => {
    const { report, catalog, bindings } = await introspected(`
      CREATE TABLE orders (id int PRIMARY KEY, key text, organization text, organization_id int, "and" int, constructor int, "__x" int, "fooBar" int, foo_bar int, invoices text);
      CREATE TABLE organizations (id int PRIMARY KEY);
      CREATE TABLE query (id int PRIMARY KEY, organization_id int REFERENCES organizations);
      CREATE TABLE node (id int PRIMARY KEY, "toString" int, value int);
      CREATE TABLE invoices (id int PRIMARY KEY, order_id int REFERENCES orders);
      CREATE TABLE invoice_groups (id int PRIMARY KEY);
    `)
    expect(report.types).toEqual(['InvoiceGroup', 'InvoiceRecord', 'NodeRecord', 'OrderRecord', 'OrganizationRecord', 'QueryRecord'])
    expect([...(catalog.entities.get('OrderRecord')?.fields.keys() ?? [])]).toEqual([
      ...['key', 'keyValue', 'organizationValue', 'organizationId', 'andValue', 'constructorValue', 'x', 'fooBar', 'fooBarValue', 'invoices', 'invoiceRecords'],
    ])
    expect(catalog.entities.get('OrderRecord')).toMatchObject({ singular: 'order', plural: 'orders' })
    expect([...(catalog.entities.get('QueryRecord')?.fields.keys() ?? [])]).toEqual(['key', 'organizationRef'])
    expect(bindings?.get('OrderRecord')).toMatchObject({ table: { table: 'orders' }, fields: expect.any(Map) })
    expect(report.notes).toContain('`public.orders` is called `OrderRecord`, since the name `Order` is taken.')
    expect(report.notes).toContain('`OrderRecord`: the column `organization` is called `organizationValue`, since `organization` is taken or reserved.')
  })

  it('survives any identifier, also as a value of YAML', async () => {
    const names = [
      'a.b',
      'a"b',
      "it's",
      'select',
      'Ümläut',
      '日本',
      '本',
      'a b',
      '$1',
      '--',
      '1st',
      'null',
      'true',
      '12',
      '~',
      '- x',
      'x: y',
      '#z',
      '*a',
      '&b',
      '!c',
      '{',
      'NO',
      'a\nb',
      '😀',
      '__proto__',
    ]
    const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`
    const { config, report } = await introspected(
      `CREATE SCHEMA "s.""x"; CREATE TABLE "s.""x"."t.'y: #" (id int PRIMARY KEY, ${names.map((name) => `${quoted(name)} int`).join(', ')});
       ${names.map((name) => `CREATE TABLE "s.""x".${quoted(name)} (${quoted(name)} int PRIMARY KEY, COMMENT_ text);`).join('\n')}`,
      { schemas: ['s."x'] },
    )
    expect(report.types).toHaveLength(names.length + 1)
    const checked = await checkReport(config)
    expect(checked.errors).toBe(0)
    const bindings = config.organizations.get('aurora')?.bindings
    const bound = [...(bindings?.values() ?? [])].find((each) => each.kind === 'table' && each.table?.table === "t.'y: #")
    const columns = bound?.kind === 'table' ? [...bound.fields.values()].map((field) => (field.kind === 'column' ? field.columns[0] : null)) : []
    expect(names.filter((name) => !columns.includes(name))).toEqual(['select', 'null', 'true'])
  })

  it('keeps secrets in files that only their owner can read, and out of the configuration', async () => {
    const database = await server.createDatabase()
    await withClient(database.url(), (client) => client.query("CREATE TABLE t (id int PRIMARY KEY); ALTER ROLE postgres PASSWORD 'hunter2'"))
    const url = new URL(database.url())
    url.password = 'hunter2'
    const report = await introspect(url.href, { organization: 'aurora', out: join(folder, 'out'), jurisdiction: 'NO' })
    for (const file of report.files) {
      const text = await readFile(join(report.folder, file), 'utf8')
      const isSecret = file.startsWith('secrets/')
      expect(((await stat(join(report.folder, file))).mode & 0o077) === 0).toBe(isSecret)
      expect({ file, hasPassword: text.includes('hunter2'), hasPrivateKey: /PRIVATE|"d":/.test(text) }).toEqual({
        file,
        hasPassword: file === 'secrets/aurora-url' || file === 'secrets/gateway-url',
        hasPrivateKey: file === 'secrets/aurora-issuer.private.jwk' || file === 'secrets/aurora-ledger.pem',
      })
    }
    expect(loadConfig(join(report.folder, 'concordat.yaml'), {}).organizations.get('aurora')?.jurisdiction).toBe('NO')
  })

  it.each<[string, string, Partial<IntrospectOptions>]>([
    ['a URL of another kind', 'mysql://localhost/x', {}],
    ['no URL', 'x', {}],
    ['a server that is not there', 'postgres://127.0.0.1:1/x', {}],
    ['an id that is none', '', { organization: 'Aurora Robotics' }],
    ['an id that leads elsewhere', '', { organization: '../aurora' }],
    ['a place that is none', '', { jurisdiction: 'Norway' }],
    ['no schemas', '', { schemas: [] }],
    ['a schema that is not there', '', { schemas: ['nope'] }],
  ])('refuses %s, and leaves nothing behind', async (_, url, options) => {
    const given = url === '' ? await databaseOf('CREATE TABLE t (id int PRIMARY KEY)') : url
    await expect(introspect(given, { organization: 'aurora', out: join(folder, 'out'), ...options })).rejects.toBeInstanceOf(IntrospectError)
    expect(await readdir(folder)).toEqual([])
  })

  it('does not touch a folder that holds something', async () => {
    const url = await databaseOf('CREATE TABLE t (id int PRIMARY KEY)')
    await mkdir(join(folder, 'out'))
    await introspect(url, { organization: 'aurora', out: join(folder, 'out') })
    await rm(join(folder, 'out'), { recursive: true })
    await mkdir(join(folder, 'out'))
    await writeFile(join(folder, 'out/mine'), 'x')
    await expect(introspect(url, { organization: 'aurora', out: join(folder, 'out') })).rejects.toThrow('not empty')
    await expect(introspect(url, { organization: 'aurora', out: join(folder, 'out/mine') })).rejects.toBeInstanceOf(IntrospectError)
    expect(await readdir(join(folder, 'out'))).toEqual(['mine'])
  })
})
