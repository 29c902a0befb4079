import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { type EmbeddingServer, sendVector, startEmbeddingService } from '../support/embedding-service.js'
import { agreementOf, startTestGateway, type TestAnswer, type TestGateway } from '../support/gateway.js'

const CONTRACT = `
type Item @entity {
  key: ID!  name: String!
  embedding: Vector @vector(model: "words", dimensions: 3)
  other: Vector @vector(model: "nobody-serves-this", dimensions: 2)
}
`
const tableOf = (rows: string): string =>
  `CREATE TABLE items (key int PRIMARY KEY, name text NOT NULL, embedding real[], other real[]); INSERT INTO items (key, name, embedding) VALUES ${rows};`
const AURORA = tableOf(`(1, 'cat', '{1,0,0}'), (2, 'dog', '{0,1,0}'), (3, 'cow', '{0,0,1}')`)
const BOREALIS = tableOf(`(1, 'kitten', '{2,0.1,0}'), (2, 'wolf', '{0,2,0.5}')`)
const WORDS: Readonly<Record<string, readonly number[]>> = { 'a cat': [1, 0, 0], 'ein Hund 🐕 "': [0, 1, 0] }

const ana = { organization: 'aurora', roles: ['reader'] }
const ben = { organization: 'borealis', roles: ['reader'] }

let folder: string
let service: EmbeddingServer
let gateway: TestGateway
beforeAll(async () => {
  service = await startEmbeddingService((text) => WORDS[text] ?? [0, 0, 1])
  folder = mkdtempSync(join(tmpdir(), 'concordat-embeddings-'))
  const file = join(folder, 'authorization')
  writeFileSync(file, 'Bearer of-the-gateway', { mode: 0o600 })
  const roles = { reader: { read: { Item: { fields: 'all' } }, crossOrganization: ['testing'] } }
  const embeddings = {
    words: { url: service.url, model: 'words-v2', jurisdiction: 'FR', deadline: '300ms', authorization: { file } },
  }
  gateway = await startTestGateway({
    world: {
      contract: CONTRACT,
      organizations: { aurora: { sql: AURORA, roles, embeddings }, borealis: { sql: BOREALIS, roles } },
      agreements: [agreementOf('borealis', 'aurora', { Item: { allow: ['key', 'name', 'embedding'] } })],
    },
  })
}, 120_000)
afterEach(() => service.misbehave(null))
afterAll(async () => {
  await gateway?.stop()
  await service?.stop()
  rmSync(folder, { recursive: true, force: true })
}, 60_000)

const DOCUMENT =
  'query($text: String!, $organizations: [ID!]) { near: itemsNearest(to: { text: $text }, k: 2, organizations: $organizations) { edges { node { organization name } } } }'
const search = (text: string, principal = ana): Promise<TestAnswer> => gateway.ask(principal, DOCUMENT, { text })
const namesOf = ({ json }: TestAnswer): unknown => json.data?.near?.edges.map(({ node }: { node: { name: string } }) => node.name)

interface Entry {
  readonly principal: { readonly subject: string; readonly organization: string }
  readonly purpose: string | null
  readonly sections: readonly {
    readonly organization?: string
    readonly contribution: string | null
    readonly jurisdictions: { readonly grantee: string | null }
  }[]
}

async function entriesOf(ledger: string): Promise<readonly { readonly leaf: string; readonly entry: Entry }[]> {
  const client = await gateway.ledgerClient()
  const { rows } = await client.query<{ leaf: string }>('SELECT leaf FROM concordat.ledger_entries WHERE ledger = $1 ORDER BY "index"', [ledger])
  return rows.map(({ leaf }) => ({ leaf, entry: JSON.parse(leaf) as Entry }))
}

