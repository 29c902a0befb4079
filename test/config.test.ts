import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { DEFAULT_LIMITS, documentedKeys, loadConfig, parseConfig, tableName, type Config } from '../src/config.js'
import { SettingsError, type DocumentedKey, type Mistake } from '../src/settings.js'

const EXAMPLE = readFileSync('concordat.example.yaml', 'utf8')
const ENVIRONMENT = {
  GATEWAY_DATABASE_URL: 'postgres://gateway:s3cret-of-the-gateway@127.0.0.1:5432/gateway',
  GATEWAY_CURSOR_KEY: Buffer.alloc(32, 7).toString('base64url'),
  AURORA_URL: 'postgres://aurora:s3cret-of-aurora@127.0.0.1:5432/aurora',
  RATINGS_AUTHORIZATION: 'Bearer s3cret-of-ratings',
  EMBEDDINGS_AUTHORIZATION: 'Bearer s3cret-of-embeddings',
  BOREALIS_URL: 'postgres://borealis@127.0.0.1:5432/borealis',
}

const LEDGER_KEY = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'concordat-config-'))
  for (const each of ['schema', 'policies', 'keys', 'services']) mkdirSync(join(folder, each))
  for (const each of ['aurora.public.jwk', 'borealis.public.jwk', 'borealis.jwks.json']) writeFileSync(join(folder, 'keys', each), '{}')
  writeFileSync(join(folder, 'services', 'ratings.graphql'), 'type Query { a: Int }')
  for (const each of ['aurora-ledger.pem', 'borealis-ledger.pem']) writeFileSync(join(folder, 'keys', each), LEDGER_KEY)
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

function parsed(text: string, environment: Record<string, string> = ENVIRONMENT): Config {
  return parseConfig(text, { file: join(folder, 'concordat.yaml'), environment })
}

function mistakes(text: string, environment: Record<string, string> = ENVIRONMENT): readonly Mistake[] {
  try {
    parsed(text, environment)
  } catch (error) {
    if (error instanceof SettingsError) return error.mistakes
    throw error
  }
  return []
}

function paths(text: string): string[] {
  return mistakes(text).map((mistake) => mistake.path)
}

/** The example with one line replaced. */
function changed(from: string, to: string): string {
  if (!EXAMPLE.includes(from)) throw new Error(`the example has no "${from}"`)
  return EXAMPLE.replace(from, () => to)
}

const SMALL = `
contract: ./schema
policies: ./policies
gateway: { jurisdiction: NO, audience: https://gateway.example/graphql, database: postgres://gateway@127.0.0.1/gateway }
organizations:
  aurora: { name: Aurora, jurisdiction: NO, ledgerKey: { file: ./keys/aurora-ledger.pem }, stores: { main: { kind: postgres, url: postgres://aurora@127.0.0.1/aurora } } }
`

