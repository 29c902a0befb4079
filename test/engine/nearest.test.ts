import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type pg from 'pg'
import { agreementOf, startTestGateway, type TestAnswer, type TestGateway } from '../support/gateway.js'
import { withClient } from '../support/postgres.js'

const CONTRACT = `
type Item @entity {
  key: ID!  name: String!  secret: Boolean
  embedding: Vector @vector(model: "m", dimensions: 3)
  rough: Vector @vector(model: "n", dimensions: 2, metric: L2)
}
`
const SQL = `CREATE TABLE items (key int PRIMARY KEY, name text NOT NULL, secret boolean NOT NULL, embedding real[], rough real[]);`

type Vector = readonly number[]
interface Row {
  readonly key: number
  readonly secret: boolean
  readonly embedding: Vector | null
}

const AURORA: readonly Row[] = [
  { key: 1, secret: false, embedding: [1, 0, 0] },
  { key: 2, secret: false, embedding: [0, 1, 0] },
  { key: 3, secret: true, embedding: [1, 0, 0] },
  { key: 4, secret: false, embedding: null },
  { key: 5, secret: false, embedding: [0, 0, 0] },
  { key: 10, secret: false, embedding: [1, 1, 0] },
  { key: 9, secret: false, embedding: [1, 1, 0] },
]
const BOREALIS: readonly Row[] = [
  { key: 1, secret: false, embedding: [2, 0, 0] },
  { key: 2, secret: false, embedding: [1, 2, 2] },
  { key: 3, secret: true, embedding: [1, 0, 0] },
]
const CASCADE: readonly Row[] = [{ key: 1, secret: false, embedding: [1, 0, 0] }]

const ana = { organization: 'aurora', roles: ['reader'] }
const blind = { organization: 'aurora', roles: ['blind'] }

function insert(rows: readonly Row[]): string {
  const literal = (vector: Vector | null): string => (vector ? `'{${vector.join(',')}}'` : 'NULL')
  return rows.map(({ key, secret, embedding }) => `INSERT INTO items VALUES (${key}, 'n${key}', ${secret}, ${literal(embedding)}, '{${key},0}');`).join('\n')
}

let gateway: TestGateway
beforeAll(async () => {
  const types = (allow: readonly string[]): Readonly<Record<string, unknown>> => ({ Item: { rows: { secret: { eq: false } }, allow } })
  const roles = {
    reader: { read: { Item: { fields: 'all', rows: { secret: { eq: false } } } }, crossOrganization: ['testing'], explain: true },
    blind: { read: { Item: { fields: ['key', 'name'] } } },
  }
  gateway = await startTestGateway({
    world: {
      contract: CONTRACT,
      organizations: { aurora: { sql: SQL + insert(AURORA), roles }, borealis: { sql: SQL + insert(BOREALIS) }, cascade: { sql: SQL + insert(CASCADE) } },
      agreements: [agreementOf('borealis', 'aurora', types(['key', 'name', 'embedding'])), agreementOf('cascade', 'aurora', types(['key', 'name']))],
    },
  })
}, 120_000)
afterAll(() => gateway?.stop(), 60_000)

const BOTH = ['aurora', 'borealis']
const DOCUMENT = `query($to: NearestTo!, $k: Int!, $organizations: [ID!], $metric: VectorMetric, $where: ItemWhere) {
  itemsNearest(to: $to, k: $k, organizations: $organizations, metric: $metric, where: $where) { edges { score node { organization key } } }
}`

interface Edge {
  readonly score: number
  readonly node: { readonly organization: string; readonly key: string }
}

function edgesOf({ json }: TestAnswer): readonly Edge[] {
  expect(json.errors).toBeUndefined()
  return json.data?.itemsNearest.edges as readonly Edge[]
}

function rowsOf(answer: TestAnswer): readonly string[] {
  return edgesOf(answer).map(({ node }) => `${node.organization}/${node.key}`)
}

const nearest = (variables: Readonly<Record<string, unknown>>): Promise<TestAnswer> => gateway.ask(ana, DOCUMENT, { k: 100, organizations: BOTH, ...variables })

const idOf = (organization: string, key: number): string => Buffer.from(JSON.stringify(['Item', organization, String(key)])).toString('base64url')

async function inStore<Result>(organization: string, run: (client: pg.Client) => Promise<Result>): Promise<Result> {
  return withClient(gateway.postgres.url(gateway.database(organization)), run)
}

