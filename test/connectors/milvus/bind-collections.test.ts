import { describe, expect, it } from '@jest/globals'
import type { ConfiguredField } from '../../../src/connectors/configured.js'
import { bindMilvus } from '../../../src/connectors/milvus/bind-collections.js'
import type { FieldDescription } from '../../../src/connectors/milvus/describe.js'
import { parseContract } from '../../../src/gateway/contract.js'

const CATALOG = parseContract([
  {
    name: 'contract.graphql',
    text: `enum Status { ACTIVE PAUSED }
      type Item @entity { key: ID! displayName: String! status: Status tags: [String!] at: DateTime number: Int embedding: Vector @vector(model: "m", dimensions: 3) }`,
  },
])

function field(native: string, more: Partial<FieldDescription> = {}): FieldDescription {
  return { native, array: false, isKey: false, nullable: false, dimensions: null, index: null, ...more }
}

const FIELDS: Readonly<Record<string, FieldDescription>> = {
  id: field('Int64', { isKey: true }),
  display_name: field('VarChar'),
  status: field('Int8'),
  tags: field('VarChar', { array: true }),
  number: field('Int32'),
  embedding: field('FloatVector', { dimensions: 3, index: { kind: 'HNSW', metric: 'IP' } }),
}

function column(name: string, values: ReadonlyMap<string, string> | null = null): ConfiguredField {
  return { kind: 'column', columns: [name], values, multiply: null }
}

const CONFIGURED: Readonly<Record<string, ConfiguredField>> = {
  key: column('id'),
  status: column('status', new Map([['1', 'ACTIVE']])),
  at: { kind: 'constant', value: null },
}

function bound(fields: Readonly<Record<string, FieldDescription>>, configured = CONFIGURED, uniqueKey = true): ReturnType<typeof bindMilvus> {
  return bindMilvus({
    catalog: CATALOG,
    configured: new Map([
      ['Item', { kind: 'table', table: { store: null, schema: 'vectors', table: 'items' }, fields: new Map(Object.entries(configured)), uniqueKey }],
    ]),
    stores: [
      { name: 'main', kind: 'postgres' },
      { name: 'vectors', kind: 'milvus' },
    ],
    described: new Map([['vectors', [{ name: 'items', fields: new Map(Object.entries(fields)) }]]]),
  })
}

describe('a type over a collection of Milvus', () => {
  it('is bound by name where nothing else is said, each field to one of its type', () => {
    const { types, mistakes } = bound(FIELDS)
    expect(mistakes).toEqual([])
    const item = types.get('Item')
    expect(item).toMatchObject({ kind: 'table', store: 'vectors', table: 'items', relations: new Map() })
    const columns = item?.kind === 'table' ? item.columns : new Map()
    expect(columns.get('displayName')).toMatchObject({ column: 'display_name', native: 'VarChar', nullable: false })
    expect(columns.get('tags')).toMatchObject({ array: true, native: 'VarChar' })
    expect(columns.get('status')).toMatchObject({ native: 'Int8', nullable: true })
  })

  it.each([
    ['HNSW', { nearBy: ['INNER_PRODUCT'], exactBy: [] }],
    ['IVF_FLAT', { nearBy: ['INNER_PRODUCT'], exactBy: [] }],
    ['AUTOINDEX', { nearBy: ['INNER_PRODUCT'], exactBy: [] }],
    ['FLAT', { nearBy: [], exactBy: ['INNER_PRODUCT'] }],
  ])('is searched exactly by a flat index alone: %s', (kind, expected) => {
    const { types } = bound({ ...FIELDS, embedding: field('FloatVector', { dimensions: 3, index: { kind, metric: 'IP' } }) })
    const item = types.get('Item')
    expect(item?.kind === 'table' && item.columns.get('embedding')).toMatchObject(expected)
  })

  it.each<readonly [string, Parameters<typeof bound>, string, boolean]>([
    ['a vector of other dimensions', [{ ...FIELDS, embedding: field('FloatVector', { dimensions: 4 }) }], 'embedding', true],
    ['a field of another type', [{ ...FIELDS, number: field('Double') }], 'number', true],
    ['a field that can be null', [{ ...FIELDS, number: field('Int32', { nullable: true }) }], 'number', true],
    ['a field that is not there', [FIELDS, { ...CONFIGURED, number: column('count') }], 'number', true],
    [
      'a name that is a word of the language',
      [
        { ...FIELDS, like: field('Int32') },
        { ...CONFIGURED, number: column('like') },
      ],
      'number',
      true,
    ],
    ['a time, which Milvus does not have', [FIELDS, { ...CONFIGURED, at: column('number') }], 'at', true],
    ['numbers for an enum without names for them', [FIELDS, { ...CONFIGURED, status: column('status') }], 'status', true],
    ['a `!` field that is not there', [{ ...FIELDS, display_name: field('Int64') }], 'displayName', false],
    ['a key that is not the primary key', [FIELDS, { ...CONFIGURED, key: column('display_name') }], 'key', false],
    ['a key that nothing says is unique', [FIELDS, CONFIGURED, false], 'key', false],
  ])('names what does not fit: %s', (_name, given, at, isServed) => {
    const { types, mistakes } = bound(...given)
    expect(mistakes.map((mistake) => mistake.field)).toContain(at)
    const item = types.get('Item')
    expect(item !== undefined).toBe(isServed)
    if (item?.kind === 'table') expect(item.columns.has(at)).toBe(false)
  })
})
