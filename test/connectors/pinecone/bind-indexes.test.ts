import { describe, expect, it } from '@jest/globals'
import type { ConfiguredField } from '../../../src/connectors/configured.js'
import { bindIndexes, indexesIn } from '../../../src/connectors/pinecone/bind-indexes.js'
import type { IndexDescription } from '../../../src/connectors/pinecone/describe.js'
import { parseContract } from '../../../src/gateway/contract.js'

const CATALOG = parseContract([
  {
    name: 'contract.graphql',
    text: `enum Status { ACTIVE PAUSED }
      type Item @entity { key: ID! displayName: String! status: Status stage: Status tags: [String!] scores: [Float!] at: DateTime count: Int big: BigInt
        embedding: Vector @vector(model: "m", dimensions: 3) }`,
  },
])

const INDEX: IndexDescription = { name: 'items', host: 'https://items.svc.pinecone.io', dimensions: 3, metric: 'dotproduct', filterable: null }

function column(name: string, more: Partial<Extract<ConfiguredField, { kind: 'column' }>> = {}): ConfiguredField {
  return { kind: 'column', columns: [name], values: null, multiply: null, ...more }
}

const NOTHING: ConfiguredField = { kind: 'constant', value: null }
const CONFIGURED: Readonly<Record<string, ConfiguredField>> = {
  status: column('status', { values: new Map([['1', 'ACTIVE']]) }),
  ...{ scores: NOTHING, at: NOTHING, big: NOTHING },
}

type Bound = ReturnType<typeof bindIndexes>

function bound({ index = INDEX, fields = {}, place = ['items', 'team a'] }: Given): Bound {
  const [name = '', namespace] = place
  const table = namespace === undefined ? { store: null, schema: 'vectors', table: name } : { store: 'vectors', schema: name, table: namespace }
  const input = {
    catalog: CATALOG,
    configured: new Map([['Item', { kind: 'table' as const, table, fields: new Map(Object.entries({ ...CONFIGURED, ...fields })) }]]),
    stores: [
      { name: 'main', kind: 'postgres' },
      { name: 'vectors', kind: 'pinecone' },
    ],
  }
  expect(indexesIn('vectors', input)).toEqual([name])
  return bindIndexes({ ...input, described: new Map([['vectors', [index]]]) })
}

interface Given {
  readonly index?: IndexDescription
  readonly fields?: Readonly<Record<string, ConfiguredField>>
  readonly place?: readonly [string, string?]
}

describe('a type over an index of Pinecone', () => {
  it('has the id of a record as its key, its values as the vector, and all else by name in the metadata', () => {
    const { types, mistakes } = bound({})
    expect(mistakes).toEqual([])
    const item = types.get('Item')
    expect(item).toMatchObject({ kind: 'table', store: 'vectors', schema: 'items', table: 'team a', relations: new Map() })
    const columns = item?.kind === 'table' ? item.columns : new Map()
    expect(columns.get('key')).toMatchObject({ column: 'id', native: 'id', nullable: false })
    expect(columns.get('displayName')).toMatchObject({ column: 'displayName', native: 'string', nullable: true })
    expect(columns.get('status')).toMatchObject({ native: 'number' })
    expect(columns.get('stage')).toMatchObject({ native: 'string' })
    expect(columns.get('tags')).toMatchObject({ native: 'string', array: true })
    expect(columns.get('count')).toMatchObject({ native: 'number' })
    // No index looks at every vector.
    expect(columns.get('embedding')).toMatchObject({ column: 'values', native: 'values', nearBy: ['INNER_PRODUCT'], exactBy: [] })
  })

  it('is in the default namespace where the binding names none', () => {
    const item = bound({ place: ['items'] }).types.get('Item')
    expect(item).toMatchObject({ schema: 'items', table: '__default__' })
  })

  it('asks for nothing by metadata that the index does not filter by', () => {
    const item = bound({ index: { ...INDEX, filterable: new Set(['count']) } }).types.get('Item')
    const columns = item?.kind === 'table' ? item.columns : new Map()
    expect([columns.get('count'), columns.get('displayName')]).toMatchObject([{ native: 'number' }, { native: 'unindexed string' }])
  })

  it.each<readonly [string, Given, string | null, boolean]>([
    ['a vector of other dimensions', { index: { ...INDEX, dimensions: 4 } }, 'embedding', true],
    ['an index of sparse vectors', { index: { ...INDEX, dimensions: 0 } }, 'embedding', true],
    ['an integer that no double is', { fields: { big: column('big') } }, 'big', true],
    ['a time', { fields: { at: column('at') } }, 'at', true],
    ['a list of numbers', { fields: { scores: column('scores') } }, 'scores', true],
    ['a name that is an operator', { fields: { count: column('$and') } }, 'count', true],
    ['a factor', { fields: { count: column('count', { multiply: '2' }) } }, 'count', true],
    ['names that the enum does not have', { fields: { status: column('status', { values: new Map([['1', 'GONE']]) }) } }, 'status', true],
    ['a vector in the metadata', { fields: { embedding: column('embedding') } }, 'embedding', true],
    ['a key in the metadata', { fields: { key: column('name') } }, 'key', false],
    ['a key that is the same for all', { fields: { key: { kind: 'constant', value: 'x' } } }, 'key', false],
    ['a `!` field without a value', { fields: { displayName: NOTHING } }, 'displayName', false],
    ['an index that is not there', { place: ['others', 'team a'] }, null, false],
  ])('names what does not fit: %s', (_name, given, at, isServed) => {
    const { types, mistakes } = bound(given)
    expect(mistakes.map(({ field }) => field)).toContain(at)
    const item = types.get('Item')
    expect(item !== undefined).toBe(isServed)
    if (item?.kind === 'table' && at !== null) expect(item.columns.has(at)).toBe(false)
  })
})
