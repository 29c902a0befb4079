/** The connector contract against Milvus: `npm run test:engines -- milvus` starts one and says where it is. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { ConsistencyLevelEnum } from '@zilliz/milvus2-sdk-node'
import fc from 'fast-check'
import { checkReport } from '../../src/cli/check.js'
import type { OrganizationConfig, StoreConfig, TypeBindingConfig } from '../../src/config.js'
import type { Connector } from '../../src/connectors/connector.js'
import { MilvusConnector, type MilvusNative } from '../../src/connectors/milvus/connector.js'
import { textLiteral } from '../../src/connectors/milvus/literal.js'
import { connectorContract } from '../connectors/contract.js'
import { AGENTS, describeParts, heldApart, TEAMS } from '../engine/parts-suite.js'
import { agreementOf, startTestGateway, type TestAnswer, type TestGateway } from '../support/gateway.js'
import type { Secret } from '../../src/settings.js'
import { startTestPostgres, type TestPostgres } from '../support/postgres.js'
import { createCollection, fillStore, insertRows, milvusData, type NewCollection, rebound, settled, succeeded, withMilvus } from './milvus-store.js'

const ADDRESS = process.env.CONCORDAT_ENGINE_URL ?? '127.0.0.1:19530'
const held = milvusData()

connectorContract(
  'milvus',
  async () => {
    await fillStore(ADDRESS, held)
    const silent = await silentServer()
    const connectors = [connectorTo(ADDRESS), connectorTo(silent.address)] as const
    const [connector, waiting] = connectors
    return {
      connector: over(connector, (native) => native),
      broken: over(connector, failing),
      endless: over(waiting, (native) => native),
      close: async () => {
        await Promise.all(connectors.map((one) => one.close()))
        silent.close()
      },
    }
  },
  { data: held.data },
)

/** @param index of the vectors, which finds the nearest of all or of most. */
function describePartsIn(where: string, index: Omit<NewCollection['indexes'][number], 'field' | 'metric'>, approximate: 'never' | 'at home'): void {
  describeParts(
    where,
    async (postgres) => {
      const name = `agent_${index.type.toLowerCase()}`
      const part = (collection: string, column: string): unknown => ({ table: `vectors.${name}_${collection}`, key: ['agent'], column })
      return {
        sql: `${TEAMS}${AGENTS} ALTER TABLE agent DROP COLUMN embedding, DROP COLUMN bio;`,
        bindings: { Agent: { uniqueKey: true, fields: { embedding: part('vectors', 'embedding'), bio: part('bios', 'text') } } },
        moreStores: { alpha: { vectors: { kind: 'milvus', url: `http://${ADDRESS}` } } },
        fill: async () => {
          const held = await heldApart(postgres)
          const key = { name: 'agent', data_type: 'VarChar', max_length: 100, is_primary_key: true }
          const vector = { name: 'embedding', data_type: 'FloatVector', dim: 2 }
          await withMilvus(ADDRESS, async (client) => {
            await createCollection(client, {
              name: `${name}_vectors`,
              fields: [key, vector],
              rows: [
                ...held.flatMap(({ key: agent, embedding }) => (embedding ? [{ agent, embedding }] : [])),
                // What is no key of an agent at all is none of one.
                ...['agent 7', '\u0001"\\', 'é'].map((agent) => ({ agent, embedding: [1, 0] })),
              ],
              indexes: [{ field: 'embedding', metric: 'COSINE', ...index }],
            })
            await createCollection(client, {
              name: `${name}_bios`,
              fields: [key, { name: 'text', data_type: 'VarChar', max_length: 100 }, vector],
              rows: held.flatMap(({ key: agent, bio }) => (bio === null ? [] : [{ agent, text: bio, embedding: [1, 1] }])),
              indexes: [{ field: 'embedding', metric: 'COSINE', type: 'FLAT' }],
            })
          })
        },
        stop: () => Promise.resolve(),
      }
    },
    approximate,
  )
}

