import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { type Scope, whenTrue } from '../../../src/connectors/pinecone/condition.js'
import { EVERY, filled } from '../../../src/connectors/pinecone/pushdown.js'
import { SourceRow } from '../../../src/connectors/pinecone/row.js'
import { parseContract } from '../../../src/gateway/contract.js'
import type { ColumnBinding, TableBinding } from '../../../src/query/binding.js'
import type { EntityType } from '../../../src/query/catalog.js'
import { fits, truthOf } from '../../../src/query/evaluate.js'
import type { Operand, Predicate, Scalar } from '../../../src/query/predicate.js'
import { type Metadata, StubIndex } from '../../support/pinecone-stub.js'

const ENTITY = entityOf(`enum Status { ACTIVE PAUSED } enum Stage { new Old }
  type Item @entity { key: ID! name: String count: Int load: Float flag: Boolean status: Status stage: Stage tags: [String!] hidden: String }`)

function entityOf(text: string): EntityType {
  const entity = parseContract([{ name: 'contract.graphql', text }]).entities.get('Item')
  if (!entity) throw new Error('there are items')
  return entity
}

function column(native: string, more: Partial<Extract<ColumnBinding, { kind: 'column' }>> = {}): ColumnBinding {
  return { kind: 'column', column: native, native, array: false, nullable: true, values: null, multiply: null, ...more }
}

const COLUMNS = new Map<string, ColumnBinding>([
  ['key', column('id')],
  ['name', column('string', { column: 'name' })],
  ['count', column('number', { column: 'count' })],
  ['load', column('number', { column: 'load' })],
  ['flag', column('boolean', { column: 'flag' })],
  ['status', column('number', { column: 'status', values: new Map([['1', 'ACTIVE'], ['2', 'PAUSED'], ['3', 'PAUSED']]) })], // prettier-ignore
  ['stage', column('string', { column: 'stage' })],
  ['tags', column('string', { column: 'tags', array: true })],
  ['hidden', column('unindexed string', { column: 'hidden' })],
])
const TABLE: TableBinding = { kind: 'table', type: 'Item', store: 'main', schema: 'items', table: 'n', columns: COLUMNS, relations: new Map() }
const CONTEXT = { organization: 'aurora', entity: ENTITY, table: TABLE }

function scopeOf(logic: Scope['logic']): Scope {
  const source: Scope['source'] = (name) => {
    const [field, bound] = [ENTITY.fields.get(name), COLUMNS.get(name)]
    return field?.kind === 'value' && bound?.kind === 'column' ? { field, column: bound, shown: EVERY } : null
  }
  return { type: 'Item', organization: 'aurora', logic, source }
}

// --- what is drawn ---------------------------------------------------------------------------------------------------------------------------------------------

const TEXTS = ['', 'a', 'b', '$ne', '{"$ne":""}', 'x'.repeat(10_001), '😀']
const NUMBERS = [0, 1, 2, -1, 1.5, 2 ** 31, 1e308]
const text = fc.constantFrom(...TEXTS)
const number = fc.constantFrom(...NUMBERS)
const key = fc.constantFrom('1', 'a', 'é', '$ne', 'b c')

/** What a field holds as a rule, and what it is compared with. */
const SCALARS: Readonly<Record<string, readonly [fc.Arbitrary<Metadata[string]>, fc.Arbitrary<Scalar>]>> = {
  name: [text, text],
  count: [number, number],
  load: [number, number],
  flag: [fc.boolean(), fc.boolean()],
  status: [fc.constantFrom(1, 2, 3, 4), fc.constantFrom('ACTIVE', 'PAUSED')],
  stage: [fc.constantFrom('new', 'Old', 'older'), fc.constantFrom('new', 'Old')],
  hidden: [text, text],
}
const FIELDS = [...Object.keys(SCALARS), 'tags']
const texts = fc.array(text, { maxLength: 3 })
/** Any field may hold any of these, as whoever writes pleases. */
const anything: fc.Arbitrary<Metadata[string]> = fc.oneof(text, number, fc.boolean(), texts)
const field = (usual: fc.Arbitrary<Metadata[string]>): fc.Arbitrary<Metadata[string] | null> =>
  fc.oneof({ weight: 5, arbitrary: usual }, { weight: 2, arbitrary: anything }, { weight: 2, arbitrary: fc.constant(null) })
