import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { TestAnswer, TestClaims, TestGateway, TestWorld } from '../support/gateway.js'
import { agreementOf, GATEWAY_ROLE, grantReading, startTestGateway } from '../support/gateway.js'
import type { TestPostgres } from '../support/postgres.js'
import { startTestPostgres, withClient } from '../support/postgres.js'
import { LOGGING } from '../support/statement-log.js'

const CONTRACT = `
type Team @entity { key: ID!  name: String!  people: [Person!] @inverse(of: "team") }
type Person @entity { key: ID!  name: String!  level: Int  team: Team  notes: [Note!] @inverse(of: "author")  pinned: Note }
type Note @entity { key: ID!  text: String!  size: Int  author: Person  shelf: Shelf  remarks: [Remark!] @inverse(of: "note")  pins: [Person!] @inverse(of: "pinned") }
type Remark @entity @series(time: "at") { key: ID!  at: DateTime!  stars: Int  note: Note  by: Person }
type Shelf @entity(key: ["room", "place"], plural: "shelves") { room: String!  place: Int!  label: String  notes: [Note!] @inverse(of: "shelf") }`

const PEOPLE = `
  CREATE TABLE team (key int PRIMARY KEY, name text NOT NULL); INSERT INTO team VALUES (1, 'red'), (2, 'blue');
  CREATE TABLE person (key bigint PRIMARY KEY, name text NOT NULL, level int, team_key int, pinned_key uuid);
  INSERT INTO person SELECT n, 'person ' || n, n % 4, n % 3, CASE WHEN n % 2 = 0 THEN ('00000000-0000-4000-8000-' || lpad((n * 3)::text, 12, '0'))::uuid END FROM generate_series(1, 20) n;
  CREATE TABLE shelf (room text, place int, label text, PRIMARY KEY (room, place)); INSERT INTO shelf SELECT r, p, r || p FROM unnest(ARRAY['a"', 'é😀']) r, generate_series(1, 3) p;`
const NOTES = `
  CREATE TABLE note (key uuid PRIMARY KEY, text text NOT NULL, size int, author_key int, shelf_room text, shelf_place smallint);
  INSERT INTO note SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'note ' || n, n % 7, n % 23, CASE n % 3 WHEN 0 THEN 'a"' WHEN 1 THEN 'é😀' END, n % 5 FROM generate_series(1, 90) n;
  CREATE INDEX ON note (author_key);
  CREATE TABLE remark (key int PRIMARY KEY, at timestamptz NOT NULL, stars int, note_key uuid, by_key bigint);
  INSERT INTO remark SELECT n, '2026-03-01T00:00Z'::timestamptz + n * interval '10 minutes', n % 6, ('00000000-0000-4000-8000-' || lpad((n % 95)::text, 12, '0'))::uuid, n % 25 FROM generate_series(1, 200) n;`
const BINDINGS = { Note: { fields: { shelf: { columns: ['shelf_room', 'shelf_place'] } } } }
const ELSEWHERE = {
  Note: { table: 'archive.public.note', fields: { shelf: { columns: ['shelf_room', 'shelf_place'] } } },
  Remark: { table: 'archive.public.remark' },
}

const all = { fields: 'all' }
const roles = {
  chief: { read: { Team: all, Person: all, Note: all, Remark: all, Shelf: all }, explain: true, crossOrganization: ['testing'] },
  some: {
    read: {
      Team: all,
      Person: [
        { fields: ['key', 'name', 'level', 'team', 'pinned'], rows: { level: { gt: 0 } } },
        { fields: ['notes'], rows: { level: { gt: 1 } } },
      ],
      Note: [
        { fields: ['key', 'text', 'size', 'shelf', 'remarks', 'pins'], rows: { size: { ne: 3 } } },
        { fields: ['author'], rows: { size: { lt: 5 } } },
      ],
      Remark: { fields: 'all', rows: { stars: { gt: 0 } } },
      Shelf: { fields: 'all', rows: { label: { ne: 'a"2' } } },
    },
  },
  few: { read: { Person: all, Note: { fields: ['key', 'text'] } } },
}
const chief: TestClaims = { organization: 'alpha', roles: ['chief'] }
const ASKERS: readonly TestClaims[] = [chief, { organization: 'alpha', roles: ['some'] }, { organization: 'alpha', roles: ['few'] }]

