import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { TestClaims, TestGateway } from '../support/gateway.js'
import { agreementOf, startTestGateway } from '../support/gateway.js'

const asker: TestClaims = { organization: 'alpha', roles: ['reader'] }
const sql = `
  CREATE TABLE flight (carrier text, number integer, day date, name text NOT NULL, PRIMARY KEY (carrier, number, day));
  CREATE TABLE seat (flight_carrier text, flight_number integer, flight_day date, label text, price numeric, PRIMARY KEY (flight_carrier, flight_number, flight_day, label));
  INSERT INTO flight SELECT c, n, DATE '2026-01-01' + d, c || n || '/' || d FROM unnest(ARRAY['Z', 'a"b', '😀']) AS c, generate_series(9, 11) AS n, generate_series(0, 1) AS d;
  INSERT INTO seat SELECT carrier, number, day, l, number FROM flight, unnest(ARRAY['A', 'B']) AS l WHERE number <> 10;`

/** Rows are told by several values; a relation to them has as many columns. */
const CONTRACT = `
  type Flight @entity(key: ["carrier", "number", "day"]) { carrier: String! number: Int! day: Date! name: String! seats: [Seat!] @inverse(of: "flight") }
  type Seat @entity(key: ["carrier", "number", "day", "label"]) { carrier: String! number: Int! day: Date! label: ID! price: Decimal flight: Flight }`

const bindings = {
  Flight: { table: 'flight' },
  Seat: {
    table: 'seat',
    fields: { carrier: 'flight_carrier', number: 'flight_number', day: 'flight_day', flight: { columns: ['flight_carrier', 'flight_number', 'flight_day'] } },
  },
}

describe('keys of several fields', () => {
  let gateway: TestGateway

  beforeAll(async () => {
    gateway = await startTestGateway({
      world: {
        contract: CONTRACT,
        organizations: {
          alpha: { sql, bindings, roles: { reader: { read: { Flight: { fields: 'all' }, Seat: { fields: 'all' } }, crossOrganization: ['testing'] } } },
          beta: { sql, bindings },
        },
        agreements: [
          agreementOf('beta', 'alpha', {
            Flight: { rows: { number: { ne: 11 } }, allow: ['carrier', 'number', 'day', 'name', 'seats'] },
            Seat: { allow: ['carrier', 'number', 'day', 'label', 'flight'] },
          }),
        ],
      },
    })
  }, 60_000)
  afterAll(() => gateway.stop())

  it('page through owners without loss, in the order of the key', async () => {
    const whole = await gateway.ask(asker, '{ flights(first: 100) { totalCount nodes { id organization carrier number day } } }')
    expect(whole.json.errors).toBeUndefined()
    const nodes = whole.json.data.flights.nodes as { id: string; organization: string; carrier: string; number: number; day: string }[]
    const keys = (organization: string, numbers: readonly number[]) =>
      ['Z', 'a"b', '😀'].flatMap((carrier) => numbers.flatMap((number) => ['2026-01-01', '2026-01-02'].map((day) => ({ organization, carrier, number, day }))))
    expect(nodes.map(({ id: _id, ...rest }) => rest)).toEqual([...keys('alpha', [9, 10, 11]), ...keys('beta', [9, 10])])
    for (const [page, cursor] of [
      ['first: 4, after', 'endCursor'],
      ['last: 4, before', 'startCursor'],
    ] as const) {
      const found: string[] = []
      let at: string | null = null
      do {
        const { json } = await gateway.ask(
          asker,
          `query($at: String) { flights(orderBy: [{ number: DESC }], ${page}: $at) { nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`,
          { at },
        )
        const ids = (json.data.flights.nodes as { id: string }[]).map(({ id }) => id)
        if (cursor === 'endCursor') found.push(...ids)
        else found.unshift(...ids)
        const { pageInfo } = json.data.flights
        at = (cursor === 'endCursor' ? pageInfo.hasNextPage : pageInfo.hasPreviousPage) ? (pageInfo[cursor] as string) : null
      } while (at !== null)
      const expected = [...nodes].sort((a, b) => b.number - a.number || nodes.indexOf(a) - nodes.indexOf(b)).map(({ id }) => id)
      expect(found).toEqual(expected)
    }
  })

  it('find rows by key, by id and by relation', async () => {
    const { json } = await gateway.ask(
      asker,
      `{ flight(carrier: "a\\"b", number: 9, day: "2026-01-02", organization: "beta") { id name seats { totalCount nodes { label flight { name } } } }
        hidden: flight(carrier: "Z", number: 11, day: "2026-01-01", organization: "beta") { id }
        none: flight(carrier: "Z", number: 12, day: "2026-01-01", organization: "alpha") { id }
        seat(carrier: "Z", number: 11, day: "2026-01-01", label: "A", organization: "beta") { id flight { name } } }`,
    )
    expect(json.errors).toBeUndefined()
    const { flight, hidden, none, seat } = json.data
    expect(flight).toMatchObject({
      name: 'a"b9/1',
      seats: {
        totalCount: 2,
        nodes: [
          { label: 'A', flight: { name: 'a"b9/1' } },
          { label: 'B', flight: { name: 'a"b9/1' } },
        ],
      },
    })
    expect({ hidden, none, seatOfHidden: seat.flight }).toEqual({ hidden: null, none: null, seatOfHidden: null })
    const ids = [
      flight.id,
      seat.id,
      Buffer.from('["Flight","beta","Z","9"]').toString('base64url'),
      Buffer.from('["Flight","beta","Z","09","2026-01-01"]').toString('base64url'),
    ]
    const nodes = await gateway.ask(asker, 'query($ids: [ID!]!) { nodes(ids: $ids) { ... on Flight { name } ... on Seat { label } } }', { ids })
    expect(nodes.json.data.nodes).toEqual([{ name: 'a"b9/1' }, { label: 'A' }, null, null])
    const without = await gateway.ask(
      asker,
      '{ flights(where: { seats: { none: {} } }) { totalCount } seats(where: { flight: { number: { eq: 9 } } }, organizations: ["beta"]) { totalCount } }',
    )
    expect(without.json.data).toEqual({ flights: { totalCount: 12 }, seats: { totalCount: 12 } })
    const notIt = await gateway.ask(asker, 'query($id: ID!) { flights(where: { not: { id: { eq: $id } } }) { totalCount } }', { id: flight.id })
    expect(notIt.json.data.flights.totalCount).toBe(29)
  })
})
