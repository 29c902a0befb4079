import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import { firstRows } from '../../src/gateway/first-fetch.js'
import { agreementOf, startTestGateway, type TestClaims, type TestGateway } from '../support/gateway.js'
import { startTestPostgres, type TestPostgres } from '../support/postgres.js'
import { dataOf, executedBy, LOGGING } from '../support/statement-log.js'
import { times } from '../support/times.js'

const OWNERS = ['alpha', 'beta', 'gamma'] as const
type Owner = (typeof OWNERS)[number]
const reader: TestClaims = { organization: 'alpha', roles: ['reader'] }

/** Ranks of an owner's rows, in the order of their keys. */
type Ranks = Readonly<Record<Owner, readonly (number | null)[]>>

interface Row {
  readonly organization: string
  readonly key: string
  readonly rank: number | null
}

let postgres: TestPostgres
let gateway: TestGateway
const owners = new Map<Owner, pg.Client>()

beforeAll(async () => {
  postgres = await startTestPostgres(LOGGING)
  const sql = `CREATE TABLE items (key bigint PRIMARY KEY, rank integer, note text GENERATED ALWAYS AS (repeat('é', CASE WHEN key > 372 THEN 200 ELSE 20 END)) STORED); CREATE INDEX ON items (rank, key);
    CREATE TABLE parts (key bigint PRIMARY KEY, item_key bigint); INSERT INTO parts SELECT n, n % 100 FROM generate_series(1, 400) AS n`
  gateway = await startTestGateway({
    postgres,
    world: {
      contract: `type Item @entity { key: ID!  rank: Int  note: String  parts: [Part!] @inverse(of: "item") }
        type Part @entity { key: ID!  item: Item }`,
      organizations: {
        alpha: { sql, roles: { reader: { read: { Item: { fields: 'all' }, Part: { fields: 'all' } }, crossOrganization: ['testing'] } } },
        beta: { sql },
        gamma: { sql },
      },
      agreements: ['beta', 'gamma'].map((grantor) =>
        agreementOf(grantor, 'alpha', { Item: { allow: ['key', 'rank', 'note', 'parts'] }, Part: { allow: ['key', 'item'] } }),
      ),
    },
    gateway: { limits: { buffered: '48KiB', answer: '128KiB', cost: 1_000_000, deadline: '20s' } },
  })
  for (const owner of OWNERS) owners.set(owner, await gateway.ownerClient(owner))
}, 60_000)
afterAll(async () => {
  await gateway.stop()
  await postgres.stop()
})

/** The owners have these rows, and no others. */
async function fill(ranks: Ranks): Promise<void> {
  for (const owner of OWNERS) {
    const client = owners.get(owner)
    await client?.query('TRUNCATE items')
    await client?.query('INSERT INTO items (key, rank) SELECT key, rank FROM unnest($1::int[]) WITH ORDINALITY AS t (rank, key)', [ranks[owner]])
  }
}

const from = (start: number, count: number): readonly number[] => Array.from({ length: count }, (_, index) => start + index)

/** All rows in the order of `rank`, written by hand: nulls as the direction has them, then the organization, then the key. */
function inOrder(ranks: Ranks, descending = false): readonly Row[] {
  const rows = OWNERS.flatMap((organization) => ranks[organization].map((rank, index): Row => ({ organization, key: String(index + 1), rank })))
  const turned = descending ? -1 : 1
  return rows.sort(
    (a, b) =>
      turned * ((a.rank ?? Infinity) === (b.rank ?? Infinity) ? 0 : (a.rank ?? Infinity) - (b.rank ?? Infinity)) ||
      OWNERS.indexOf(a.organization as Owner) - OWNERS.indexOf(b.organization as Owner) ||
      Number(a.key) - Number(b.key),
  )
}

/** Those that a page of the first rows has to be asked again for: their first rows are all in it, and theirs may be the next one. */
function askedAgain(rows: readonly Row[], size: number): readonly string[] {
  const asked = firstRows(size, OWNERS.length)
  if (asked >= size) return []
  return OWNERS.filter((owner) => {
    const last = rows.flatMap(({ organization }, index) => (organization === owner ? [index] : []))[asked]
    if (last === undefined) return false
    return last + 1 < size || (last + 1 === size && rows.slice(size).every(({ organization }) => organization === owner))
  })
}

interface Page {
  readonly nodes: readonly Row[]
  readonly totalCount: number
  readonly hasMore: boolean
  readonly next: string | null
  readonly isStreamed: boolean
  /** How often each owner was asked. */
  readonly statements: Readonly<Record<string, number>>
}