describe('a search for the nearest rows', () => {
  it('gives those of all owners, nearest first, and those that are equally near by owner and key', async () => {
    const answer = await nearest({ to: { vector: [1, 0, 0] } })
    expect(rowsOf(answer)).toEqual(['aurora/1', 'borealis/1', 'aurora/9', 'aurora/10', 'borealis/2', 'aurora/2'])
    expect(edgesOf(answer).map(({ score }) => score)).toEqual([
      1,
      1,
      expect.closeTo(Math.SQRT1_2, 12),
      expect.closeTo(Math.SQRT1_2, 12),
      expect.closeTo(1 / 3, 12),
      0,
    ])
  })

  it('gives k rows wherever there are as many, and leaves out rows without a vector or direction', async () => {
    for (const k of [1, 2, 3, 5, 6, 7]) expect(edgesOf(await nearest({ to: { vector: [1, 0, 0] }, k }))).toHaveLength(Math.min(k, 6))
  })

  it('knows three metrics, of which higher is nearer', async () => {
    const l2 = await nearest({ to: { vector: [1, 0, 0] }, metric: 'L2', where: { key: { in: ['1', '5'] } } })
    expect(edgesOf(l2).map(({ score, node }) => [node.organization, node.key, score])).toEqual([
      ['aurora', '1', 0],
      ['aurora', '5', -1],
      ['borealis', '1', -1],
    ])
    const product = await nearest({ to: { vector: [2, 0, 0] }, metric: 'INNER_PRODUCT', k: 2 })
    expect(edgesOf(product).map(({ score, node }) => [node.organization, score])).toEqual([
      ['borealis', 4],
      ['aurora', 2],
    ])
  })

  it('takes the field that is named, with the metric of its space', async () => {
    const document = '{ itemsNearest(to: { vector: [3.4, 0] }, field: ROUGH, k: 2, organizations: ["aurora"]) { edges { score node { key } } __typename } }'
    const { json } = await gateway.ask(ana, document)
    expect(json.data?.itemsNearest.__typename).toBe('ItemNearest')
    expect(json.data?.itemsNearest.edges.map((edge: { node: { key: string }; score: number }) => [edge.node.key, edge.score])).toEqual([
      ['4', expect.closeTo(-0.6, 5)],
      ['2', expect.closeTo(-1.4, 5)],
    ])
  })

  it('applies conditions before it counts to k', async () => {
    expect(rowsOf(await nearest({ to: { vector: [1, 0, 0] }, k: 1, where: { not: { id: { eq: idOf('aurora', 1) } } }, organizations: ['aurora'] }))).toEqual([
      'aurora/9',
    ])
  })

  it('gives vectors as fields, scores alone, and any selection of a row', async () => {
    const { json } = await gateway.ask(
      ana,
      '{ a: itemsNearest(to: { vector: [0, 1, 0] }, k: 1, organizations: ["aurora"]) { edges { score } } item(key: "10", organization: "aurora") { embedding rough } }',
    )
    expect(json.data).toEqual({ a: { edges: [{ score: 1 }] }, item: { embedding: [1, 1, 0], rough: [10, 0] } })
  })

  it('is what is worked out by hand over the readable rows', async () => {
    const element = fc.integer({ min: -8, max: 8 }).map((number) => number / 4)
    const vector = fc.tuple(element, element, element)
    const readable = [...AURORA.map((row) => ({ organization: 'aurora', ...row })), ...BOREALIS.map((row) => ({ organization: 'borealis', ...row }))].filter(
      ({ secret, embedding }) => !secret && embedding !== null,
    )
    const scores = {
      L2: (a: Vector, b: Vector) => -Math.sqrt(a.reduce((sum, x, index) => sum + (x - (b[index] ?? 0)) ** 2, 0)),
      INNER_PRODUCT: (a: Vector, b: Vector) => a.reduce((sum, x, index) => sum + x * (b[index] ?? 0), 0) + 0,
    }
    await fc.assert(
      fc.asyncProperty(vector, fc.constantFrom('L2' as const, 'INNER_PRODUCT' as const), fc.integer({ min: 1, max: 12 }), async (to, metric, k) => {
        const expected = readable
          .map(({ organization, key, embedding }) => ({ organization, key, score: scores[metric](embedding ?? [], to) }))
          .sort((a, b) => b.score - a.score || a.organization.localeCompare(b.organization) || a.key - b.key)
          .slice(0, k)
        const edges = edgesOf(await nearest({ to: { vector: to }, metric, k }))
        expect(edges.map(({ score, node }) => ({ organization: node.organization, key: Number(node.key), score }))).toEqual(expected)
      }),
      { numRuns: 60 },
    )
  })
})