const metadata: fc.Arbitrary<Metadata> = fc
  .tuple(...FIELDS.map((name) => field(SCALARS[name]?.[0] ?? texts).map((value) => [name, value] as const)))
  .map((pairs) => Object.fromEntries(pairs.flatMap(([name, value]) => (value === null ? [] : [[name, value]]))))

const constant = (value: Scalar | readonly Scalar[]): Operand => ({ kind: 'constant', value })
const scalarLeaf = (name: string, usual: fc.Arbitrary<Scalar>): fc.Arbitrary<Predicate> => {
  const operand = fc.oneof({ weight: 5, arbitrary: usual }, { weight: 1, arbitrary: fc.oneof<fc.Arbitrary<Scalar>[]>(text, number, fc.boolean(), key) })
  const op = fc.constantFrom('=', '<', '<=', '>', '>=')
  return fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('compare' as const), field: fc.constant(name), op, operand: operand.map(constant) }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('in' as const), field: fc.constant(name), operand: fc.array(operand, { maxLength: 3 }).map(constant) }),
    },
    { weight: 1, arbitrary: fc.constant<Predicate>({ kind: 'isNull', field: name }) },
  )
}
const leaf: fc.Arbitrary<Predicate> = fc.oneof(
  scalarLeaf('key', key),
  ...Object.entries(SCALARS).map(([name, [, usual]]) => scalarLeaf(name, usual)),
  texts.map((value): Predicate => ({ kind: 'listContains', field: 'tags', operand: constant(value) })),
  text.map((value): Predicate => ({ kind: 'contains', field: 'name', operand: constant(value) })),
  fc.constantFrom<Predicate>({ kind: 'all' }, { kind: 'none' }),
)
const { predicate } = fc.letrec<{ predicate: Predicate }>((tie) => ({
  predicate: fc.oneof(
    { maxDepth: 3 },
    leaf,
    fc.record({ kind: fc.constantFrom('and' as const, 'or' as const), terms: fc.array(tie('predicate'), { maxLength: 3 }) }),
    fc.record({ kind: fc.constantFrom('not' as const, 'isTrue' as const, 'isFalse' as const), term: tie('predicate') }),
  ),
}))

// ---------------------------------------------------------------------------------------------------------------------------------------------------------------

const NO_VALUES = { slots: [], claims: new Map() }

/** Whether the record is asked for. */
function isAsked(condition: Predicate, logic: Scope['logic'], id: string, held: Metadata, onMissing: 'matches' | 'fails'): boolean {
  const asked = filled(whenTrue(condition, scopeOf(logic)), NO_VALUES)
  if (asked === null || asked.ids?.has(id) === false) return false
  if (asked.filter === null) return true
  const index = new StubIndex({ name: 'items', dimension: 1, metric: 'cosine', onMissing, filterable: FIELDS.filter((field) => field !== 'hidden') })
  index.upsert('n', [{ id: 'any', values: [1], metadata: held }])
  const answer = index.answer({
    ...{ method: 'POST', path: '/vectors/fetch_by_metadata', query: new URLSearchParams(), headers: {} },
    body: JSON.parse(JSON.stringify({ filter: asked.filter, namespace: 'n' })),
  }) as { readonly vectors: Readonly<Record<string, unknown>> }
  return Object.keys(answer.vectors).length > 0
}