function world(sql: string, bindings: Readonly<Record<string, unknown>>): TestWorld {
  return {
    contract: CONTRACT,
    organizations: {
      alpha: { sql, bindings, roles },
      beta: { sql: `${PEOPLE}${NOTES}`, bindings: BINDINGS },
    },
    agreements: [
      agreementOf('beta', 'alpha', {
        Person: { rows: { level: { gt: 1 } }, allow: ['key', 'level', 'notes', 'pinned'], mask: { name: { redact: { keepLast: 1 } } } },
        Note: { allow: ['key', 'text', 'size', 'author'] },
      }),
    ],
  }
}

const DOCUMENTS: readonly string[] = [
  '{ notes(first: 50) { totalCount nodes { id text author { id name level team { name } } shelf { label } } pageInfo { hasNextPage endCursor } } }',
  '{ people { nodes { name notes(first: 2, where: { size: { gt: 1 } }, orderBy: [{ size: DESC }]) { totalCount nodes { text } pageInfo { hasNextPage hasPreviousPage } } } } }',
  '{ people(last: 7) { edges { cursor node { name notes(last: 3) { nodes { text author { name notes(first: 1) { nodes { text } } } } } pinned { text remarks { nodes { stars by { name pinned { text } } } } } } } } }',
  '{ notes(where: { author: { level: { eq: 2 } } }) { totalCount nodes { text author { name } } } }',
  '{ notes(where: { not: { author: { level: { eq: 2 } } } }) { totalCount } }',
  '{ notes(where: { or: [{ author: { team: { name: { eq: "red" } } } }, { size: { eq: 6 } }] }) { totalCount } }',
  '{ notes(where: { shelf: { label: { startsWith: "a" } } }) { totalCount nodes { text shelf { room place notes(first: 1) { totalCount } } } } }',
  '{ people(where: { notes: { some: { size: { gt: 5 } } } }) { totalCount nodes { name } } }',
  '{ people(where: { notes: { every: { size: { lt: 5 } } } }) { totalCount nodes { name } } }',
  '{ people(where: { notes: { none: { remarks: { some: { by: { level: { eq: 1 } } } } } } }) { totalCount nodes { name } } }',
  '{ notes(where: { pins: { some: { name: { contains: "1" } } }, author: {} }) { nodes { text pins { nodes { name } } } } }',
  '{ people { nodes { name notesAggregate(groupBy: [{ field: SIZE }], where: { author: { level: { ne: 3 } } }) { groups { keys { size } count } } } } }',
  '{ notesAggregate(where: { author: { level: { gt: 1 } } }, groupBy: [{ field: SIZE }]) { groups { keys { size } count sum { size } } } }',
  '{ teams { nodes { name people { nodes { name pinned { remarkSeries(range: { from: "2026-03-01T00:00:00Z", to: "2026-03-03T00:00:00Z" }, bucket: "P1D", fill: NULL) { buckets { start count sum { stars } } } } } } } } }',
  '{ remarkSeries(range: { from: "2026-03-01T00:00:00Z", to: "2026-03-02T00:00:00Z" }, bucket: "PT6H", where: { by: { level: { eq: 2 } } }) { buckets { start count } } }',
  '{ person(key: "4", organization: "alpha") { name pinned { text author { name } } notes { totalCount } } }',
  '{ a: people(first: 3) { nodes { pinned { key } } } b: notes(first: 3) { nodes { author { key } } } c: teams { nodes { key } } }',
]

