/** The connector contract against a stub of Pinecone, which is a service and cannot be had (test/support/pinecone-stub.ts): `npm run test:engines -- pinecone`. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { checkReport } from '../../src/cli/check.js'
import type { OrganizationConfig, StoreConfig, TypeBindingConfig } from '../../src/config.js'
import type { Connector } from '../../src/connectors/connector.js'
import { PineconeConnector, type PineconeNative } from '../../src/connectors/pinecone/connector.js'
import { connectorContract } from '../connectors/contract.js'
import type { Secret } from '../../src/settings.js'
import { agreementOf, startTestGateway, type TestAnswer, type TestGateway } from '../support/gateway.js'
import { PineconeStub, type StubIndex, type StubRecord } from '../support/pinecone-stub.js'
import { startTestPostgres, type TestPostgres } from '../support/postgres.js'
import { fillStore, INDEX, pineconeData, rebound } from './pinecone-store.js'

const held = pineconeData()

// What the description of the service leaves open must not matter.
describe.each(['matches', 'fails'] as const)('where `$ne` %s of a record without the field', (onMissing) => {
  connectorContract(
    'pinecone',
    async () => {
      const stubs = await Promise.all([PineconeStub.start(), PineconeStub.start(), PineconeStub.start()])
      const [stub, broken, silent] = stubs
      for (const each of stubs) fillStore(await each.createIndex({ name: INDEX, dimension: 3, metric: 'cosine', onMissing }), held)
      broken.fault = ({ path }) => (path.startsWith('/indexes') ? null : { status: 500, body: '{"code":13,"message":"secret words","details":[]}' })
      silent.fault = () => 'silence'
      const connectors = [connectorTo(stub.url), connectorTo(broken.url), connectorTo(silent.url)] as const
      const [connector, failing, endless] = connectors
      return {
        connector: over(connector),
        broken: over(failing),
        endless: over(endless),
        close: async () => {
          await Promise.all([...connectors.map((one) => one.close()), ...stubs.map((one) => one.stop())])
        },
      }
    },
    { data: held.data },
  )
})

describe('a gateway over Pinecone', () => {
  const SDL = `type Item @entity { key: ID! team: String! number: Int! embedding: Vector @vector(model: "m", dimensions: 3, metric: L2) }`
  const ORGANIZATIONS = ['aurora', 'borealis'] as const
  const NAMESPACE = 'items of a "namespace"'
  const FIRST = 10_001
  /** Rows 1 to 900 are hidden from most, and nearest to what is looked for. */
  const RECORDS = Array.from({ length: 1_000 }, (_, index) => recordOf(index + 1, index < 900 ? 'hidden' : 'open'))
  const from = (first: number, count: number): readonly string[] => Array.from({ length: count }, (_, index) => idOf(first + index))
  /** A walk over the index comes upon neither of these. */
  const MISSED = [idOf(901), idOf(905)]
  let folder: string
  let stub: PineconeStub
  const indexes = new Map<string, StubIndex>()
  let server: TestPostgres
  let gateway: TestGateway

  /** In the order of their numbers. */
  function idOf(number: number): string {
    return String(FIRST + number)
  }

  function recordOf(number: number, team: string, values: readonly number[] = [number, 1, 0]): StubRecord {
    return { id: idOf(number), values, metadata: { team, number } }
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'concordat-pinecone-'))
    stub = await PineconeStub.start()
    await writeFile(join(folder, 'url'), stub.url)
    for (const organization of ORGANIZATIONS) {
      const index = await stub.createIndex({ name: `items-of-${organization}`, dimension: 3, metric: 'euclidean', finds: (id) => !MISSED.includes(id) })
      index.upsert(NAMESPACE, RECORDS)
      index.upsert('__default__', [recordOf(1, 'open')])
      indexes.set(organization, index)
    }
    server = await startTestPostgres()
    const open = { team: { eq: 'open' } }
    const bindings = (organization: string): Readonly<Record<string, unknown>> => ({
      Item: { table: `vectors.items-of-${organization}."${NAMESPACE.replaceAll('"', '""')}"` },
    })
    const store = { vectors: { kind: 'pinecone', url: { file: join(folder, 'url') }, scan: 200 } }
    gateway = await startTestGateway({
      postgres: server,
      moreStores: { aurora: store, borealis: store },
      world: {
        contract: SDL,
        organizations: {
          aurora: {
            sql: '',
            bindings: bindings('aurora'),
            roles: {
              all: { read: { Item: { fields: 'all' } }, crossOrganization: ['testing'] },
              few: { read: { Item: { fields: 'all', rows: open } } },
              // No order of texts can be asked for.
              late: { read: { Item: { fields: 'all', rows: { team: { gt: 'n' } } } } },
              some: { read: { Item: [{ fields: ['key', 'team', 'number'] }, { fields: ['embedding'], rows: open }] } },
            },
          },
          borealis: { sql: '', bindings: bindings('borealis') },
        },
        agreements: [agreementOf('borealis', 'aurora', { Item: { rows: open, allow: ['key', 'team', 'number', 'embedding'] } })],
      },
    })
  }, 300_000)
  afterAll(async () => {
    await gateway?.stop()
    await server?.stop()
    await stub?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const NEAREST = `query($to: NearestTo!, $k: Int!, $metric: VectorMetric, $where: ItemWhere, $only: [ID!]) {
      near: itemsNearest(to: $to, k: $k, metric: $metric, where: $where, organizations: $only) { edges { score node { organization key embedding } } } }`
  const LIST = 'query($where: ItemWhere) { items(first: 1000, where: $where, organizations: ["aurora"]) { nodes { key team } totalCount } }'
  const asked = (role: string, variables: Readonly<Record<string, unknown>>): Promise<TestAnswer> =>
    gateway.ask({ organization: 'aurora', roles: [role] }, NEAREST, { to: { vector: [1, 1, 0] }, ...variables })
  const listed = (role: string, where: unknown): Promise<TestAnswer> => gateway.ask({ organization: 'aurora', roles: [role] }, LIST, { where })
  const keysOf = ({ json }: TestAnswer): readonly string[] => json.data?.near.edges.map(({ node }: { node: { key: string } }) => node.key)
  const codeOf = ({ json }: TestAnswer): unknown => [json.errors?.[0]?.extensions.code, json.errors?.[0]?.extensions.organization]
  const approximate = ({ json }: TestAnswer): unknown => (json.extensions.sovereignty as { readonly approximate?: unknown }).approximate
  /** What was asked meanwhile. */
  const during = async (work: () => Promise<unknown>): Promise<PineconeStub['requests']> => {
    const before = stub.requests.length
    await work()
    return stub.requests.slice(before)
  }

  it('gives k rows wherever there are as many that may be read and fit, whatever is nearer', async () => {
    for (const k of [1, 7, 60, 100]) {
      expect(keysOf(await asked('few', { k, only: ['aurora'], where: { number: { gt: 0 } } }))).toHaveLength(k)
      expect(keysOf(await asked('some', { k, only: ['aurora'] }))).toEqual(from(901, k))
      expect(keysOf(await asked('late', { k, only: ['aurora'] }))).toHaveLength(k)
      expect(keysOf(await asked('all', { k, only: ['borealis'] }))).toEqual(from(901, k))
      expect(keysOf(await asked('all', { k, only: ['aurora'], where: { number: { gt: 800, lte: 900 } } }))).toEqual(from(801, k))
    }
  })

  it("lets the index find for the owner's own people alone, and says so", async () => {
    const home = await during(async () => {
      const answer = await asked('few', { k: 5, only: ['aurora'] })
      expect(keysOf(answer)).toEqual([idOf(902), idOf(903), idOf(904), idOf(906), idOf(907)])
      expect(approximate(answer)).toEqual([{ organization: 'aurora', search: 'near' }])
    })
    expect(home.map(({ path }) => path)).toEqual(['/query', '/vectors/fetch'])
    // Policy is within the search.
    expect(home[0]?.body).toMatchObject({ filter: { team: { $eq: 'open' } } })
    const others = await during(async () => {
      const partner = await asked('all', { k: 5, only: ['borealis'] })
      expect([keysOf(partner), approximate(partner)]).toEqual([from(901, 5), undefined])
      const some = await asked('some', { k: 5, only: ['aurora'] })
      expect([keysOf(some), approximate(some)]).toEqual([from(901, 5), undefined])
    })
    expect(others.map(({ path }) => path)).not.toContain('/query')
    for (const { body } of others) expect(body).toMatchObject({ filter: { team: { $eq: 'open' } } })
  })

  it('reads no more than it may to score rows here, of which those that are hidden are none', async () => {
    expect(codeOf(await asked('all', { k: 3, metric: 'COSINE', only: ['aurora'] }))).toEqual(['QUERY_TOO_COSTLY', 'aurora'])
    for (const role of ['few', 'late'])
      expect(keysOf(await asked(role, { k: 3, metric: 'COSINE', only: ['aurora'], to: { vector: [0, 1, 0] } }))).toEqual(from(901, 3))
    // 100 rows may be read, and 900 not, by a condition that Pinecone is not asked.
    expect((await listed('late', { team: { contains: 'pe' } })).json.data?.items.totalCount).toBe(100)
    expect(codeOf(await listed('all', { team: { contains: 'pe' } }))).toEqual(['QUERY_TOO_COSTLY', 'aurora'])
  })

  it('merges owners by the score that both would give', async () => {
    const { json } = await asked('few', { k: 2, only: ['aurora'], to: { vector: [902, 1, 3] } })
    expect(json.data?.near.edges.map(({ score }: { score: number }) => score)).toEqual([-3, -Math.sqrt(10)])
    expect(keysOf(await asked('all', { k: 3, to: { vector: [950, 1, 0] } }))).toEqual([idOf(950), idOf(950), idOf(949)])
  })

  it('does not search a vector where it is not shown', async () => {
    const where = { key: { in: [idOf(900), idOf(901)] } }
    const { json } = await gateway.ask(
      { organization: 'aurora', roles: ['some'] },
      'query($where: ItemWhere) { items(where: $where, organizations: ["aurora"]) { nodes { embedding } } }',
      { where },
    )
    expect(json.data?.items.nodes).toEqual([{ embedding: null }, { embedding: [901, 1, 0] }])
  })

  it('shows nothing of rows that may not be read, whatever vectors they have', async () => {
    const element = fc.float({ min: -1_000, max: 1_000, noNaN: true })
    const vector: fc.Arbitrary<readonly number[]> = fc.oneof(fc.tuple(element, element, element), fc.constantFrom([1, 1, 0], [901, 1, 0], [0, 0, 1]))
    const seen = ({ status, text }: TestAnswer): string => `${status} ${text.replace(/"requestId":"[0-9a-f-]{36}"/, '').replace(/"receipt":\{[^}]*\}/, '')}`
    const asks = fc.record({ k: fc.integer({ min: 1, max: 100 }), metric: fc.constantFrom('L2', 'COSINE'), to: vector })
    await fc.assert(
      fc.asyncProperty(fc.array(vector, { minLength: 1, maxLength: 20 }), asks, async (drawn, { k, metric, to }) => {
        // The service takes no vector of zeros.
        const hidden = drawn.map((each): readonly number[] => (each.every((value) => Math.fround(value) === 0) ? [1, 1, 0] : each))
        const variables = { k, metric, only: ['borealis'], to: { vector: to } }
        const before = seen(await asked('all', variables))
        const index = indexes.get('borealis')
        index?.upsert(NAMESPACE, hidden.map((values, each) => recordOf(5_000 + each, 'hidden', values))) // prettier-ignore
        const after = seen(await asked('all', variables))
        index?.delete(NAMESPACE, hidden.map((_, each) => idOf(5_000 + each))) // prettier-ignore
        expect(after).toBe(before)
        // Nothing is near to what has no direction.
        expect(before.includes('"score"')).toBe(metric === 'L2' || to.some((each) => each !== 0))
      }),
      { numRuns: 20 },
    )
  })

  it('takes values of a request for values, whatever they look like', async () => {
    const hostile = ['$ne', '$in', '{"$ne": ""}', '{"$exists": true}', '$or', 'open" or 1', '__proto__', '{}', '[]', 'null', '\u2028', '$eq']
    const requests = await during(async () => {
      for (const text of hostile) {
        for (const where of [{ team: { eq: text } }, { team: { in: [text, text] } }, { key: { eq: text } }, { not: { team: { ne: text } } }])
          expect((await listed('few', where)).json.data?.items).toEqual({ nodes: [], totalCount: 0 })
        expect((await asked('few', { k: 2, only: ['aurora'], where: { team: { eq: text } } })).json.data?.near.edges).toEqual([])
      }
    })
    const filters = requests.flatMap(({ body }) => (body === null ? [] : [(body as { readonly filter?: unknown }).filter]))
    expect(filters.length).toBeGreaterThan(hostile.length)
    for (const filter of filters) expect(JSON.stringify(shapeOf(filter))).toMatch(SHAPE)
    // Objects are no values of the contract, and end before a store is asked.
    const refused = await during(async () => {
      for (const value of [{ $ne: '' }, { $in: ['hidden', 'open'] }, [['$ne']], { $exists: true }])
        for (const where of [{ team: { eq: value } }, { team: { in: [value] } }, { number: { gt: value } }, { team: value }])
          expect((await listed('few', where)).json).toMatchObject({ errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] })
    })
    expect(refused).toEqual([])
  })

  it('refuses what is no vector of the space before the store is asked', async () => {
    const requests = await during(async () => {
      for (const vector of [[1, 1], [1, 1, 0, 0], [], [1, 'NaN', 0], [1e39, 0, 0], [1, null, 0]])
        expect((await asked('few', { k: 2, only: ['aurora'], to: { vector } })).json.errors?.[0]?.extensions.code).toMatch(/^BAD_USER_INPUT$|^INVALID/)
    })
    expect(requests).toEqual([])
  })

  it('reads by ids, and pages in their order without reading all', async () => {
    const id = Buffer.from(JSON.stringify(['Item', 'aurora', idOf(950)])).toString('base64url')
    expect(keysOf(await asked('few', { k: 2, to: { id }, only: ['aurora'] }))).toEqual([idOf(950), idOf(949)])
    const document = 'query($after: String) { items(first: 60, after: $after, organizations: ["aurora"]) { nodes { key } pageInfo { endCursor hasNextPage } } }'
    interface Items {
      readonly nodes: readonly { readonly key: string }[]
      readonly pageInfo: { readonly endCursor: string; readonly hasNextPage: boolean }
    }
    const page = async (after: string | null): Promise<Items> =>
      (await gateway.ask({ organization: 'aurora', roles: ['all'] }, document, { after })).json.data?.items as Items
    const first = await page(null)
    expect([first.nodes.map(({ key }) => key), first.pageInfo.hasNextPage]).toEqual([from(1, 60), true])
    expect((await page(first.pageInfo.endCursor)).nodes.map(({ key }) => key)).toEqual(from(61, 60))
    const requests = await during(() => listed('few', { key: { in: from(890, 30) } }))
    expect(requests.map(({ path, query }) => [path, query.getAll('ids').length])).toEqual([['/vectors/fetch', 30]])
  })

  it('is held against the contract by `check`', async () => {
    await writeFile(
      join(folder, 'contract.graphql'),
      SDL.replace('dimensions: 3', 'dimensions: 4').replace('number: Int!', 'number: BigInt') + SDL.replaceAll('Item', 'Other'),
    )
    const url = { reveal: () => stub.url } as Secret // only what is read of it
    const pool = { max: 1, queue: 1, connectMs: 5_000, idleMs: 1_000 }
    const store: StoreConfig = { kind: 'pinecone', url, jurisdiction: 'DE', schema: 'public', prepared: true, pool, scanRows: 10 }
    const typed = (type: string, index: string): readonly [string, TypeBindingConfig] => [
      type,
      { kind: 'table', table: { store: 'vectors', schema: index, table: NAMESPACE }, fields: new Map() },
    ]
    const organization: OrganizationConfig = {
      ...{ id: 'aurora', name: 'aurora', jurisdiction: 'DE', issuers: [], services: new Map(), embeddings: new Map(), verifyKey: null },
      ledgerKey: url,
      stores: new Map([['vectors', store]]),
      bindings: new Map([typed('Item', 'items-of-aurora'), typed('Other', 'no-such-index')]),
    }
    const { organizations } = await checkReport({ contract: folder, organizations: new Map([['aurora', organization]]) })
    expect(organizations[0]?.findings.map(({ type, field }) => [type, field])).toEqual([
      ['Item', 'number'],
      ['Item', 'embedding'],
      ['Other', null],
    ])
  })

  it('refuses what it does not answer before the store is asked, and names the owner', async () => {
    const requests = await during(async () => {
      expect(
        codeOf(await gateway.ask({ organization: 'aurora', roles: ['few'] }, '{ itemsAggregate(organizations: ["aurora"]) { groups { count } } }')),
      ).toEqual(['FIELD_NOT_USABLE', 'aurora'])
    })
    expect(requests).toEqual([])
  })

  it('is named where it fails, and the other owners answer', async () => {
    stub.fault = ({ headers }) => (`http://${headers.host}`.endsWith(indexes.get('borealis')?.host ?? '') ? { status: 500, body: 'secret words' } : null)
    try {
      const { text, json } = await asked('all', { k: 2, where: { number: { gt: 900 } } })
      expect(json.data?.near.edges.map(({ node }: { node: { organization: string } }) => node.organization)).toEqual(['aurora', 'aurora'])
      expect(text).toContain('SOURCE_UNAVAILABLE')
      expect(text).not.toMatch(/secret words|127\.0\.0\.1|pcsk_/)
    } finally {
      stub.fault = () => null
    }
  })
})

/** A filter with its values left out. */
function shapeOf(filter: unknown): unknown {
  if (Array.isArray(filter)) return filter.map(shapeOf)
  if (typeof filter !== 'object' || filter === null) return 0
  return Object.fromEntries(Object.entries(filter).map(([name, inner]) => [name, shapeOf(inner)]))
}

const SHAPE = /^(\{"\$and":\[|[\],]|\{"team":\{"\$(eq|in)":(0|\[0(,0)*\])\}\}|\])+\}?$/

function connectorTo(url: string): PineconeConnector {
  return new PineconeConnector({ store: 'main', url, pool: { max: 4, waitingMax: 100, connectMs: 5_000, idleMs: 60_000 }, rowsMax: 1_000 })
}

/** Plans speak of PostgreSQL's types, for the oracle. */
function over(connector: PineconeConnector): Connector<PineconeNative> {
  return {
    store: connector.store,
    capabilities: connector.capabilities,
    compile: (plan) => connector.compile(rebound(plan, held.binding)),
    execute: (statements, caller, options) => connector.execute(statements, caller, options),
    describe: (native) => connector.describe(native),
    close: () => connector.close(),
  }
}
