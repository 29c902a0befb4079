import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type pg from 'pg'
import type { AskOptions, TestAnswer, TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'
import type { TestPostgres } from '../support/postgres.js'
import { startTestPostgres } from '../support/postgres.js'
import type { Pools, Style } from './documents.js'
import { Documents, Printer, ROOTS } from './documents.js'
import { makeOracle, poolsOf } from './oracle.js'
import { SCRAMBLES } from './scramble.js'
import { printSeries, seriesOf } from './series.js'
import type { TypeName, Viewer } from './world.js'
import { decisionOf, lawsWorld, VIEWERS, WORLD_ROWS } from './world.js'
import { times } from '../support/times.js'

const SETTINGS = { limits: { cost: 5_000, deadline: '20s' }, audit: { timeout: '20s' } }

/** Two gateways over databases that differ only in what the viewer may not see. */
interface Pair {
  readonly viewer: Viewer
  readonly there: TestGateway
  readonly ledgers: readonly [pg.Client, pg.Client]
  readonly pools: Pools
}

let postgres: TestPostgres
let here: TestGateway
const pairs: Pair[] = []

beforeAll(async () => {
  postgres = await startTestPostgres({ max_connections: '300' })
  here = await startTestGateway({ world: lawsWorld(), postgres, gateway: SETTINGS })
  const oracle = await makeOracle(here)
  const ledger = await here.ledgerClient()
  for (const viewer of VIEWERS) {
    const scramble = SCRAMBLES[viewer.name]
    if (!scramble) throw new Error(`nothing is hidden from ${viewer.name}`)
    // Statements without names mean the same, too.
    const there = await startTestGateway({ world: lawsWorld(WORLD_ROWS, scramble), postgres, gateway: SETTINGS, store: { prepared: false } })
    pairs.push({ viewer, there, ledgers: [ledger, await there.ledgerClient()], pools: await poolsOf(oracle, viewer) })
  }
}, 120_000)
afterAll(async () => {
  await Promise.all(pairs.map(({ there }) => there.stop()))
  await here.stop()
  await postgres.stop()
})

interface Asked extends Omit<AskOptions, 'signal'> {
  readonly document: string
}

/** All that a client sees but what every answer has of its own. */
function seen({ status, headers, text }: TestAnswer): Record<string, unknown> {
  const own = text.replace(/"requestId":"[0-9a-f-]{36}"/, '').replace(/"receipt":\{[^}]*\}/, '')
  const kept = [...headers].filter(([name]) => !['date', 'x-request-id'].includes(name))
  return { status, text: own, headers: kept }
}

/** What the viewer's own ledger says, but for times, ids and salted digests. */
async function recorded(ledger: pg.Client, { json }: TestAnswer): Promise<unknown> {
  const receipt = json.extensions.sovereignty.receipt
  if (!receipt) return null
  const { rows } = await ledger.query<{ leaf: string }>('SELECT leaf FROM concordat.ledger_entries WHERE entry_id = $1 AND ledger = $2', [
    receipt.entry,
    receipt.ledger,
  ])
  const varying = new Set(['id', 'time', 'requestId', 'token', 'document', 'variables', 'contribution', 'predicate', 'durationMs'])
  return JSON.parse(rows[0]?.leaf ?? 'null', (key, value: unknown) => (varying.has(key) ? (value === null ? null : 'its own') : value))
}

async function check(pair: Pair, asked: Asked): Promise<TestAnswer> {
  const { viewer, there, ledgers } = pair
  const [a, b] = await Promise.all([here.request(viewer.claims, asked.document, asked), there.request(viewer.claims, asked.document, asked)])
  expect(seen(b)).toEqual(seen(a))
  expect(await recorded(ledgers[1], b)).toEqual(await recorded(ledgers[0], a))
  return a
}

const TYPES: readonly TypeName[] = ['Task', 'Task', 'Person', 'Project']
const ORGANIZATIONS = ['alpha', 'beta', 'gamma', 'delta', 'nobody'] as const

/** Owners that grant the type: most documents name these alone. */
function granting(viewer: Viewer, type: TypeName): readonly string[] {
  return Object.entries(viewer.decisions).flatMap(([organization, types]) => (types[type] === undefined ? [] : [organization]))
}

const asked = fc
  .record({
    pair: fc.nat({ max: VIEWERS.length - 1 }),
    type: fc.constantFrom(...TYPES),
    style: fc.constantFrom<Style>('literal', 'variable'),
    tame: fc.integer({ min: 0, max: 4 }).map((chance) => chance > 0),
    named: fc.option(fc.subarray([...ORGANIZATIONS]), { nil: undefined, freq: 1 }),
    exclude: fc.boolean(),
  })
  .chain((one) => {
    const pair = pairs[one.pair]
    if (!pair) throw new Error('every viewer has a pair')
    const owners = granting(pair.viewer, one.type)
    const organizations = one.tame ? one.named?.filter((name) => owners.includes(name)) : one.named
    const asking = organizations ?? owners
    const documents = new Documents(pair.pools, (type, field, how) => {
      if (!one.tame) return true
      return asking.every((organization) => {
        const decision = decisionOf(pair.viewer, organization, type, field)
        return decision === 'plain' || (decision === 'cell' && how !== 'measure') || (['generalize', 'pseudonym'].includes(decision) && how === 'equal')
      })
    })
    return fc
      .oneof(
        { weight: 3, arbitrary: documents.list(one.type, { nested: true }) },
        { weight: 2, arbitrary: documents.aggregate(one.type) },
        { weight: one.type === 'Task' ? 2 : 0, arbitrary: seriesOf(documents) },
      )
      .map((spec) => ({ one, pair, organizations, spec }))
  })

