/**
 * Real input: the Chinook sample, which nobody here wrote, is introspected and served. First as `introspect` leaves it; then split over three organizations by
 * the country of their customers, with the contract that `introspect` wrote. The answers are those of SQL, written by hand, on the undivided database.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { main } from '../../src/cli/concordat.js'
import { loadConfig } from '../../src/config.js'
import { startGateway } from '../../src/main.js'
import { chinookSql, loadChinook } from '../support/chinook.js'
import type { TestGateway } from '../support/gateway.js'
import { agreementOf, startTestGateway } from '../support/gateway.js'
import type { TestPostgres } from '../support/postgres.js'
import { startTestPostgres, withClient } from '../support/postgres.js'

let postgres: TestPostgres
let folder: string
let whole: string
let contract: string
beforeAll(async () => {
  postgres = await startTestPostgres()
  folder = await mkdtemp(join(tmpdir(), 'concordat-chinook-'))
  whole = (await postgres.createDatabase()).url()
  await loadChinook(whole)
  await command('introspect', whole, '--organization', 'chinook', '--out', join(folder, 'out'))
  contract = await readFile(join(folder, 'out/schema/contract.graphql'), 'utf8')
}, 60_000)
afterAll(async () => {
  await postgres.stop()
  await rm(folder, { recursive: true, force: true })
})

/** What `concordat` prints; it must end with 0. */
async function command(...args: readonly string[]): Promise<string> {
  let output = ''
  const write = (text: string): void => void (output += text)
  const code = await main(args, { write, writeError: write, environment: {}, onStop: () => () => undefined })
  expect({ code, output }).toMatchObject({ code: 0 })
  return output
}

/** Rows of a query on the undivided database, every value as text or null. */
async function rows(sql: string): Promise<readonly Readonly<Record<string, string | null>>[]> {
  return withClient(whole, async (client) => (await client.query<Record<string, string | null>>(sql)).rows)
}

describe('a database that was introspected', () => {
  it('is checked, and served as `introspect` leaves it, to the token that its configuration names', async () => {
    const file = join(folder, 'out/concordat.yaml')
    const text = await readFile(file, 'utf8')
    // The port may be taken where the test runs; nothing else is changed.
    await writeFile(file, text.replace('listen: 127.0.0.1:4000\n', 'listen: 127.0.0.1:0\n'))
    expect(await command('check', '--config', file)).toMatch(/^chinook: fits/)
    const gateway = await startGateway({ config: loadConfig(file, {}), demo: null, writeLog: () => undefined })
    try {
      const [, line = ''] = /^# {3}concordat (token .*)$/m.exec(text) ?? []
      const token = await command(...line.replace('--key ', `--key ${join(folder, 'out')}/`).split(' '))
      const query = '{ employees(orderBy: [{ lastName: ASC }]) { totalCount nodes { organization firstName reportsTo { lastName } } } }'
      const response = await fetch(`${gateway.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token.trim()}` },
        body: JSON.stringify({ query }),
      })
      const people = await rows(
        'SELECT e.first_name, b.last_name FROM employee e LEFT JOIN employee b ON b.employee_id = e.reports_to ORDER BY e.last_name COLLATE "C", e.employee_id',
      )
      expect(await response.json()).toMatchObject({
        data: {
          employees: {
            totalCount: people.length,
            nodes: people.map(({ first_name, last_name }) => ({
              organization: 'chinook',
              firstName: first_name,
              reportsTo: last_name === null ? null : { lastName: last_name },
            })),
          },
        },
      })
    } finally {
      await gateway.stop()
    }
  }, 60_000)
})

const AMERICA = `('Canada', 'USA')`
const EUROPE = `('Austria', 'Belgium', 'Czech Republic', 'Denmark', 'Finland', 'France', 'Germany', 'Hungary', 'Ireland', 'Italy', 'Netherlands', 'Norway', 'Poland', 'Portugal', 'Spain', 'Sweden', 'United Kingdom')`

/** The organization that owns a customer of the undivided database. */
const OWNER = `CASE WHEN c.country IN ${EUROPE} THEN 'aurora' WHEN c.country IN ${AMERICA} THEN 'borealis' ELSE 'cascade' END`

