import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { lexicographicSortSchema, printSchema } from 'graphql'
import { DEFAULT_LIMITS } from '../../src/config.js'
import { GatewayError } from '../../src/errors.js'
import { HttpForeignTransport } from '../../src/gateway/foreign-service.js'
import type { Engine } from '../../src/gateway/engine.js'
import type { KeyDisclosure } from '../../src/gateway/key-disclosure.js'
import { type Operation, Operations } from '../../src/gateway/operation.js'
import type { EngineOutcome } from '../../src/gateway/outcome.js'
import { piecesOf, wholeText } from '../../src/gateway/pieces.js'
import type { EngineRequest } from '../../src/gateway/run.js'
import { type ForeignService, type Supergraph, supergraph, type SupergraphLimits } from '../../src/gateway/supergraph.js'
import { keyAccess } from '../../src/policy/key-access.js'
import { parseGlobalId } from '../../src/query/global-id.js'
import { type ForeignServer, type Misbehaviour, sendJson, startForeignService } from '../support/foreign-service.js'
import { startTestPostgres, type TestPostgres } from '../support/postgres.js'
import { catalog, contractSchema, LIMITS, principalOf, type StitchedWorld, stitchedWorld } from '../support/stitched-world.js'

const RATINGS = `
  directive @key(fields: String!) on OBJECT
  scalar DateTime
  type Query { agentRatings(ids: [ID!]!): [Agent]!  version: String! }
  type Agent @key(fields: "id") { id: ID!  rating: Float  verdict(since: DateTime, words: Int = 2, style: Style): Verdict  reviews(filter: ReviewFilter): [Review!] }
  type Verdict { text: String!  at: DateTime  style: Style }
  type Review { stars: Int!  by: String }
  enum Style { SHORT LONG }
  input ReviewFilter { stars: Int  since: DateTime }
`

/** Agent n of an owner has n + 0.5 stars; the service knows none of agent 4. */
function agentOf(id: string): object | null {
  const [key] = parseGlobalId(id)?.key ?? []
  if (key === '4') return null
  return {
    id,
    rating: Number(key) + 0.5,
    verdict: ({ since, words, style }: { since?: string; words: number; style?: string }) => ({ text: `${words} words since ${since}`, at: since, style }),
    reviews: ({ filter }: { filter?: { stars?: number; since?: string } }) => [{ stars: filter?.stars ?? 5, by: filter?.since ?? null }],
  }
}

let postgres: TestPostgres
let world: StitchedWorld
let service: ForeignServer
let operations: Operations
const closing: (() => Promise<void> | void)[] = []

/** What happened, in order: keys recorded, and requests of the service. */
let recorded: KeyDisclosure[] = []
let failures: unknown[] = []
let refuseRecord: Error | null = null
let common: Supergraph | null = null

beforeAll(async () => {
  postgres = await startTestPostgres()
  world = await stitchedWorld(postgres)
  service = await startForeignService(RATINGS, { agentRatings: ({ ids }: { ids: string[] }) => ids.map(agentOf) })
  operations = await Operations.start({
    schema: composed().schema,
    limits: DEFAULT_LIMITS,
    cache: { operations: 100, operationBytes: 1_000_000 },
    introspection: true,
  })
})
afterAll(async () => {
  for (const close of closing) await close()
  await operations.stop()
  await service.stop()
  await world.stop()
  await postgres.stop()
})
afterEach(() => {
  service.misbehave(null)
  service.exchanges.length = 0
  recorded = []
  failures = []
  refuseRecord = null
})

interface Options {
  readonly deadlineMs?: number
  readonly keysMax?: number
  readonly responseBytes?: number
  readonly concurrent?: number
  readonly url?: string
  readonly limits?: Partial<SupergraphLimits>
}

function ratings({ deadlineMs = 1_000, keysMax = 1_000, responseBytes = 100_000, concurrent = 10, url = service.url }: Options = {}): ForeignService {
  const transport = new HttpForeignTransport({ url, authorization: 'Bearer of-the-gateway', limits: { deadlineMs, responseBytes, concurrent } })
  closing.push(() => transport.close())
  const joins = new Map([['Agent', { field: 'agentRatings', argument: 'ids' }]])
  return { name: 'ratings', sdl: RATINGS, joins, organization: 'aurora', jurisdiction: 'DE', transport, keysMax }
}

function composed(options: Options = {}, services = [ratings(options)]): Supergraph {
  return supergraph({
    contractSchema,
    catalog,
    services,
    mayReceiveKey: (request) => keyAccess(request, world.policies, world.context),
    recordKeys: async (disclosure) => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      if (refuseRecord) throw refuseRecord
      recorded.push(disclosure)
    },
    gatewayJurisdiction: 'DE',
    jurisdictionOf: () => null,
    limits: {
      deadlineMs: LIMITS.deadlineMs,
      cost: LIMITS.cost,
      pageRows: LIMITS.pageRows,
      listValues: LIMITS.listValues,
      stitchedBytes: 1_000_000,
      ...options.limits,
    },
    onFailure: (_service, cause) => failures.push(cause),
  })
}