interface Asked {
  readonly size: number
  readonly at?: string | null
  readonly descending?: boolean
  readonly backward?: boolean
  readonly fields?: string
}

async function pageOf({ size, at = null, descending = false, backward = false, fields = 'organization key rank' }: Asked): Promise<Page> {
  const [count, place, more, cursor] = backward
    ? (['last', 'before', 'hasPreviousPage', 'startCursor'] as const)
    : (['first', 'after', 'hasNextPage', 'endCursor'] as const)
  const document = `query ($size: Int!, $at: String) {
    items(${count}: $size, ${place}: $at, orderBy: [{ rank: ${descending ? 'DESC' : 'ASC'} }]) { totalCount nodes { ${fields} } pageInfo { hasMore: ${more} next: ${cursor} } } }`
  let found: Omit<Page, 'statements'> | null = null
  const { statements } = await executedBy({ gateway, postgres, owners: OWNERS }, async () => {
    const { json, headers } = await gateway.ask(reader, document, { size, at })
    expect(json.errors).toBeUndefined()
    const { nodes, totalCount, pageInfo } = json.data.items
    found = { nodes, totalCount, hasMore: pageInfo.hasMore, next: pageInfo.next, isStreamed: headers.get('content-length') === null }
  })
  return { ...found!, statements: Object.fromEntries(OWNERS.map((owner) => [owner, dataOf(statements, owner).length])) }
}

const once = { alpha: 1, beta: 1, gamma: 1 }

