import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { agreementOf, startTestGateway, type TestAnswer, type TestClaims, type TestGateway } from '../support/gateway.js'
import { times } from '../support/times.js'

const OWNERS = ['alpha', 'beta', 'gamma'] as const

/** Ranks that owners share, nulls among them. */
const sql = (shift: number): string => `
  CREATE TABLE items (key bigint PRIMARY KEY, rank integer, note text);
  INSERT INTO items SELECT n, CASE WHEN n % 5 = 0 THEN NULL ELSE (n + ${shift}) % 6 END, 'note ' || n FROM generate_series(1, 24) AS n`

const roles = {
  all: { read: { Item: { fields: 'all' } }, crossOrganization: ['testing'] },
  some: { read: { Item: { fields: ['key', 'rank'], rows: { rank: { lte: 3 } } } }, crossOrganization: ['testing'] },
  own: { read: { Item: { fields: ['key', 'note'], rows: { note: { eq: { claim: 'note' } } } } } },
}

const PRINCIPALS: readonly TestClaims[] = [
  { organization: 'alpha', roles: ['all'] },
  { organization: 'alpha', roles: ['some'] },
  { organization: 'alpha', roles: ['own'], claims: { note: 'note 3' } },
  { organization: 'alpha', roles: ['own'], subject: 'another', claims: { note: 'note 7' } },
  { organization: 'beta', roles: ['all'] },
  { organization: 'gamma', roles: ['all'] },
]

let gateway: TestGateway

/** Whatever is kept is soon displaced, and made anew beside what is still there. */
const TINY = { operations: 2, plans: 1, statements: 1, principals: 1 } as const

async function open(cache: typeof TINY | null): Promise<void> {
  gateway = await startTestGateway({
    ...(cache && { gateway: { cache } }),
    world: {
      contract: 'type Item @entity { key: ID!  rank: Int  note: String }',
      organizations: Object.fromEntries(OWNERS.map((owner, index) => [owner, { sql: sql(index), roles }])),
      agreements: [
        agreementOf('beta', 'alpha', { Item: { allow: ['key', 'rank', 'note'] } }),
        agreementOf('gamma', 'alpha', { Item: { rows: { rank: { ne: 2 } }, allow: ['key', 'rank'], mask: { note: { redact: { keepLast: 1 } } } } }),
        agreementOf('alpha', 'beta', { Item: { allow: ['key', 'rank'] } }),
      ],
    },
  })
}

const PAGE = `query ($organizations: [ID!], $first: Int, $order: [ItemOrderBy!], $where: ItemWhere, $after: String) {
  items(organizations: $organizations, first: $first, orderBy: $order, where: $where, after: $after) {
    totalCount edges { cursor node { organization key rank note } } pageInfo { hasNextPage hasPreviousPage endCursor } } }`
const LOOKUP = 'query ($organization: ID!, $key: ID!) { item(organization: $organization, key: $key) { organization key rank note } }'
const NODES = 'query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on Item { organization rank note } } }'
const GROUPS = 'query ($organizations: [ID!]) { itemsAggregate(organizations: $organizations) { groups { count } } }'

interface Question {
  readonly principal: TestClaims
  readonly document: string
  readonly variables: Readonly<Record<string, unknown>>
  /** A page starts after this one of its rows, where it has so many. */
  readonly after: number | null
}

const organizations = fc.option(fc.subarray([...OWNERS]), { nil: null, freq: 2 })
const id = fc
  .tuple(fc.constantFrom(...OWNERS), fc.integer({ min: 1, max: 25 }))
  .map(([owner, key]) => Buffer.from(JSON.stringify(['Item', owner, String(key)])).toString('base64url'))
const asked = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      document: fc.constant(PAGE),
      variables: fc.record(
        {
          organizations,
          first: fc.constantFrom(0, 3, 12, 30),
          order: fc.constantFrom([], [{ rank: 'ASC' }], [{ rank: 'DESC' }], [{ rank: 'ASC_NULLS_FIRST' }]),
          where: fc.constantFrom<unknown>({}, { rank: { gte: 2 } }, { rank: { gte: 4 } }, { rank: { isNull: true } }),
        },
        { requiredKeys: [] },
      ),
      after: fc.option(fc.nat(20), { nil: null, freq: 2 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      document: fc.constant(LOOKUP),
      variables: fc.record({ organization: fc.constantFrom(...OWNERS), key: fc.integer({ min: 1, max: 25 }).map(String) }),
      after: fc.constant(null),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ document: fc.constant(NODES), variables: fc.record({ ids: fc.array(id, { maxLength: 4 }) }), after: fc.constant(null) }),
  },
  { weight: 1, arbitrary: fc.record({ document: fc.constant(GROUPS), variables: fc.record({ organizations }), after: fc.constant(null) }) },
)
const questions: fc.Arbitrary<Question> = fc
  .record({ principal: fc.nat(PRINCIPALS.length - 1), asked })
  .map(({ principal, asked: { document, variables, after } }) => ({ principal: PRINCIPALS[principal]!, document, variables, after }))