describe('what Pinecone is asked for', () => {
  it.each(['twoValued', 'threeValued'] as const)('has every record that fits, whatever types its metadata have (%s)', (logic) => {
    fc.assert(
      fc.property(predicate, key, metadata, fc.constantFrom('matches' as const, 'fails' as const), (condition, id, held, onMissing) => {
        const row = new SourceRow(CONTEXT, { id, values: [], metadata: held })
        const isFitting = logic === 'twoValued' ? fits(condition, row, NO_VALUES) : truthOf(condition, row, NO_VALUES) === true
        if (isFitting) expect(isAsked(condition, logic, id, held, onMissing)).toBe(true)
      }),
      { numRuns: 10_000, seed: 20_261_126 },
    )
  })

  it.each<readonly [string, Predicate, unknown]>([
    ['an equal text', { kind: 'compare', field: 'name', op: '=', operand: { kind: 'constant', value: '$ne' } }, { name: { $eq: '$ne' } }],
    ['an order of numbers', { kind: 'compare', field: 'load', op: '<=', operand: { kind: 'constant', value: 1.5 } }, { load: { $lte: 1.5 } }],
    ['one of several', { kind: 'in', field: 'count', operand: { kind: 'constant', value: [1, 2] } }, { count: { $in: [1, 2] } }],
    [
      'names of an enum as they are stored',
      { kind: 'compare', field: 'status', op: '=', operand: { kind: 'constant', value: 'PAUSED' } },
      { status: { $in: [2, 3] } },
    ],
    [
      'what a list holds',
      { kind: 'listContains', field: 'tags', operand: { kind: 'constant', value: ['a', 'b'] } },
      { $and: [{ tags: { $eq: 'a' } }, { tags: { $eq: 'b' } }] },
    ],
    [
      'what a prohibition does not apply to',
      { kind: 'isFalse', term: { kind: 'compare', field: 'name', op: '=', operand: { kind: 'constant', value: 'a' } } },
      { $and: [{ name: { $exists: true } }, { name: { $ne: 'a' } }] },
    ],
    ['no order of texts', { kind: 'compare', field: 'name', op: '<', operand: { kind: 'constant', value: 'a' } }, null],
    ['no null', { kind: 'isNull', field: 'name' }, null],
    ['nothing by what is not filtered by', { kind: 'compare', field: 'hidden', op: '=', operand: { kind: 'constant', value: 'a' } }, null],
    ['no text longer than a filter should be', { kind: 'compare', field: 'name', op: '=', operand: { kind: 'constant', value: 'x'.repeat(10_001) } }, null],
  ])('is %s', (_name, condition, filter) => {
    expect(filled(whenTrue(condition, scopeOf('threeValued')), NO_VALUES)).toEqual({ ids: null, filter })
  })

  it('are ids where the key is known, and nothing where no record can fit', () => {
    const byKey = (value: string): Predicate => ({ kind: 'compare', field: 'key', op: '=', operand: { kind: 'constant', value } })
    const and = (terms: readonly Predicate[]): Predicate => ({ kind: 'and', terms })
    expect(filled(whenTrue({ kind: 'or', terms: [byKey('a'), byKey('1')] }, scopeOf('twoValued')), NO_VALUES)).toEqual({
      ids: new Set(['a', '1']),
      filter: null,
    })
    expect(filled(whenTrue(and([byKey('a'), byKey('1')]), scopeOf('twoValued')), NO_VALUES)).toBeNull()
    const missing: Predicate = { kind: 'compare', field: 'name', op: '=', operand: { kind: 'claim', name: 'team' } }
    expect(filled(whenTrue(missing, scopeOf('threeValued')), NO_VALUES)).toBeNull()
  })

  it('is refused for what records do not have', () => {
    for (const term of [
      { kind: 'related', field: 'owner', where: { kind: 'all' } },
      { kind: 'jsonContains', field: 'name', operand: { kind: 'constant', value: '{}' } },
    ] as const)
      for (const condition of [term, { kind: 'not', term }, { kind: 'isFalse', term: { kind: 'isTrue', term } }] as const)
        expect(() => whenTrue(condition, scopeOf('threeValued'))).toThrow(expect.objectContaining({ code: 'FIELD_NOT_USABLE' }))
  })
})