describePartsIn('collections of Milvus', { type: 'FLAT' }, 'never')
describePartsIn('collections of Milvus that are searched by an index', { type: 'HNSW', params: { M: 8, efConstruction: 64 } }, 'at home')

describe('a gateway over Milvus', () => {
  const SDL = `type Item @entity { key: ID! team: String! number: Int! embedding: Vector @vector(model: "m", dimensions: 3, metric: L2) }
    type Point @entity { key: ID! team: String! number: Int! embedding: Vector @vector(model: "m", dimensions: 3, metric: L2) }`
  const ORGANIZATIONS = ['aurora', 'borealis'] as const
  const TYPES = ['Item', 'Point'] as const
  /** Rows 1 to 900 are hidden from most, and nearest to what is looked for. */
  const ROWS = Array.from({ length: 1_000 }, (_, index) => rowOf(index + 1, index < 900 ? 'hidden' : 'open'))
  const from = (first: number, count: number): readonly string[] => Array.from({ length: count }, (_, index) => String(first + index))
  let server: TestPostgres
  let gateway: TestGateway

  function rowOf(key: number, team: string, embedding: readonly number[] = [key, 1, 0]): Readonly<Record<string, unknown>> {
    return { id: key, team, number: key, embedding }
  }

  function collectionOf(organization: string, type: string): string {
    return `gateway_${organization}_${type}`
  }

  beforeAll(async () => {
    await withMilvus(ADDRESS, async (client) => {
      for (const organization of ORGANIZATIONS) {
        for (const type of TYPES) {
          const index = type === 'Item' ? { type: 'FLAT' } : { type: 'HNSW', params: { M: 8, efConstruction: 64 } }
          await createCollection(client, {
            name: collectionOf(organization, type),
            fields: [
              { name: 'id', data_type: 'Int64', is_primary_key: true },
              { name: 'team', data_type: 'VarChar', max_length: 100 },
              { name: 'number', data_type: 'Int32' },
              { name: 'embedding', data_type: 'FloatVector', dim: 3 },
            ],
            rows: ROWS,
            indexes: [{ field: 'embedding', metric: 'L2', ...index }],
          })
        }
      }
    })
    server = await startTestPostgres()
    const open = { team: { eq: 'open' } }
    const bindings = (organization: string): Readonly<Record<string, unknown>> =>
      Object.fromEntries(TYPES.map((type) => [type, { table: `vectors.${collectionOf(organization, type)}`, uniqueKey: true, fields: { key: 'id' } }]))
    const both = <Value>(value: Value): Readonly<Record<string, Value>> => ({ Item: value, Point: value })
    const store = { vectors: { kind: 'milvus', url: `http://${ADDRESS}`, scan: 200 } }
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
              all: { read: both({ fields: 'all' }), crossOrganization: ['testing'] },
              few: { read: both({ fields: 'all', rows: open }) },
              most: { read: both({ fields: 'all', rows: { number: { gt: 300 } } }) },
              some: { read: both([{ fields: ['key', 'team', 'number'] }, { fields: ['embedding'], rows: open }]) },
            },
          },
          borealis: { sql: '', bindings: bindings('borealis') },
        },
        agreements: [agreementOf('borealis', 'aurora', both({ rows: open, allow: ['key', 'team', 'number', 'embedding'] }))],
      },
    })
  }, 300_000)
  afterAll(async () => {
    await gateway?.stop()
    await server?.stop()
  })

  const DOCUMENTS = {
    Item: `query($to: NearestTo!, $k: Int!, $metric: VectorMetric, $where: ItemWhere, $only: [ID!]) {
      near: itemsNearest(to: $to, k: $k, metric: $metric, where: $where, organizations: $only) { edges { score node { organization key embedding } } } }`,
    Point: `query($to: NearestTo!, $k: Int!, $metric: VectorMetric, $where: PointWhere, $only: [ID!]) {
      near: pointsNearest(to: $to, k: $k, metric: $metric, where: $where, organizations: $only) { edges { score node { organization key embedding } } } }`,
  } as const
  const asked = (role: string, type: (typeof TYPES)[number], variables: Readonly<Record<string, unknown>>): Promise<TestAnswer> =>
    gateway.ask({ organization: 'aurora', roles: [role] }, DOCUMENTS[type], { to: { vector: [1, 1, 0] }, ...variables })
  const keysOf = ({ json }: TestAnswer): readonly string[] => json.data?.near.edges.map(({ node }: { node: { key: string } }) => node.key)
  const codeOf = ({ json }: TestAnswer): unknown => [json.errors?.[0]?.extensions.code, json.errors?.[0]?.extensions.organization]

  it('gives k rows wherever there are as many that may be read and fit, whatever is nearer', async () => {
    for (const k of [1, 7, 60, 100]) {
      expect(keysOf(await asked('all', 'Item', { k, only: ['aurora'] }))).toEqual(from(1, k))
      for (const type of TYPES) {
        expect(keysOf(await asked('few', type, { k, only: ['aurora'] }))).toEqual(from(901, k))
        expect(keysOf(await asked('all', type, { k, only: ['borealis'] }))).toEqual(from(901, k))
        expect(keysOf(await asked('all', type, { k, only: ['aurora'], where: { number: { gt: 800, lte: 900 } } }))).toEqual(from(801, k))
      }
    }
  }, 120_000)

  it('searches in more rows than it would read, policy and condition within the search', async () => {
    for (const type of TYPES) {
      expect(keysOf(await asked('most', type, { k: 7, only: ['aurora'] }))).toEqual(from(301, 7))
      expect(keysOf(await asked('all', type, { k: 7, only: ['aurora'], where: { number: { gt: 400 } } }))).toEqual(from(401, 7))
    }
  })

  it("says where an index may have missed a row, which it does for the owner's own people alone", async () => {
    const approximate = async (role: string, type: (typeof TYPES)[number], only: string): Promise<unknown> => {
      const { json } = await asked(role, type, { k: 5, only: [only] })
      return (json.extensions.sovereignty as { readonly approximate?: unknown }).approximate
    }
    expect(await approximate('few', 'Point', 'aurora')).toEqual([{ organization: 'aurora', search: 'near' }])
    expect(await approximate('few', 'Item', 'aurora')).toBeUndefined()
    for (const type of TYPES) expect(await approximate('all', type, 'borealis')).toBeUndefined()
  })

  it('merges owners by the score that both would give', async () => {
    const { json } = await asked('few', 'Item', { k: 2, only: ['aurora'], to: { vector: [901, 1, 3] } })
    expect(json.data?.near.edges.map(({ score }: { score: number }) => score)).toEqual([-3, -Math.sqrt(10)])
    expect(keysOf(await asked('all', 'Item', { k: 3, to: { vector: [950, 1, 0] } }))).toEqual(['950', '950', '949'])
  })

  it('knows metrics that no index serves, over as many rows as may be read; beyond those it refuses', async () => {
    const cosine = await asked('few', 'Item', { k: 3, metric: 'COSINE', only: ['aurora'], to: { vector: [0, 1, 0] } })
    expect(keysOf(cosine)).toEqual(from(901, 3))
    expect(codeOf(await asked('all', 'Item', { k: 3, metric: 'COSINE', only: ['aurora'] }))).toEqual(['QUERY_TOO_COSTLY', 'aurora'])
  })

  it('does not search a vector where it is not shown', async () => {
    for (const type of TYPES) {
      const answer = await asked('some', type, { k: 3, only: ['aurora'] })
      expect(keysOf(answer)).toEqual(from(901, 3))
    }
    const { json } = await gateway.ask(
      { organization: 'aurora', roles: ['some'] },
      '{ items(first: 1, where: { key: { in: ["900", "901"] } }, organizations: ["aurora"]) { nodes { embedding } totalCount } }',
    )
    expect(json.data?.items).toEqual({ nodes: [{ embedding: null }], totalCount: 2 })
  })

  it('shows nothing of rows that may not be read, whatever vectors they have', async () => {
    const element = fc.float({ min: -1_000, max: 1_000, noNaN: true })
    const vector: fc.Arbitrary<readonly number[]> = fc.oneof(fc.tuple(element, element, element), fc.constantFrom([1, 1, 0], [901, 1, 0], [0, 0, 0]))
    const seen = ({ status, text }: TestAnswer): string => `${status} ${text.replace(/"requestId":"[0-9a-f-]{36}"/, '').replace(/"receipt":\{[^}]*\}/, '')}`
    const asks = fc.record({ type: fc.constantFrom(...TYPES), k: fc.integer({ min: 1, max: 100 }), metric: fc.constantFrom('L2', 'COSINE'), to: vector })
    await fc.assert(
      fc.asyncProperty(fc.array(vector, { minLength: 1, maxLength: 20 }), asks, async (hidden, { type, k, metric, to }) => {
        const variables = { k, metric, only: ['borealis'], to: { vector: to } }
        const before = seen(await asked('all', type, variables))
        const name = collectionOf('borealis', type)
        const keys = hidden.map((_, index) => 5_000 + index)
        await withMilvus(ADDRESS, (client) => insertRows(client, name, hidden.map((embedding, index) => rowOf(5_000 + index, 'hidden', embedding)))) // prettier-ignore
        const after = seen(await asked('all', type, variables))
        await withMilvus(ADDRESS, async (client) => {
          succeeded((await client.delete({ collection_name: name, ids: keys })).status)
          await settled(client, name)
        })
        expect(after).toBe(before)
        // Nothing is near to what has no direction.
        expect(before.includes('"score"')).toBe(metric === 'L2' || to.some((each) => each !== 0))
      }),
      { numRuns: 12 },
    )
  }, 300_000)

  it("starts from a row's own vector, pages by key, and finds thousands of keys at once", async () => {
    const id = Buffer.from(JSON.stringify(['Item', 'aurora', '950'])).toString('base64url')
    expect(keysOf(await asked('few', 'Item', { k: 2, to: { id }, only: ['aurora'] }))).toEqual(['950', '949'])
    const document =
      'query($keys: [ID!], $after: String) { items(first: 60, after: $after, where: { key: { in: $keys } }, organizations: ["aurora"]) { nodes { key } totalCount pageInfo { endCursor hasNextPage } } }'
    const page = async (
      after: string | null,
    ): Promise<{
      readonly nodes: readonly { readonly key: string }[]
      readonly totalCount: number
      readonly pageInfo: { readonly endCursor: string; readonly hasNextPage: boolean }
    }> => (await gateway.ask({ organization: 'aurora', roles: ['few'] }, document, { keys: from(1, 1_000), after })).json.data?.items
    const first = await page(null)
    expect([first.totalCount, first.pageInfo.hasNextPage, first.nodes.map(({ key }) => key)]).toEqual([100, true, from(901, 60)])
    expect((await page(first.pageInfo.endCursor)).nodes.map(({ key }) => key)).toEqual(from(961, 40))
  })

  it('is held against the contract by `check`', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'concordat-milvus-'))
    try {
      await writeFile(join(folder, 'contract.graphql'), SDL.replace('number: Int!', 'number: String').replace('dimensions: 3', 'dimensions: 4'))
      const url = { reveal: () => `http://${ADDRESS}` } as Secret // only what is read of it
      const pool = { max: 1, queue: 1, connectMs: 5_000, idleMs: 1_000 }
      const store: StoreConfig = { kind: 'milvus', url, jurisdiction: 'DE', schema: 'public', prepared: true, pool, scanRows: 10 }
      const typed = (type: string, collection: string): readonly [string, TypeBindingConfig] => [
        type,
        {
          kind: 'table',
          table: { store: null, schema: 'vectors', table: collection },
          fields: new Map([['key', { kind: 'column', columns: ['id'], values: null, multiply: null }]]),
          uniqueKey: true,
        },
      ]
      const organization: OrganizationConfig = {
        ...{ id: 'aurora', name: 'aurora', jurisdiction: 'DE', issuers: [], services: new Map(), embeddings: new Map(), verifyKey: null },
        ledgerKey: url,
        stores: new Map([['vectors', store]]),
        bindings: new Map([typed('Item', collectionOf('aurora', 'Item')), typed('Point', 'no_such_collection')]),
      }
      const { organizations } = await checkReport({ contract: folder, organizations: new Map([['aurora', organization]]) })
      expect(organizations[0]?.findings.map(({ type, field }) => [type, field])).toEqual([
        ['Item', 'number'],
        ['Item', 'embedding'],
        ['Point', null],
      ])
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('refuses what it does not answer before the store is asked, and names the owner', async () => {
    for (const document of [
      '{ items(where: { team: { contains: "o" } }, organizations: ["aurora"]) { nodes { key } } }',
      '{ itemsAggregate(organizations: ["aurora"]) { groups { count } } }',
    ])
      expect(codeOf(await gateway.ask({ organization: 'aurora', roles: ['few'] }, document))).toEqual(['FIELD_NOT_USABLE', 'aurora'])
  })
})