async function prepared(document: string): Promise<Operation> {
  const operation = await operations.prepare({ method: 'POST', document, operationName: null, accept: 'graphql-response' })
  if ('errors' in operation) throw new Error(JSON.stringify(operation.errors))
  return operation
}

interface Asked {
  readonly as?: string
  readonly purposes?: readonly string[]
  readonly variables?: unknown
  readonly graph?: Supergraph
  readonly signal?: AbortSignal
  /** Stands between the stitching and the engine. */
  readonly door?: (request: EngineRequest, engine: Engine) => Promise<EngineOutcome>
}

async function ask(
  document: string,
  { as = 'borealis', purposes, variables = {}, graph = (common ??= composed()), signal, door }: Asked = {},
): Promise<EngineOutcome> {
  const operation = await prepared(document)
  const principal = principalOf(as, purposes)
  const request = { operation, variables, principal, authority: world.authority(principal), signal: signal ?? new AbortController().signal }
  const engine = world.engine(graph.schema)
  if (!graph.touchesForeign(operation)) return engine.run(request)
  return graph.run(request, door ? { run: (asked) => door(asked, engine) } : engine)
}

async function codeOf(outcome: Promise<unknown>): Promise<string> {
  return outcome.then(
    () => 'none',
    (error: unknown) => (error instanceof GatewayError ? error.code : String(error)),
  )
}

const dataOf = (outcome: EngineOutcome): any => JSON.parse(outcome.data ? wholeText(outcome.data) : 'null') // eslint-disable-line @typescript-eslint/no-explicit-any
const PAGE = '{ agents(orderBy: [{ name: ASC }]) { nodes { organization name rating } } }'

