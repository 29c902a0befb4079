import { describe, expect, it } from '@jest/globals'
import { collectionBinder, type StoreContents } from '../../src/connectors/bind-collections.js'
import type { ConfiguredField, ConfiguredType } from '../../src/connectors/configured.js'
import type { CollectionDescription } from '../../src/connectors/milvus/describe.js'
import { collectionsIn } from '../../src/connectors/milvus/bind-collections.js'
import { indexesIn } from '../../src/connectors/pinecone/bind-indexes.js'
import type { IndexDescription } from '../../src/connectors/pinecone/describe.js'
import { resolveBinding } from '../../src/connectors/postgres/bind-tables.js'
import type { ColumnDescription, StoreDescription, TableDescription } from '../../src/connectors/postgres/describe.js'
import { parseContract } from '../../src/gateway/contract.js'

const CATALOG = parseContract([
  {
    name: 'contract.graphql',
    text: `type Agent @entity { key: ID! name: String! bio: String embedding: Vector @vector(model: "m", dimensions: 3) }
      type Visit @entity(key: ["place", "day"]) { place: ID! day: Date! note: String }
      type Note @entity { key: ID! text: String }`,
  },
])

const STORES = [
  { name: 'main', kind: 'postgres' },
  { name: 'milvus', kind: 'milvus' },
  { name: 'pinecone', kind: 'pinecone' },
  { name: 'mongo', kind: 'mongodb' },
]

const INDEX: IndexDescription = { name: 'agents', host: 'https://agents.svc.pinecone.io', dimensions: 3, metric: 'cosine', filterable: null }

function fieldOf(native: string, more: object = {}): unknown {
  return { native, array: false, nullable: false, isKey: false, dimensions: null, index: null, ...more }
}
const COLLECTION = {
  name: 'vectors',
  fields: new Map([
    ['agent', fieldOf('VarChar', { isKey: true })],
    ['other', fieldOf('VarChar')],
    ['vector', fieldOf('FloatVector', { dimensions: 3, index: { kind: 'HNSW', metric: 'L2' } })],
  ]),
} as unknown as CollectionDescription // what a binding reads of it

function column(name: string, native: string): ColumnDescription {
  return {
    name,
    native,
    array: false,
    declared: native,
    nullable: name === 'note' || name === 'text',
    foldsText: false,
    labels: null,
    comment: null,
    readable: true,
  }
}

function table(name: string, columns: readonly ColumnDescription[], key: readonly string[]): TableDescription {
  return {
    ...{ schema: 'public', name, kind: 'table', comment: null, foreignKeys: [], indexes: [], owned: false, reachable: true, invoker: false },
    columns: new Map(columns.map((each) => [each.name, each])),
    keys: [{ columns: key, primary: true }],
    rowSecurity: { enabled: true, forced: false },
  }
}

const DESCRIPTION: StoreDescription = {
  version: 180_000,
  encoding: 'UTF8',
  role: { name: 'gateway', superuser: false, bypassesRowSecurity: false },
  loggedParameterBytes: { statements: 0, errors: 0 },
  tables: [
    table('agents', [column('key', 'bigint'), column('name', 'text')], ['key']),
    table('stamped', [column('key', 'character'), column('name', 'text')], ['key']),
    table('visits', [column('place', 'text'), column('day', 'date'), column('note', 'text')], ['place', 'day']),
    table('notes', [column('key', 'text'), column('text', 'text')], ['key']),
  ],
}

function part(place: string, key: readonly string[], name: string): ConfiguredField {
  const [store = '', ...rest] = place.split('.')
  const at = { store: rest.length > 1 ? store : null, schema: rest.length > 1 ? (rest[0] ?? null) : store, table: rest.at(-1) ?? '' }
  return { kind: 'column', columns: [name], values: null, multiply: null, part: { table: at, key } }
}

function bindingOf(type: string, fields: Readonly<Record<string, ConfiguredField>>, from = `${type.toLowerCase()}s`): ReadonlyMap<string, ConfiguredType> {
  const own: ConfiguredType = {
    kind: 'table',
    table: { store: 'main', schema: 'public', table: from },
    fields: new Map(Object.entries(fields)),
    uniqueKey: true,
  }
  const others = [...CATALOG.entities.keys()].map((name): [string, ConfiguredType] => [name, { kind: 'none' }])
  return new Map([...others, [type, own]])
}

const CONTENTS: ReadonlyMap<string, StoreContents | null> = new Map([
  ['milvus', [COLLECTION]],
  ['pinecone', [INDEX]],
])

async function bound(configured: ReadonlyMap<string, ConfiguredType>, contents = CONTENTS) {
  const input = { catalog: CATALOG, configured, stores: STORES }
  const collections = (await collectionBinder(input))?.(input, contents)
  if (!collections) throw new Error('there are collections')
  const stores = new Map([['main', { schema: 'public', description: DESCRIPTION }]])
  const { binding, findings } = resolveBinding({ catalog: CATALOG, organization: 'aurora', configured: collections.configured, stores })
  return { input, binding, mistakes: collections.mistakes, errors: findings.filter(({ severity }) => severity === 'error'), types: collections.types }
}

