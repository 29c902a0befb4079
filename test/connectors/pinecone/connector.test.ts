import { createServer, type Server } from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { GatewayError } from '../../../src/errors.js'
import { PineconeConnector, type PineconeNative } from '../../../src/connectors/pinecone/connector.js'
import { hostUrl } from '../../../src/connectors/pinecone/describe.js'
import type { OwnerGrant, TypeGrant } from '../../../src/policy/authority.js'
import { restrict } from '../../../src/policy/restrict.js'
import type { AuthorizedPlan, ListPlan, Mask, ViewField } from '../../../src/query/plan.js'
import { ALL, type Predicate } from '../../../src/query/predicate.js'
import { fillStore, INDEX, pineconeData } from '../../engines/pinecone-store.js'
import { type Fault, PineconeStub } from '../../support/pinecone-stub.js'
import { ORGANIZATION } from '../contract-data.js'

const held = pineconeData()
const { data, binding } = held
const OPEN: Predicate = { kind: 'compare', field: 'code', op: '=', operand: { kind: 'constant', value: '{"$ne": ""}' } }
const MANY: Predicate = { kind: 'compare', field: 'count', op: '>', operand: { kind: 'slot', index: 0 } }

interface Asked {
  readonly rows?: Predicate
  readonly where?: Predicate
  readonly embedding?: Exclude<ViewField, { kind: 'absent' }>
  readonly code?: Exclude<ViewField, { kind: 'absent' }>
  readonly caller?: string
  readonly metric?: 'COSINE' | 'L2'
  readonly isSearch?: boolean
}

function planOf({
  rows = ALL,
  where = ALL,
  embedding = { kind: 'plain' },
  code = { kind: 'plain' },
  caller = 'aurora',
  metric = 'COSINE',
  isSearch = true,
}: Asked): AuthorizedPlan {
  const types = [...data.catalog.entities.values()].map((entity): [string, TypeGrant] => {
    const fields = [...entity.fields.keys()].map(
      (field) => [field, field === 'embedding' ? embedding : field === 'code' ? code : ({ kind: 'plain' } as const)] as const,
    )
    return [entity.name, { type: entity.name, rows, fields: new Map(fields), source: { kind: 'roles', roles: [], version: 1, digest: '' } }]
  })
  const grant: OwnerGrant = { organization: ORGANIZATION, types: new Map(types) }
  const list: ListPlan = {
    ...{ type: 'Thing', where, backward: false, cursor: null, path: 'near', limit: { kind: 'constant', value: 5 } },
    order: isSearch ? [{ path: [], field: 'embedding', descending: true, nulls: 'last' }] : [],
    search: isSearch ? { field: 'embedding', metric, to: { kind: 'constant', value: '[1,0,0]' } } : null,
    fields: [{ kind: 'nodes', responseKey: 'nodes', row: { type: 'Thing', fields: [{ kind: 'value', responseKey: 'code', field: 'code' }] } }],
  }
  return restrict({ kind: 'list', withKeys: true, list }, grant, { catalog: data.catalog, binding, caller, starts: new Map() })
}

let stub: PineconeStub
let connector: PineconeConnector

beforeAll(async () => {
  stub = await PineconeStub.start()
  fillStore(await stub.createIndex({ name: INDEX, dimension: 3, metric: 'cosine' }), held)
  connector = connectorTo(stub.url)
})
afterEach(() => {
  stub.fault = () => null
})
afterAll(async () => {
  await connector.close()
  await stub.stop()
})

function connectorTo(url: string, pool: { readonly max?: number; readonly waitingMax?: number } = {}): PineconeConnector {
  return new PineconeConnector({ store: 'main', url, pool: { max: 4, waitingMax: 10, connectMs: 1_000, idleMs: 60_000, ...pool }, rowsMax: 1_000 })
}

/** By its own words, as the plan's binding speaks of the store's types. */
function native(asked: Asked): PineconeNative {
  const plan = planOf(asked)
  const views = [...plan.views].map(([type, view]) => {
    const source = binding.types.get(type)
    return [type, view.source === 'empty' || source?.kind !== 'table' ? view : { ...view, source }] as const
  })
  return connector.compile({ ...plan, views: new Map(views) }).native
}

async function run(of: PineconeConnector, asked: Asked = {}, deadlineMs = 5_000, signal = new AbortController().signal): Promise<unknown> {
  const statement = { native: native(asked), values: { slots: [1], claims: new Map() } }
  const [answer] = await of.execute([statement], asked.caller ?? 'aurora', { signal, deadlineMs, bufferBytes: 1_000 })
  return answer?.first.count
}