describe('what a caller may not see', () => {
  const seen = ({ status, text }: TestAnswer): string => `${status} ${text.replace(/"requestId":"[0-9a-f-]{36}"/, '').replace(/"receipt":\{[^}]*\}/, '')}`

  it('does not show in an answer, however near it is: neither rows nor their vectors', async () => {
    const element = fc.float({ min: -2, max: 2, noNaN: true })
    const vector = fc.oneof(fc.tuple(element, element, element), fc.constant([1, 0, 0]), fc.constant(null))
    const asks = fc.record({
      to: fc.oneof(
        fc.tuple(element, element, element).map((given) => ({ vector: given })),
        fc.constantFrom(...[1, 3, 77].map((key) => ({ id: idOf('aurora', key) })), { id: idOf('borealis', 3) }),
      ),
      k: fc.integer({ min: 1, max: 5 }),
      metric: fc.constantFrom('COSINE', 'L2', 'INNER_PRODUCT'),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(vector, { minLength: 0, maxLength: 3 }), asks, async (hidden, variables) => {
        const before = seen(await nearest(variables))
        for (const organization of BOTH)
          await inStore(organization, async (client) => {
            await client.query('DELETE FROM items WHERE secret')
            for (const [index, embedding] of hidden.entries())
              await client.query('INSERT INTO items VALUES ($1, $2, true, $3, NULL)', [index === 0 ? 3 : 100 + index, 'hidden', embedding])
          })
        expect(seen(await nearest(variables))).toBe(before)
      }),
      { numRuns: 40 },
    )
  })

  it('is not searched: a field that is denied is refused, and its owner can be left out', async () => {
    const refused = await gateway.ask(blind, '{ itemsNearest(to: { vector: [1, 0, 0] }, k: 1) { edges { score } } }')
    expect([refused.status, refused.json.errors?.[0]?.extensions]).toMatchObject([403, { code: 'FIELD_NOT_USABLE', organization: 'aurora' }])
    const partner = await nearest({ to: { vector: [1, 0, 0] }, organizations: null })
    expect([partner.status, partner.json.errors?.[0]?.extensions]).toMatchObject([403, { code: 'FIELD_NOT_USABLE', organization: 'cascade' }])
    const rest = await gateway.ask(ana, DOCUMENT.replace(') {', ') @sovereignty(onForbidden: EXCLUDE) {'), { to: { vector: [1, 0, 0] }, k: 2 })
    expect(rowsOf(rest)).toEqual(['aurora/1', 'borealis/1'])
    expect(rest.json.extensions.sovereignty.leftOut).toEqual([{ organization: 'cascade', code: 'FIELD_NOT_USABLE' }])
  })
})