describe('a literal', () => {
  it('is read by the server as the text that it was made of', async () => {
    const name = 'literals'
    const hostile = [
      '',
      '"',
      '\\',
      '\\"',
      "'",
      '\n\r\t',
      '\0',
      '\u007f',
      '\u2028',
      '__proto__',
      '" or id > 0 or name == "',
      '\\u0041',
      '%',
      '{}',
      '[',
      '\ufeff',
      '😀',
      '\u{10ffff}',
      'x'.repeat(65_535),
    ]
    const drawn = fc.sample(fc.string({ unit: 'binary', maxLength: 30 }), { numRuns: 200, seed: 5 })
    const texts = [...new Set([...hostile, ...drawn])]
    await withMilvus(ADDRESS, async (client) => {
      await createCollection(client, {
        name,
        fields: [
          { name: 'id', data_type: 'Int64', is_primary_key: true },
          { name: 'name', data_type: 'VarChar', max_length: 65_535 },
          { name: 'pad', data_type: 'FloatVector', dim: 2 },
        ],
        rows: texts.map((text, id) => ({ id, name: text, pad: [0, 1] })),
        indexes: [{ field: 'pad', type: 'FLAT', metric: 'L2' }],
      })
      for (const [id, text] of texts.entries()) {
        const { data, status } = await client.query({
          collection_name: name,
          filter: `name == ${textLiteral(text)}`,
          output_fields: ['id', 'name'],
          consistency_level: ConsistencyLevelEnum.Eventually,
        })
        succeeded(status)
        expect([data.map((row) => Number(row.id)), data[0]?.name]).toEqual([[id], text])
      }
    })
  }, 120_000)
})