describe('two databases that differ only in what the caller may not see', () => {
  it('give the same status, headers, bodies, cursors and entries for random documents', async () => {
    const statuses = new Map<number, number>()
    const property = fc.asyncProperty(asked, async ({ one, pair, organizations, spec }) => {
      const printer = new Printer(one.style)
      const more = [['organizations', '[ID!]', organizations]] as const
      const root = ROOTS[one.type].many
      const selection =
        'range' in spec
          ? `taskSeries${printSeries(spec, printer, more)}`
          : 'groupBy' in spec
            ? `${root}Aggregate${printer.aggregate(spec, more)}`
            : `${root}${printer.list(spec, more)}`
      const operation = printer.operation(selection, one.exclude ? '@sovereignty(onForbidden: EXCLUDE)' : '')
      const answer = await check(pair, operation)
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
    })
    await fc.assert(property, { numRuns: times(80) })
    expect(statuses.get(200)).toBeGreaterThan(40)
    expect(statuses.get(403)).toBeGreaterThan(0)
    expect([...statuses.keys()].sort()).toEqual([200, 400, 403].filter((status) => statuses.has(status)))
  }, 240_000)

  it("give the same pages, and take each other's cursors", async () => {
    for (const pair of pairs) {
      let after: string | null = null
      do {
        const document = `query($after: String) { tasks(first: 7, after: $after, orderBy: [{ status: DESC }]) {
          edges { cursor node { id title owner { name tasks(first: 2) { edges { cursor node { key } } } } } } pageInfo { hasNextPage endCursor } } }`
        const { json } = await check(pair, { document, variables: { after } })
        expect(json.errors).toBeUndefined()
        after = json.data.tasks.pageInfo.hasNextPage ? (json.data.tasks.pageInfo.endCursor as string) : null
      } while (after !== null)
    }
  }, 60_000)

  it('give the same answers to whoever looks for what is hidden by its key', async () => {
    const { rows: hidden } = await (await here.ownerClient('alpha')).query<{ key: string }>('SELECT key::text FROM tasks')
    const keys = [...hidden.map(({ key }) => key), '5001', '-96', 'x']
    for (const pair of pairs) {
      const ids = ORGANIZATIONS.flatMap((organization) => keys.map((key) => Buffer.from(JSON.stringify(['Task', organization, key])).toString('base64url')))
      await check(pair, { document: 'query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Task { title owner { name } } } }', variables: { ids } })
      const lookups = keys.slice(0, 19).map((key, index) => `t${index}: task(key: "${key}", organization: "alpha") { id title project { name } }`)
      await check(pair, { document: `{ ${lookups.join(' ')} }` })
      for (const organization of ORGANIZATIONS) await check(pair, { document: `{ task(key: "5001", organization: "${organization}") { id } }` })
    }
  }, 60_000)

  it('give the same refusals', async () => {
    const documents: readonly Asked[] = [
      { document: '{ tasks { nodes { nothing } } }' },
      { document: '{ tasks {' },
      { document: '' },
      { document: '{ organizations { id name jurisdiction } }' },
      { document: '{ __typename }' },
      { document: '{ tasks(where: { meta: { contains: { secret: 1 } } }) { totalCount } }' },
      { document: '{ tasks(where: { note: { like: "%secret%" } }) { totalCount } }' },
      { document: '{ tasks(where: { note: { like: "secret\\\\" } }) { totalCount } }' },
      { document: '{ tasks(where: { effort: { gt: 1e300 } }) { totalCount } }' },
      { document: '{ tasks(orderBy: [{ budget: DESC }]) { nodes { key budget } } }' },
      { document: '{ tasks(first: 1001) { totalCount } }' },
      { document: '{ tasks(first: 1000) { nodes { owner { tasks(first: 100) { totalCount } } } } }' },
      { document: '{ tasks(after: "c1.AAAA") { totalCount } }' },
      { document: '{ tasks(organizations: ["delta"]) { totalCount } }' },
      { document: '{ tasks(organizations: ["nobody"]) { totalCount } }' },
      { document: '{ tasks(organizations: []) { totalCount nodes { key } } }' },
      { document: '{ projectsAggregate { groups { countDistinct { lead } } } }' },
      { document: '{ tasksAggregate { groups { sum { effort budget points } } } }' },
      ...['sum { effort points }', 'first { budget note }', 'percentile(p: 0.5) { priority }', 'rate { priority } last { title }'].map((measure) => ({
        document: `{ taskSeries(range: { from: "0001-01-01T00:00:00Z", to: "9999-01-01T00:00:00Z" }, bucket: "P1Y", fill: PREVIOUS, groupBy: [{ field: ORGANIZATION }]) { buckets { start count ${measure} } } }`,
      })),
      {
        document:
          '{ tasks { nodes { owner { taskSeries(range: { from: "2026-01-01T00:00:00Z", to: "2026-03-01T00:00:00Z" }, bucket: "P1D") { buckets { count } } } } } }',
      },
      { document: '{ tasksAggregate(organizations: ["beta"]) { groups { max { due effort budget } min { due effort } } } }' },
      { document: 'query($x: Int!) { tasks(first: $x) { totalCount } }', variables: { x: 'secret' } },
      { document: '{ tasks { totalCount } }', headers: { 'x-purpose': 'espionage' } },
      { document: '{ tasks { nodes { key } } }', path: '/explain' },
    ]
    for (const pair of pairs) for (const each of documents) await check(pair, each)
  }, 60_000)
})
