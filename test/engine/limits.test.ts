import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { setTimeout as delay } from 'node:timers/promises'
import { lawsWorld } from '../laws/world.js'
import type { TestAnswer, TestClaims, TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'

const chief: TestClaims = { organization: 'alpha', roles: ['chief'] }

let gateway: TestGateway

beforeAll(async () => {
  gateway = await startTestGateway({
    world: lawsWorld(),
    gateway: {
      limits: {
        body: '8KiB',
        document: '2KiB',
        tokens: 200,
        depth: 12,
        nesting: 20,
        operations: 3,
        fields: 40,
        aliases: 5,
        directives: 4,
        fragments: 3,
        rootFields: 4,
        expandedFields: 50,
        pageRows: 60,
        nestedRows: 10,
        conditions: 20,
        listValues: 12,
        cost: 700,
        answer: '4KiB',
        groups: 5,
        concurrent: 6,
        concurrentPerPrincipal: 3,
        deadline: '1s',
      },
    },
  })
}, 60_000)
afterAll(() => gateway.stop())

function outcome({ status, json }: TestAnswer): { readonly status: number; readonly code: string | null; readonly data: boolean } {
  return { status, code: json.errors?.[0]?.extensions.code ?? null, data: json.data !== undefined }
}

const OK = { status: 200, code: null, data: true }
const COSTLY = { status: 400, code: 'QUERY_TOO_COSTLY', data: false }
const BAD_INPUT = { status: 400, code: 'BAD_USER_INPUT', data: false }
const times = (count: number, text: (index: number) => string): string => Array.from({ length: count }, (_unused, index) => text(index)).join(' ')

/** The last document that is taken, and the first that is not. */
const DOCUMENTS: readonly (readonly [what: string, good: string, bad: string, expected: object])[] = [
  ['bytes of a document', `{ __typename } #${'x'.repeat(2_048 - 16)}`, `{ __typename } #${'x'.repeat(2_048 - 15)}`, COSTLY],
  [
    'tokens',
    `{ tasks(where: { priority: { in: [${times(12, () => '1')}] } }, organizations: []) { totalCount } }`,
    `{ ${times(180, () => '__typename')} a: tasks(first: 1) { nodes { key } totalCount pageInfo { hasNextPage hasPreviousPage endCursor startCursor } } }`,
    COSTLY,
  ],
  [
    'brackets within each other',
    '{ people(first: 1) { nodes { tasks(where: { not: { not: { priority: { in: [1] } } } }) { totalCount } } } }',
    `{ tasks(where: { ${'not: { '.repeat(11)} ${'} '.repeat(11)} }) { totalCount } }`,
    COSTLY,
  ],
  [
    'operations',
    'query A { __typename } query B { __typename } query C { __typename }',
    'query A { __typename } query B { __typename } query C { __typename } query D { __typename }',
    COSTLY,
  ],
  ['aliases', `{ ${times(4, (index) => `a${index}: __typename`)} }`, `{ tasks(first: 1) { ${times(6, (index) => `a${index}: totalCount`)} } }`, COSTLY],
  [
    'directives',
    `{ tasks(first: 1) { ${times(4, () => 'totalCount @include(if: true)')} } }`,
    `{ tasks(first: 1) { ${times(5, () => 'totalCount @include(if: true)')} } }`,
    COSTLY,
  ],
  [
    'fragments',
    `{ tasks(first: 1) { ...F0 ...F1 ...F2 } } ${times(3, (index) => `fragment F${index} on TaskConnection { totalCount }`)}`,
    `{ tasks(first: 1) { ...F0 ...F1 ...F2 ...F3 } } ${times(4, (index) => `fragment F${index} on TaskConnection { totalCount }`)}`,
    COSTLY,
  ],
  ['fields', `{ tasks(first: 1) { nodes { ${times(38, () => 'key')} } } }`, `{ tasks(first: 1) { nodes { ${times(39, () => 'key')} } } }`, COSTLY],
  ['root fields', `{ ${times(4, (index) => `a${index}: __typename`)} }`, `{ ${times(5, (index) => `a${index}: __typename`)} }`, COSTLY],
  [
    'fields with fragments in place',
    `{ tasks(first: 1) { nodes { ...F ...F } } } fragment F on Task { ${times(20, () => 'key')} }`,
    `{ tasks(first: 1) { nodes { ...F ...F ...F } } } fragment F on Task { ${times(20, () => 'key')} }`,
    COSTLY,
  ],
  [
    'rows of a page',
    '{ tasks(first: 60, organizations: ["gamma"]) { nodes { key } } }',
    '{ tasks(first: 61, organizations: ["gamma"]) { nodes { key } } }',
    BAD_INPUT,
  ],
  [
    'rows of a nested page',
    '{ people(first: 2) { nodes { tasks(last: 10) { nodes { key } } } } }',
    '{ people(first: 2) { nodes { tasks(last: 11) { nodes { key } } } } }',
    BAD_INPUT,
  ],
  [
    'conditions',
    `{ tasks(where: { and: [${times(9, () => '{ priority: { gt: 1 } }')}] }) { totalCount } }`,
    `{ tasks(where: { and: [${times(21, () => '{ priority: { gt: 1 } }')}] }) { totalCount } }`,
    COSTLY,
  ],
  [
    'conditions on relations',
    '{ tasks(where: { owner: { team: { eq: "x" } } }) { totalCount } }',
    `{ tasks(where: { or: [${times(4, () => '{ owner: { team: { eq: "x" } } }')}] }) { totalCount } }`,
    COSTLY,
  ],
  [
    'cost of nested rows',
    '{ people(first: 50) { nodes { tasks(first: 10) { nodes { key } } } } }',
    '{ people(first: 60) { nodes { key tasks(first: 10) { nodes { owner { key } } } } } }',
    COSTLY,
  ],
  [
    'cost of counts',
    '{ people(first: 10) { nodes { tasks(first: 1) { totalCount } } } }',
    '{ people(first: 60) { nodes { tasks(first: 1) { totalCount } } } }',
    COSTLY,
  ],
  ['bytes of an answer', '{ tasks(first: 10) { nodes { key } } }', '{ tasks(first: 60) { nodes { key title createdAt status points budget } } }', COSTLY],
  [
    'groups of an owner that are combined with others',
    '{ tasksAggregate(groupBy: [{ field: STATUS }]) { groups { count } } }',
    '{ tasksAggregate(groupBy: [{ field: PRIORITY }]) { groups { count } } }',
    COSTLY,
  ],
]

describe('limits', () => {
  it.each(DOCUMENTS)('of %s refuse what is beyond them, and nothing before', async (_what, good, bad, expected) => {
    const ask = (document: string): Promise<TestAnswer> => gateway.request(chief, document, document.startsWith('query A') ? { operationName: 'A' } : {})
    const [taken, refused] = [await ask(good), await ask(bad)]
    expect({ ...outcome(taken), detail: taken.json.errors }).toEqual({ ...OK, detail: undefined })
    expect(outcome(refused)).toEqual(expected)
    // The second time, when the good one is known already.
    expect(outcome(await ask(good))).toEqual(OK)
    expect(outcome(await ask(bad))).toEqual(expected)
  })

  it('hold for values in variables as well, also for a document that is known', async () => {
    const document =
      'query($first: Int, $nested: Int, $in: [Int!]) { people(first: $first) { nodes { tasks(first: $nested, where: { priority: { in: $in } }) { nodes { key } } } } }'
    const ask = async (variables: Readonly<Record<string, unknown>>): Promise<object> => outcome(await gateway.ask(chief, document, variables))
    expect(await ask({ first: 50, nested: 10, in: [1] })).toEqual(OK)
    expect(await ask({ first: 61, nested: 1, in: [1] })).toEqual(BAD_INPUT)
    expect(await ask({ first: 1, nested: 11, in: [1] })).toEqual(BAD_INPUT)
    expect(await ask({ first: 50, nested: 10, in: Array(12).fill(1) })).toEqual(OK)
    expect(await ask({ first: 50, nested: 10, in: Array(13).fill(1) })).toEqual(COSTLY)
    const wide = 'query($where: TaskWhere) { tasks(first: 1, where: $where) { nodes { key } } }'
    const deep = (levels: number): object => (levels === 0 ? {} : { not: deep(levels - 1) })
    expect(outcome(await gateway.ask(chief, wide, { where: deep(14) }))).toEqual(OK)
    expect(outcome(await gateway.ask(chief, wide, { where: deep(20) })).data).toBe(false)
    expect(outcome(await gateway.ask(chief, wide, { where: { or: Array(21).fill({ priority: { eq: 1 } }) } }))).toEqual(COSTLY)
    const ids = 'query($ids: [ID!]!) { nodes(ids: $ids) { id } }'
    expect(outcome(await gateway.ask(chief, ids, { ids: Array(12).fill('x') }))).toEqual(OK)
    expect(outcome(await gateway.ask(chief, ids, { ids: Array(13).fill('x') })).data).toBe(false)
  })

  it('of bytes of a request refuse it before anybody is known', async () => {
    const filler = (bytes: number): Readonly<Record<string, unknown>> => ({ x: 'x'.repeat(bytes) })
    expect(outcome(await gateway.ask(chief, '{ __typename }', filler(7_000)))).toEqual(OK)
    const response = await gateway.request(chief, '{ __typename }', { variables: filler(8_200) })
    expect({ status: response.status, codes: response.json.errors?.map(({ extensions }) => extensions.code) }).toEqual({
      status: 413,
      codes: ['PAYLOAD_TOO_LARGE'],
    })
  })

  it('of requests under way hold for a principal, and for all', async () => {
    const blocker = await gateway.ownerClient('alpha')
    await blocker.query('BEGIN; LOCK TABLE projects IN ACCESS EXCLUSIVE MODE')
    const ask = (subject: string): Promise<TestAnswer> =>
      gateway.ask({ ...chief, subject }, '{ projects(organizations: ["alpha"], first: 1) { nodes { key } } }')
    const answers: TestAnswer[] = []
    const note = async (answer: Promise<TestAnswer>): Promise<void> => void answers.push(await answer)
    const own = [note(ask('busy')), note(ask('busy')), note(ask('busy'))]
    await delay(150)
    await note(ask('busy'))
    expect(answers.map(outcome)).toEqual([{ status: 429, code: 'TOO_MANY_REQUESTS', data: false }])
    expect(answers[0]?.headers.get('retry-after')).toBe('1')
    const others = [note(ask('another')), note(ask('third')), note(ask('fourth'))]
    await delay(150)
    await note(ask('late'))
    expect(answers.slice(1).map(outcome)).toEqual([{ status: 503, code: 'OVERLOADED', data: false }])
    await blocker.query('ROLLBACK')
    await Promise.all([...own, ...others])
    expect(answers.slice(2).map(outcome)).toEqual(Array(6).fill(OK))
    expect(outcome(await ask('busy'))).toEqual(OK)
  })
})