async function failureOf(work: Promise<unknown>): Promise<GatewayError> {
  const failure: unknown = await work.then(() => 'answered', (error: unknown) => error) // prettier-ignore
  if (!(failure instanceof GatewayError)) throw new Error(`not a failure of ours: ${String(failure)}`)
  // Neither the key nor the host, nor words of the service.
  expect(`${failure.message} ${failure.detail} ${JSON.stringify(failure)}`).not.toMatch(/pcsk|127\.0\.0\.1|secret/)
  return failure
}

describe('a search in Pinecone', () => {
  it('has policy, the condition of the vector and the condition of the caller in one filter, and no value', () => {
    const text = connector.describe(native({ rows: OPEN, where: MANY, embedding: { kind: 'cell', condition: OPEN } }))
    expect(text).toBe(
      'contract/Thing where (code = <constant>) and (code = <constant>) and (count > <slot 0>) nearest by embedding (COSINE, scored in the gateway)',
    )
  })

  it.each<readonly [string, Asked, boolean]>([
    ["the owner's own people by the index", { caller: ORGANIZATION }, true],
    ['partners by none', {}, false],
    ['nobody by the index where the vector is shown in some rows only', { caller: ORGANIZATION, embedding: { kind: 'cell', condition: OPEN } }, false],
    ['nobody by an index of another metric', { caller: ORGANIZATION, metric: 'L2' }, false],
  ])('serves %s', (_name, asked, isApproximate) => {
    expect(connector.describe(native(asked))).toContain(isApproximate ? '(COSINE, approximate)' : 'scored in the gateway')
    expect(connector.isApproximate(native(asked))).toBe(isApproximate)
  })

  it('by a vector that may not be read is refused, and so are masks that need the value', () => {
    const masks: readonly Mask[] = [
      { kind: 'pseudonym', domain: 'x', grantee: 'aurora', revealNulls: false },
      { kind: 'generalize', step: '1', revealNulls: false },
    ]
    for (const asked of [
      { embedding: { kind: 'masked', mask: { kind: 'null' } } } as const,
      ...masks.map((mask) => ({ code: { kind: 'masked', mask } as const })),
    ])
      expect(() => native(asked)).toThrow(expect.objectContaining({ code: 'FIELD_NOT_USABLE' }))
    expect(() => native({ code: { kind: 'masked', mask: { kind: 'redact', keepLast: 2, revealNulls: false } } })).not.toThrow()
  })

  it('sends its values as values, with the key and the version of the interface beside them', async () => {
    const before = stub.requests.length
    await run(connector, { rows: OPEN, where: MANY, caller: ORGANIZATION })
    const [request] = stub.requests.slice(before).filter(({ path }) => path === '/query')
    expect(request?.body).toMatchObject({
      ...{ namespace: 'Thing', topK: 30, vector: [1, 0, 0], includeValues: false, includeMetadata: false },
      filter: { $and: [{ CODE: { $eq: '{"$ne": ""}' } }, { 'naïve Ω': { $gt: 1 } }] },
    })
    expect(request?.headers).toMatchObject({ 'api-key': stub.apiKey, 'x-pinecone-api-version': '2026-04' })
  })

  it('by the index gives way to all rows where the index gives too few, or what does not fit', async () => {
    const everywhere = await run(connector, { caller: ORGANIZATION })
    stub.fault = ({ path }) => (path === '/query' ? { status: 200, body: '{"matches":[{"id":"0","score":1}],"namespace":"Thing"}' } : null)
    expect(await run(connector, { caller: ORGANIZATION })).toBe(everywhere)
  })
})

