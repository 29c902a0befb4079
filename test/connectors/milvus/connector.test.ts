import { createServer, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { MilvusConnector, type MilvusNative } from '../../../src/connectors/milvus/connector.js'
import type { OwnerGrant, TypeGrant } from '../../../src/policy/authority.js'
import { restrict } from '../../../src/policy/restrict.js'
import type { AuthorizedPlan, ListPlan, Mask, ViewField } from '../../../src/query/plan.js'
import { ALL, type Predicate } from '../../../src/query/predicate.js'
import { milvusData } from '../../engines/milvus-store.js'
import { ORGANIZATION } from '../contract-data.js'

const { data, binding } = milvusData()
const OPEN: Predicate = { kind: 'compare', field: 'code', op: '=', operand: { kind: 'constant', value: 'open" or key > 0 or code == "' } }
const MANY: Predicate = { kind: 'compare', field: 'count', op: '>', operand: { kind: 'slot', index: 0 } }

interface Asked {
  readonly rows?: Predicate
  readonly where?: Predicate
  readonly embedding?: Exclude<ViewField, { kind: 'absent' }>
  readonly code?: Exclude<ViewField, { kind: 'absent' }>
  readonly caller?: string
  readonly metric?: 'COSINE' | 'L2'
  /** How the vectors are indexed. */
  readonly index?: { readonly nearBy?: readonly 'COSINE'[]; readonly exactBy?: readonly 'COSINE'[] }
}

function planOf({
  rows = ALL,
  where = ALL,
  embedding = { kind: 'plain' },
  code = { kind: 'plain' },
  caller = 'aurora',
  metric = 'COSINE',
  index,
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
    order: [{ path: [], field: 'embedding', descending: true, nulls: 'last' }],
    search: { field: 'embedding', metric, to: { kind: 'constant', value: '[1,0,0]' } },
    fields: [{ kind: 'nodes', responseKey: 'nodes', row: { type: 'Thing', fields: [{ kind: 'value', responseKey: 'code', field: 'code' }] } }],
  }
  return restrict({ kind: 'list', withKeys: true, list }, grant, {
    catalog: data.catalog,
    binding: index ? indexed(index) : binding,
    caller,
    starts: new Map(),
  })
}

function indexed(index: NonNullable<Asked['index']>): typeof binding {
  const thing = binding.types.get('Thing')
  const embedding = thing?.kind === 'table' ? thing.columns.get('embedding') : undefined
  if (thing?.kind !== 'table' || embedding?.kind !== 'column') throw new Error('things have vectors')
  const columns = new Map([...thing.columns, ['embedding', { ...embedding, nearBy: [], exactBy: [], ...index }]])
  return { ...binding, types: new Map([...binding.types, ['Thing', { ...thing, columns }]]) }
}

let server: Server
const sockets = new Set<Socket>()
let connector: MilvusConnector

/** Takes every connection, and never says a word. */
beforeAll(async () => {
  server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const at = server.address()
  connector = connectorTo(at !== null && typeof at === 'object' ? at.port : 0)
})
afterAll(async () => {
  await connector.close()
  for (const socket of sockets) socket.destroy()
  server.close()
})

function connectorTo(port: number, pool: { readonly max: number; readonly waitingMax: number } = { max: 4, waitingMax: 10 }): MilvusConnector {
  return new MilvusConnector({ store: 'main', url: `http://127.0.0.1:${port}`, pool: { ...pool, connectMs: 1_000, idleMs: 60_000 }, rowsMax: 10 })
}

function native(asked: Asked): MilvusNative {
  return connector.compile(planOf(asked)).native
}

async function codeOf(of: MilvusConnector, deadlineMs: number): Promise<unknown> {
  const statement = { native: native({}), values: { slots: [], claims: new Map() } }
  const execution = of.execute([statement], 'aurora', { signal: new AbortController().signal, deadlineMs, bufferBytes: 1_000 })
  return execution.then(() => 'answered', (error: unknown) => (error as { readonly code?: unknown }).code) // prettier-ignore
}

describe('a search in Milvus', () => {
  it('has policy, the condition of the vector and the condition of the caller in one filter, and no value', () => {
    const text = connector.describe(native({ rows: OPEN, where: MANY, embedding: { kind: 'cell', condition: OPEN } }))
    expect(text).toBe(`contract_Thing where (code = <constant>) and (code = <constant>) and (count > <slot 0>) nearest by embedding (COSINE, exact)`)
  })

  it.each<readonly [string, Asked, string, boolean]>([
    ['everybody by a flat index', { index: { exactBy: ['COSINE'] } }, 'exact', false],
    ["the owner's own people by another", { index: { nearBy: ['COSINE'] }, caller: ORGANIZATION }, 'approximate', true],
    ['partners by no other', { index: { nearBy: ['COSINE'] } }, 'scored in the gateway', false],
    [
      'nobody by another where the vector is shown in some rows only',
      { index: { nearBy: ['COSINE'] }, caller: ORGANIZATION, embedding: { kind: 'cell', condition: OPEN } },
      'scored in the gateway',
      false,
    ],
    [
      'nobody by an index of another metric',
      { index: { nearBy: ['COSINE'], exactBy: ['COSINE'] }, caller: ORGANIZATION, metric: 'L2' },
      'scored in the gateway',
      false,
    ],
  ])('serves %s', (_name, asked, way, isApproximate) => {
    expect(connector.describe(native(asked))).toContain(way)
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
})

describe('a Milvus that does not answer', () => {
  it('is SOURCE_TIMEOUT once the time is over', async () => {
    expect(await codeOf(connector, 50)).toBe('SOURCE_TIMEOUT')
  })

  it('is SOURCE_UNAVAILABLE where nobody listens', async () => {
    const nobody = connectorTo(1)
    expect(await codeOf(nobody, 5_000)).toBe('SOURCE_UNAVAILABLE')
    await nobody.close()
  })

  it('is SOURCE_BUSY for those who would wait beyond the queue', async () => {
    const at = server.address()
    const busy = connectorTo(at !== null && typeof at === 'object' ? at.port : 0, { max: 1, waitingMax: 0 })
    const first = codeOf(busy, 500)
    expect(await codeOf(busy, 500)).toBe('SOURCE_BUSY')
    expect(await first).toBe('SOURCE_TIMEOUT')
    await busy.close()
  })
})
