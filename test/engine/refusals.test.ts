import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { lawsWorld } from '../laws/world.js'
import type { TestAnswer, TestClaims, TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'

const chief: TestClaims = { organization: 'alpha', roles: ['chief'] }
const worker: TestClaims = { organization: 'alpha', roles: ['worker'], claims: { team: 'red' } }
const reader: TestClaims = { organization: 'alpha', roles: ['reader'], purposes: ['review'] }

let gateway: TestGateway

beforeAll(async () => {
  gateway = await startTestGateway({ world: lawsWorld() })
}, 60_000)
afterAll(() => gateway.stop())

/** Everything of a refusal but its own ids. */
function refusal({ status, json, headers }: TestAnswer): Record<string, unknown> {
  const { receipt: _own, ...sovereignty } = json.extensions.sovereignty
  return { status, body: { ...json, extensions: { sovereignty } }, type: headers.get('content-type') }
}

const NOTHING = { served: [], leftOut: [], failed: [], masked: [], withheld: [] }

function refused(code: string, message: string, status: number, more: Readonly<Record<string, unknown>> = {}): unknown {
  return {
    status,
    body: { errors: [{ message, extensions: { code, ...more } }], extensions: { sovereignty: NOTHING } },
    type: 'application/graphql-response+json; charset=utf-8',
  }
}

const NO_AGREEMENT = refused('NO_AGREEMENT', 'No agreement lets you query this organization for this purpose.', 403)

describe('the owners that an operation names', () => {
  it('are all that may be asked where none is named or the list is null', async () => {
    for (const given of ['', '(organizations: null)']) {
      const { json } = await gateway.ask(chief, `{ tasks${given} { totalCount } }`)
      expect(json.extensions.sovereignty.served).toEqual([
        { organization: 'alpha', roles: ['chief'], version: 1 },
        { organization: 'beta', agreement: 'beta-alpha-testing', version: 1 },
        { organization: 'gamma', agreement: 'gamma-alpha', version: 1 },
      ])
    }
  })

  it('are nobody where the list is empty', async () => {
    const { status, json } = await gateway.ask(
      chief,
      '{ tasks(organizations: []) { totalCount nodes { key } pageInfo { hasNextPage endCursor } } tasksAggregate(organizations: []) { groups { count } } }',
    )
    expect(status).toBe(200)
    expect(json.data).toEqual({
      tasks: { totalCount: 0, nodes: [], pageInfo: { hasNextPage: false, endCursor: null } },
      tasksAggregate: { groups: [{ count: '0' }] },
    })
    expect(json.extensions.sovereignty.served).toEqual([])
  })

  it('get the same answer whether they are unknown or gave no agreement', async () => {
    const answers = await Promise.all(
      ['delta', 'nobody', '', 'ALPHA', '__proto__', 'x'.repeat(200)].flatMap((organization) => [
        gateway.ask(chief, 'query($o: [ID!]) { tasks(organizations: $o) { totalCount } }', { o: [organization] }),
        gateway.ask(chief, 'query($o: [ID!]) { tasks(organizations: $o) { totalCount } }', { o: ['alpha', organization] }),
        gateway.ask(chief, 'query($o: [ID!]) { tasksAggregate(organizations: $o) { groups { count } } }', { o: [organization] }),
        gateway.ask(chief, 'query($o: ID!) { task(key: "95", organization: $o) { key } }', { o: organization }),
      ]),
    )
    for (const answer of answers) expect(refusal(answer)).toEqual(NO_AGREEMENT)
  })

  it('get the same answer for a type that their agreement does not give, and where the agreement is for another purpose', async () => {
    expect(refusal(await gateway.ask(chief, '{ projects(organizations: ["beta"]) { totalCount } }'))).toEqual(NO_AGREEMENT)
    expect(refusal(await gateway.ask({ ...chief, purposes: ['review'] }, '{ people(organizations: ["beta"]) { totalCount } }'))).toEqual(NO_AGREEMENT)
    expect(refusal(await gateway.ask({ ...chief, purposes: ['other'] }, '{ tasks(organizations: ["beta"]) { totalCount } }'))).toEqual(NO_AGREEMENT)
    expect(refusal(await gateway.ask({ ...worker, purposes: ['review'] }, '{ tasks(organizations: ["beta"]) { totalCount } }'))).toEqual(NO_AGREEMENT)
  })

  it('are told apart from the own organization, whose roles may not do this', async () => {
    const forbidden = refused('FORBIDDEN', 'You may not do this.', 403, { organization: 'alpha' })
    const nobody: TestClaims = { organization: 'alpha', roles: ['unknown'], purposes: [] }
    for (const document of [
      '{ tasks { totalCount } }',
      '{ tasks(organizations: ["alpha"]) { totalCount } }',
      '{ task(key: "1", organization: "alpha") { key } }',
    ])
      expect(refusal(await gateway.ask(nobody, document))).toEqual(forbidden)
    expect(refusal(await gateway.ask(reader, '{ people(organizations: ["alpha"]) { totalCount } }'))).toEqual(forbidden)
  })

  it('are those that the principal may query, where they are asked for', async () => {
    const ids = async (principal: TestClaims): Promise<readonly string[]> => {
      const { json } = await gateway.ask(principal, '{ organizations { id name jurisdiction __typename } }')
      return (json.data.organizations as { id: string }[]).map(({ id }) => id)
    }
    expect(await ids(chief)).toEqual(['alpha', 'beta', 'gamma'])
    expect(await ids({ ...worker, purposes: ['review'] })).toEqual(['alpha'])
    expect(await ids({ organization: 'delta', roles: ['chief'] })).toEqual([])
  })
})

describe('the purpose of a request', () => {
  const both: TestClaims = { ...chief, purposes: ['testing', 'review'] }

  it('is implied where the token has one, and has to be named among several', async () => {
    expect((await gateway.ask(chief, '{ tasks { totalCount } }')).status).toBe(200)
    const unnamed = await gateway.ask(both, '{ tasks { totalCount } }')
    expect({ status: unnamed.status, codes: unnamed.json.errors?.map(({ extensions }) => extensions.code) }).toEqual({
      status: 403,
      codes: ['PURPOSE_REQUIRED'],
    })
    const named = await gateway.ask(both, '{ tasks { totalCount } }', {}, { 'x-purpose': 'review' })
    expect(named.json.extensions.sovereignty.served).toContainEqual({ organization: 'beta', agreement: 'beta-alpha-review', version: 1 })
  })

  it('must be one of the token, whatever the header says', async () => {
    const answer = await gateway.ask(chief, '{ tasks { totalCount } }', {}, { 'x-purpose': 'review' })
    expect(refusal(answer)).toEqual(refused('FORBIDDEN', 'You may not do this.', 403))
  })

  it('is not needed for the own data, unless a role says so', async () => {
    const { json } = await gateway.ask(both, '{ tasks(organizations: ["alpha"]) { totalCount } }')
    expect(json.errors).toBeUndefined()
  })
})

describe('a field that cannot be used', () => {
  const ASKED: Readonly<Record<string, readonly string[]>> = {
    // denied by the agreement
    day: ['tasks(where: { day: { isNull: true } })', 'tasks(orderBy: [{ day: ASC }])', 'tasksAggregate(groupBy: [{ field: DAY }])'],
    // denied by the agreement, and not bound by the owner
    trace: ['tasks(where: { trace: { eq: "00000000-0000-4000-8000-000000000001" } })'],
    // a relation that is denied
    project: ['tasks(where: { project: {} })', 'tasks(where: { not: { project: { name: { eq: "x" } } } })', 'tasks(orderBy: [{ project: { name: ASC } }])'],
    // masked by null
    note: [
      'tasks(where: { note: { isNull: false } })',
      'tasks(where: { or: [{ and: [{ not: { note: { like: "%" } } }] }] })',
      'tasks(orderBy: [{ note: DESC }])',
    ],
    // masked on a grid, with an operator beyond it
    points: ['tasks(where: { points: { isNull: true } })'],
  }

  it.each(Object.entries(ASKED))('such as `%s` of beta has one text for every reason, whatever the clause', async (_field, roots) => {
    for (const root of roots) {
      const selection = root.includes('Aggregate') ? 'groups { count }' : 'totalCount'
      for (const document of [`{ ${root} { ${selection} } }`, `{ people(first: 1) { nodes { key } } ${root} { ${selection} } }`]) {
        const answer = await gateway.ask(chief, document)
        const [error] = answer.json.errors ?? []
        expect({ ...(refusal(answer) as { body: object }), body: undefined }).toMatchObject({ status: 403 })
        expect(answer.json.data).toBeUndefined()
        expect(answer.json.errors).toHaveLength(1)
        expect(error).toMatchObject({
          message: 'A field in this operation cannot be used here.',
          extensions: { code: 'FIELD_NOT_USABLE', organization: 'beta' },
        })
        expect(Object.keys(error ?? {}).sort()).toEqual(['extensions', 'locations', 'message'])
        expect(answer.json.extensions.sovereignty.served).toEqual([])
      }
    }
  })

  it.each([
    ['redacted', 'people(organizations: ["beta"], where: { name: { eq: "***" } })'],
    ['constant', 'people(organizations: ["beta"], where: { email: { eq: "hidden@beta" } })'],
    ['a pseudonym in an order', 'people(organizations: ["gamma"], orderBy: [{ name: ASC }])'],
    ['a pseudonym in a range', 'people(organizations: ["gamma"], where: { name: { lt: "p-8" } })'],
    ['a pseudonym in a pattern', 'people(organizations: ["gamma"], where: { name: { startsWith: "p-" } })'],
    ['inside a relation', 'tasks(organizations: ["beta"], where: { owner: { email: { isNull: false } } })'],
    ['inside a quantifier', 'people(organizations: ["beta"], where: { tasks: { every: { note: { isNull: true } } } })'],
    ['inside an order through a relation', 'tasks(organizations: ["beta"], orderBy: [{ owner: { email: ASC } }])'],
  ])('is refused where it is %s', async (_why, root) => {
    const { status, json } = await gateway.ask(chief, `{ ${root} { totalCount } }`)
    expect({ status, codes: json.errors?.map(({ extensions }) => extensions.code) }).toEqual({ status: 403, codes: ['FIELD_NOT_USABLE'] })
  })

  it.each([
    ['a conditional measure', 'tasksAggregate(organizations: ["alpha"]) { groups { sum { budget } } }'],
    ['a conditional measure in having', 'tasksAggregate(organizations: ["alpha"], having: { avg: { budget: { gt: "1" } } }) { groups { count } }'],
    ['a conditional measure in an order', 'tasksAggregate(organizations: ["alpha"], orderBy: [{ sum: { budget: DESC } }]) { groups { count } }'],
    ['a conditional extreme', 'tasksAggregate(organizations: ["alpha"]) { groups { max { effort } } }'],
    ['a masked measure', 'tasksAggregate(organizations: ["beta"]) { groups { min { points } } }'],
    ['a measure of a nested list', 'people(organizations: ["alpha"]) { nodes { tasksAggregate { groups { avg { budget } } } } }'],
    ['a condition of a nested list', 'people(organizations: ["beta"]) { nodes { tasks(where: { note: { isNull: true } }) { totalCount } } }'],
    ['an order of a nested list', 'people(organizations: ["beta"]) { nodes { tasks(orderBy: [{ note: ASC }]) { totalCount } } }'],
    ['a denied key', 'projectsAggregate(organizations: ["alpha"], groupBy: [{ field: CODE }]) { groups { count } }'],
    ['a denied distinct count', 'projectsAggregate(organizations: ["alpha"]) { groups { countDistinct { code } } }'],
  ])('is refused in %s', async (_what, root) => {
    const { status, json } = await gateway.ask(worker, `{ ${root} }`)
    expect({ status, codes: json.errors?.map(({ extensions }) => extensions.code) }).toEqual({ status: 403, codes: ['FIELD_NOT_USABLE'] })
  })

  it('leaves its owner out where the caller chose so, and says so', async () => {
    const answer = await gateway.ask(
      chief,
      'query @sovereignty(onForbidden: EXCLUDE) { tasks(first: 200, where: { note: { isNull: false } }) { totalCount nodes { organization } } people(first: 1) { totalCount } }',
    )
    expect(answer.json.errors).toBeUndefined()
    const nodes = answer.json.data.tasks.nodes as { organization: string }[]
    expect(new Set(nodes.map(({ organization }) => organization))).toEqual(new Set(['alpha']))
    expect(answer.json.data.tasks.totalCount).toBe(nodes.length)
    expect(answer.json.extensions.sovereignty.leftOut).toEqual(['beta', 'gamma'].map((organization) => ({ organization, code: 'FIELD_NOT_USABLE' })))
  })

  it('is null where it is only selected, with an entry for what is withheld, masked or conditional', async () => {
    const { json } = await gateway.ask(
      worker,
      '{ tasks(first: 200) { nodes { key day budget note points owner { name email } project { name } } } people(first: 1) { nodes { tasks(first: 1) { totalCount } } } }',
    )
    expect(json.errors).toBeUndefined()
    const { withheld, masked } = json.extensions.sovereignty
    const beta = { organization: 'beta', agreement: 'beta-alpha-testing', version: 1 }
    const gamma = { organization: 'gamma', agreement: 'gamma-alpha', version: 1 }
    const home = { organization: 'alpha', roles: ['worker'], version: 1 }
    expect(withheld).toEqual([
      { ...home, type: 'Person', field: 'email', conditional: false },
      { ...home, type: 'Task', field: 'budget', conditional: true },
      { ...home, type: 'Task', field: 'day', conditional: false },
      { ...home, type: 'Task', field: 'note', conditional: true },
      { ...home, type: 'Task', field: 'project', conditional: true },
      { ...beta, type: 'Project', field: 'name', conditional: false },
      { ...beta, type: 'Task', field: 'day', conditional: false },
      { ...beta, type: 'Task', field: 'project', conditional: false },
      { ...gamma, type: 'Person', field: 'email', conditional: false },
      { ...gamma, type: 'Task', field: 'budget', conditional: false },
      { ...gamma, type: 'Task', field: 'day', conditional: false },
      { ...gamma, type: 'Task', field: 'note', conditional: false },
    ])
    expect(masked).toEqual([
      { ...beta, type: 'Person', field: 'email', mask: 'constant' },
      { ...beta, type: 'Person', field: 'name', mask: 'redact' },
      { ...beta, type: 'Task', field: 'budget', mask: 'generalize' },
      { ...beta, type: 'Task', field: 'note', mask: 'null' },
      { ...beta, type: 'Task', field: 'points', mask: 'generalize' },
      { ...gamma, type: 'Person', field: 'name', mask: 'pseudonym' },
      { ...gamma, type: 'Task', field: 'key', mask: 'pseudonym' },
    ])
  })

  it('is told without counts: an answer without rows lists the same', async () => {
    const [some, none] = await Promise.all(
      ['', '(where: { or: [] })'].map((given) => gateway.ask(worker, `{ tasks${given} { nodes { key day budget points } } }`)),
    )
    expect(none?.json.data.tasks.nodes).toEqual([])
    const words = (answer: TestAnswer | undefined): unknown => ({ ...answer?.json.extensions.sovereignty, receipt: null })
    expect(words(none)).toEqual(words(some))
  })
})

describe('numbers over several owners', () => {
  it('are refused where they cannot be exact, and given by owner', async () => {
    const document = (given: string): string => `{ tasksAggregate${given} { groups { keys { organization } count countDistinct { status } } } }`
    const across = await gateway.ask(chief, document(''))
    expect(refusal(across)).toEqual(refused('NOT_EXACT', 'This number cannot be combined exactly over several organizations.', 400))
    expect((await gateway.ask(chief, document('(organizations: ["beta"])'))).status).toBe(200)
    const each = await gateway.ask(chief, document('(groupBy: [{ field: ORGANIZATION }])'))
    expect((each.json.data.tasksAggregate.groups as { keys: { organization: string } }[]).map(({ keys }) => keys.organization)).toEqual([
      'alpha',
      'beta',
      'gamma',
    ])
  })
})

describe('values that mean nothing', () => {
  const bad = (document: string, variables?: Readonly<Record<string, unknown>>): Promise<TestAnswer> => gateway.ask(chief, document, variables)

  it.each([
    ['eq of null', '{ tasks(where: { title: { eq: null } }) { totalCount } }'],
    ['ne of null', '{ tasks(where: { priority: { ne: null } }) { totalCount } }'],
    ['in of null', '{ tasks(where: { title: { in: null } }) { totalCount } }'],
    ['isNull of null', '{ tasks(where: { title: { isNull: null } }) { totalCount } }'],
    ['contains of null', '{ tasks(where: { meta: { contains: null } }) { totalCount } }'],
    ['an empty filter', '{ tasks(where: { title: {} }) { totalCount } }'],
    ['an empty filter of ids', '{ tasks(where: { id: {} }) { totalCount } }'],
    ['a null condition', '{ tasks(where: { title: null }) { totalCount } }'],
    ['a null relation', '{ tasks(where: { owner: null }) { totalCount } }'],
    ['a null quantifier', '{ people(where: { tasks: { some: null } }) { totalCount } }'],
    ['a null negation', '{ tasks(where: { not: null }) { totalCount } }'],
    ['a null conjunction', '{ tasks(where: { and: null }) { totalCount } }'],
    ['an empty condition of groups', '{ tasksAggregate(having: { count: {} }) { groups { count } } }'],
    ['a lone backslash at the end of a pattern', '{ tasks(where: { title: { like: "a\\\\" } }) { totalCount } }'],
    ['a negative page', '{ tasks(first: -1) { totalCount } }'],
    ['a page beyond the limit', '{ tasks(first: 1001) { totalCount } }'],
    ['a nested page beyond the limit', '{ people(first: 1) { nodes { tasks(first: 101) { totalCount } } } }'],
    ['groups beyond the limit', '{ tasksAggregate(first: 1001) { groups { count } } }'],
    ['a field that is grouped by twice', '{ tasksAggregate(groupBy: [{ field: STATUS }, { field: STATUS }]) { groups { count } } }'],
    ['a unit of what is no time', '{ tasksAggregate(groupBy: [{ field: STATUS, unit: DAY }]) { groups { count } } }'],
    ['an unknown time zone', '{ tasksAggregate(groupBy: [{ field: DUE, unit: DAY, timezone: "Mars/Olympus" }]) { groups { count } } }'],
    ['an order by a key that is not grouped by', '{ tasksAggregate(orderBy: [{ key: { field: STATUS, order: ASC } }]) { groups { count } } }'],
  ])('such as %s are refused, in the document and as variables', async (_what, document) => {
    const { status, json } = await bad(document)
    expect({ status, codes: json.errors?.map(({ extensions }) => extensions.code), data: json.data }).toEqual({
      status: 400,
      codes: ['BAD_USER_INPUT'],
      data: undefined,
    })
    const { where } = /\(where: (?<where>\{.*\})\) \{ totalCount/.exec(document)?.groups ?? {}
    if (where === undefined) return
    const type = document.startsWith('{ people') ? 'PersonWhere' : 'TaskWhere'
    const value: unknown = JSON.parse(where.replace(/(\w+):/g, '"$1":'))
    const asVariable = await bad(`query($where: ${type}) { ${type === 'PersonWhere' ? 'people' : 'tasks'}(where: $where) { totalCount } }`, { where: value })
    expect({ status: asVariable.status, codes: asVariable.json.errors?.map(({ extensions }) => extensions.code) }).toEqual({
      status: 400,
      codes: ['BAD_USER_INPUT'],
    })
  })

  it.each([
    ['first with last', '{ tasks(first: 1, last: 1) { totalCount } }'],
    ['after with last', '{ tasks(last: 1, after: "x") { totalCount } }'],
    ['before with first', '{ tasks(first: 1, before: "x") { totalCount } }'],
  ])('such as %s are refused', async (_what, document) => {
    const { status, json } = await bad(document)
    expect({ status, codes: json.errors?.map(({ extensions }) => extensions.code) }).toEqual({ status: 400, codes: ['BAD_REQUEST'] })
  })

  it.each<[string, string, Readonly<Record<string, unknown>>]>([
    ['a variable of another type', 'query($x: Int!) { tasks(first: $x) { totalCount } }', { x: 'one' }],
    ['a fraction for an Int', 'query($x: Int!) { tasks(first: $x) { totalCount } }', { x: 1.5 }],
    ['a variable that is missing', 'query($x: Int!) { tasks(first: $x) { totalCount } }', {}],
    ['an unknown key in a condition', 'query($x: TaskWhere) { tasks(where: $x) { totalCount } }', { x: { nothing: { eq: 1 } } }],
    ['an unknown value of an enum', 'query($x: TaskWhere) { tasks(where: $x) { totalCount } }', { x: { status: { eq: 'LOST' } } }],
    ['two keys in an order', 'query($x: [TaskOrderBy!]) { tasks(orderBy: $x) { totalCount } }', { x: [{ title: 'ASC', status: 'ASC' }] }],
    ['no key in an order', 'query($x: [TaskOrderBy!]) { tasks(orderBy: $x) { totalCount } }', { x: [{}] }],
    ['null in a list', 'query($x: [TaskOrderBy!]) { tasks(orderBy: $x) { totalCount } }', { x: [null] }],
    ["a number beyond a BigInt's text", 'query($x: BigInt) { tasks(where: { points: { eq: $x } }) { totalCount } }', { x: 2 ** 60 }],
    ['a time that does not exist', 'query($x: DateTime) { tasks(where: { due: { lt: $x } }) { totalCount } }', { x: '2026-02-30T00:00:00Z' }],
  ])('such as %s are refused by the type, without the value', async (_what, document, variables) => {
    const { status, json, text } = await bad(document, variables)
    expect({ status, codes: json.errors?.map(({ extensions }) => extensions.code), data: json.data }).toEqual({
      status: 400,
      codes: ['BAD_USER_INPUT'],
      data: undefined,
    })
    for (const value of ['one', 'LOST', '2026-02-30', '1152921504606846976']) expect(text).not.toContain(value)
  })
})