describe('a Pinecone that fails', () => {
  const THING = 'Thing'
  const record = (id: string, more: Readonly<Record<string, unknown>> = {}): string =>
    JSON.stringify({ vectors: { [id]: { id, values: [1, 0, 0], metadata: {}, ...more } }, namespace: THING })
  const of = (path: string, fault: Fault) => (request: { readonly path: string }) => (request.path === path ? fault : null)
  const answer = (body: string | Buffer, status = 200): Fault => ({ status, body })

  it.each<readonly [string, string, Fault]>([
    ['no JSON', '/vectors/list', answer('<html>secret</html>')],
    ['half a JSON', '/vectors/list', answer('{"vectors": [{"id"')],
    ['nothing', '/vectors/list', answer('')],
    ['null', '/vectors/list', answer('null')],
    ['an empty message', '/vectors/list', answer('{}')],
    ['another namespace', '/vectors/list', answer('{"vectors":[{"id":"1"}],"namespace":"others"}')],
    ['ids of another type', '/vectors/list', answer('{"vectors":[{"id":1}],"namespace":"Thing"}')],
    ['a list that is none', '/vectors/list', answer('{"vectors":{"id":"1"},"namespace":"Thing"}')],
    ['ids out of order', '/vectors/list', answer('{"vectors":[{"id":"2"},{"id":"1"}],"namespace":"Thing"}')],
    ['an id twice', '/vectors/list', answer('{"vectors":[{"id":"2"},{"id":"2"}],"namespace":"Thing"}')],
    [
      'more ids than were asked for',
      '/vectors/list',
      answer(JSON.stringify({ vectors: Array.from({ length: 101 }, (_, id) => ({ id: String(1_000 + id) })), namespace: THING })),
    ],
    ['one page for ever', '/vectors/list', answer('{"vectors":[],"namespace":"Thing","pagination":{"next":"again"}}')],
    ['a page of another type', '/vectors/list', answer('{"vectors":[],"namespace":"Thing","pagination":{"next":7}}')],
    ['no records', '/vectors/fetch', answer('{}')],
    ['records that were not asked for', '/vectors/fetch', answer(record('never asked for'))],
    ['a record under another id', '/vectors/fetch', answer(record('1', { id: '2' }))],
    ['metadata of another type', '/vectors/fetch', answer(record('1', { metadata: ['secret'] }))],
    ['a record of another type', '/vectors/fetch', answer('{"vectors":{"1":"secret"},"namespace":"Thing"}')],
    ['10 MB of nonsense', '/vectors/fetch', answer(Buffer.alloc(10 * 1_048_576, 'x'))],
    ['10 MB of spaces', '/vectors/list', answer(Buffer.alloc(10 * 1_048_576, ' '))],
    ['an error of its own', '/vectors/list', answer('{"code":13,"message":"secret","details":[]}', 500)],
    ['that it is not there', '/vectors/list', answer('no upstream at 127.0.0.1: secret', 503)],
    ['that the key is none', '/vectors/list', answer('{"code":16,"message":"secret","details":[]}', 401)],
    ['that it may not', '/vectors/list', answer('secret', 403)],
    ['that there is no such place', '/vectors/list', answer('{"code":5,"message":"secret","details":[]}', 404)],
    ['a status that is none', '/vectors/list', answer('{}', 999)],
    ['an end in the middle', '/vectors/list', 'reset'],
  ])('is SOURCE_UNAVAILABLE where it answers with %s', async (_name, path, fault) => {
    stub.fault = of(path, fault)
    expect((await failureOf(run(connector, { isSearch: false }))).code).toBe('SOURCE_UNAVAILABLE')
    stub.fault = () => null
    expect(await run(connector, { isSearch: false })).toBe(6)
  })

  it.each<readonly [string, string]>([
    ['hits of another type', '{"matches":"secret","namespace":"Thing"}'],
    ['a hit without an id', '{"matches":[{"score":1}],"namespace":"Thing"}'],
    ['a hit twice', '{"matches":[{"id":"1"},{"id":"1"}],"namespace":"Thing"}'],
  ])('is SOURCE_UNAVAILABLE where it finds %s', async (_name, body) => {
    stub.fault = of('/query', answer(body))
    expect((await failureOf(run(connector, { caller: ORGANIZATION }))).code).toBe('SOURCE_UNAVAILABLE')
  })

  it('reads values of another type as null, and vectors that are none as no neighbours', async () => {
    for (const values of [undefined, 'secret', [1, 0], [1, 0, 'x'], [1, 0, null], {}]) {
      stub.fault = (request) =>
        request.path === '/vectors/list'
          ? answer('{"vectors":[{"id":"1"}],"namespace":"Thing"}')
          : request.path === '/vectors/fetch'
            ? answer(record('1', { values, metadata: { CODE: { $ne: 1 } } }))
            : null
      expect(await run(connector, {})).toBe(0)
      expect(await run(connector, { isSearch: false })).toBe(1)
    }
  })

  it('is SOURCE_BUSY where a rate limit was reached, and for those who would wait beyond the queue', async () => {
    stub.fault = of('/vectors/list', answer('{"code":8,"message":"secret","details":[]}', 429))
    expect((await failureOf(run(connector, { isSearch: false }))).code).toBe('SOURCE_BUSY')
    stub.fault = of('/vectors/list', 'silence')
    const busy = connectorTo(stub.url, { max: 1, waitingMax: 0 })
    const first = failureOf(run(busy, { isSearch: false }, 100))
    expect((await failureOf(run(busy, { isSearch: false }))).code).toBe('SOURCE_BUSY')
    expect((await first).code).toBe('SOURCE_TIMEOUT')
    await busy.close()
  })

  it('is SOURCE_TIMEOUT once the time is over, for as many pages as there are', async () => {
    for (const path of ['/vectors/list', '/vectors/fetch', '/indexes/contract']) {
      stub.fault = of(path, 'silence')
      const own = connectorTo(stub.url)
      expect((await failureOf(run(own, { isSearch: false }, 50))).code).toBe('SOURCE_TIMEOUT')
      await own.close()
    }
    let page = 0
    stub.fault = ({ path }) => (path === '/vectors/list' ? answer(`{"vectors":[],"namespace":"Thing","pagination":{"next":"${(page += 1)}"}}`) : null)
    expect((await failureOf(run(connector, { isSearch: false }, 50))).code).toBe('SOURCE_TIMEOUT')
    expect(page).toBeGreaterThan(1)
  })

  it('is left alone once nobody waits any more', async () => {
    stub.fault = of('/vectors/list', 'silence')
    const controller = new AbortController()
    const running = failureOf(run(connector, { isSearch: false }, 5_000, controller.signal))
    setTimeout(() => controller.abort(new GatewayError('CANCELLED', 'the caller went away')), 50)
    expect((await running).code).toBe('CANCELLED')
  })

  it('is SOURCE_UNAVAILABLE where nobody listens, or has no such index', async () => {
    const nobody = connectorTo('http://:pcsk_x@127.0.0.1:1')
    expect((await failureOf(run(nobody))).code).toBe('SOURCE_UNAVAILABLE')
    await nobody.close()
    const empty = await PineconeStub.start()
    const lost = connectorTo(empty.url)
    expect((await failureOf(run(lost))).code).toBe('SOURCE_UNAVAILABLE')
    expect(await lost.describeIndexes([INDEX], new AbortController().signal)).toEqual([])
    await lost.close()
    await empty.stop()
  })

  it('is asked again, once, where it had closed a connection that was kept', async () => {
    await run(connector, { isSearch: false })
    let resets = 0
    stub.fault = ({ path }) => (path === '/vectors/list' && (resets += 1) === 1 ? 'reset' : null)
    expect([await run(connector, { isSearch: false }), resets]).toEqual([6, 2])
  })

  it('is asked anew for where the index is, once that has failed', async () => {
    await run(connector, { isSearch: false })
    const before = stub.requests.filter(({ path }) => path.startsWith('/indexes')).length
    stub.fault = of('/vectors/list', answer('secret', 500))
    await failureOf(run(connector, { isSearch: false }))
    stub.fault = () => null
    expect(await run(connector, { isSearch: false })).toBe(6)
    expect(stub.requests.filter(({ path }) => path.startsWith('/indexes'))).toHaveLength(before + 1)
  })
})

