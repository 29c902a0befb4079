/** A type of which some fields lie in other tables than its rows, or in collections: every answer is that of one table. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { TestAnswer, TestClaims, TestGateway, TestGatewayOptions, TestWorld } from '../support/gateway.js'
import { agreementOf, startTestGateway } from '../support/gateway.js'
import type { TestPostgres } from '../support/postgres.js'
import { startTestPostgres, withClient } from '../support/postgres.js'

const CONTRACT = `
type Team @entity { key: ID!  name: String!  agents: [Agent!] @inverse(of: "team") }
type Agent @entity {
  key: ID!  name: String!  level: Int  team: Team
  bio: String
  embedding: Vector @vector(model: "m", dimensions: 2)
}`

export const TEAMS = `CREATE TABLE team (key int PRIMARY KEY, name text NOT NULL); INSERT INTO team VALUES (1, 'red'), (2, 'blue');`
/** Every fifth agent has no vector, and every seventh no bio. */
export const AGENTS = `
  CREATE TABLE agent (key uuid PRIMARY KEY, name text NOT NULL, level int, team_key int, bio text, embedding real[]);
  INSERT INTO agent SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'agent ' || n, n % 4, n % 3, CASE WHEN n % 7 > 0 THEN 'é "' || n END,
    CASE WHEN n % 5 > 0 THEN ARRAY[cos(n * 0.31), sin(n * 0.31)]::real[] END FROM generate_series(1, 60) n;`
const all = { fields: 'all' }
const roles = {
  chief: { read: { Team: all, Agent: all }, explain: true, crossOrganization: ['testing'] },
  some: { read: { Team: all, Agent: { fields: 'all', rows: { level: { gt: 0 } } } } },
  // The vector of some rows only.
  cells: {
    read: {
      Agent: [
        { fields: ['key', 'name', 'level'], rows: { level: { lt: 3 } } },
        { fields: ['embedding', 'bio'], rows: { level: { gt: 1 } } },
      ],
    },
  },
  blind: { read: { Agent: { fields: ['key', 'name', 'level'] } } },
}
const chief: TestClaims = { organization: 'alpha', roles: ['chief'] }
const ASKERS: readonly TestClaims[] = ['chief', 'some', 'cells', 'blind'].map((role) => ({ organization: 'alpha', roles: [role] }))

/** What another organization sees of alpha: some rows, the name and the bio masked. */
const partner: TestClaims = { organization: 'beta', roles: ['chief'] }
const AGREEMENT = agreementOf('alpha', 'beta', {
  Agent: { rows: { level: { gt: 1 } }, allow: ['key', 'level', 'embedding'], mask: { name: { redact: { keepLast: 1 } }, bio: { redact: { keepLast: 1 } } } },
})

function world(sql: string, bound: Readonly<Record<string, unknown>>): TestWorld {
  return {
    contract: CONTRACT,
    organizations: { alpha: { sql, bindings: bound, roles }, beta: { sql: `${TEAMS}${AGENTS}`, roles } },
    agreements: [AGREEMENT],
  }
}

const FAR = '(organizations: ["alpha"])'
const DOCUMENTS: readonly string[] = [
  `{ agents${FAR} { totalCount nodes { id name level embedding bio } } }`,
  `{ agents(organizations: ["alpha"], last: 7, where: { level: { ge: 1 } }) { edges { node { bio b: bio embedding } } } }`,
  `{ teams${FAR} { nodes { name agents(first: 4, orderBy: [{ name: DESC }]) { totalCount nodes { name team { name } embedding bio } } } } }`,
  `{ agentsNearest(to: { vector: [1, 0] }, k: 10, organizations: ["alpha"]) { edges { score node { id name level embedding bio } } } }`,
  `{ agentsNearest(to: { vector: [1, 0] }, k: 10, organizations: ["alpha"]) { edges { score } } }`,
  `{ agentsNearest(to: { vector: [0, 1] }, k: 5, metric: L2, where: { level: { eq: 1 } }, organizations: ["alpha"]) { edges { score node { name } } } }`,
  `{ agentsNearest(to: { vector: [0.3, 0.7] }, k: 100, where: { not: { name: { startsWith: "agent 1" } } }, organizations: ["alpha"]) { edges { score node { name } again: node { bio } } } }`,
  `{ agentsNearest(to: { vector: [0, 0] }, k: 5, organizations: ["alpha"]) { edges { score node { name } } } }`,
  `{ agentsNearest(to: { id: "${Buffer.from(JSON.stringify(['Agent', 'alpha', '00000000-0000-4000-8000-000000000003'])).toString('base64url')}" }, k: 4, organizations: ["alpha"]) { edges { score node { name } } } }`,
]

