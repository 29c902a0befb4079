import { describe, expect, it } from '@jest/globals'
import { countOf, rowsOf } from '../../../src/connectors/milvus/columns.js'

const KEYS = { type: 'Int64', field_name: 'id', scalars: { data: 'long_data', long_data: { data: ['1', '9007199254740993'] } } }
const VECTORS = { type: 'FloatVector', field_name: 'v', vectors: { dim: '2', float_vector: { data: [1, 0, 0, 1] } } }
const TAGS = {
  type: 'Array',
  field_name: 'tags',
  scalars: { data: 'array_data', array_data: { data: [{}, { data: 'string_data', string_data: { data: ['a'] } }] } },
}

describe('an answer of Milvus', () => {
  it('is rows of values by field', () => {
    const rows = rowsOf([KEYS, VECTORS, TAGS], ['id', 'v', 'tags'], countOf([KEYS, VECTORS, TAGS], 'id'))
    expect(Array.from({ length: rows.count }, (_, row) => ['id', 'v', 'tags'].map(rows.stored(row)))).toEqual([
      ['1', [1, 0], []],
      ['9007199254740993', [0, 1], ['a']],
    ])
  })

  it('may have no rows', () => {
    expect([countOf([], 'id'), rowsOf([], ['id'], 0).count]).toEqual([0, 0])
  })

  it.each<readonly [string, unknown, number]>([
    ['no list of fields', null, 2],
    ['a field that is missing', [KEYS], 2],
    ['fewer rows than keys', [KEYS, VECTORS], 3],
    ['vectors of other dimensions', [KEYS, { ...VECTORS, vectors: { dim: '3', float_vector: { data: [1, 0, 0, 1] } } }], 2],
    ['no numbers in a vector', [KEYS, { ...VECTORS, vectors: { dim: '2', float_vector: { data: [1, 0, 0, 'x'] } } }], 2],
    ['a key that is no integer', [{ ...KEYS, scalars: { data: 'long_data', long_data: { data: ['1', 'x'] } } }, VECTORS], 2],
    ['a text where a number should be', [{ ...KEYS, scalars: { data: 'string_data', string_data: { data: ['1', '2'] } } }, VECTORS], 2],
    ['a message that is none', [KEYS, 'x'], 2],
  ])('that was not asked for is SOURCE_UNAVAILABLE: %s', (_name, fields, count) => {
    const read = (): unknown => {
      const rows = rowsOf(fields, ['id', 'v'], count)
      return Array.from({ length: count }, (_, row) => ['id', 'v'].map(rows.stored(row)))
    }
    expect(read).toThrow(expect.objectContaining({ code: 'SOURCE_UNAVAILABLE' }))
  })
})