describe('a page that owners share', () => {
  it('has all of its rows of one owner where that owner has the first ones, for one question more', async () => {
    const ranks = { alpha: from(1_000, 60), beta: from(0, 60), gamma: from(2_000, 60) }
    await fill(ranks)
    const page = await pageOf({ size: 50 })
    expect(page.nodes).toEqual(inOrder(ranks).slice(0, 50))
    expect(page.hasMore).toBe(true)
    expect(page.statements).toEqual({ ...once, beta: 2 })
  })

  it('asks nobody again where rows lie evenly', async () => {
    const ranks = { alpha: from(0, 60).map((rank) => rank * 3), beta: from(0, 60).map((rank) => rank * 3 + 1), gamma: from(0, 60).map((rank) => rank * 3 + 2) }
    await fill(ranks)
    const page = await pageOf({ size: 50 })
    expect(page.nodes).toEqual(inOrder(ranks).slice(0, 50))
    expect(page.statements).toEqual(once)
  })

  it('asks two owners again, each once, where the rows of both come before those of a third', async () => {
    const ranks = { alpha: from(0, 45), beta: from(1_000, 60), gamma: from(0, 45) }
    await fill(ranks)
    const page = await pageOf({ size: 80 })
    expect(page.nodes).toEqual(inOrder(ranks).slice(0, 80))
    expect(page.statements).toEqual({ alpha: 2, beta: 1, gamma: 2 })
    const larger = await pageOf({ size: 70, descending: true })
    expect(larger.nodes).toEqual(inOrder(ranks, true).slice(0, 70))
    expect(larger.statements).toEqual({ ...once, beta: 2 })
  })

  it.each([
    ['one row less than the page', 49, false],
    ['exactly the rows of the page', 50, false],
    ['one row more than the page', 51, true],
  ])('says whether there is more where one owner has all rows: %s', async (_what, count, hasMore) => {
    for (const owner of OWNERS) {
      const ranks = { alpha: [], beta: [], gamma: [], [owner]: from(0, count) } as Ranks
      await fill(ranks)
      for (const backward of [false, true]) {
        const page = await pageOf({ size: 50, backward })
        expect([owner, page.nodes]).toEqual([owner, backward ? inOrder(ranks).slice(-50) : inOrder(ranks).slice(0, 50)])
        expect([owner, page.hasMore]).toEqual([owner, hasMore])
        expect(page.statements).toEqual({ ...once, [owner]: 2 })
      }
    }
  })

  it('asks nobody again only to learn that there is more, where somebody has shown it', async () => {
    const asked = firstRows(50, 3)
    // The row that the first owner gives beyond its part is the last one of the page; the others' next rows are known.
    const ranks = { alpha: from(0, 100), beta: [...from(-500, 50 - asked - 1), 5_000], gamma: from(6_000, 1) }
    await fill(ranks)
    const page = await pageOf({ size: 50 })
    expect(page.nodes).toEqual(inOrder(ranks).slice(0, 50))
    expect({ hasMore: page.hasMore, statements: page.statements }).toEqual({ hasMore: true, statements: once })
  })

  it('is asked for whole where it is small', async () => {
    await fill({ alpha: from(0, 60), beta: [], gamma: [] })
    expect(await pageOf({ size: 9 }).then(({ nodes, statements }) => [nodes.length, statements])).toEqual([9, once])
  })

  it('is asked for apart from other lists of the operation', async () => {
    const ranks = { alpha: from(0, 100), beta: from(1_000, 100), gamma: from(2_000, 100) }
    await fill(ranks)
    const list = (size: number, order: string): string => `items(first: ${size}, orderBy: [{ rank: ${order} }]) { nodes { organization key rank } }`
    const document = `{ few: ${list(3, 'ASC')} some: ${list(12, 'ASC')} many: ${list(60, 'DESC')} plain: items(first: 70) { nodes { key } } }`
    const { statements } = await executedBy({ gateway, postgres, owners: OWNERS }, async () => {
      const { json } = await gateway.ask(reader, document)
      expect(json.errors).toBeUndefined()
      const { few, some, many, plain } = json.data as Record<string, { readonly nodes: readonly Row[] }>
      expect([few?.nodes, some?.nodes, many?.nodes]).toEqual([inOrder(ranks).slice(0, 3), inOrder(ranks).slice(0, 12), inOrder(ranks, true).slice(0, 60)])
      expect(plain?.nodes.map(({ key }) => key)).toEqual(from(1, 70).map(String))
    })
    expect(OWNERS.map((owner) => dataOf(statements, owner).length)).toEqual([5, 4, 5])
  })

  it('is the unlimited order, page by page, forward and backward, and asks again exactly those whose further rows can matter', async () => {
    const values = fc.array(fc.option(fc.integer({ min: 0, max: 60 }), { nil: null, freq: 8 }), { maxLength: 80, size: 'max' })
    const ranksOf = fc.tuple(values, fc.constantFrom(0, 0, 30, 1_000)).map(([ranks, offset]) => ranks.map((rank) => (rank === null ? null : rank + offset)))
    const property = fc.asyncProperty(
      fc.record({ alpha: ranksOf, beta: ranksOf, gamma: ranksOf }),
      fc.record({ size: fc.integer({ min: 8, max: 45 }), descending: fc.boolean(), backward: fc.boolean() }),
      async (ranks, { size, descending, backward }) => {
        await fill(ranks)
        let left = [...inOrder(ranks, descending)]
        if (backward) left.reverse()
        let at: string | null = null
        do {
          const page: Page = await pageOf({ size, at, descending, backward })
          expect(backward ? [...page.nodes].reverse() : page.nodes).toEqual(left.slice(0, size))
          expect(page.hasMore).toBe(left.length > size)
          expect(page.totalCount).toBe(inOrder(ranks).length)
          const again = askedAgain(left, size)
          expect(page.statements).toEqual(Object.fromEntries(OWNERS.map((owner) => [owner, again.includes(owner) ? 2 : 1])))
          left = left.slice(size)
          at = page.next
        } while (left.length > 0)
      },
    )
    await fc.assert(property, { numRuns: times(15) })
  }, 60_000)

  it('has all rows of those who answered where another fails, and asks again whoever has more of it', async () => {
    const ranks = { alpha: from(0, 100), beta: from(0, 100), gamma: [] }
    await fill(ranks)
    const organizations = ['alpha', 'beta']
    const document =
      '{ items(first: 50, orderBy: [{ rank: ASC }], organizations: ["alpha", "beta"]) { nodes { organization key rank } pageInfo { hasNextPage } } }'
    await owners.get('beta')?.query('REVOKE SELECT ON items FROM concordat_gateway')
    try {
      const { statements } = await executedBy({ gateway, postgres, owners: organizations }, async () => {
        const { json } = await gateway.ask(reader, document)
        expect(json.errors?.map(({ extensions }) => extensions)).toEqual([{ code: 'SOURCE_UNAVAILABLE', organization: 'beta' }])
        expect(json.data.items.nodes).toEqual(inOrder({ ...ranks, beta: [] }).slice(0, 50))
        expect(json.data.items.pageInfo).toEqual({ hasNextPage: true })
      })
      expect(dataOf(statements, 'alpha')).toHaveLength(2)
    } finally {
      await owners.get('beta')?.query('GRANT SELECT ON items TO concordat_gateway')
    }
  })

  it("has nothing of an owner that fails when it is asked again, and the others' rows in full", async () => {
    const ranks = { alpha: from(5_000, 100), beta: from(0, 100), gamma: [] }
    await fill(ranks)
    const [alpha, beta] = [await gateway.ownerClient('alpha'), owners.get('beta')]
    await alpha.query('BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE')
    const asking = gateway.ask(reader, '{ items(first: 50, orderBy: [{ rank: ASC }]) { totalCount nodes { organization key rank } pageInfo { hasNextPage } } }')
    await delay(300) // the others have answered
    await beta?.query('REVOKE SELECT ON items FROM concordat_gateway')
    try {
      await alpha.query('COMMIT')
      const { json } = await asking
      expect(json.errors?.map(({ extensions }) => extensions.code)).toEqual(['SOURCE_UNAVAILABLE', 'INCOMPLETE'])
      expect(json.data.items).toEqual({ totalCount: null, nodes: inOrder({ ...ranks, beta: [] }).slice(0, 50), pageInfo: { hasNextPage: true } })
      expect(json.extensions.sovereignty.failed).toEqual([{ organization: 'beta', code: 'SOURCE_UNAVAILABLE' }])
    } finally {
      await beta?.query('GRANT SELECT ON items TO concordat_gateway')
    }
  })

  it('goes on in the lists of its rows as its first rows do', async () => {
    await fill({ alpha: from(0, 99), beta: [], gamma: [] })
    const nodes = 'nodes { key parts(first: 2, after: $after) { totalCount nodes { key } pageInfo { hasNextPage } } }'
    const { json } = await gateway.ask(reader, '{ items(first: 1, orderBy: [{ rank: ASC }]) { nodes { parts(first: 2) { pageInfo { endCursor } } } } }')
    const after = json.data.items.nodes[0].parts.pageInfo.endCursor as string
    const of = async (organizations: readonly string[]): Promise<readonly { readonly key: string; readonly parts: unknown }[]> => {
      const document = `query ($after: String, $organizations: [ID!]) { items(first: 60, orderBy: [{ rank: ASC }], organizations: $organizations) { ${nodes} } }`
      const answer = await gateway.ask(reader, document, { after, organizations })
      expect(answer.json.errors).toBeUndefined()
      return answer.json.data.items.nodes as { key: string; parts: unknown }[]
    }
    const [split, whole] = [await of(OWNERS), await of(['alpha'])]
    expect(split).toEqual(whole)
    expect(split.at(-1)).toEqual({ key: '60', parts: { totalCount: 4, nodes: [{ key: '160' }, { key: '260' }], pageInfo: { hasNextPage: true } } })
  })

  it.each<[string, Ranks, Readonly<Record<string, number>>]>([
    ['the further rows of one', { alpha: from(0, 900), beta: from(5_000, 400), gamma: from(6_000, 400) }, { ...once, alpha: 2 }],
    ["another's further rows", { alpha: from(0, 400), beta: from(5_000, 1_000), gamma: from(9_000, 400) }, { ...once, alpha: 2, beta: 2 }],
  ])('asks no owner a third time where it streams because of %s', async (_what, ranks, statements) => {
    await fill(ranks)
    const page = await pageOf({ size: 1_000, fields: 'organization key rank note' })
    expect(page.isStreamed).toBe(true)
    const rows = page.nodes.map(({ organization, key, rank }): Row => ({ organization, key, rank }))
    expect(rows).toEqual(inOrder(ranks).slice(0, 1_000))
    expect(page.hasMore).toBe(true)
    expect(page.statements).toEqual(statements)
  })

  it('asks again while it streams, where its first rows are more than is held already', async () => {
    const ranks = { alpha: from(0, 900), beta: from(800, 400), gamma: from(6_000, 400) }
    await fill(ranks)
    const page = await pageOf({ size: 1_000, fields: 'organization key rank note again: note' })
    expect(page.isStreamed).toBe(true)
    expect(page.nodes.map(({ organization, key, rank }): Row => ({ organization, key, rank }))).toEqual(inOrder(ranks).slice(0, 1_000))
    expect(page.hasMore).toBe(true)
    expect(page.statements).toEqual({ ...once, alpha: 2 })
  })

  it('is refused where it cannot stream, and what is asked for again makes it larger than may be held', async () => {
    await fill({ alpha: from(0, 1_500), beta: [], gamma: [] })
    const { status, json } = await gateway.ask(reader, '{ items(last: 1000, orderBy: [{ rank: DESC }]) { nodes { key note } } }')
    expect([status, json.errors?.map(({ extensions }) => extensions.code)]).toEqual([400, ['QUERY_TOO_COSTLY']])
  })
})
