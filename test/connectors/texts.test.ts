import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { ChunkBuilder } from '../../src/connectors/postgres/chunk-builder.js'
import { byteText, type ByteText, Texts, textOf } from '../../src/connectors/texts.js'

const whole = (pieces: readonly (string | Buffer)[]): string =>
  Buffer.concat(pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece))).toString('utf8')

/** The body of a DataRow message: columns with their lengths. */
function dataRow(columns: readonly (string | null)[]): Buffer {
  const count = Buffer.alloc(2)
  count.writeInt16BE(columns.length)
  const parts = columns.flatMap((column) => {
    const bytes = column === null ? Buffer.alloc(0) : Buffer.from(column)
    const length = Buffer.alloc(4)
    length.writeInt32BE(column === null ? -1 : bytes.length)
    return [length, bytes]
  })
  return Buffer.concat([count, ...parts])
}

const text = fc.oneof(
  fc.json(),
  fc.string({ unit: 'binary', maxLength: 40 }).map((value) => JSON.stringify(value)),
  fc.constant('x'.repeat(5_000)),
)

describe('byte texts', () => {
  it('are the bytes of any text, and give it back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (value) => {
        const bytes = byteText(value)
        expect(bytes.length).toBe(Buffer.byteLength(value))
        expect(textOf(bytes)).toBe(value)
        expect(textOf(Buffer.from(bytes, 'latin1'))).toBe(value)
      }),
    )
  })
})

describe('a column of texts', () => {
  it('gives each text, and any number of first ones joined, however many there are', () => {
    fc.assert(
      fc.property(fc.array(text, { maxLength: 40 }), fc.nat(41), (values, to) => {
        const texts = Texts.of(values.map(byteText))
        expect(texts.count).toBe(values.length)
        expect(values.map((_, row) => textOf(texts.at(row)))).toEqual(values)
        const end = Math.min(to, values.length)
        expect(whole(texts.joined(end))).toBe(values.slice(0, end).join(','))
      }),
    )
  })
})

describe('rows of a socket', () => {
  // Rows lie in chunks of the socket as they come, several in each; texts move within them.
  const rows = fc.array(fc.tuple(fc.option(text), fc.option(text), fc.option(fc.string({ unit: 'grapheme' }))), { minLength: 1, maxLength: 60 })

  it('become the columns that were sent, wherever a chunk ends and however often what has come is taken', () => {
    fc.assert(
      fc.property(rows, fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 30 }), (sent, perChunk, perTake) => {
        const builder = new ChunkBuilder({ texts: 2, hasTotal: false })
        const taken: ReturnType<ChunkBuilder['take']>[] = []
        let rowsSince = 0
        for (let first = 0; first < sent.length; first += perChunk) {
          const messages = sent.slice(first, first + perChunk).map((columns) => Buffer.concat([Buffer.from('D....'), dataRow(columns)]))
          const chunk = Buffer.concat(messages)
          let at = 0
          for (const message of messages) {
            builder.row(chunk, at + 5, at + message.length)
            at += message.length
            rowsSince += 1
            if (rowsSince === perTake) {
              taken.push(builder.take())
              rowsSince = 0
            }
          }
        }
        taken.push(builder.take())
        for (const column of [0, 1]) {
          const expected = sent.map((columns) => columns[column] ?? 'null')
          const texts = taken.flatMap(({ count, texts: columns }) =>
            Array.from({ length: count }, (_, row) => textOf(columns[column]?.at(row) ?? ('' as ByteText))),
          )
          expect(texts).toEqual(expected)
          expect(
            taken
              .filter(({ count }) => count > 0)
              .map(({ count, texts: columns }) => whole(columns[column]?.joined(count) ?? []))
              .join(','),
          ).toBe(expected.join(','))
        }
        expect(taken.flatMap(({ keys: [keys] }) => keys ?? [])).toEqual(sent.map(([, , key]) => key))
      }),
    )
  })
})