/** Everything, but of customers and their invoices only those that this organization owns. */
function part(organization: string): string {
  return `${chinookSql()}
    CREATE TEMPORARY TABLE others AS SELECT c.customer_id FROM customer c WHERE ${OWNER} <> '${organization}';
    DELETE FROM invoice_line l USING invoice i, others o WHERE i.invoice_id = l.invoice_id AND i.customer_id = o.customer_id;
    DELETE FROM invoice i USING others o WHERE i.customer_id = o.customer_id;
    DELETE FROM customer c USING others o WHERE c.customer_id = o.customer_id;`
}

const TYPES = ['Album', 'Artist', 'Customer', 'Employee', 'Genre', 'Invoice', 'InvoiceLine', 'MediaType', 'Playlist', 'PlaylistTrack', 'Track']
const ANA = { organization: 'aurora', roles: ['everything'] }

describe('Chinook, split over three organizations by the country of customers', () => {
  let gateway: TestGateway
  beforeAll(async () => {
    const everything = { read: Object.fromEntries(TYPES.map((type) => [type, { fields: 'all' }])), crossOrganization: ['testing'] }
    gateway = await startTestGateway({
      postgres,
      world: {
        contract,
        organizations: {
          aurora: { sql: part('aurora'), roles: { everything } },
          borealis: { sql: part('borealis') },
          cascade: { sql: part('cascade') },
        },
        agreements: ['borealis', 'cascade'].map((grantor) =>
          agreementOf(grantor, 'aurora', Object.fromEntries(TYPES.map((type) => [type, { allow: fieldsOf(type) }]))),
        ),
      },
      gateway: { limits: { deadline: '20s' } },
    })
  }, 120_000)
  afterAll(() => gateway.stop())

  /** Names of the fields of a type in the contract that was written. */
  function fieldsOf(type: string): readonly string[] {
    const [, body = ''] = new RegExp(`^type ${type} [^{]*{\n([^}]*)}`, 'm').exec(contract) ?? []
    return [...body.matchAll(/^ {2}(\w+):/gm)].map(([, name = '']) => name)
  }

  async function data(document: string, variables: Readonly<Record<string, unknown>> = {}) {
    const { json } = await gateway.ask(ANA, document, variables)
    expect(json.errors).toBeUndefined()
    return json.data
  }

  it('gives all customers once, in one order, page by page', async () => {
    const expected = await rows(`SELECT ${OWNER} AS organization, c.first_name, c.last_name, c.customer_id::text FROM customer c
      ORDER BY c.country COLLATE "C" DESC, c.last_name COLLATE "C", 1, c.customer_id`)
    const seen: Record<string, string>[] = []
    let after: string | null = null
    do {
      const { customers } = await data(
        `query Page($after: String) { customers(first: 7, after: $after, orderBy: [{ country: DESC }, { lastName: ASC }]) {
          totalCount nodes { organization firstName lastName customerId } pageInfo { hasNextPage endCursor } } }`,
        { after },
      )
      expect(customers.totalCount).toBe(59)
      seen.push(...customers.nodes)
      after = customers.pageInfo.hasNextPage ? customers.pageInfo.endCursor : null
    } while (after !== null && seen.length < 100)
    expect(seen.map((row) => [row.organization, row.firstName, row.lastName, String(row.customerId)])).toEqual(
      expected.map((row) => [row.organization, row.first_name, row.last_name, row.customer_id]),
    )
  })

  it('finds who bought jazz, through four relations', async () => {
    const expected = await rows(`SELECT ${OWNER} AS organization, c.email FROM customer c WHERE EXISTS (
      SELECT FROM invoice i JOIN invoice_line l USING (invoice_id) JOIN track t USING (track_id) JOIN genre g USING (genre_id) WHERE i.customer_id = c.customer_id AND g.name = 'Jazz')
      ORDER BY c.email COLLATE "C"`)
    const { customers } =
      await data(`{ customers(first: 100, orderBy: [{ email: ASC }], where: { invoices: { some: { invoiceLines: { some: { track: { genre: { name: { eq: "Jazz" } } } } } } } }) {
      nodes { organization email } } }`)
    expect(expected.length).toBeGreaterThan(10)
    expect(customers.nodes).toEqual(expected)
  })

  it('shows the two dearest invoices of each Brazilian, down to the artists', async () => {
    const expected =
      await rows(`SELECT c.last_name, i.total::text AS total, to_char(i.invoice_date, 'YYYY-MM-DD"T"HH24:MI:SS') AS date, t.name AS track, a.name AS artist
      FROM customer c CROSS JOIN LATERAL (SELECT * FROM invoice WHERE customer_id = c.customer_id ORDER BY total DESC, invoice_id LIMIT 2) i
      CROSS JOIN LATERAL (SELECT * FROM invoice_line WHERE invoice_id = i.invoice_id ORDER BY invoice_line_id LIMIT 3) l
      JOIN track t USING (track_id) JOIN album al USING (album_id) JOIN artist a USING (artist_id)
      WHERE c.country = 'Brazil' ORDER BY c.last_name COLLATE "C", i.total DESC, i.invoice_id, l.invoice_line_id`)
    const { customers } = await data(`{ customers(where: { country: { eq: "Brazil" } }, orderBy: [{ lastName: ASC }]) { nodes { lastName
      invoices(first: 2, orderBy: [{ total: DESC }]) { nodes { total invoiceDate
        invoiceLines(first: 3) { nodes { track { name album { artist { name } } } } } } } } } }`)
    interface Line {
      readonly track: { readonly name: string; readonly album: { readonly artist: { readonly name: string } } }
    }
    interface Invoice {
      readonly total: string
      readonly invoiceDate: string
      readonly invoiceLines: { readonly nodes: readonly Line[] }
    }
    const people: readonly { readonly lastName: string; readonly invoices: { readonly nodes: readonly Invoice[] } }[] = customers.nodes
    const flat = people.flatMap(({ lastName, invoices }) =>
      invoices.nodes.flatMap(({ total, invoiceDate, invoiceLines }) =>
        invoiceLines.nodes.map(({ track }) => ({ last_name: lastName, total, date: invoiceDate, track: track.name, artist: track.album.artist.name })),
      ),
    )
    expect(flat).toEqual(expected)
  })

  it('adds up sales over all owners, exactly', async () => {
    const [all] = await rows(
      `SELECT count(*)::text AS count, sum(total)::text AS sum, trim_scale(round(avg(total), 16))::text AS avg, min(total)::text AS min, max(total)::text AS max FROM invoice`,
    )
    const answer = await data('{ invoicesAggregate { groups { count sum { total } avg { total } min { total invoiceDate } max { total } } } }')
    const [group] = answer.invoicesAggregate.groups
    expect({ count: group.count, sum: group.sum.total, min: group.min.total, max: group.max.total }).toEqual({
      count: all?.count,
      sum: all?.sum,
      min: all?.min,
      max: all?.max,
    })
    expect(Number(group.avg.total)).toBeCloseTo(Number(all?.avg), 12)
  })

  it('groups by country and by month, with conditions and orders on groups', async () => {
    const countries =
      await rows(`SELECT billing_country AS country, count(*)::text AS count, sum(total)::text AS sum FROM invoice GROUP BY 1 HAVING count(*) > 7
      ORDER BY sum(total) DESC, billing_country COLLATE "C" LIMIT 6`)
    const months = await rows(
      `SELECT to_char(date_trunc('quarter', invoice_date), 'YYYY-MM-DD"T"HH24:MI:SS') AS quarter, sum(total)::text AS sum FROM invoice GROUP BY 1 ORDER BY 1`,
    )
    const owners = await rows(`SELECT ${OWNER} AS organization, count(*)::text AS count FROM customer c GROUP BY 1 ORDER BY 1`)
    const answer = await data(`{
      countries: invoicesAggregate(groupBy: [{ field: BILLING_COUNTRY }], having: { count: { gt: "7" } }, orderBy: [{ sum: { total: DESC } }], first: 6) { groups { keys { billingCountry } count sum { total } } }
      quarters: invoicesAggregate(groupBy: [{ field: INVOICE_DATE, unit: QUARTER }], first: 100) { groups { keys { invoiceDate } sum { total } } }
      owners: customersAggregate(groupBy: [{ field: ORGANIZATION }]) { groups { keys { organization } count } }
    }`)
    type Groups = { readonly groups: readonly { readonly keys: Record<string, string>; readonly count: string; readonly sum: { readonly total: string } }[] }
    const groups: { readonly countries: Groups; readonly quarters: Groups; readonly owners: Groups } = answer
    expect(groups.countries.groups.map(({ keys, count, sum }) => ({ country: keys.billingCountry, count, sum: sum.total }))).toEqual(countries)
    expect(groups.quarters.groups.map(({ keys, sum }) => ({ quarter: keys.invoiceDate, sum: sum.total }))).toEqual(months)
    expect(groups.owners.groups.map(({ keys, count }) => ({ organization: keys.organization, count }))).toEqual(owners)
  })

  it('looks up a row by a composite key, and by its global id', async () => {
    const [expected] = await rows(
      `SELECT t.name AS track, p.name AS playlist FROM playlist_track JOIN track t USING (track_id) JOIN playlist p USING (playlist_id) WHERE playlist_id = 1 AND track_id = 3402`,
    )
    const { playlistTrack } = await data(
      '{ playlistTrack(playlistId: 1, trackId: 3402, organization: "cascade") { id organization track { name } playlist { name } } }',
    )
    expect(playlistTrack).toMatchObject({ organization: 'cascade', track: { name: expected?.track }, playlist: { name: expected?.playlist } })
    const { node } = await data('query Again($id: ID!) { node(id: $id) { id ... on PlaylistTrack { trackId } } }', { id: playlistTrack.id })
    expect(node).toEqual({ id: playlistTrack.id, trackId: 3402 })
    const { nodes } = await data('query All($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids: ['nothing', playlistTrack.id, playlistTrack.id] })
    expect(nodes).toEqual([null, { id: playlistTrack.id }, { id: playlistTrack.id }])
    expect((await data('{ playlistTrack(playlistId: 1, trackId: 999999, organization: "aurora") { id } }')).playlistTrack).toBeNull()
  })

  it('follows a relation of a table to itself, both ways, within one owner', async () => {
    const expected = await rows(
      `SELECT b.last_name AS boss, e.last_name AS report FROM employee b JOIN employee e ON e.reports_to = b.employee_id ORDER BY b.last_name COLLATE "C", e.last_name COLLATE "C"`,
    )
    const { employees } = await data(`{ employees(organizations: ["aurora"], where: { employeesByReportsTo: { some: {} } }, orderBy: [{ lastName: ASC }]) {
      nodes { lastName employeesByReportsTo(orderBy: [{ lastName: ASC }]) { nodes { lastName reportsTo { lastName } } } } } }`)
    interface Boss {
      readonly lastName: string
      readonly employeesByReportsTo: { readonly nodes: readonly { readonly lastName: string; readonly reportsTo: { readonly lastName: string } }[] }
    }
    const bosses: readonly Boss[] = employees.nodes
    expect(
      bosses.flatMap(({ lastName, employeesByReportsTo }) => employeesByReportsTo.nodes.map((report) => ({ boss: lastName, report: report.lastName }))),
    ).toEqual(expected)
    expect(bosses.every(({ lastName, employeesByReportsTo }) => employeesByReportsTo.nodes.every(({ reportsTo }) => reportsTo.lastName === lastName))).toBe(
      true,
    )
  })

  it('matches texts as they are written, whatever they hold', async () => {
    const expected = await rows(`SELECT name FROM track WHERE name LIKE '%''%' AND milliseconds > 400000 ORDER BY name COLLATE "C", track_id`)
    const { tracks } = await data(
      `{ tracks(organizations: ["aurora"], first: 100, where: { name: { contains: "'" }, milliseconds: { gt: 400000 } }, orderBy: [{ name: ASC }]) { nodes { name } } }`,
    )
    expect(expected.length).toBeGreaterThan(5)
    expect(tracks.nodes).toEqual(expected)
    const accents = await rows(`SELECT c.city FROM customer c WHERE c.city ILIKE 's_o%' ORDER BY c.city COLLATE "C", ${OWNER}, c.customer_id`)
    expect((await data('{ customers(where: { city: { ilike: "s_o%" } }, orderBy: [{ city: ASC }]) { nodes { city } } }')).customers.nodes).toEqual(accents)
  })
})
