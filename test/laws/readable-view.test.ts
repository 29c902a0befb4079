import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type pg from 'pg'
import type { TestAnswer, TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'
import type { ListSpec, Pools, Style, Use } from './documents.js'
import { Documents, Printer, ROOTS, usesOfAggregate, usesOfList } from './documents.js'
import type { ExpectedRow } from './oracle.js'
import { expectedGroups, expectedRows, globalId, makeOracle, poolsOf } from './oracle.js'
import type { TypeName, Viewer } from './world.js'
import { decisionOf, lawsWorld, VIEWERS } from './world.js'

const TYPES: readonly TypeName[] = ['Task', 'Task', 'Person', 'Project']

let gateway: TestGateway
let oracle: pg.Client
const pools = new Map<Viewer, Pools>()

beforeAll(async () => {
  gateway = await startTestGateway({ world: lawsWorld(), gateway: { limits: { cost: 1_000_000, deadline: '20s', conditions: 5_000 } } })
  oracle = await makeOracle(gateway)
  for (const viewer of VIEWERS) pools.set(viewer, await poolsOf(oracle, viewer))
}, 60_000)
afterAll(() => gateway.stop())

/** Section 2 of the semantics, once more: what each decision lets a document do. */
function isUsable(viewer: Viewer, organization: string, { type, field, how }: Use): boolean {
  switch (decisionOf(viewer, organization, type, field)) {
    case 'plain':
      return true
    case 'cell':
      return how !== 'measure'
    case 'generalize':
      return ['equal', 'range', 'order', 'group', 'countDistinct'].includes(how)
    case 'pseudonym':
      return ['equal', 'group', 'countDistinct'].includes(how)
    case 'absent':
    case 'null':
    case 'constant':
    case 'redact':
      return false
  }
}

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

describe('an answer equals that of the readable view built by hand', () => {
  let answered = 0
  let refusals = 0

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
          refusals += 1
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
    await fc.assert(property, { numRuns: 300 })
    expect(answered).toBeGreaterThan(150)
    expect(refusals).toBeGreaterThan(5)
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
    await fc.assert(property, { numRuns: 250 })
    expect(combined).toBeGreaterThan(50)
  }, 120_000)
})