let fresh = 0
/** The document as nobody has asked it before. */
const asNew = (document: string): string => `${document} # ${(fresh += 1)}`

/** All of an answer but what names this one request. */
function said({ status, json }: TestAnswer): unknown {
  const { sovereignty } = json.extensions
  const { receipt: _own, ...rest } = sovereignty ?? {}
  return { status, data: json.data as unknown, errors: json.errors, sovereignty: rest }
}

async function variablesOf({ principal, document, variables, after }: Question): Promise<Readonly<Record<string, unknown>>> {
  if (after === null) return variables
  const { json } = await gateway.ask(principal, asNew(document), { ...variables, first: 50 })
  const cursor = (json.data?.items?.edges as { cursor: string }[] | undefined)?.at(after)?.cursor
  return cursor === undefined ? variables : { ...variables, after: cursor }
}

describe.each([
  ['and what was made for it is kept', null],
  ['and hardly anything is kept', TINY],
])('a document that others have asked, %s,', (_what, cache) => {
  beforeAll(() => open(cache), 60_000)
  afterAll(() => gateway.stop())

  it('answers each as if nobody had asked it before', async () => {
    const property = fc.asyncProperty(fc.array(questions, { minLength: 4, maxLength: 10, size: 'max' }), async (all) => {
      for (const question of all) {
        const { principal, document } = question
        const variables = await variablesOf(question)
        const known = await gateway.ask(principal, document, variables)
        expect(said(known)).toEqual(said(await gateway.ask(principal, asNew(document), variables)))
      }
    })
    await fc.assert(property, { numRuns: times(7) })
  }, 60_000)

  it('answers each of those whose rights are other ones by its own, in turn and at one time', async () => {
    const all = [...PRINCIPALS, ...PRINCIPALS]
    const expected = await Promise.all(all.map(async (principal) => said(await gateway.ask(principal, asNew(PAGE), { first: 50 }))))
    for (const [index, principal] of all.entries()) expect(said(await gateway.ask(principal, PAGE, { first: 50 }))).toEqual(expected[index])
    const document = asNew(PAGE)
    expect(await Promise.all(all.map(async (principal) => said(await gateway.ask(principal, document, { first: 50 }))))).toEqual(expected)
    expect(new Set(expected.map((each) => JSON.stringify(each))).size).toBe(PRINCIPALS.length)
  })

  it('goes on from whichever row a cursor is of, of whomever it is, null or not', async () => {
    const [all] = PRINCIPALS as [TestClaims]
    for (const order of [[{ rank: 'ASC' }], [{ rank: 'DESC' }]]) {
      const { json } = await gateway.ask(all, asNew(PAGE), { order, first: 100 })
      const edges = json.data.items.edges as { cursor: string }[]
      expect(edges.length).toBeGreaterThan(60)
      // Rows that lie far from each other in turn.
      for (let index = 0; index < edges.length; index += 1) {
        const at = (index * 29) % edges.length
        const page = await gateway.ask(all, PAGE, { order, first: 2, after: edges[at]?.cursor })
        expect([at, page.json.data.items.edges]).toEqual([at, edges.slice(at + 1, at + 3)])
      }
    }
  }, 30_000)

  it('goes on with the owners of its own first page', async () => {
    const [all] = PRINCIPALS as [TestClaims]
    const gamma = await gateway.ownerClient('gamma')
    const order = [{ rank: 'ASC' }]
    const firstPage = async (): Promise<string> => {
      const { json } = await gateway.ask(all, asNew(PAGE), { order, first: 1 })
      return json.data.items.pageInfo.endCursor as string
    }
    await gamma.query('REVOKE SELECT ON items FROM concordat_gateway')
    const withoutGamma = await firstPage()
    await gamma.query('GRANT SELECT ON items TO concordat_gateway')
    const withGamma = await firstPage()
    const ownersOf = async (after: string): Promise<readonly string[]> => {
      const { json } = await gateway.ask(all, PAGE, { order, first: 100, after })
      expect(json.errors).toBeUndefined()
      return [...new Set((json.data.items.edges as { node: { organization: string } }[]).map(({ node }) => node.organization))].sort()
    }
    for (let round = 0; round < 2; round += 1) {
      expect(await ownersOf(withGamma)).toEqual(['alpha', 'beta', 'gamma'])
      expect(await ownersOf(withoutGamma)).toEqual(['alpha', 'beta'])
    }
  })
})