describe('an operation with foreign fields', () => {
  it('gets them for a page in one request, beside the fields of the owners', async () => {
    const outcome = await ask(PAGE, { as: 'aurora' })
    const nodes = dataOf(outcome).agents.nodes
    expect(nodes.filter(({ organization }: { organization: string }) => organization === 'aurora')).toEqual([
      { organization: 'aurora', name: 'aurora four', rating: null },
      { organization: 'aurora', name: 'aurora one', rating: 1.5 },
      { organization: 'aurora', name: 'aurora three', rating: 3.5 },
      { organization: 'aurora', name: 'aurora two', rating: 2.5 },
    ])
    expect(outcome.errors).toEqual([])
    expect(service.exchanges).toHaveLength(1)
  })

  it('gets them wherever the type stands: edges, lookups, nodes, relations and lists within lists', async () => {
    const id = (await ask('{ agent(key: "1", organization: "borealis") { id } }').then(dataOf)).agent.id
    const outcome = await ask(
      `query ($id: ID!) {
        agents(first: 1, orderBy: [{ name: ASC }], organizations: ["borealis"], where: { key: { eq: "1" } }) { edges { cursor node { ...rated } } }
        agent(key: "2", organization: "borealis") { alias: rating again: rating }
        node(id: $id) { id ... on Agent { rating } ... on User { name } }
        nodes(ids: [$id, "nonsense"]) { ...rated }
        executions(organizations: ["borealis"], where: { status: { eq: "failed" } }) { nodes { agent { rating owner { agents(first: 1) { nodes { rating } } } } } }
        none: agents(first: 0) { nodes { rating } }
        skipped: agents { nodes { id rating @skip(if: true) } }
      }
      fragment rated on Agent { name rating ... on Agent { verdict { text __typename } } }`,
      { variables: { id } },
    )
    const rated = { name: 'borealis one', rating: 1.5, verdict: { text: '2 words since undefined', __typename: 'Verdict' } }
    expect(dataOf(outcome)).toMatchObject({
      agents: { edges: [{ cursor: expect.stringMatching(/^c1\./), node: rated }] },
      agent: { alias: 2.5, again: 2.5 },
      node: { id, rating: 1.5 },
      nodes: [rated, null],
      executions: { nodes: [{ agent: { rating: 2.5, owner: { agents: { nodes: [{ rating: 1.5 }] } } } }] },
      none: { nodes: [] },
    })
    expect(Object.keys(dataOf(outcome).agents.edges[0].node)).toEqual(['name', 'rating', 'verdict'])
    expect(Object.keys(dataOf(outcome).skipped.nodes[0])).toEqual(['id'])
    expect(outcome.errors).toEqual([])
  })

  it('passes the arguments of foreign fields on, with the variables in them and no others', async () => {
    const outcome = await ask(
      `query Named($since: DateTime, $first: Int = 1, $filter: ReviewFilter, $keys: Style, $on: Boolean!) {
        agents(first: $first, organizations: ["borealis"], orderBy: [{ name: DESC }]) {
          nodes { verdict(since: $since, words: 3, style: $keys) { text at style } reviews(filter: $filter) @include(if: $on) { stars by } key: rating }
        }
      }`,
      { variables: { since: '2026-01-01T00:00:00Z', filter: { stars: 3 }, keys: 'LONG', on: true, unknown: 'ignored' } },
    )
    expect(dataOf(outcome).agents.nodes).toEqual([
      {
        verdict: { text: '3 words since 2026-01-01T00:00:00Z', at: '2026-01-01T00:00:00Z', style: 'LONG' },
        reviews: [{ stars: 3, by: null }],
        key: 2.5,
      },
    ])
    expect(service.exchanges).toHaveLength(1)
    expect(service.exchanges[0]?.variables).toEqual({
      keys_: [expect.any(String)],
      since: '2026-01-01T00:00:00Z',
      filter: { stars: 3 },
      keys: 'LONG',
    })
  })

  it('sends nothing of the caller to the service: an address, keys, fields, and the own credentials of the gateway', async () => {
    await ask('query Secret { mine: agents(first: 1, organizations: ["borealis"]) { nodes { name rating } } }')
    const [exchange] = service.exchanges
    expect(exchange?.query.replace(/\s+/g, ' ')).toBe('query ($keys: [ID!]!) { agentRatings(ids: $keys) { key: id rating } }')
    expect(exchange?.variables).toEqual({ keys: [expect.any(String)] })
    expect(Object.keys(exchange?.headers ?? {}).sort()).toEqual([
      'accept',
      'accept-encoding',
      'authorization',
      'connection',
      'content-length',
      'content-type',
      'host',
    ])
    expect(exchange?.headers.authorization).toBe('Bearer of-the-gateway')
  })

  it('asks in parts where a page has more keys than one request may carry', async () => {
    const outcome = await ask(PAGE, { graph: composed({ keysMax: 2 }) })
    // The parts are asked at one time, so they arrive in any order.
    expect(service.exchanges.map(({ variables }) => (variables.keys as string[]).length).sort()).toEqual([1, 2, 2, 2])
    expect(dataOf(outcome).agents.nodes.filter(({ rating }: { rating: number | null }) => rating !== null)).toHaveLength(5)
  })

  it('pages on with the cursors of operations that have none', async () => {
    const first = await ask('query ($after: String) { agents(first: 2, after: $after) { nodes { name } pageInfo { endCursor } } }')
    const after = dataOf(first).agents.pageInfo.endCursor
    const next = await ask('query ($after: String) { agents(first: 2, after: $after) { nodes { name rating } pageInfo { endCursor } } }', {
      variables: { after },
    })
    const plain = await ask('query ($after: String) { agents(first: 2, after: $after) { nodes { name } pageInfo { endCursor } } }', { variables: { after } })
    expect(dataOf(next).agents.nodes.map(({ name }: { name: string }) => name)).toEqual(dataOf(plain).agents.nodes.map(({ name }: { name: string }) => name))
    expect(dataOf(next).agents.pageInfo).toEqual(dataOf(plain).agents.pageInfo)
  })

  it('leaves values of owners as they are: digits of decimals, big integers and JSON', async () => {
    const fields = 'key name status configuration notes monthlyBudget quota createdAt totalled: executions { totalCount }'
    const document = (foreign: string): string => `{
      agents(organizations: ["borealis"], where: { configuration: { contains: { limit: 12345678901234567890.5 } } }) { nodes { ${fields} ${foreign} } }
      all: agents(orderBy: [{ name: ASC }]) { totalCount edges { node { c: configuration ... on Agent { configuration notes } ${foreign} } } }
      agentsAggregate(groupBy: [{ field: CREATED_AT, unit: MONTH, timezone: "Europe/Berlin" }]) { groups { keys { createdAt } count sum { monthlyBudget } } }
      organizations { id name }
    }`
    const plain = await ask(document(''))
    const stitched = await ask(document('rating'))
    const textIn = ({ data }: EngineOutcome): string => wholeText(data ?? [])
    expect(textIn(plain)).toContain('12345678901234567890.500')
    expect(textIn(plain)).toContain('"1250.00"')
    const without = (text: string): string => text.replaceAll(/,"rating":[^,}]*/g, '')
    expect(without(textIn(stitched))).toBe(textIn(plain))
    expect(service.exchanges).toHaveLength(1) // two places ask the same of the service
  })

  it('cannot be had in conditions and orders, whose types do not have them', async () => {
    const inputs = (schema: typeof contractSchema): string[] =>
      Object.values(schema.getTypeMap())
        .filter((type) => 'getFields' in type && type.astNode?.kind === 'InputObjectTypeDefinition' && type.name !== 'ReviewFilter')
        .map((type) => `${type.name} ${Object.keys((type as { getFields(): object }).getFields()).join()}`)
        .sort()
    expect(inputs(composed().schema)).toEqual(inputs(contractSchema))
    for (const clause of ['where: { rating: { gt: 1 } }', 'orderBy: [{ rating: ASC }]'])
      await expect(prepared(`{ agents(${clause}) { nodes { name } } }`)).rejects.toThrow('GRAPHQL_VALIDATION_FAILED')
    await expect(prepared('{ agentRatings(ids: []) { rating } }')).rejects.toThrow('GRAPHQL_VALIDATION_FAILED')
    await expect(prepared('{ version }')).rejects.toThrow('GRAPHQL_VALIDATION_FAILED')
  })

  it('leaves the rest of the API as the contract has it', () => {
    const print = (schema: typeof contractSchema): string[] => printSchema(lexicographicSortSchema(schema)).split(/\n\n(?=\S)/)
    const [before, after] = [print(contractSchema), print(composed().schema)]
    const changed = after.filter((definition) => !before.includes(definition))
    expect(changed.map((definition) => /(?:type|enum|input) (\w+)/.exec(definition)?.[1]).sort()).toEqual([
      'Agent',
      'Review',
      'ReviewFilter',
      'Style',
      'Verdict',
    ])
    expect(before.filter((definition) => !after.includes(definition))).toHaveLength(1)
    const agent = (definitions: string[]): string => definitions.find((definition) => definition.startsWith('type Agent ')) ?? ''
    const added = agent(after)
      .split('\n')
      .filter((line) => !agent(before).includes(line))
    expect(added.map((line) => line.trim())).toEqual([
      'rating: Float',
      'reviews(filter: ReviewFilter): [Review!]',
      'verdict(since: DateTime, style: Style, words: Int = 2): Verdict',
    ])
  })
})