describe('an organization that holds a contract in two databases', () => {
  let postgres: TestPostgres
  let whole: TestGateway
  let split: TestGateway

  beforeAll(async () => {
    postgres = await startTestPostgres(LOGGING)
    const archive = await postgres.createDatabase()
    whole = await startTestGateway({ postgres, world: world(`${PEOPLE}${NOTES}`, BINDINGS) })
    split = await startTestGateway({
      postgres,
      world: world(PEOPLE, ELSEWHERE),
      gateway: { limits: { joinKeys: 60 } },
      moreStores: { alpha: { archive: { kind: 'postgres', url: archive.url(GATEWAY_ROLE), jurisdiction: 'AT' } } },
      beforeStart: () =>
        withClient(archive.url(), async (client) => {
          await client.query(NOTES)
          await grantReading(client)
        }),
    })
  }, 90_000)
  afterAll(async () => {
    await whole?.stop()
    await split?.stop()
    await postgres?.stop()
  })

  const withoutReceipt = ({ status, json }: TestAnswer): unknown => {
    const { requestId: _requestId, ...extensions } = json.extensions
    const { receipt: _receipt, ...sovereignty } = extensions.sovereignty
    return { status, data: json.data, errors: json.errors, sovereignty }
  }

  it.each(DOCUMENTS)('answers as if it were one: %s', async (document) => {
    for (const asker of ASKERS) {
      const home = document.replace(/\{ (\w+)(\(|\s*\{)/, (_, field: string, next: string) =>
        /^(person|a:|remarkSeries|notesAggregate)/.test(field)
          ? `{ ${field}${next}`
          : next === '('
            ? `{ ${field}(organizations: ["alpha"], `
            : `{ ${field}(organizations: ["alpha"])${next}`,
      )
      const [expected, given] = [await whole.ask(asker, home), await split.ask(asker, home)]
      expect({ asker, answer: withoutCursors(withoutReceipt(given)) }).toEqual({ asker, answer: withoutCursors(withoutReceipt(expected)) })
    }
  })

  /** Cursors are sealed for one gateway. */
  const withoutCursors = (value: unknown): unknown =>
    JSON.parse(JSON.stringify(value, (name, inner: unknown) => (/[cC]ursor$/.test(name) && typeof inner === 'string' ? 'a cursor' : inner)))

  it('goes on where a page ended, the root list and a list in the other store', async () => {
    const document = `query ($after: String, $inner: String) {
      people(first: 4, after: $after, organizations: ["alpha"]) { nodes { key notes(first: 2, after: $inner) { nodes { key } pageInfo { endCursor hasNextPage } } } pageInfo { endCursor hasNextPage } } }`
    const pages = async (gateway: TestGateway): Promise<unknown> => {
      const keys: unknown[] = []
      let variables: { after: string | null; inner: string | null } = { after: null, inner: null }
      for (let page = 0; page < 5; page += 1) {
        const { people } = (await gateway.ask(chief, document, variables)).json.data
        keys.push(people.nodes.map((node: { key: string; notes: { nodes: unknown } }) => [node.key, node.notes.nodes]))
        variables = { after: people.pageInfo.endCursor, inner: page % 2 === 0 ? people.nodes[0].notes.pageInfo.endCursor : null }
      }
      return keys
    }
    expect(await pages(split)).toEqual(await pages(whole))
  })

  it('is asked one statement for each step, whatever the number of rows', async () => {
    const before = readFileSync(postgres.logFile, 'utf8').length
    const { json } = await split.ask(
      chief,
      '{ notes(first: 50, organizations: ["alpha"], where: { author: { level: { lt: 3 } } }) { nodes { text author { name } shelf { label } } } }',
    )
    expect(json.data.notes.nodes).toHaveLength(50)
    await delay(20)
    const executed = [
      ...readFileSync(postgres.logFile, 'utf8')
        .slice(before)
        .matchAll(/\|concordat\|.*execute (q_\S+): (.*)/g),
    ].map(([, , text = '']) => text)
    expect(executed.map((text) => / FROM "public"\."(\w+)" AS "t0"/.exec(text)?.[1])).toEqual(['person', 'note', 'person', 'shelf'])
    expect(executed[0]).toMatch(/^SELECT DISTINCT/)
  })

  it('merges with another organization, whose policy holds as ever', async () => {
    const document =
      '{ notes(first: 30, orderBy: [{ size: DESC }], where: { author: { level: { gt: 1 } } }) { totalCount nodes { organization text author { name level } } } }'
    const [expected, given] = [await whole.ask(chief, document), await split.ask(chief, document)]
    expect(given.json.data).toEqual(expected.json.data)
    expect(new Set(given.json.data.notes.nodes.map(({ organization }: { organization: string }) => organization))).toEqual(new Set(['alpha', 'beta']))
  })

  it('is refused, with its name, where an order or a count goes through the other store', async () => {
    for (const document of [
      '{ notes(organizations: ["alpha"], orderBy: [{ author: { name: ASC } }]) { totalCount } }',
      '{ notesAggregate(organizations: ["alpha"]) { groups { countDistinct { author } } } }',
    ]) {
      const { json, status } = await split.ask(chief, document)
      expect({ status, codes: json.errors?.map(({ extensions }) => [extensions.code, extensions.organization]) }).toEqual({
        status: 403,
        codes: [['FIELD_NOT_USABLE', 'alpha']],
      })
    }
  })

  it('fails alone, with a code, where a condition fits more keys than may travel', async () => {
    const document = '{ people(where: { pinned: {} }) { totalCount nodes { organization } } }'
    const { json } = await split.ask(chief, document)
    expect(json.extensions.sovereignty.failed).toEqual([{ organization: 'alpha', code: 'QUERY_TOO_COSTLY' }])
    expect(json.data.people.totalCount).toBeNull()
    const narrow = await split.ask(chief, '{ people(where: { pinned: { size: { eq: 6 } } }, organizations: ["alpha"]) { totalCount } }')
    const expected = await whole.ask(chief, '{ people(where: { pinned: { size: { eq: 6 } } }, organizations: ["alpha"]) { totalCount } }')
    expect(narrow.json.data).toEqual(expected.json.data)
  })

  it('shows its steps to who may see its statements', async () => {
    const { json } = await split.request(
      chief,
      '{ notes(organizations: ["alpha"], where: { author: { level: { eq: 1 } } }) { nodes { text author { name } } } }',
      { path: '/explain' },
    )
    const [statement] = json.extensions.explain?.statements ?? []
    expect(statement?.text.match(/^-- .*/gm)).toEqual(['-- keys of a condition, from `main`', '-- from `archive`', '-- joined by key, from `main`'])
    expect(statement?.text).not.toContain('person 1')
  })

  it('is recorded with both stores and their jurisdictions', async () => {
    const { json } = await split.ask(chief, '{ notes(first: 1, organizations: ["alpha"]) { nodes { author { name } } } }')
    const ledger = await split.ledgerClient()
    const { rows } = await ledger.query<{ leaf: string }>(`SELECT leaf FROM concordat.ledger_entries WHERE ledger = 'alpha' ORDER BY "index" DESC LIMIT 1`)
    const leaf = rows[0]?.leaf ?? ''
    expect(leaf).toContain(json.extensions.sovereignty.receipt?.entry)
    expect(leaf).toContain('"stored":["AT","DE"]')
    expect(leaf).toContain('"stores":["archive","main"]')
  })

  it('fails as a whole while one of its databases is down, and the answer of others stands', async () => {
    const admin = await split.connect('postgres')
    await admin.query(`ALTER DATABASE ${split.database('alpha')} ALLOW_CONNECTIONS false`)
    await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [split.database('alpha')])
    try {
      const { json } = await split.ask(chief, '{ notes { totalCount nodes { organization author { level } } } }')
      expect(json.extensions.sovereignty.failed).toEqual([{ organization: 'alpha', code: 'SOURCE_UNAVAILABLE' }])
      expect(json.data.notes.nodes.length).toBeGreaterThan(0)
      expect(new Set(json.data.notes.nodes.map(({ organization }: { organization: string }) => organization))).toEqual(new Set(['beta']))
    } finally {
      await admin.query(`ALTER DATABASE ${split.database('alpha')} ALLOW_CONNECTIONS true`)
    }
  })
})