describe('a search for a text', () => {
  it("asks the caller's own service for a vector, and searches all owners with it", async () => {
    expect(namesOf(await search('a cat'))).toEqual(['cat', 'kitten'])
    expect(namesOf(await search('ein Hund 🐕 "'))).toEqual(['dog', 'wolf'])
    expect(service.exchanges.at(-1)?.body).toEqual({ model: 'words-v2', input: 'ein Hund 🐕 "', encoding_format: 'float' })
    expect(service.exchanges.at(-1)?.headers.authorization).toBe('Bearer of-the-gateway')
  })

  it('takes texts of the document, and several in one operation', async () => {
    const document =
      '{ a: itemsNearest(to: { text: "a cat" }, k: 1) { edges { node { name } } } b: itemsNearest(to: { text: "moo" }, k: 1) { edges { node { name } } } }'
    expect((await gateway.ask(ana, document)).json.data).toEqual({ a: { edges: [{ node: { name: 'cat' } }] }, b: { edges: [{ node: { name: 'cow' } }] } })
  })

  it("has an entry in the caller's ledger before it leaves, which pins the text and does not hold it, and none in an owner's that never sees it", async () => {
    const [own, partner] = [await entriesOf('aurora'), await entriesOf('borealis')]
    let recorded = -1
    service.misbehave((response) => {
      void entriesOf('aurora').then((entries) => {
        recorded = entries.length
        sendVector(response, [1, 0, 0])
      })
    })
    expect(namesOf(await search('a very secret text'))).toEqual(['cat', 'kitten'])
    expect(recorded).toBe(own.length + 1)
    const [sent, answered] = (await entriesOf('aurora')).slice(own.length)
    expect(sent?.entry).toMatchObject({
      principal: { subject: 'service:aurora/words', organization: 'aurora' },
      purpose: 'testing',
      sections: [{ contribution: expect.any(String), jurisdictions: { grantee: 'FR' } }],
    })
    expect(`${sent?.leaf}${answered?.leaf}`).not.toContain('secret text')
    expect(await entriesOf('borealis')).toHaveLength(partner.length + 1)
  })

  it('is refused where there is no service for the model, and where the text is empty; nothing leaves', async () => {
    const before = service.exchanges.length
    const refused = [
      await search('a cat', ben),
      await search(''),
      await gateway.ask(ana, '{ itemsNearest(to: { text: "a cat" }, field: OTHER, k: 1, organizations: ["aurora"]) { edges { score } } }'),
    ]
    for (const { status, json } of refused)
      expect([status, json.data, json.errors?.[0]?.extensions.code, json.errors?.[0]?.extensions.argument]).toEqual([
        400,
        undefined,
        'BAD_USER_INPUT',
        expect.stringMatching(/to\.text$/),
      ])
    expect((await gateway.ask(ana, DOCUMENT, { text: 'a cat', organizations: ['nobody'] })).json.errors?.[0]?.extensions.code).toBe('NO_AGREEMENT')
    expect(service.exchanges).toHaveLength(before)
  })

  const bodies: readonly (readonly [string, (response: Parameters<typeof sendVector>[0]) => void])[] = [
    ['a status', (response) => response.writeHead(500, { 'content-type': 'application/json' }).end('{}')],
    ['a redirect', (response) => response.writeHead(302, { location: '/elsewhere' }).end()],
    ['no JSON', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('[')],
    ['another media type', (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>')],
    ['null', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('null')],
    ['no vectors', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"data":[]}')],
    ['another dimension', (response) => sendVector(response, [1, 0])],
    ['numbers that single precision does not hold', (response) => sendVector(response, [1e300, 0, 0])],
    ['texts for numbers', (response) => sendVector(response, ['1', '0', '0'])],
    ['a broken connection', (response) => response.destroy()],
  ]
  it.each(bodies)('is null with a code where the service answers with %s, and the rest stands', async (_name, how) => {
    service.misbehave(how)
    const document = '{ near: itemsNearest(to: { text: "a cat" }, k: 1) { edges { score } } items(organizations: ["aurora"], first: 1) { nodes { name } } }'
    const { status, json } = await gateway.ask(ana, document)
    expect([status, json.data]).toEqual([200, { near: null, items: { nodes: [{ name: 'cat' }] } }])
    expect(json.errors?.map(({ path, extensions }) => [path, extensions.code, extensions.organization])).toContainEqual([
      ['near'],
      'SOURCE_UNAVAILABLE',
      'aurora',
    ])
  })

  it('is refused as a whole where the operation asks for all or nothing; else its owners are served', async () => {
    service.misbehave((response) => response.destroy())
    const document = '{ near: itemsNearest(to: { text: "a cat" }, k: 1) { edges { score } } items(organizations: ["aurora"], first: 1) { nodes { name } } }'
    const whole = await gateway.ask(ana, document.replace('{', 'query @sovereignty(onUnavailable: FAIL) {'))
    expect([whole.status, whole.json.data, whole.json.errors?.[0]?.extensions.code]).toEqual([503, undefined, 'SOURCE_UNAVAILABLE'])
    const { sovereignty } = (await gateway.ask(ana, document)).json.extensions
    expect([sovereignty.failed, sovereignty.served.map(({ organization }) => organization)]).toEqual([[], ['aurora', 'borealis']])
  })

  it('ends when the service is slow', async () => {
    service.misbehave(() => undefined)
    const startedMs = performance.now()
    const { json } = await search('a cat')
    expect(performance.now() - startedMs).toBeLessThan(1_500)
    expect([json.data, json.errors?.some(({ extensions }) => extensions.code === 'SOURCE_TIMEOUT')]).toEqual([{ near: null }, true])
  })
})