describe('an operation without foreign fields', () => {
  it('never comes to the services or the stitching', async () => {
    const graph = composed()
    const touches = async (document: string): Promise<boolean> => graph.touchesForeign(await prepared(document))
    expect(await touches('{ agents { nodes { id name owner { name } } } __schema { queryType { name } } }')).toBe(false)
    expect(await touches('{ agents { nodes { ...f } } } fragment f on Agent { executions { nodes { agent { rating } } } }')).toBe(true)
    expect(await touches('{ node(id: "x") { ... on Agent { reviews { stars } } } }')).toBe(true)
  })

  it('finds foreign fields in introspection', async () => {
    const outcome = await ask('{ __type(name: "Agent") { fields { name } } }')
    expect(dataOf(outcome).__type.fields.map(({ name }: { name: string }) => name)).toContain('rating')
  })
})

describe('keys of rows', () => {
  it('go to a service only where its organization may read them unmasked; other rows have null and are listed', async () => {
    // Bo of borealis sees all of borealis, aurora and cascade. Aurora, which runs the service, sees neither what is archived at borealis nor keys of cascade.
    const outcome = await ask('{ agents(orderBy: [{ name: ASC }]) { nodes { id organization key rating } } }')
    const nodes: { id: string; organization: string; key: string; rating: number | null }[] = dataOf(outcome).agents.nodes
    expect(nodes.map(({ organization, key, rating }) => `${organization} ${key} ${rating}`).sort()).toEqual([
      'aurora 1 1.5',
      'aurora 2 2.5',
      'aurora 3 3.5',
      'aurora 4 null',
      'borealis 1 1.5',
      'borealis 2 2.5',
      'borealis 3 null',
      'borealis 4 null',
      'cascade 1 null',
      'cascade 2 null',
      'cascade 3 null',
      'cascade 4 null',
    ])
    const travelled = nodes.filter(({ organization, key }) => organization === 'aurora' || (organization === 'borealis' && key !== '3')).map(({ id }) => id)
    expect(service.exchanges.map(({ variables }) => [...(variables.keys as string[])].sort())).toEqual([travelled.sort()])
    expect(outcome.errors).toEqual([])
    expect(outcome.sovereignty.withheld).toEqual([
      { organization: 'borealis', type: 'Agent', field: 'rating', conditional: true, roles: ['analyst'], version: 1 },
      { organization: 'cascade', type: 'Agent', field: 'rating', conditional: false, agreement: 'cascade-borealis-operations', version: 3 },
    ])
    expect(outcome.sovereignty.served.map(({ organization }) => organization)).toEqual(['aurora', 'borealis', 'cascade'])
  })

  it('do not go where the caller sees pseudonyms in their place', async () => {
    const outcome = await ask('{ agents(organizations: ["cascade"]) { nodes { key rating } } }', { as: 'aurora' })
    expect(dataOf(outcome).agents.nodes).toContainEqual({ key: expect.stringMatching(/^p-/), rating: null })
    expect(service.exchanges).toEqual([])
    expect(recorded).toEqual([])
    expect(outcome.sovereignty.withheld).toEqual([
      { organization: 'cascade', type: 'Agent', field: 'rating', conditional: false, agreement: 'cascade-aurora-operations', version: 3 },
    ])
  })

  it('do not go for a purpose that no agreement names, nor for a caller who may not query the organization of the service', async () => {
    const outcome = await ask('{ agents { nodes { organization rating } } }', { purposes: ['reporting'] })
    expect(dataOf(outcome).agents.nodes).toEqual(Array(4).fill({ organization: 'borealis', rating: null }))
    const none = await ask('{ agents { nodes { organization rating } } }', { as: 'cascade' })
    expect(dataOf(none).agents.nodes).toEqual(Array(4).fill({ organization: 'cascade', rating: null }))
    for (const { sovereignty } of [outcome, none]) expect(sovereignty.withheld).toMatchObject([{ type: 'Agent', field: 'rating', conditional: false }])
    expect(service.exchanges).toEqual([])
  })

  it('are recorded with their owners before they are sent', async () => {
    let recordedBefore = -1
    service.misbehave(async (_exchange, response, answer) => {
      recordedBefore = recorded.length
      sendJson(response, await answer())
    })
    const outcome = await ask('{ agents(where: { key: { in: ["1", "3"] } }) { nodes { rating } } }')
    expect(recordedBefore).toBe(1)
    const [disclosure] = recorded
    expect(disclosure).toMatchObject({ service: 'ratings', organization: 'aurora', type: 'Agent', purpose: 'operations', epoch: 0n })
    expect(disclosure?.owners.map(({ organization, keys, source }) => [organization, keys.map((id) => parseGlobalId(id)?.key), source])).toEqual([
      ['aurora', [['1'], ['3']], null],
      ['borealis', [['1']], { kind: 'agreement', agreement: 'borealis-aurora-operations', version: 3, digest: expect.any(String) }],
    ])
    // What the service gave is a disclosure of its own organization.
    expect(outcome.owners.at(-1)).toMatchObject({
      facts: {
        organization: 'aurora',
        source: { kind: 'agreement', agreement: 'aurora-borealis-operations' },
        types: [{ type: 'Agent', fields: ['rating'] }],
        stores: ['ratings'],
      },
      rows: 3,
    })
  })

  it('stay here when they cannot be recorded, and nothing is answered', async () => {
    refuseRecord = new GatewayError('AUDIT_UNAVAILABLE', 'the ledger is down')
    expect(await codeOf(ask(PAGE))).toBe('AUDIT_UNAVAILABLE')
    refuseRecord = new Error('anything else')
    expect(await codeOf(ask(PAGE))).toBe('AUDIT_UNAVAILABLE')
    expect(service.exchanges).toEqual([])
  })

  it('cannot be made of another value of the row by an alias', async () => {
    for (const alias of ['__concordat_key: name', '__typename: name', '__x: name'])
      expect(await codeOf(ask(`{ agents { nodes { ${alias} rating } } }`))).toBe('BAD_REQUEST')
    const outcome = await ask('{ agents(organizations: ["borealis"]) { nodes { id: name key: status rating __typename } } }')
    expect(dataOf(outcome).agents.nodes).toContainEqual({ id: 'borealis one', key: 'ACTIVE', rating: 1.5, __typename: 'Agent' })
    for (const { variables } of service.exchanges) for (const id of variables.keys as string[]) expect(parseGlobalId(id)?.type).toBe('Agent')
  })

  it('of callers at the same time stay apart', async () => {
    // Far longer than 40 requests at one time take: what fails here is not for want of time.
    const graph = composed({ concurrent: 100, deadlineMs: 20_000, limits: { deadlineMs: 20_000 } })
    const outcomes = await Promise.all(
      Array.from({ length: 40 }, async (_, at) => {
        const as = ['aurora', 'borealis', 'cascade'][at % 3] ?? ''
        const outcome = await ask(PAGE, { as, graph })
        expect([as, outcome.errors, failures]).toEqual([as, [], []])
        return { as, nodes: dataOf(outcome).agents.nodes as { organization: string; name: string; rating: number | null }[] }
      }),
    )
    for (const { as, nodes } of outcomes) {
      expect(new Set(nodes.map(({ organization }) => organization)).size).toBe(as === 'cascade' ? 1 : 3)
      const archived = nodes.find(({ name }) => name === 'borealis three')
      if (archived) expect([as, archived.rating]).toEqual(['borealis', null])
      const rated = nodes.filter(({ rating }) => rating !== null).length
      expect([as, rated]).toEqual([as, as === 'cascade' ? 0 : 5])
    }
  })
})