describe('a configuration', () => {
  it('reads the example, whose values are the defaults', () => {
    const config = parsed(EXAMPLE)
    const small = parsed(SMALL)
    expect(config.gateway.limits).toEqual(DEFAULT_LIMITS)
    expect(small.gateway.limits).toEqual(DEFAULT_LIMITS)
    const { url, jurisdiction, database, cursorKey, ...rest } = config.gateway
    expect(small.gateway).toMatchObject(rest)
    expect([url, jurisdiction, database.reveal(), cursorKey?.reveal()]).toEqual([
      'https://gateway.example',
      'DE',
      ENVIRONMENT.GATEWAY_DATABASE_URL,
      ENVIRONMENT.GATEWAY_CURSOR_KEY,
    ])
    expect(config.organizations.get('aurora')?.stores.get('main')).toMatchObject({
      jurisdiction: 'DE',
      schema: 'public',
      prepared: true,
      pool: { max: 10, queue: 500, connectMs: 2000, idleMs: 60_000 },
    })
    expect(small.organizations.get('aurora')?.stores.get('main')).toMatchObject({
      jurisdiction: 'NO',
      schema: 'public',
      prepared: true,
      pool: { max: 10, queue: 500, connectMs: 2000, idleMs: 60_000 },
    })
  })

  it('reads bindings with renames, casts, constants and declared absence', () => {
    const bindings = parsed(EXAMPLE).organizations.get('borealis')?.bindings
    expect(bindings?.get('WorkflowExecution')).toEqual({ kind: 'none' })
    expect(bindings?.get('Agent')).toEqual({
      kind: 'table',
      table: { store: 'main', schema: 'ops', table: 'bots' },
      fields: new Map<string, unknown>([
        ['key', { kind: 'column', columns: ['bot_id'], values: null, multiply: null }],
        ['name', { kind: 'column', columns: ['display_name'], values: null, multiply: null }],
        [
          'status',
          {
            kind: 'column',
            columns: ['state'],
            values: new Map([
              ['1', 'ACTIVE'],
              ['2', 'PAUSED'],
              ['9', 'ARCHIVED'],
            ]),
            multiply: null,
          },
        ],
        ['monthlyBudget', { kind: 'column', columns: ['budget_cents'], values: null, multiply: '0.01' }],
        ['owner', { kind: 'column', columns: ['person_id'], values: null, multiply: null }],
        [
          'embedding',
          {
            kind: 'column',
            columns: ['embedding'],
            values: null,
            multiply: null,
            part: { table: { store: 'main', schema: 'ops', table: 'bot_vectors' }, key: ['bot_id'] },
          },
        ],
        ['description', { kind: 'constant', value: null }],
      ]),
      uniqueKey: false,
    })
    expect(bindings?.get('PlatformConfiguration')).toMatchObject({ uniqueKey: true })
  })

  it('reads services with their joins', () => {
    const services = parsed(EXAMPLE).organizations.get('borealis')?.services
    expect(services?.get('ratings')).toMatchObject({
      url: 'https://ratings.borealis.example/graphql',
      schemaFile: join(folder, 'services/ratings.graphql'),
      jurisdiction: 'CA',
      joins: new Map([['Agent', { field: 'ratedAgents', argument: 'ids' }]]),
      deadlineMs: 1_000,
      answerBytes: 4 * 1024 ** 2,
    })
    expect(services?.get('ratings')?.authorization?.reveal()).toBe('Bearer s3cret-of-ratings')
    expect(parsed(EXAMPLE).organizations.get('aurora')?.services.size).toBe(0)
  })

  it('takes an issuer’s keys from its well-known address unless the file says otherwise', () => {
    const config = parsed(EXAMPLE.replace(/^ {8}keys: \{ url.*$/m, ''))
    expect(config.organizations.get('aurora')?.issuers[0]?.keys).toEqual({ kind: 'url', url: 'https://id.aurora.example/.well-known/jwks.json' })
    expect(config.organizations.get('borealis')?.issuers[0]?.keys).toEqual({ kind: 'file', file: join(folder, 'keys/borealis.jwks.json') })
  })

  it('reads NO as Norway and a secret file without its final line break', () => {
    const config = parsed(SMALL)
    expect(config.gateway.jurisdiction).toBe('NO')
    expect(config.organizations.get('aurora')?.ledgerKey.reveal()).toBe(LEDGER_KEY.trimEnd())
  })

  it('shows no secret when it is logged, inspected or turned into JSON', () => {
    const config = parsed(EXAMPLE)
    const shown =
      inspect(config, { depth: 20, showHidden: true }) +
      JSON.stringify({ ...config, organizations: [...config.organizations.values()].map((each) => ({ ...each, stores: [...each.stores.values()] })) }) +
      String(config.gateway.database)
    expect(shown).toContain('[secret]')
    expect(shown).not.toContain('s3cret')
    expect(shown).not.toContain('PRIVATE KEY')
  })

  it.each<[string, string, string, string]>([
    ['an unknown key', '    deadline: 2s', '    deadlin: 2s', 'gateway.limits.deadlin'],
    ['a duration without unit', 'deadline: 2s', 'deadline: 2', 'gateway.limits.deadline'],
    ['a duration beyond its range', 'deadline: 2s', 'deadline: 6m', 'gateway.limits.deadline'],
    ['a size with a unit of ten', 'body: 256KiB', 'body: 256kB', 'gateway.limits.body'],
    ['a count that is not whole', 'cost: 50000', 'cost: 1.5', 'gateway.limits.cost'],
    ['a flag in words', 'introspection: true', 'introspection: yes', 'gateway.introspection'],
    ['an unknown level', 'level: info', 'level: chatty', 'gateway.log.level'],
    ['a port that does not exist', '127.0.0.1:4000', '127.0.0.1:70000', 'gateway.listen'],
    ['a country in lower case', 'jurisdiction: DE # required: where', 'jurisdiction: de # required: where', 'gateway.jurisdiction'],
    ['a folder that is not there', 'contract: ./schema', 'contract: ./schemas', 'contract'],
    ['an unset environment variable', '{ env: AURORA_URL }', '{ env: NOT_SET }', 'organizations.aurora.stores.main.url'],
    ['a secret file that is not there', './keys/aurora-ledger.pem', './keys/none.pem', 'organizations.aurora.ledgerKey.file'],
    ['a secret with two sources', '{ env: AURORA_URL }', '{ env: AURORA_URL, file: ./keys/aurora-ledger.pem }', 'organizations.aurora.stores.main.url'],
    ['a URL with a password in the file', '{ env: AURORA_URL }', 'postgres://aurora:hunter2@127.0.0.1/aurora', 'organizations.aurora.stores.main.url'],
    ['a password in the query of a URL', '{ env: AURORA_URL }', 'postgres://aurora@127.0.0.1/aurora?password=hunter2', 'organizations.aurora.stores.main.url'],
    ['a private key in the file', '{ file: ./keys/aurora-ledger.pem }', 'hunter2', 'organizations.aurora.ledgerKey'],
    ['a ledger key of another kind', '{ file: ./keys/aurora-ledger.pem }', '{ file: ./keys/aurora.public.jwk }', 'organizations.aurora.ledgerKey'],
    ['a service without joins', 'Agent: { field: ratedAgents, argument: ids }', '{}', 'organizations.borealis.services.ratings.joins'],
    [
      'a header with a line break',
      '{ env: RATINGS_AUTHORIZATION }',
      '{ file: ./keys/aurora-ledger.pem }',
      'organizations.borealis.services.ratings.authorization',
    ],
    ['a cursor key that is too short', '{ env: GATEWAY_CURSOR_KEY }', '{ file: ./keys/aurora.public.jwk }', 'gateway.cursorKey'],
    ['a kind of store that does not exist', 'kind: postgres # required', 'kind: oracle # required', 'organizations.aurora.stores.main.kind'],
    ['an algorithm without asymmetric keys', 'algorithms: [EdDSA]', 'algorithms: [HS256]', 'organizations.borealis.issuers[0].algorithms[0]'],
    ['no algorithm at all', 'algorithms: [EdDSA]', 'algorithms: []', 'organizations.borealis.issuers[0].algorithms'],
    ['an issuer without TLS', 'url: https://login.borealis.example', 'url: http://login.borealis.example', 'organizations.borealis.issuers[0].url'],
    ['one issuer for two organizations', 'url: https://login.borealis.example', 'url: https://id.aurora.example', 'organizations.borealis.issuers[0].url'],
    [
      'keys from two sources',
      'keys: { file: ./keys/borealis.jwks.json }',
      'keys: { file: ./keys/borealis.jwks.json, url: https://x.example/k }',
      'organizations.borealis.issuers[0]',
    ],
    ['an organization id with capitals', '  aurora:', '  Aurora:', 'organizations.Aurora'],
    ['an organization id of the prototype', '  aurora:', '  __proto__:', 'organizations.__proto__'],
    ['a binding to a store that is not there', 'main.ops.bots', 'other.ops.bots', 'organizations.borealis.bindings.Agent.table'],
    ['a table name with an empty part', 'main.ops.bots', 'main..bots', 'organizations.borealis.bindings.Agent.table'],
    ['a field with two sources', '{ constant: null }', '{ constant: null, column: x }', 'organizations.borealis.bindings.Agent.fields.description'],
    [
      'a field in another table without a key',
      'bot_vectors, key: [bot_id], column',
      'bot_vectors, column',
      'organizations.borealis.bindings.Agent.fields.embedding',
    ],
    ['a key of another table without the table', 'table: main.ops.bot_vectors, key', 'key', 'organizations.borealis.bindings.Agent.fields.embedding'],
    ['a factor of zero', "multiply: '0.01'", "multiply: '0.00'", 'organizations.borealis.bindings.Agent.fields.monthlyBudget.multiply'],
    ['a type that is neither bound nor none', 'WorkflowExecution: none', 'WorkflowExecution: nothing', 'organizations.borealis.bindings.WorkflowExecution'],
  ])('refuses %s with its path and what to write instead', (_, from, to, path) => {
    const found = mistakes(changed(from, to))
    expect(found.map((mistake) => mistake.path)).toContain(path)
    expect(found.every((mistake) => mistake.instead !== '')).toBe(true)
    expect(JSON.stringify(found)).not.toContain('hunter2')
  })

  it.each([
    ['its key', 'https://:key-of-aurora_1@api.pinecone.io', true],
    ['its key, on this machine', 'http://:key-of-aurora_1@127.0.0.1:5080', true],
    ['no key', 'https://api.pinecone.io', false],
    ['its key in the clear, elsewhere', 'http://:key-of-aurora_1@api.pinecone.io', false],
    ['its key in the clear, beyond what looks like this machine', 'http://:key-of-aurora_1@127.0.0.1.example.org', false],
    ['a path', 'https://:key-of-aurora_1@api.pinecone.io/indexes', false],
  ])('judges the address of Pinecone with %s', (_name, url, isTaken) => {
    const text = changed('kind: postgres # required', 'kind: pinecone # required')
    expect(mistakes(text, { ...ENVIRONMENT, AURORA_URL: url }).map(({ path }) => path)).toEqual(
      isTaken ? [] : [expect.stringMatching(/^organizations\.aurora\.stores\.main/)],
    )
  })

  it('points at the line, and guesses what a misspelt key was meant to be', () => {
    const text = changed('    deadline: 2s', '    deadlin: 2s')
    const line = text.split('\n').findIndex((each) => each.includes('deadlin:')) + 1
    expect(mistakes(text)).toEqual([{ path: 'gateway.limits.deadlin', line, column: 5, problem: 'unknown key', instead: 'write `deadline`, or leave it out' }])
  })

  it('finds all mistakes at once', () => {
    const text = changed('deadline: 2s', 'deadline: 2')
      .replace('body: 256KiB', 'body: 0KiB')
      .replace('kind: postgres,', 'kind: mysql,')
      .replace('name: Aurora Robotics', 'nam: Aurora Robotics')
    expect(paths(text).sort()).toEqual([
      'gateway.limits.body',
      'gateway.limits.deadline',
      'organizations.aurora.nam',
      'organizations.aurora.name',
      'organizations.borealis.stores.main.kind',
    ])
  })

  it('refuses what YAML would hide: duplicate keys, anchors, aliases, merges, tags, several documents', () => {
    const found = (text: string) => mistakes(text).map((mistake) => mistake.problem)
    expect(found(`${SMALL}\ncontract: ./schema\n`)).toEqual(['a key stands twice in one mapping'])
    expect(found(changed('contract: ./schema', 'contract: &here ./schema'))).toEqual(['anchor &here is not allowed'])
    expect(found(changed('contract: ./schema', 'contract: &here ./schema').replace('policies: ./policies', 'policies: *here'))).toContain(
      'alias *here is not allowed',
    )
    expect(found(`${SMALL}\n<<: { x: 1 }\n`)).toEqual(['unknown key'])
    expect(found(changed('contract: ./schema', 'contract: !binary ./schema')).length).toBeGreaterThan(0)
    expect(found(`${SMALL}\n---\n${SMALL}`)).toEqual(['not readable as YAML 1.2 (multiple docs)'])
    expect(found('')).toEqual(['found nothing'])
    expect(found('- a\n- b\n')).toEqual(['found a list'])
    expect(found('contract: [')).not.toEqual([])
  })

  it('names a file that cannot be read', () => {
    expect(() => loadConfig(join(folder, 'missing.yaml'), {})).toThrow(SettingsError)
  })

  it('never fails in another way than by its mistakes, whatever stands in the file', () => {
    const lines = EXAMPLE.split('\n')
    fc.assert(
      fc.property(
        fc.nat(lines.length - 1),
        fc.oneof(fc.string(), fc.constantFrom('- x', 'a: b', '  ? {a: b}', '{', '__proto__: {}', 'x: !!set {a}', '? [1, 2]\n: 3')),
        (at, text) => {
          const source = [...lines.slice(0, at), text, ...lines.slice(at + 1)].join('\n')
          try {
            parsed(source)
          } catch (error) {
            expect(error).toBeInstanceOf(SettingsError)
          }
        },
      ),
      { numRuns: 150 },
    )
  })
})

describe('a table name', () => {
  it('has one to three parts, quoted where a part holds a dot', () => {
    expect(tableName('bots')).toEqual({ store: null, schema: null, table: 'bots' })
    expect(tableName('ops.bots')).toEqual({ store: null, schema: 'ops', table: 'bots' })
    expect(tableName('main.ops.bots')).toEqual({ store: 'main', schema: 'ops', table: 'bots' })
    expect(tableName('"a.b"."say ""x"""')).toEqual({ store: null, schema: 'a.b', table: 'say "x"' })
    for (const bad of ['', '.', 'a.', '.a', 'a..b', 'a.b.c.d', '"a', 'a"b', '"a"b']) expect([bad, tableName(bad)]).toEqual([bad, null])
  })
})

describe('the documentation', () => {
  const row = ({ path, expects, fallback, about }: DocumentedKey) =>
    `| \`${path}\` | ${expects} | ${/^[\w:.[\]]+$/.test(fallback) && !['required', 'none'].includes(fallback) ? `\`${fallback}\`` : fallback} | ${about} |`

  it('lists every key with what to write, its default and its meaning', () => {
    const table = [
      '| key | what to write | default | meaning |',
      '| --- | --- | --- | --- |',
      ...documentedKeys().map((key) => row(key).replaceAll('|', '|')),
    ].join('\n')
    const docs = readFileSync('docs/configuration.md', 'utf8')
    const [, found] = /<!-- keys -->\n\n([\s\S]*?)\n\n<!-- end of keys -->/.exec(docs) ?? []
    if (process.env.UPDATE_DOCS === '1')
      writeFileSync(
        'docs/configuration.md',
        docs.replace(/<!-- keys -->[\s\S]*<!-- end of keys -->/, () => `<!-- keys -->\n\n${table}\n\n<!-- end of keys -->`),
      )
    else expect(found).toBe(table)
  })

  it('has every key in the example', () => {
    const missing = documentedKeys()
      .map(({ path }) => path.split('.').at(-1) ?? '')
      .filter((name) => !new RegExp(`(^|[\\s{])${name}:`, 'm').test(EXAMPLE))
    expect(missing).toEqual([])
  })
})