describe('a search for what is near to a row', () => {
  it("takes the vector of the caller's own row to every owner", async () => {
    expect(rowsOf(await nearest({ to: { id: idOf('aurora', 9) }, where: { key: { ne: '2' } } }))).toEqual(['aurora/9', 'aurora/10', 'aurora/1', 'borealis/1'])
    expect(rowsOf(await nearest({ to: { id: idOf('aurora', 1) }, k: 2 }))).toEqual(['aurora/1', 'borealis/1'])
    expect(rowsOf(await nearest({ to: { id: idOf('aurora', 1) }, k: 2, organizations: ['borealis'] }))).toEqual(['borealis/1', 'borealis/2'])
  })

  it("compares a partner's row within that partner", async () => {
    const answer = await nearest({ to: { id: idOf('borealis', 2) } })
    expect(rowsOf(answer)).toEqual(['borealis/2', 'borealis/1'])
    expect(answer.json.extensions.sovereignty.served.map(({ organization }) => organization)).toEqual(['borealis'])
    expect(rowsOf(await nearest({ to: { id: idOf('borealis', 2) }, organizations: ['aurora'] }))).toEqual([])
  })

  it('gives nothing for a row that is hidden, unknown, without a vector, of another type or of a stranger', async () => {
    const other = Buffer.from(JSON.stringify(['Thing', 'aurora', '1'])).toString('base64url')
    for (const id of [idOf('aurora', 4), idOf('aurora', 3), idOf('aurora', 77), idOf('borealis', 3), idOf('nobody', 1), other, 'x', ''])
      expect([id, rowsOf(await nearest({ to: { id } }))]).toEqual([id, []])
  })

  it('refuses an organization that may not be asked, whatever the row', async () => {
    for (const id of [idOf('aurora', 1), idOf('aurora', 77), idOf('borealis', 1), 'x'])
      expect((await nearest({ to: { id }, organizations: ['nobody'] })).json.errors?.[0]?.extensions.code).toBe('NO_AGREEMENT')
  })

  it('shows the statement that asks for the row, and is answered alike from a route that is kept', async () => {
    const explained = await gateway.request(ana, DOCUMENT, { path: '/explain', variables: { to: { id: idOf('aurora', 1) }, k: 1, organizations: BOTH } })
    expect(explained.json.extensions.explain?.statements.map(({ organization }) => organization)).toEqual(['aurora', 'aurora'])
    for (let turn = 0; turn < 3; turn += 1) {
      expect(rowsOf(await nearest({ to: { id: idOf('aurora', 2) }, k: 1 }))).toEqual(['aurora/2'])
      expect(rowsOf(await nearest({ to: { id: idOf('borealis', 1) }, k: 1 }))).toEqual(['borealis/1'])
    }
  })

  it("is null with a code where the row's owner fails, and the rest of the answer stands", async () => {
    await inStore('borealis', (client) => client.query('ALTER TABLE items RENAME TO gone'))
    try {
      const document = `query($id: ID!) { near: itemsNearest(to: { id: $id }, k: 1) { edges { score } } items(organizations: ["aurora"], first: 1) { nodes { key } } }`
      const { status, json } = await gateway.ask(ana, document, { id: idOf('borealis', 1) })
      expect([status, json.data]).toEqual([200, { near: null, items: { nodes: [{ key: '1' }] } }])
      expect(json.errors?.map(({ path, extensions }) => [path, extensions.code, extensions.organization])).toContainEqual([
        ['near'],
        'SOURCE_UNAVAILABLE',
        'borealis',
      ])
    } finally {
      await inStore('borealis', (client) => client.query('ALTER TABLE gone RENAME TO items'))
    }
  })
})

describe('bad input', () => {
  const cases: readonly (readonly [string, Readonly<Record<string, unknown>>])[] = [
    ['too few dimensions', { to: { vector: [1, 0] } }],
    ['too many dimensions', { to: { vector: [1, 0, 0, 0] } }],
    ['no dimension', { to: { vector: [] } }],
    ['a text among the numbers', { to: { vector: [1, 'NaN', 0] } }],
    ['null among the numbers', { to: { vector: [1, null, 0] } }],
    ['a number beyond single precision', { to: { vector: [1e39, 0, 0] } }],
    ['a list in the list', { to: { vector: [[1, 0, 0]] } }],
    ['a k of zero', { to: { vector: [1, 0, 0] }, k: 0 }],
    ['a negative k', { to: { vector: [1, 0, 0] }, k: -1 }],
    ['a k beyond a page', { to: { vector: [1, 0, 0] }, k: 1_001 }],
    ['nothing to search for', { to: {} }],
    ['null to search for', { to: { vector: null } }],
    ['two things to search for', { to: { vector: [1, 0, 0], id: 'x' } }],
    ['an unknown metric', { to: { vector: [1, 0, 0] }, metric: 'HAMMING' }],
  ]

  it.each(cases)('is refused before a store is asked: %s', async (_name, variables) => {
    const { status, json } = await nearest(variables)
    expect([status, json.data, json.errors?.[0]?.extensions.code]).toEqual([400, undefined, 'BAD_USER_INPUT'])
  })

  it('in the document is refused as well', async () => {
    const search = (to: string, k = '1'): string => `{ itemsNearest(to: ${to}, k: ${k}, organizations: ["aurora"]) { edges { score } } }`
    for (const document of [
      search('{ vector: [1e39, 0, 0] }'),
      search('{ vector: [1, 0] }'),
      search('{ vector: "[1,0,0]" }'),
      search('{ vector: [1, 0, 0] }', '0'),
    ]) {
      const { status, json } = await gateway.ask(ana, document)
      expect([document, status, json.data]).toEqual([document, 400, undefined])
    }
    expect((await gateway.ask(ana, search('{ vector: [1, 0.0, 0e0] }'))).json.data?.itemsNearest.edges).toEqual([{ score: 1 }])
  })
})