describe('a service that fails', () => {
  const document =
    '{ agents(organizations: ["borealis"], orderBy: [{ name: ASC }], where: { key: { in: ["1", "2"] } }) { totalCount nodes { name a: rating verdict { text } } } }'
  const expectFailed = (outcome: EngineOutcome, code: string): void => {
    expect(dataOf(outcome).agents).toEqual({
      totalCount: 2,
      nodes: [
        { name: 'borealis one', a: null, verdict: null },
        { name: 'borealis two', a: null, verdict: null },
      ],
    })
    expect(outcome.errors.map(({ code: each, organization, path }) => [each, organization, path?.join('.')])).toEqual([
      [code, 'aurora', 'agents.nodes.0.a'],
      [code, 'aurora', 'agents.nodes.0.verdict'],
      [code, 'aurora', 'agents.nodes.1.a'],
      [code, 'aurora', 'agents.nodes.1.verdict'],
    ])
    expect(JSON.stringify([outcome.errors, dataOf(outcome)])).not.toMatch(/SECRET|127\.0\.0\.1/)
    expect(outcome.sovereignty.failed).toEqual([{ organization: 'aurora', code }])
    expect(outcome.owners.at(-1)).toMatchObject({ facts: { organization: 'aurora', stores: ['ratings'] }, rows: 0, outcome: 'failed', code })
    expect(failures).toHaveLength(1)
  }
  const answering = (change: (items: Record<string, unknown>[], body: Record<string, unknown>) => unknown): Misbehaviour => {
    return async (_exchange, response, answer) => {
      const body = JSON.parse(JSON.stringify(await answer())) as { data: { agentRatings: Record<string, unknown>[] } }
      sendJson(response, change(body.data.agentRatings, body))
    }
  }
  const raw = (body: string | Buffer, headers: Record<string, string> = {}, status = 200): Misbehaviour => {
    return (_exchange, response) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers })
      response.end(body)
    }
  }
  const items = (list: unknown[]): object => ({ data: { agentRatings: list } })
  const cases: [string, Misbehaviour][] = [
    ['answers with errors', answering((_list, body) => ({ ...body, errors: [{ message: 'SECRET' }] }))],
    ['answers without data', answering(() => ({ data: null, errors: [{ message: 'SECRET', path: ['agentRatings'] }] }))],
    [
      'answers with an error for a row that nobody asked for',
      answering((_list, body) => ({ ...body, errors: [{ message: 'SECRET', path: ['agentRatings', 2] }] })),
    ],
    ['answers with errors that are no list', answering((_list, body) => ({ ...body, errors: { message: 'SECRET' } }))],
    ['gives fewer items', answering((list) => items(list.slice(1)))],
    ['gives more items', answering((list) => items([...list, ...list]))],
    ['gives items in another order', answering((list) => items([...list].reverse()))],
    ['gives one item twice', answering((list) => items([list[0], list[0]]))],
    ['gives no list', answering((list) => ({ data: { agentRatings: { ...list } } }))],
    ['gives items that are no objects', answering(() => items([1, 'SECRET']))],
    ['gives a text for a number', answering((list) => items(list.map((item) => ({ ...item, a: 'SECRET' }))))],
    ['gives a number that is too large', raw('{"data":{"agentRatings":[{"key":"x","a":1e999,"verdict":null}]}}')],
    ['gives a list for an object', answering((list) => items(list.map((item) => ({ ...item, verdict: [item.verdict] }))))],
    ['gives null where its schema has none', answering((list) => items(list.map((item) => ({ ...item, verdict: { text: null } }))))],
    ['leaves a field out', answering((list) => items(list.map(({ a: _, ...item }) => item)))],
    ['adds a field', answering((list) => items(list.map((item) => ({ ...item, name: 'SECRET' }))))],
    ['adds a field inside', answering((list) => items(list.map((item) => ({ ...item, verdict: { text: '', more: 'SECRET' } }))))],
    [
      'adds `__proto__`',
      async (_exchange, response, answer) => {
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(JSON.stringify(await answer()).replaceAll('"a":', '"__proto__":{"name":"SECRET","polluted":true},"a":'))
      },
    ],
    ['sends what is no JSON', raw('SECRET')],
    ['sends an HTML page', raw('<h1>SECRET</h1>', { 'content-type': 'text/html' })],
    ['sends nothing', raw('')],
    ['sends a JSON list', raw('[]')],
    ['sends what is no UTF-8', raw(Buffer.from([0x7b, 0xff, 0x7d]))],
    ['sends a status of its own', raw('{"data":null}', {}, 500)],
    ['redirects', raw('', { location: 'http://127.0.0.1:1/SECRET' }, 302)],
    ['compresses unasked', raw('SECRET', { 'content-encoding': 'gzip' })],
    ['sends too much, as it says', raw('x'.repeat(200_000))],
    [
      'sends too much, unannounced',
      async (_exchange, response) => {
        response.writeHead(200, { 'content-type': 'application/json' })
        for (let at = 0; at < 1_000 && !response.destroyed; at++) {
          response.write(' '.repeat(10_000))
          await new Promise((resolve) => setImmediate(resolve))
        }
        response.end()
      },
    ],
    ['hangs up', (_exchange, response) => void response.destroy()],
    [
      'hangs up midway',
      (_exchange, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
        response.write('{"data":', () => response.destroy())
      },
    ],
  ]
  it.each(cases)('and %s leaves null and an error without its words', async (_what, how) => {
    service.misbehave(how)
    expectFailed(await ask(document), 'SOURCE_UNAVAILABLE')
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
    expect(service.exchanges).toHaveLength(1)
  })

  it('and cannot be reached leaves null and an error', async () => {
    expectFailed(await ask(document, { graph: composed({ url: 'http://127.0.0.1:1/' }) }), 'SOURCE_UNAVAILABLE')
  })

  it('and is slow, at the start or in the middle, leaves null and an error once its time is over', async () => {
    for (const start of ['', '{"data":']) {
      failures = []
      service.misbehave((_exchange, response) => {
        response.writeHead(200, { 'content-type': 'application/json' })
        if (start) response.write(start)
      })
      const began = performance.now()
      expectFailed(await ask(document, { graph: composed({ deadlineMs: 100 }) }), 'SOURCE_TIMEOUT')
      expect(performance.now() - began).toBeLessThan(1_500)
    }
  })

  it('and is slow has no more time than the whole operation', async () => {
    service.misbehave(() => undefined)
    expectFailed(await ask(document, { graph: composed({ deadlineMs: 60_000, limits: { deadlineMs: 300 } }) }), 'SOURCE_TIMEOUT')
  })

  it('and has all requests under way that it may have refuses the next', async () => {
    const graph = composed({ concurrent: 1, deadlineMs: 400 })
    service.misbehave(() => undefined)
    const outcomes = await Promise.all([ask(document, { graph }), ask(document, { graph })])
    expect(outcomes.map(({ errors }) => errors[0]?.code).sort()).toEqual(['SOURCE_BUSY', 'SOURCE_TIMEOUT'])
  })

  it('for one row leaves null in this one only', async () => {
    service.misbehave(
      answering((list, body) => ({ ...body, data: { agentRatings: [list[0], null] }, errors: [{ message: 'SECRET', path: ['agentRatings', 1, 'rating'] }] })),
    )
    const outcome = await ask(document)
    const names = dataOf(outcome).agents.nodes.map(({ a }: { a: number | null }) => a === null)
    expect(names.filter(Boolean)).toHaveLength(1)
    expect(outcome.errors.map(({ code }) => code)).toEqual(['SOURCE_UNAVAILABLE', 'SOURCE_UNAVAILABLE'])
  })

  it('fails all where the operation asks for all or nothing, and is listed only where it asks for that', async () => {
    service.misbehave(raw('SECRET'))
    expect(await codeOf(ask(`query @sovereignty(onUnavailable: FAIL) ${document}`))).toBe('SOURCE_UNAVAILABLE')
    const outcome = await ask(`query @sovereignty(onUnavailable: EXCLUDE) ${document}`)
    expect(outcome.errors).toEqual([])
    expect(outcome.sovereignty.failed).toEqual([{ organization: 'aurora', code: 'SOURCE_UNAVAILABLE' }])
  })

  it('is asked again over a new connection where it has closed one that was kept', async () => {
    const graph = composed()
    await ask(document, { graph })
    service.misbehave(async (_exchange, response, answer) => {
      service.misbehave(null)
      response.setHeader('connection', 'keep-alive')
      sendJson(response, await answer())
      response.socket?.destroySoon()
    })
    await ask(document, { graph })
    expect((await ask(document, { graph })).errors).toEqual([])
  })
})