describe('a field that lies in a collection while its rows are in a table', () => {
  it('is bound by what the store says of it, and the type has no other place for it', async () => {
    const { binding, mistakes, errors, input, types } = await bound(
      bindingOf('Agent', { embedding: part('milvus.vectors', ['agent'], 'vector'), bio: part('pinecone.agents.bios', ['id'], 'text') }),
    )
    expect([mistakes, errors, [...types]]).toEqual([[], [], []])
    const agent = binding.types.get('Agent')
    if (agent?.kind !== 'table') throw new Error('agents are served')
    expect([...agent.columns.keys()]).toEqual(['key', 'name'])
    expect(agent.parts?.get('embedding')).toMatchObject({
      ...{ store: 'milvus', schema: '', table: 'vectors', key: [{ column: 'agent', native: 'VarChar', nullable: false }] },
      column: { kind: 'column', column: 'vector', native: 'FloatVector', nearBy: ['L2'], exactBy: [] },
    })
    expect(agent.parts?.get('bio')).toMatchObject({ store: 'pinecone', schema: 'agents', table: 'bios', key: [{ column: 'id' }], column: { column: 'text' } })
    expect([collectionsIn('milvus', input), indexesIn('pinecone', input)]).toEqual([['vectors'], ['agents']])
  })

  it('is left out without a word while its store cannot be read, and all else is served', async () => {
    const { binding, mistakes, errors } = await bound(
      bindingOf('Agent', { embedding: part('milvus.vectors', ['agent'], 'vector'), bio: { kind: 'constant', value: null } }),
      new Map([['milvus', null]]),
    )
    expect([mistakes, errors]).toEqual([[], []])
    const agent = binding.types.get('Agent')
    expect(agent?.kind === 'table' && [[...agent.columns.keys()], agent.parts]).toEqual([['key', 'name', 'bio'], undefined])
  })

  it.each<readonly [string, ReadonlyMap<string, ConfiguredType>, readonly [string, string | null], boolean]>([
    ['a collection that is not there', bindingOf('Agent', { embedding: part('milvus.others', ['agent'], 'vector') }), ['Agent', 'embedding'], true],
    ['a column that is not there', bindingOf('Agent', { embedding: part('milvus.vectors', ['agent'], 'gone') }), ['Agent', 'embedding'], true],
    ['a key that is not the primary one', bindingOf('Agent', { embedding: part('milvus.vectors', ['other'], 'vector') }), ['Agent', 'embedding'], true],
    ['a key of too many fields', bindingOf('Agent', { embedding: part('milvus.vectors', ['agent', 'other'], 'vector') }), ['Agent', 'embedding'], true],
    ['a value of another type', bindingOf('Agent', { bio: part('milvus.vectors', ['agent'], 'vector') }), ['Agent', 'bio'], true],
    ['a row whose key has several fields', bindingOf('Visit', { note: part('pinecone.agents.notes', ['id'], 'text') }), ['Visit', 'note'], true],
    ['a key whose text is not the same in both', bindingOf('Agent', { bio: part('pinecone.agents.bios', ['id'], 'text') }, 'stamped'), ['Agent', 'bio'], true],
    ['a collection of documents', bindingOf('Agent', { bio: part('mongo.bios', ['_id'], 'text') }), ['Agent', 'bio'], true],
    ['a field without which there is no row', bindingOf('Agent', { name: part('pinecone.agents.names', ['id'], 'text') }), ['Agent', 'name'], false],
  ])('is unbound, and named, over %s', async (_name, configured, at, isServed) => {
    const { binding, mistakes, errors } = await bound(configured)
    expect([...mistakes, ...errors].map(({ type, field }) => [type, field])).toContainEqual(at)
    const [type = '', field = ''] = at
    const served = binding.types.get(type)
    expect(served !== undefined).toBe(isServed)
    if (served?.kind === 'table') expect([served.parts?.has(field ?? '') ?? false, served.columns.has(field ?? '')]).toEqual([false, false])
  })

  it('has its rows in a table: of a type in a collection it is refused', async () => {
    const rows: ConfiguredType = {
      kind: 'table',
      table: { store: 'pinecone', schema: 'agents', table: 'notes' },
      fields: new Map([['text', part('milvus.vectors', ['agent'], 'vector')]]),
    }
    const { mistakes, types } = await bound(new Map([...bindingOf('Agent', {}), ['Note', rows]]))
    expect(mistakes).toEqual([{ type: 'Note', field: 'text', problem: 'only a type whose rows are in a table has fields in another one' }])
    expect([...types.keys()]).toEqual(['Note'])
  })
})
