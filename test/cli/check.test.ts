import { generateKeyPairSync } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { check, checkReport } from '../../src/cli/check.js'
import { parseConfig, type Config } from '../../src/config.js'
import type { TestDatabase, TestPostgres } from '../support/postgres.js'
import { startTestPostgres, withClient } from '../support/postgres.js'

const LEDGER_KEY = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const CONTRACT = `
type Agent @entity { key: ID! name: String! owner: User }
type User @entity { key: ID! agents: [Agent!] @inverse(of: "owner") }
`
const TABLES = `
CREATE TABLE users (key int PRIMARY KEY);
CREATE TABLE agents (key int PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE, owner_key int REFERENCES users);
CREATE INDEX agents_owner ON agents (owner_key);
ALTER TABLE users ENABLE ROW LEVEL SECURITY; ALTER TABLE agents ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON users, agents TO gateway;
`

let server: TestPostgres
let folder: string
let good: TestDatabase
beforeAll(async () => {
  server = await startTestPostgres()
  folder = await mkdtemp(join(tmpdir(), 'concordat-check-'))
  await mkdir(join(folder, 'schema'))
  await mkdir(join(folder, 'policies'))
  await writeFile(join(folder, 'schema/contract.graphql'), CONTRACT)
  await withClient(server.url('postgres'), (client) => client.query('CREATE ROLE gateway LOGIN'))
  good = await databaseOf(TABLES)
})
afterAll(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

async function databaseOf(sql: string): Promise<TestDatabase> {
  const database = await server.createDatabase()
  await withClient(database.url(), (client) => client.query(sql))
  return database
}

/** A configuration with an organization for each URL. */
function configOf(urls: Readonly<Record<string, string>>, contract = './schema'): Config {
  const organizations = Object.keys(urls).map(
    (id) =>
      `  ${id}: { name: ${id}, jurisdiction: DE, ledgerKey: { env: KEY }, stores: { main: { kind: postgres, url: { env: URL_${id} }, pool: { connect: 1s } } } }`,
  )
  const text = `contract: ${contract}\npolicies: ./policies\ngateway: { jurisdiction: DE, audience: x, database: { env: GATEWAY } }\norganizations:\n${organizations.join('\n')}\n`
  const environment = { KEY: LEDGER_KEY, GATEWAY: good.url(), ...Object.fromEntries(Object.entries(urls).map(([id, url]) => [`URL_${id}`, url])) }
  return parseConfig(text, { file: join(folder, 'concordat.yaml'), environment })
}

async function checked(config: Config, json: boolean): Promise<{ readonly code: number; readonly output: string }> {
  let output = ''
  const code = await check(config, { json, write: (text) => (output += text) })
  return { code, output }
}

describe('check', () => {
  it('is content, and ends with 0, where everything fits', async () => {
    expect(await checked(configOf({ aurora: good.url('gateway') }), false)).toEqual({ code: 0, output: 'aurora: fits\n' })
    const { output } = await checked(configOf({ aurora: good.url('gateway') }), true)
    expect(JSON.parse(output)).toEqual({
      ok: true,
      errors: 0,
      warnings: 0,
      contract: { mistakes: [], types: ['Agent', 'User'] },
      organizations: [{ organization: 'aurora', findings: [] }],
    })
  })

  it('says for each organization what does not fit, with a way to mend it, and ends with 1', async () => {
    const broken = await databaseOf(`${TABLES} ALTER TABLE agents ALTER name DROP NOT NULL`)
    const slow = await databaseOf(`${TABLES} DROP INDEX agents_owner`)
    const empty = await databaseOf('SELECT 1')
    const config = configOf({ aurora: good.url('gateway'), borealis: broken.url('gateway'), cascade: empty.url('gateway'), delta: slow.url('gateway') })
    const report = await checkReport(config)
    expect(report).toMatchObject({ ok: false, errors: 4 })
    expect(report.organizations.map(({ organization, findings }) => [organization, findings.map(({ rule, type, field }) => [rule, type, field])])).toEqual([
      ['aurora', []],
      ['borealis', [['nullability', 'Agent', 'name']]],
      [
        'cascade',
        [
          ['table', 'Agent', null],
          ['table', 'User', null],
        ],
      ],
      ['delta', [['index', 'Agent', 'owner']]],
    ])
    const { code, output } = await checked(config, false)
    expect(code).toBe(1)
    expect(output).toContain('ALTER TABLE "public"."agents" ALTER COLUMN "name" SET NOT NULL')
  })

  it('ends with 0 on warnings alone', async () => {
    const slow = await databaseOf(`${TABLES} ALTER TABLE agents DROP CONSTRAINT agents_name_key`)
    const { code, output } = await checked(configOf({ aurora: slow.url('gateway') }), false)
    expect(code).toBe(0)
    expect(output).toContain('aurora: fits, 1 warning')
    expect(output).toContain('COLLATE "C"')
  })

  it('goes on where a store cannot be reached, without a password in what it says', async () => {
    const down = 'postgres://gateway:hunter2@127.0.0.1:1/x'
    const { code, output } = await checked(configOf({ aurora: down, borealis: good.url('nobody-at-all'), cascade: good.url('gateway') }), false)
    expect(code).toBe(1)
    expect(output).toMatch(/^aurora: 1 error\n {2}error {2}\(main\): the store could not be read: .*ECONNREFUSED/)
    expect(output).toContain('borealis: 1 error')
    expect(output).toContain('cascade: fits\n')
    expect(output).not.toContain('hunter2')
  })

  it('gives up on a server that accepts and says nothing', async () => {
    const silent = createServer((socket) => socket.resume())
    await new Promise<void>((ready) => silent.listen(0, '127.0.0.1', () => ready()))
    const address = silent.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const started = performance.now()
    const { code } = await checked(configOf({ aurora: `postgres://127.0.0.1:${port}/x` }), false)
    expect(code).toBe(1)
    expect(performance.now() - started).toBeLessThan(10_000)
    await new Promise((closed) => silent.close(closed))
  })

  it('lists the mistakes of a contract', async () => {
    await mkdir(join(folder, 'bad'))
    await writeFile(join(folder, 'bad/a.graphql'), 'type A @entity {\n  key: ID\n  id: ID\n}')
    const { code, output } = await checked(configOf({ aurora: good.url('gateway') }, './bad'), false)
    expect(code).toBe(1)
    expect(output).toContain('contract: a.graphql:3:3: ')
    const report = await checkReport(configOf({ aurora: good.url('gateway') }, './bad'))
    expect(report.contract.mistakes).toHaveLength(2)
    expect(report.organizations).toEqual([])
  })
})