describe('an operation with foreign fields, as any other,', () => {
  it('is refused with the code and before anything is asked', async () => {
    const refused: [string, Asked, string][] = [
      ['{ agents(organizations: ["nowhere"]) { nodes { rating } } }', {}, 'NO_AGREEMENT'],
      ['{ agents(first: 5000) { nodes { rating } } }', {}, 'BAD_USER_INPUT'],
      ['{ agents(where: { name: {} }) { nodes { rating } } }', {}, 'BAD_USER_INPUT'],
      ['query ($since: DateTime) { agents { nodes { verdict(since: $since) { text } } } }', { variables: { since: 'yesterday' } }, 'BAD_USER_INPUT'],
      ['query ($f: Int!) { agents(first: $f) { nodes { rating } } }', {}, 'BAD_USER_INPUT'],
      ['query ($f: Int!) { agents(first: $f) { nodes { rating } } }', { variables: [] }, 'BAD_USER_INPUT'],
      ['{ agents(after: "c1.x") { nodes { rating } } }', {}, 'CURSOR_INVALID'],
      ['{ agents(where: { key: { gt: "1" } }) { nodes { name } } a: agents(where: { key: { startsWith: "" } }) { nodes { rating } } }', {}, 'invalid'],
    ]
    for (const [document, asked, code] of refused) {
      if (code === 'invalid') await expect(prepared(document)).rejects.toThrow()
      else expect([document, await codeOf(ask(document, asked))]).toEqual([document, code])
    }
    expect(service.exchanges).toEqual([])
    expect(recorded).toEqual([])
  })

  it('ends when the caller goes away, and the service is hung up on', async () => {
    const controller = new AbortController()
    const closed = new Promise<void>((resolve) =>
      service.misbehave((_exchange, response) => {
        response.once('close', () => resolve())
        controller.abort()
      }),
    )
    expect(await codeOf(ask(PAGE, { signal: controller.signal, graph: composed({ deadlineMs: 60_000 }) }))).toBe('CANCELLED')
    await closed
    expect(await codeOf(ask(PAGE, { signal: controller.signal }))).toBe('CANCELLED')
  })

  it('is one run of the engine, whatever it selects, and one for keys that are looked up', async () => {
    const runs: EngineRequest[] = []
    const door: Asked['door'] = (request, engine) => {
      runs.push(request)
      return engine.run(request)
    }
    await ask('{ a: agents { nodes { rating } } b: agents { totalCount edges { node { verdict { text } } } } organizations { id } agentsAggregate { groups { count } } }', { as: 'aurora', door }) // prettier-ignore
    await ask('{ agents(organizations: ["aurora"]) { nodes { rating executions { nodes { agent { rating } } } } } }', { as: 'aurora', door })
    expect(runs.map(({ principal, operation }) => `${principal.subject}: ${operation.definition.selectionSet.selections.length}`)).toEqual([
      'somebody of aurora: 4',
      'service:ratings: 1',
      'service:ratings: 1',
      'somebody of aurora: 1',
    ])
    // What the service's organization asks for itself, it asks without anybody's claims or roles, and for these owners only.
    expect(runs[1]).toMatchObject({ principal: { organization: 'aurora', roles: [], claims: new Map() }, authority: { purpose: 'operations' } })
    expect([...(runs[1]?.authority.owners.keys() ?? [])]).toEqual(['borealis'])
  })

  it('sends no key of an owner that cannot say which may go, and says so', async () => {
    const late: Asked['door'] = (request, engine) => {
      if (!request.principal.subject.startsWith('service:')) return engine.run(request)
      return new Promise((_resolve, reject) =>
        request.signal.addEventListener('abort', () => reject(new GatewayError('CANCELLED', 'the signal says so')), { once: true }),
      )
    }
    const down: Asked['door'] = async (request, engine) => {
      const outcome = await engine.run(request)
      if (!request.principal.subject.startsWith('service:')) return outcome
      return {
        ...outcome,
        data: piecesOf('{"nodes":[null]}'),
        sovereignty: { ...outcome.sovereignty, failed: [{ organization: 'borealis', code: 'SOURCE_UNAVAILABLE' }] },
      }
    }
    const document = '{ agents(where: { key: { eq: "1" } }, organizations: ["aurora", "borealis"]) { nodes { organization rating } } }'
    for (const [door, code] of [
      [late, 'SOURCE_TIMEOUT'],
      [down, 'SOURCE_UNAVAILABLE'],
    ] as const) {
      // prettier-ignore
      recorded = []
      const outcome = await ask(document, { door, graph: composed({ limits: { deadlineMs: 400 } }) })
      expect(dataOf(outcome).agents.nodes[1]).toEqual({ organization: 'borealis', rating: null })
      expect(outcome.errors).toContainEqual({ message: expect.any(String), code, organization: 'borealis', path: ['agents', 'nodes', 1, 'rating'] })
      expect(outcome.sovereignty.failed).toContainEqual({ organization: 'borealis', code })
      expect(recorded.flatMap(({ owners }) => owners.map(({ organization }) => organization))).not.toContain('borealis')
    }
  })

  it('has one cost: rows, and keys that are looked up for the service', async () => {
    const plain = await ask('{ agents(organizations: ["borealis"], first: 10) { nodes { name } } }')
    const own = await ask('{ agents(organizations: ["aurora"], first: 10) { nodes { name rating } } }')
    const agreed = await ask('{ agents(organizations: ["borealis"], first: 10) { nodes { name rating } } }')
    expect([own.cost, agreed.cost]).toEqual([plain.cost, plain.cost + 4 + 1])
    const document = '{ agents(organizations: ["borealis"], first: 10) { nodes { name rating } } }'
    expect(await codeOf(ask(document, { graph: composed({ limits: { cost: plain.cost + 3 } }) }))).toBe('QUERY_TOO_COSTLY')
    expect(await codeOf(ask(document, { graph: composed({ limits: { stitchedBytes: 100 } }) }))).toBe('QUERY_TOO_COSTLY')
    expect(service.exchanges).toHaveLength(2)
  })
})