/** Where the vectors and the bios of agents are. */
export interface PartsPlace {
  /** Of alpha, which has its agents here. */
  readonly sql: string
  readonly bindings: Readonly<Record<string, unknown>>
  readonly moreStores: NonNullable<TestGatewayOptions['moreStores']>
  /** Once alpha's tables are there. */
  readonly fill: () => Promise<void>
  readonly stop: () => Promise<void>
}

/**
 * @param apartIn a place where, besides, are vectors and bios of agents that are not there: those that are nearest of all to `[1, 0]`.
 * @param approximate whom an index serves: who sees all and asks for all, or whoever is at home.
 */
export function describeParts(
  where: string,
  apartIn: (postgres: TestPostgres) => Promise<PartsPlace>,
  approximate: 'never' | 'of all' | 'at home' = 'never',
): void {
  describe(`a type of which some fields lie in ${where}`, () => {
    let postgres: TestPostgres
    let place: PartsPlace
    let whole: TestGateway
    let apart: TestGateway

    beforeAll(async () => {
      postgres = await startTestPostgres()
      whole = await startTestGateway({ postgres, world: world(`${TEAMS}${AGENTS}`, {}) })
      place = await apartIn(postgres)
      const { sql, bindings, moreStores, fill } = place
      apart = await startTestGateway({ postgres, world: world(sql, bindings), gateway: { limits: { joinKeys: 50 } }, moreStores, beforeStart: fill })
    }, 90_000)
    afterAll(async () => {
      await whole?.stop()
      await apart?.stop()
      await place?.stop()
      await postgres?.stop()
    })

    const withoutReceipt = ({ status, json }: TestAnswer): unknown => {
      const { requestId: _requestId, ...extensions } = json.extensions
      const { receipt: _receipt, approximate: _approximate, ...sovereignty }: Readonly<Record<string, unknown>> = extensions.sovereignty
      return { status, data: json.data, errors: json.errors, sovereignty }
    }

    it.each(DOCUMENTS)('answers as if it were one table: %s', async (document) => {
      for (const asker of [...ASKERS, partner]) {
        const [expected, given] = [await whole.ask(asker, document), await apart.ask(asker, document)]
        expect({ asker, answer: withoutReceipt(given) }).toEqual({ asker, answer: withoutReceipt(expected) })
      }
    })

    it('finds as many as are asked for, whatever vectors of no row are nearer', async () => {
      const document = 'query ($k: Int!) { agentsNearest(to: { vector: [1, 0] }, k: $k, organizations: ["alpha"]) { edges { score node { key } } } }'
      for (const k of [1, 3, 29, 48, 49]) {
        const [expected, given] = [await whole.ask(chief, document, { k }), await apart.ask(chief, document, { k })]
        expect(given.json.data).toEqual(expected.json.data)
        expect(given.json.data.agentsNearest.edges).toHaveLength(Math.min(k, 48))
      }
    })

    it('is searched as if it were one table, whatever is asked for', async () => {
      const seed = Date.now() % 2 ** 31
      console.info(`parts: seed ${seed}`)
      const drawn = fc.record({
        angle: fc.double({ min: 0, max: 6.3, noNaN: true }),
        k: fc.integer({ min: 1, max: 60 }),
        metric: fc.constantFrom('COSINE', 'L2', 'INNER_PRODUCT'),
        level: fc.option(fc.integer({ min: 0, max: 4 })),
        asker: fc.constantFrom(...ASKERS.slice(0, 3), partner),
      })
      const document = `query ($to: NearestTo!, $k: Int!, $metric: VectorMetric, $where: AgentWhere) {
      agentsNearest(to: $to, k: $k, metric: $metric, where: $where, organizations: ["alpha"]) { edges { score node { name embedding } } } }`
      await fc.assert(
        fc.asyncProperty(drawn, async ({ angle, k, metric, level, asker }) => {
          const to = { vector: [Math.cos(angle), Math.sin(angle)] }
          const variables = { to, k, metric, where: level === null ? null : { level: { le: level } } }
          const [expected, given] = [await whole.ask(asker, document, variables), await apart.ask(asker, document, variables)]
          expect(withoutReceipt(given)).toEqual(withoutReceipt(expected))
        }),
        { seed, numRuns: 25 },
      )
    }, 60_000)

    it('refuses a condition, an order and a count by such a field', async () => {
      for (const document of [
        `{ agents(where: { bio: { eq: "x" } }, organizations: ["alpha"]) { totalCount } }`,
        `{ agents(orderBy: [{ bio: ASC }], organizations: ["alpha"]) { totalCount } }`,
        `{ agents(where: { bio: { isNull: true } }, organizations: ["alpha"]) { totalCount } }`,
        `{ agentsAggregate(organizations: ["alpha"], groupBy: [{ field: BIO }]) { groups { count } } }`,
        `{ agentsAggregate(organizations: ["alpha"]) { groups { countDistinct { bio } } } }`,
      ]) {
        const { json, status } = await apart.ask(chief, document)
        expect({ document, status, codes: json.errors?.map(({ extensions }) => extensions.code) }).toEqual({
          document,
          status: 403,
          codes: ['FIELD_NOT_USABLE'],
        })
      }
    })

    it('is searched by all rows that may be seen, or by none where there are too many', async () => {
      const document = '{ agentsNearest(to: { vector: [1, 0] }, k: 3, where: { level: { lt: 9 } }, organizations: ["alpha"]) { edges { score } } }'
      const { json } = await apart.ask(chief, document)
      expect(json.errors?.map(({ extensions }) => extensions.code)).toEqual(['QUERY_TOO_COSTLY'])
    })

    it('says that a search was approximate where an index served it', async () => {
      const document = (where: string): string => `{ agentsNearest(to: { vector: [1, 0] }, k: 3${where}, organizations: ["alpha"]) { edges { score } } }`
      const said = async (asker: TestClaims, where = ''): Promise<unknown> => {
        const { json } = await apart.ask(asker, document(where))
        return Object.entries(json.extensions.sovereignty).find(([name]) => name === 'approximate')?.[1]
      }
      const isSaid = [{ organization: 'alpha', search: 'agentsNearest' }]
      expect(await said(chief)).toEqual(approximate === 'never' ? undefined : isSaid)
      expect(await said(chief, ', where: { level: { eq: 1 } }')).toEqual(approximate === 'at home' ? isSaid : undefined)
      expect(await said(partner)).toBeUndefined()
    })

    it('merges with another organization by score', async () => {
      const document = '{ agentsNearest(to: { vector: [1, 0] }, k: 30) { edges { score node { organization key bio } } } }'
      const [expected, given] = [await whole.ask(partner, document), await apart.ask(partner, document)]
      expect(given.json.data).toEqual(expected.json.data)
      const owners = given.json.data.agentsNearest.edges.map(({ node }: { node: { organization: string } }) => node.organization)
      expect(new Set(owners)).toEqual(new Set(['alpha', 'beta']))
    })
  })
}

export interface HeldApart {
  readonly key: string
  readonly embedding: readonly number[] | null
  readonly bio: string | null
}

/** What such a place has: vectors and bios of agents, and vectors of those that are not there. */
export async function heldApart(postgres: TestPostgres): Promise<readonly HeldApart[]> {
  const scratch = await postgres.createDatabase()
  return withClient(scratch.url(), async (client) => {
    await client.query(AGENTS)
    const { rows } = await client.query<HeldApart>(`SELECT key::text, embedding, bio FROM agent
      UNION ALL SELECT '00000000-0000-4000-9000-' || lpad(n::text, 12, '0'), ARRAY[1, 0]::real[], CASE WHEN n = 1 THEN 'of nobody' END FROM generate_series(1, 30) n`)
    return rows
  })
}
