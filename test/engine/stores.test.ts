import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { TestClaims, TestGateway } from '../support/gateway.js'
import { GATEWAY_ROLE, grantReading, startTestGateway } from '../support/gateway.js'
import type { TestPostgres } from '../support/postgres.js'
import { startTestPostgres, withClient } from '../support/postgres.js'

const asker: TestClaims = { organization: 'alpha', roles: ['reader'] }

describe('an organization with two stores', () => {
  let postgres: TestPostgres
  let gateway: TestGateway

  beforeAll(async () => {
    postgres = await startTestPostgres()
    const second = await postgres.createDatabase()
    gateway = await startTestGateway({
      postgres,
      world: {
        contract: `
          type Person @entity { key: ID! name: String! notes: [Note!] @inverse(of: "author") }
          type Note @entity { key: ID! text: String! author: Person remarks: [Remark!] @inverse(of: "note") }
          type Remark @entity { key: ID! text: String! note: Note }`,
        organizations: {
          alpha: {
            sql: `CREATE TABLE persons (key bigint PRIMARY KEY, name text NOT NULL); INSERT INTO persons VALUES (1, 'Ada'), (2, 'Bob');`,
            bindings: {
              Person: { table: 'main.public.persons' },
              Note: { table: 'archive.public.note', fields: { author: 'author_key' } },
              Remark: { table: 'archive.public.remark', fields: { note: 'note_key' } },
            },
            roles: {
              reader: { read: { Person: { fields: 'all' }, Note: { fields: 'all' }, Remark: { fields: 'all' } } },
              own: { read: { Person: { fields: 'all' }, Note: { fields: 'all', rows: { author: { name: { eq: 'Ada' } } } }, Remark: { fields: 'all' } } },
              stranger: {
                read: { Person: { fields: 'all' }, Note: { fields: 'all', rows: { not: { author: { name: { eq: 'Ada' } } } } }, Remark: { fields: 'all' } },
              },
              without: {
                read: { Person: { fields: 'all', rows: { notes: { none: { text: { eq: 'x' } } } } }, Note: { fields: 'all' }, Remark: { fields: 'all' } },
              },
              denied: {
                read: { Person: { fields: 'all' }, Note: { fields: 'all' }, Remark: { fields: 'all' } },
                deny: { Note: { fields: 'all', rows: { author: {} } } },
              },
            },
          },
        },
      },
      moreStores: { alpha: { archive: { kind: 'postgres', url: second.url(GATEWAY_ROLE) } } },
      beforeStart: async () => {
        await withClient(second.url(), async (client) => {
          await client.query(`CREATE TABLE note (key bigint PRIMARY KEY, text text NOT NULL, author_key bigint);
            CREATE TABLE remark (key bigint PRIMARY KEY, text text NOT NULL, note_key bigint REFERENCES note);
            INSERT INTO note VALUES (1, 'one', 1), (2, 'two', 2); INSERT INTO remark VALUES (5, 'a remark', 1);`)
          await grantReading(client)
        })
      },
    })
  }, 60_000)
  afterAll(async () => {
    await gateway.stop()
    await postgres.stop()
  })

  it('gives the types of both in one answer', async () => {
    const { json } = await gateway.ask(
      asker,
      '{ people { nodes { name } } notes { totalCount nodes { text remarks { nodes { text note { key } } } } } notesAggregate { groups { count } } }',
    )
    expect(json.errors).toBeUndefined()
    expect(json.data).toEqual({
      people: { nodes: [{ name: 'Ada' }, { name: 'Bob' }] },
      notes: {
        totalCount: 2,
        nodes: [
          { text: 'one', remarks: { nodes: [{ text: 'a remark', note: { key: '1' } }] } },
          { text: 'two', remarks: { nodes: [] } },
        ],
      },
      notesAggregate: { groups: [{ count: '2' }] },
    })
  })

  it('joins rows of one store with rows of the other', async () => {
    const { status, json } = await gateway.ask(asker, '{ notes { nodes { text author { name } } } people { nodes { name notes { totalCount } } } }')
    expect({ status, errors: json.errors }).toEqual({ status: 200, errors: undefined })
    expect(json.data.notes.nodes).toEqual([
      { text: 'one', author: { name: 'Ada' } },
      { text: 'two', author: { name: 'Bob' } },
    ])
    expect(json.data.people.nodes).toEqual([
      { name: 'Ada', notes: { totalCount: 1 } },
      { name: 'Bob', notes: { totalCount: 1 } },
    ])
  })

  it('gives the types of one while the other is down', async () => {
    const admin = await gateway.connect('postgres')
    await admin.query(`ALTER DATABASE ${gateway.database('alpha')} ALLOW_CONNECTIONS false`)
    await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [gateway.database('alpha')])
    try {
      const { json } = await gateway.ask(asker, '{ notes { totalCount } people { totalCount nodes { name } } }')
      expect(json.data).toEqual({ notes: { totalCount: 2 }, people: { totalCount: null, nodes: [] } })
      expect(json.extensions.sovereignty.failed).toEqual([{ organization: 'alpha', code: 'SOURCE_UNAVAILABLE' }])
    } finally {
      await admin.query(`ALTER DATABASE ${gateway.database('alpha')} ALLOW_CONNECTIONS true`)
    }
  })

  it.each([
    ['own', 'a condition'],
    ['stranger', 'its negation'],
    ['without', 'a quantifier that none may fit'],
    ['denied', 'a prohibition'],
  ])('shows %s nothing where policy looks into the other store by %s, for that is unknown', async (role) => {
    const document = '{ notes(organizations: ["alpha"]) { totalCount nodes { text } } people { totalCount } remarks { nodes { text } } }'
    const { status, json } = await gateway.ask({ organization: 'alpha', roles: [role] }, document)
    expect({ status, errors: json.errors }).toEqual({ status: 200, errors: undefined })
    const people = role === 'without' ? 0 : 2
    const notes = role === 'without' ? 2 : 0
    expect({ notes: json.data.notes.totalCount, people: json.data.people.totalCount }).toEqual({ notes, people })
    expect(json.data.remarks).toEqual({ nodes: [{ text: 'a remark' }] })
  })
})
