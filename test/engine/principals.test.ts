import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { TestClaims, TestGateway } from '../support/gateway.js'
import { agreementOf, startTestGateway } from '../support/gateway.js'

const PEOPLE = 200
const ROUNDS = 4

const teamOf = (index: number): string => `team ${index}`
const person = (index: number): TestClaims => ({
  organization: 'alpha',
  roles: ['member'],
  subject: `person-${index}`,
  claims: { team: teamOf(index), level: index % 5, teams: [teamOf(index), teamOf((index + 1) % PEOPLE)] },
})

const roles = {
  member: {
    read: {
      Note: [
        { fields: ['key', 'team', 'text', 'level', 'author'], rows: { team: { eq: { claim: 'team' } } } },
        { fields: ['secret'], rows: { level: { lte: { claim: 'level' } } } },
      ],
      Author: { fields: ['key', 'name', 'notes'], rows: { name: { in: { claim: 'teams' } } } },
    },
    crossOrganization: ['testing'],
  },
} as const

/** Three notes for each team; their author is named for the team. */
const sql = (from: number): string => `
  CREATE TABLE author (key bigint PRIMARY KEY, name text NOT NULL);
  CREATE TABLE note (key bigint PRIMARY KEY, team text NOT NULL, text text NOT NULL, level integer, secret text, author_key bigint);
  INSERT INTO author SELECT i, 'team ' || i FROM generate_series(0, ${PEOPLE - 1}) AS i;
  INSERT INTO note SELECT ${from} + i * 3 + n, 'team ' || i, 'text of team ' || i, n * 2, 'secret of team ' || i, i FROM generate_series(0, ${PEOPLE - 1}) AS i, generate_series(0, 2) AS n;
  CREATE INDEX ON note (team); CREATE INDEX ON note (author_key); ANALYZE;`

describe('200 principals at one time', () => {
  let gateway: TestGateway

  beforeAll(async () => {
    gateway = await startTestGateway({
      world: {
        contract: `type Note @entity { key: ID! team: String! text: String! level: Int secret: String author: Author }
          type Author @entity { key: ID! name: String! notes: [Note!] @inverse(of: "author") }`,
        organizations: { alpha: { sql: sql(0), roles }, beta: { sql: sql(10_000) } },
        agreements: [agreementOf('beta', 'alpha', { Note: { rows: { team: { eq: { claim: 'team' } } }, allow: ['key', 'team', 'text'] } })],
      },
      gateway: { limits: { deadline: '20s' }, audit: { timeout: '20s' } },
      store: { pool: { max: 5, queue: 5_000 } },
    })
  }, 60_000)
  afterAll(() => gateway.stop())

  it("who ask with the same few documents get their own rows, cells and groups, and nobody else's", async () => {
    const documents = [
      '{ notes { totalCount nodes { organization team text secret author { name } } } }',
      'query($like: String!) { notes(where: { text: { contains: $like } }, orderBy: [{ team: DESC }]) { totalCount nodes { organization team text secret author { name } } } }',
      '{ notes(last: 10) { totalCount nodes { organization team text secret author { name } } } notesAggregate { groups { count } } }',
      '{ authors(organizations: ["alpha"]) { nodes { name notes { nodes { team } } notesAggregate { groups { count } } } } }',
    ]
    const people = Array.from({ length: PEOPLE }, (_unused, index) => person(index))
    await Promise.all(people.map((each) => gateway.token(each)))
    const asked = people.flatMap((each, index) =>
      Array.from({ length: ROUNDS }, (_unused, round) => ({ each, index, document: documents[(index + round) % documents.length] ?? '' })),
    )
    const answers = await Promise.all(
      asked.map(async ({ each, index, document }) => ({
        index,
        document,
        answer: await gateway.ask(each, document, document.includes('$like') ? { like: 'text of' } : {}),
      })),
    )
    for (const { index, document, answer } of answers) {
      const { json, text, status } = answer
      expect({ status, errors: json.errors }).toEqual({ status: 200, errors: undefined })
      const [own, next] = [teamOf(index), teamOf((index + 1) % PEOPLE)]
      const named = new Set([...text.matchAll(/team \d+/g)].map(([name]) => name))
      if (document.includes('authors')) {
        expect(named).toEqual(new Set([own, next]))
        const nodes = json.data.authors.nodes as { name: string; notes: { nodes: unknown[] }; notesAggregate: { groups: unknown[] } }[]
        for (const author of nodes)
          expect({ notes: author.notes.nodes.length, groups: author.notesAggregate.groups }).toEqual(
            author.name === own ? { notes: 3, groups: [{ count: '3' }] } : { notes: 0, groups: [{ count: '0' }] },
          )
        continue
      }
      expect(named).toEqual(new Set([own]))
      expect(json.data.notes.totalCount).toBe(6)
      const home = (json.data.notes.nodes as { organization: string; secret: string | null }[]).filter(({ organization }) => organization === 'alpha')
      // Levels are 0, 2 and 4; the claim decides how many of them have their secret.
      expect(home.filter(({ secret }) => secret !== null)).toHaveLength(Math.floor((index % 5) / 2) + 1)
      if (document.includes('notesAggregate')) expect(json.data.notesAggregate.groups).toEqual([{ count: '6' }])
    }
  }, 120_000)

  it('get nothing by a claim of another shape, or without one', async () => {
    for (const claims of [{}, { team: [] }, { team: true }, { team: 0 }, { team: ['team 1', 'team 2'] }, { Team: 'team 1' }]) {
      const { json } = await gateway.ask({ organization: 'alpha', roles: ['member'], claims }, '{ notes { totalCount nodes { team } } }')
      expect(json.data.notes).toEqual({ totalCount: 0, nodes: [] })
    }
  })
})
