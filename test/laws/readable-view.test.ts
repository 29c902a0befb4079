import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type pg from 'pg'
import type { TestAnswer, TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'
import type { TestPostgres } from '../support/postgres.js'
import { startTestPostgres, withClient } from '../support/postgres.js'
import type { ListSpec, Pools, Style, Use, Where } from './documents.js'
import { Documents, Enum, Printer, ROOTS, usesOfAggregate, usesOfList } from './documents.js'
import type { ExpectedRow } from './oracle.js'
import { expectedGroups, expectedRows, globalId, makeOracle, poolsOf } from './oracle.js'
import { expectedSeries, hasPercentile, isByOrganization, printSeries, seriesOf, usesOfSeries } from './series.js'
import type { TypeName, Viewer } from './world.js'
import { isUsable } from './usable.js'
import { lawsWorld, VIEWERS } from './world.js'
import { times } from '../support/times.js'

const TYPES: readonly TypeName[] = ['Task', 'Task', 'Person', 'Project']

let postgres: TestPostgres
let gateway: TestGateway
let oracle: pg.Client
const pools = new Map<Viewer, Pools>()

/** Whatever is kept is soon displaced. */
const TINY = { operations: 2, plans: 1, statements: 1, principals: 1 } as const

async function open(rowSecurity: boolean): Promise<void> {
  gateway = await startTestGateway({
    world: lawsWorld(),
    postgres,
    rowSecurity,
    gateway: {
      limits: { cost: 1_000_000, deadline: '20s', conditions: 5_000, seriesBuckets: 100_000 },
      audit: { timeout: '20s' },
      ...(rowSecurity && { cache: TINY }),
    },
  })
  oracle = await makeOracle(gateway)
  for (const viewer of VIEWERS) pools.set(viewer, await poolsOf(oracle, viewer))
}

beforeAll(async () => {
  postgres = await startTestPostgres()
}, 60_000)
afterAll(() => postgres.stop())

interface Case {
  /** Its `toString` keeps reports short. */
  readonly viewer: Viewer
  readonly type: TypeName
  readonly style: Style
  /** Null: the document names nobody. */
  readonly organizations: readonly string[] | null
  readonly exclude: boolean
}

const cases: fc.Arbitrary<Case> = fc
  .record({
    viewer: fc.constantFrom(...VIEWERS),
    type: fc.constantFrom(...TYPES),
    style: fc.constantFrom<Style>('literal', 'variable'),
    chosen: fc.option(fc.subarray(['alpha', 'beta', 'gamma'], { minLength: 1 }), { nil: null }),
    exclude: fc.boolean(),
  })
  .map(({ chosen, ...rest }) => {
    const granted = grantedTo(rest.viewer, rest.type)
    const organizations = chosen?.filter((organization) => granted.includes(organization)) ?? null
    return { ...rest, organizations }
  })

function grantedTo(viewer: Viewer, type: TypeName): readonly string[] {
  return Object.entries(viewer.decisions).flatMap(([organization, types]) => (types[type] === undefined ? [] : [organization]))
}

function ownersOf({ viewer, type, organizations }: Case): readonly string[] {
  return organizations ?? grantedTo(viewer, type)
}

/** Documents that mostly touch what all owners of the case let be touched. */
function documentsOf(one: Case): fc.Arbitrary<Documents> {
  const known = pools.get(one.viewer)
  if (!known) throw new Error('every viewer has values')
  const tame = new Documents(known, (type, field, how) => ownersOf(one).every((organization) => isUsable(one.viewer, organization, { type, field, how })))
  return fc.oneof({ weight: 5, arbitrary: fc.constant(tame) }, { weight: 1, arbitrary: fc.constant(new Documents(known)) })
}

const ORGANIZATIONS = '[ID!]'

/** The owners that take part, or the answer that the document must get instead. */
function judged(one: Case, uses: readonly Use[]): { readonly owners: readonly string[]; readonly refused: readonly string[] } {
  const owners = ownersOf(one)
  const refused = owners.filter((organization) => !uses.every((use) => isUsable(one.viewer, organization, use)))
  return { owners: owners.filter((organization) => !refused.includes(organization)), refused }
}

function checkRefused(answer: TestAnswer, refused: readonly string[]): void {
  expect({ status: answer.status, data: answer.json.data, codes: answer.json.errors?.map(({ extensions }) => extensions.code) }).toEqual({
    status: 403,
    data: undefined,
    codes: ['FIELD_NOT_USABLE'],
  })
  expect(refused).toContain(answer.json.errors?.[0]?.extensions.organization)
}

function directive({ exclude }: Case): string {
  return exclude ? '@sovereignty(onForbidden: EXCLUDE)' : ''
}

/** The page of a list as the API shows it; cursors aside. */
function expectedPage(list: ListSpec, rows: readonly ExpectedRow[], defaultSize: number): Record<string, unknown> {
  const size = list.first ?? list.last ?? defaultSize
  const backward = list.last !== undefined
  const page = backward ? (size === 0 ? [] : rows.slice(-size)) : rows.slice(0, size)
  const more = rows.length > page.length
  return {
    totalCount: rows.length,
    nodes: page.map((row) => expectedNode(list, row)),
    pageInfo: { hasNextPage: !backward && more, hasPreviousPage: backward && more, startCursor: cursorMark(page), endCursor: cursorMark(page) },
  }
}

function cursorMark(page: readonly unknown[]): unknown {
  return page.length === 0 ? null : expect.stringMatching(/^c1\./)
}

function expectedNode(list: ListSpec, row: ExpectedRow): Record<string, unknown> {
  const nested = Object.entries(list.nested ?? {}).map(([name, inner]) => {
    const rows = row[name] as readonly ExpectedRow[] | null // the oracle gives nested lists whole
    return [name, rows === null ? null : expectedPage(inner, rows, 50)] as const
  })
  return { ...row, id: globalId(list.type, row.organization, row.key), ...Object.fromEntries(nested) }
}

describe.each([
  ['without row-level security', false],
  ['with row-level security and hardly any cache', true],
])('an answer equals that of the readable view built by hand, %s', (_what, rowSecurity) => {
  let answered = 0

  beforeAll(() => open(rowSecurity), 60_000)
  afterAll(() => gateway.stop())

  it('for lists: rows, values, order, counts, relations and nested lists', async () => {
    const property = fc.asyncProperty(
      cases.chain((one) => documentsOf(one).chain((documents) => documents.list(one.type, { nested: true }).map((list) => ({ one, list })))),
      async ({ one, list }) => {
        const printer = new Printer(one.style)
        const selection = `${ROOTS[one.type].many}${printer.list(list, [['organizations', ORGANIZATIONS, one.organizations ?? undefined]])}`
        const { document, variables } = printer.operation(selection, directive(one))
        const answer = await gateway.ask(one.viewer.claims, document, variables)
        const { owners, refused } = judged(one, usesOfList(list))
        if (refused.length > 0 && !one.exclude) {
          checkRefused(answer, refused)
          return
        }
        answered += 1
        expect({ status: answer.status, errors: answer.json.errors }).toEqual({ status: 200, errors: undefined })
        const rows = await expectedRows(oracle, one.viewer, list, owners)
        expect(answer.json.data).toEqual({ [ROOTS[one.type].many]: expectedPage(list, rows, 50) })
        expect(answer.json.extensions.sovereignty.leftOut).toEqual(refused.map((organization) => ({ organization, code: 'FIELD_NOT_USABLE' })))
      },
    )
    await fc.assert(property, { numRuns: times(30) })
    expect(answered).toBeGreaterThan(8)
  }, 120_000)

  it('for groups: keys, measures, having, order and first', async () => {
    let combined = 0
    const property = fc.asyncProperty(
      cases.chain((one) => documentsOf(one).chain((documents) => documents.aggregate(one.type).map((aggregate) => ({ one, aggregate })))),
      async ({ one, aggregate }) => {
        const root = `${ROOTS[one.type].many}Aggregate`
        const printer = new Printer(one.style)
        const selection = `${root}${printer.aggregate(aggregate, [['organizations', ORGANIZATIONS, one.organizations ?? undefined]])}`
        const { document, variables } = printer.operation(selection, directive(one))
        const answer = await gateway.ask(one.viewer.claims, document, variables)
        const { owners, refused } = judged(one, usesOfAggregate(aggregate))
        if (refused.length > 0 && !one.exclude) return checkRefused(answer, refused)
        if (owners.length > 1 && aggregate.measures['countDistinct'] && !aggregate.groupBy.some(({ field }) => field === 'organization')) {
          expect({ status: answer.status, codes: answer.json.errors?.map(({ extensions }) => extensions.code) }).toEqual({ status: 400, codes: ['NOT_EXACT'] })
          return
        }
        expect({ status: answer.status, errors: answer.json.errors }).toEqual({ status: 200, errors: undefined })
        if (owners.length > 1) combined += 1
        const groups = await expectedGroups(oracle, one.viewer, aggregate, owners)
        const shown = groups.slice(0, aggregate.first ?? 50).map(({ keys, ...rest }) => (aggregate.groupBy.length === 0 ? rest : { keys, ...rest }))
        expect(answer.json.data).toEqual({ [root]: { groups: shown } })
      },
    )
    await fc.assert(property, { numRuns: times(50) })
    expect(combined).toBeGreaterThan(5)
  }, 120_000)

  it('for series: buckets by the calendar of PostgreSQL, groups and measures', async () => {
    let combined = 0
    const tasks = cases.map((one): Case => {
      const granted = grantedTo(one.viewer, 'Task')
      return { ...one, type: 'Task', organizations: one.organizations?.filter((organization) => granted.includes(organization)) ?? null }
    })
    const property = fc.asyncProperty(
      tasks.chain((one) => documentsOf(one).chain((documents) => seriesOf(documents).map((series) => ({ one, series })))),
      async ({ one, series }) => {
        const printer = new Printer(one.style)
        const { document, variables } = printer.operation(
          `taskSeries${printSeries(series, printer, [['organizations', ORGANIZATIONS, one.organizations ?? undefined]])}`,
          directive(one),
        )
        const answer = await gateway.ask(one.viewer.claims, document, variables)
        const { owners, refused } = judged(one, usesOfSeries(series))
        if (refused.length > 0 && !one.exclude) return checkRefused(answer, refused)
        if (owners.length > 1 && hasPercentile(series) && !isByOrganization(series)) {
          expect({ status: answer.status, codes: answer.json.errors?.map(({ extensions }) => extensions.code) }).toEqual({ status: 400, codes: ['NOT_EXACT'] })
          return
        }
        expect({ status: answer.status, errors: answer.json.errors }).toEqual({ status: 200, errors: undefined })
        if (owners.length > 1) combined += 1
        expect(answer.json.data).toEqual({ taskSeries: await expectedSeries(oracle, one.viewer, series, owners) })
      },
    )
    await fc.assert(property, { numRuns: times(30) })
    expect(combined).toBeGreaterThan(0)
  }, 120_000)

  it('for series of nested lists, which are those of the list at the root', async () => {
    const property = fc.asyncProperty(
      cases.chain((one) => {
        const owners = grantedTo(one.viewer, 'Person').filter((organization) => grantedTo(one.viewer, 'Task').includes(organization))
        const home: Case = { ...one, type: 'Task', exclude: false, organizations: owners.slice(-1) }
        const usable = (type: TypeName, field: string, how: Use['how']): boolean =>
          ownersOf(home).every((organization) => isUsable(home.viewer, organization, { type, field, how }))
        return seriesOf(new Documents(pools.get(one.viewer) as Pools, usable)).map((series) => ({ one: home, series }))
      }),
      async ({ one, series }) => {
        const [organization = ''] = ownersOf(one)
        const nested = new Printer(one.style)
        const { document, variables } = nested.operation(
          `people(organizations: [${JSON.stringify(organization)}], first: 4) { nodes { id taskSeries${printSeries(series, nested)} } }`,
        )
        const inside = await gateway.ask(one.viewer.claims, document, variables)
        expect(inside.json.errors).toBeUndefined()
        const people = inside.json.data.people.nodes as { id: string; taskSeries: unknown }[]
        for (const { id, taskSeries } of people) {
          const where: Where = { and: [{ owner: { id: { eq: id } } }, series.where ?? {}] }
          expect(taskSeries).toEqual(await expectedSeries(oracle, one.viewer, { ...series, where }, [organization]))
        }
      },
    )
    await fc.assert(property, { numRuns: times(15) })
  }, 120_000)

  it('for groups of nested lists, which are those of the list at the root', async () => {
    const homes = cases.map((one): Case => {
      const owners = grantedTo(one.viewer, 'Person').filter((organization) => grantedTo(one.viewer, 'Task').includes(organization))
      return { ...one, type: 'Task', exclude: false, organizations: owners.slice(0, 1 + ((one.organizations?.length ?? 0) % owners.length)).slice(-1) }
    })
    const property = fc.asyncProperty(
      homes.chain((one) => {
        const usable = (type: TypeName, field: string, how: Use['how']): boolean =>
          ownersOf(one).every((organization) => isUsable(one.viewer, organization, { type, field, how }))
        return new Documents(pools.get(one.viewer) as Pools, usable).aggregate('Task').map((aggregate) => ({ one, aggregate }))
      }),
      async ({ one, aggregate }) => {
        const [organization = ''] = ownersOf(one)
        const nested = new Printer(one.style)
        const document = nested.operation(
          `people(organizations: [${JSON.stringify(organization)}], first: 4) { nodes { id tasksAggregate${nested.aggregate(aggregate)} } }`,
        )
        const inside = await gateway.ask(one.viewer.claims, document.document, document.variables)
        expect(inside.json.errors).toBeUndefined()
        const people = inside.json.data.people.nodes as { id: string; tasksAggregate: unknown }[]
        const roots = new Printer(one.style)
        const asked = people.map(({ id }, index) => {
          const where: Where = { and: [{ owner: { id: { eq: id } } }, aggregate.where ?? {}] }
          return `p${index}: tasksAggregate${roots.aggregate({ ...aggregate, where }, [['organizations', ORGANIZATIONS, [organization]]])}`
        })
        const root = roots.operation(asked.join(' '))
        const outside = await gateway.ask(one.viewer.claims, root.document, root.variables)
        expect(outside.json.errors).toBeUndefined()
        expect(people.map(({ tasksAggregate }) => tasksAggregate)).toEqual(people.map((_person, index) => outside.json.data[`p${index}`] as unknown))
      },
    )
    await fc.assert(property, { numRuns: times(15) })
  }, 120_000)

  it('page by page: all pages together are the whole, forward and backward', async () => {
    const property = fc.asyncProperty(
      cases.chain((one) => {
        const known = pools.get(one.viewer) ?? {}
        const tame = new Documents(known as Pools, (type, field, how) =>
          ownersOf(one).every((organization) => isUsable(one.viewer, organization, { type, field, how })),
        )
        const sparse = fc.option(tame.where(one.type), { nil: undefined, freq: 1 })
        const lists = fc.tuple(sparse, fc.array(tame.order(one.type), { maxLength: 2 })).map(([where, orderBy]): ListSpec => ({
          type: one.type,
          orderBy,
          ...(where && { where }),
        }))
        return fc.record({ one: fc.constant(one), list: lists, size: fc.integer({ min: 5, max: 20 }), backward: fc.boolean() })
      }),
      async ({ one, list, size, backward }) => {
        if (judged(one, usesOfList(list)).refused.length > 0) return
        const rows = await expectedRows(oracle, one.viewer, list, ownersOf(one))
        const whole = rows.map(({ organization, key }) => globalId(list.type, organization, key))
        const found: string[] = []
        let cursor: string | null = null
        for (let page = 0; page <= whole.length / size + 1; page++) {
          const more = await pageOf(one, list, { size, backward, cursor })
          const expected = backward
            ? whole.slice(Math.max(0, whole.length - found.length - size), whole.length - found.length)
            : whole.slice(found.length, found.length + size)
          expect(more.edges.map(({ node }) => node.id)).toEqual(expected)
          const hasMore = found.length + expected.length < whole.length
          expect(more.pageInfo).toEqual({
            hasNextPage: backward ? page > 0 : hasMore,
            hasPreviousPage: backward ? hasMore : page > 0,
            startCursor: more.edges[0]?.cursor ?? null,
            endCursor: more.edges.at(-1)?.cursor ?? null,
          })
          expect(more.totalCount).toBe(whole.length)
          found.push(...expected)
          cursor = backward ? more.pageInfo.startCursor : more.pageInfo.endCursor
          if (!hasMore) break
        }
        expect(found).toHaveLength(whole.length)
      },
    )
    await fc.assert(property, { numRuns: times(6) })
  }, 120_000)

  it('from every edge on, whatever the order and its nulls', async () => {
    for (const viewer of VIEWERS) {
      const one: Case = { viewer, type: 'Task', style: 'variable', organizations: null, exclude: false }
      const orderBy = [{ priority: new Enum('DESC_NULLS_LAST') }, { title: new Enum('ASC') }].filter(
        (order) => judged(one, usesOfList({ type: 'Task', orderBy: [order] })).refused.length === 0,
      )
      const list: ListSpec = { type: 'Task', orderBy }
      const whole = await pageOf(one, list, { size: 200, backward: false, cursor: null })
      for (const [index, { cursor }] of whole.edges.entries()) {
        const after = await pageOf(one, list, { size: 2, backward: false, cursor })
        expect(after.edges).toEqual(whole.edges.slice(index + 1, index + 3))
        const before = await pageOf(one, list, { size: 2, backward: true, cursor })
        expect(before.edges).toEqual(whole.edges.slice(Math.max(0, index - 2), index))
      }
    }
  }, 120_000)

  it('for nested pages, which go on from the row itself', async () => {
    for (const viewer of VIEWERS.filter((each) => grantedTo(each, 'Person').length > 0)) {
      const list: ListSpec = { type: 'Person', nested: { tasks: { type: 'Task', orderBy: [{ status: new Enum('ASC') }] } } }
      const rows = await expectedRows(oracle, viewer, list, grantedTo(viewer, 'Person'))
      const page = '{ edges { cursor node { key } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }'
      const { json } = await gateway.ask(viewer.claims, `{ people(first: 100) { nodes { id tasks(first: 2, orderBy: [{ status: ASC }]) ${page} } } }`)
      const further = `query($id: ID!, $after: String, $before: String) { node(id: $id) { ... on Person {
        next: tasks(first: 2, after: $after, orderBy: [{ status: ASC }]) ${page} previous: tasks(last: 2, before: $before, orderBy: [{ status: ASC }]) ${page} } } }`
      for (const [index, person] of rows.entries()) {
        const tasks = (person['tasks'] as readonly ExpectedRow[]).map(({ key }) => key)
        let shown = json.data.people.nodes[index].tasks as Page
        const id = json.data.people.nodes[index].id as string
        expect(id).toBe(globalId('Person', person.organization, person.key))
        for (let from = 0; ; from += 2) {
          expect(shown.edges.map(({ node }) => node.key)).toEqual(tasks.slice(from, from + 2))
          expect(shown.pageInfo).toMatchObject({ hasNextPage: from + 2 < tasks.length, hasPreviousPage: from > 0 })
          if (!shown.pageInfo.hasNextPage) break
          const answer = await gateway.ask(viewer.claims, further, { id, after: shown.pageInfo.endCursor, before: shown.pageInfo.startCursor })
          expect(answer.json.errors).toBeUndefined()
          expect(answer.json.data.node.previous.edges.map(({ node }: Edge) => node.key)).toEqual(tasks.slice(Math.max(0, from - 2), from))
          shown = answer.json.data.node.next as Page
        }
      }
    }
  }, 120_000)

  it('for rows by key and by id, and null for every other row that there is', async () => {
    const all = await allKeys()
    for (const viewer of VIEWERS) {
      for (const type of ['Task', 'Person', 'Project'] as const) {
        const list: ListSpec = { type, nested: {} }
        const owners = grantedTo(viewer, type)
        const rows = await expectedRows(oracle, viewer, list, owners)
        const visible = new Map(rows.map((row) => [globalId(type, row.organization, row.key), row]))
        const hidden = all.filter((each) => each.type === type).map(({ organization, key }) => globalId(type, organization, key))
        const ids = [...new Set([...hidden, ...visible.keys(), 'WyJUYXNrIl0', ''])]
        const selection = new Printer('literal').row(list)
        const { status, json } = await gateway.ask(viewer.claims, `query($ids: [ID!]!) { nodes(ids: $ids) { ... on ${type} { ${selection} } } }`, { ids })
        expect({ status, errors: json.errors }).toEqual({ status: 200, errors: undefined })
        expect(json.data.nodes).toEqual(ids.map((id) => (visible.has(id) ? expectedNode(list, visible.get(id) as ExpectedRow) : null)))
        const some = [...all.filter((each) => each.type === type && owners.includes(each.organization)).slice(0, 12), ...rows.slice(0, 4)]
        const lookups = some.map(
          ({ organization, key }, index) => `l${index}: ${ROOTS[type].one}(key: ${JSON.stringify(key)}, organization: ${JSON.stringify(organization)}) { id }`,
        )
        const looked = await gateway.ask(viewer.claims, `{ ${lookups.join(' ')} }`)
        expect(looked.json.errors).toBeUndefined()
        some.forEach(({ organization, key }, index) => {
          const id = globalId(type, organization, key)
          expect(looked.json.data[`l${index}`]).toEqual(visible.has(id) ? { id } : null)
        })
      }
    }
  }, 60_000)
})

interface Edge {
  readonly cursor: string
  readonly node: { readonly id: string; readonly key: string }
}
interface Page {
  readonly totalCount: number
  readonly edges: readonly Edge[]
  readonly pageInfo: {
    readonly hasNextPage: boolean
    readonly hasPreviousPage: boolean
    readonly startCursor: string | null
    readonly endCursor: string | null
  }
}

async function pageOf(
  one: Case,
  { type, where, orderBy }: ListSpec,
  { size, backward, cursor }: { readonly size: number; readonly backward: boolean; readonly cursor: string | null },
): Promise<Page> {
  const printer = new Printer(one.style)
  const root = ROOTS[type].many
  const given = printer.arguments([
    ['where', `${type}Where`, where],
    ['orderBy', `[${type}OrderBy!]`, orderBy],
    [backward ? 'last' : 'first', 'Int', size],
    [backward ? 'before' : 'after', 'String', cursor ?? undefined],
    ['organizations', ORGANIZATIONS, one.organizations ?? undefined],
  ])
  const { document, variables } = printer.operation(
    `${root}${given} { totalCount edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }`,
  )
  const { json } = await gateway.ask(one.viewer.claims, document, variables)
  expect(json.errors).toBeUndefined()
  return json.data[root] as Page
}

/** Keys of every row of every owner, hidden or not. */
async function allKeys(): Promise<readonly { readonly type: TypeName; readonly organization: string; readonly key: string }[]> {
  const tables = [
    ['alpha', 'Person', 'SELECT key::text FROM people'],
    ['alpha', 'Task', 'SELECT key::text FROM tasks'],
    ['alpha', 'Project', 'SELECT key::text FROM projects'],
    ['beta', 'Person', 'SELECT staff_id::text AS key FROM hr.staff'],
    ['beta', 'Task', 'SELECT job_no::text AS key FROM hr.jobs'],
    ['beta', 'Project', 'SELECT code AS key FROM hr.plans'],
    ['gamma', 'Person', 'SELECT key FROM person'],
    ['gamma', 'Task', 'SELECT key FROM task'],
    ['delta', 'Task', 'SELECT key::text FROM tasks'],
    ['delta', 'Person', 'SELECT key::text FROM people'],
  ] as const
  const keys = await Promise.all(
    tables.map(async ([organization, type, text]) => {
      const { rows } = await withClient(gateway.postgres.url(gateway.database(organization)), (client) => client.query<{ key: string }>(text))
      return rows.map(({ key }) => ({ type, organization, key }))
    }),
  )
  return keys.flat()
}