function connectorTo(address: string): MilvusConnector {
  const pool = { max: 4, waitingMax: 100, connectMs: 5_000, idleMs: 60_000 }
  return new MilvusConnector({ store: 'main', url: `http://${address}`, pool, rowsMax: 1_000 })
}

/** Plans speak of PostgreSQL's types, for the oracle. */
function over(connector: MilvusConnector, change: (native: MilvusNative) => MilvusNative): Connector<MilvusNative> {
  return {
    store: connector.store,
    capabilities: connector.capabilities,
    compile: (plan) => {
      const { native, residual } = connector.compile(rebound(plan, held.binding))
      return { native: change(native), residual }
    },
    execute: (statements, caller, options) => connector.execute(statements, caller, options),
    describe: (native) => connector.describe(native),
    close: () => connector.close(),
  }
}

/** The server names what it does not know. */
function failing(native: MilvusNative): MilvusNative {
  if (native.kind === 'empty') return native
  const { reading } = native
  const table = { ...reading.context.table, table: 'secret words' }
  return { ...native, reading: { ...reading, context: { ...reading.context, table } } }
}

/** Takes every connection, and never says a word. */
async function silentServer(): Promise<{ readonly address: string; close(): void }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const at = server.address()
  if (at === null || typeof at === 'string') throw new Error('a server listens on a port')
  return {
    address: `127.0.0.1:${at.port}`,
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