describe('the key of Pinecone', () => {
  let elsewhere: Server
  let seen = 0
  beforeAll(async () => {
    elsewhere = createServer((_request, response) => {
      seen += 1
      response.end('{}')
    })
    await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve))
  })
  afterAll(() => void elsewhere.close())

  it('does not follow to where an answer leads', async () => {
    const at = elsewhere.address()
    const location = `http://127.0.0.1:${at !== null && typeof at === 'object' ? at.port : 0}/`
    for (const status of [301, 302, 307, 308]) {
      stub.fault = ({ path }) => (path === '/vectors/list' ? { status, body: '', headers: { location } } : null)
      expect((await failureOf(run(connector, { isSearch: false }))).code).toBe('SOURCE_UNAVAILABLE')
    }
    expect(seen).toBe(0)
  })

  it.each<readonly [string, string, string | null]>([
    ['items-x.svc.aped-1.pinecone.io', 'https://api.pinecone.io', 'https://items-x.svc.aped-1.pinecone.io'],
    ['https://items-x.svc.pinecone.io', 'https://api.pinecone.io', 'https://items-x.svc.pinecone.io'],
    ['http://items-x.svc.pinecone.io', 'https://api.pinecone.io', null],
    ['items-x.svc.example.org', 'https://api.pinecone.io', null],
    ['pinecone.io.example.org', 'https://api.pinecone.io', null],
    ['evilpinecone.io', 'https://api.pinecone.io', null],
    ['user@items.pinecone.io', 'https://api.pinecone.io', null],
    ['items.pinecone.io/path', 'https://api.pinecone.io', null],
    ['items.io', 'https://pinecone.io', null],
    ['127.0.0.1:5081', 'https://api.pinecone.io', null],
    ['127.0.0.1:5081', 'http://127.0.0.1:5080', 'http://127.0.0.1:5081'],
    ['items.pinecone.io', 'http://localhost:5080', null],
    ['', 'https://api.pinecone.io', null],
  ])('goes to %s as %s says: %s', (host, controlPlane, expected) => {
    if (expected === null) expect(() => hostUrl(host, controlPlane)).toThrow(expect.objectContaining({ code: 'SOURCE_UNAVAILABLE' }))
    else expect(hostUrl(host, controlPlane)).toBe(expected)
  })
})
