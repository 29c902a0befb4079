/** Answers in pieces, as a store that cannot know them whole gives them. */
import { GatewayError } from '../../errors.js'
import type { Answer, Chunk } from '../connector.js'
import { Texts } from '../texts.js'

/**
 * What of the answers is handed over at once, in order: rows up to and including the one that fills the buffer. The rest comes in pieces of about that size.
 * `check` throws where nothing may be read any more.
 */
export function handedOver(chunks: readonly Chunk[], bufferBytes: number, check: () => void): readonly Answer[] {
  let room = bufferBytes
  let isLeft = false
  const read = (): void => {
    check()
    if (isLeft) throw new GatewayError('CANCELLED', 'the answers were left before their end')
  }
  return chunks.map((chunk) => {
    if (room <= 0) return { first: { ...slice(chunk, 0, 0), totalCount: null }, rest: pieces(chunk, 0, true) }
    const end = rowsWithin(chunk, 0, room)
    for (let row = 0; row < end; row += 1) room -= rowBytes(chunk, row)
    return { first: slice(chunk, 0, end), rest: end < chunk.count ? pieces(chunk, end, false) : null }
  })

  function pieces(chunk: Chunk, start: number, isFirst: boolean): AsyncIterable<Chunk> {
    let from = start
    let hasTotal = isFirst && chunk.totalCount !== null
    const next = (): IteratorResult<Chunk> => {
      read()
      if (from >= chunk.count && !hasTotal) return { done: true, value: undefined }
      const end = rowsWithin(chunk, from, bufferBytes)
      const piece = { ...slice(chunk, from, end), totalCount: hasTotal ? chunk.totalCount : null }
      from = end
      hasTotal = false
      return { done: false, value: piece }
    }
    const leave = (): IteratorResult<Chunk> => {
      isLeft = true
      return { done: true, value: undefined }
    }
    return { [Symbol.asyncIterator]: () => ({ next: async () => next(), return: async () => leave() }) }
  }
}

/** Where the rows from `from` on have filled the room; at least one row is taken. */
function rowsWithin(chunk: Chunk, from: number, room: number): number {
  let end = from
  for (let bytes = 0; end < chunk.count && bytes < room; end += 1) bytes += rowBytes(chunk, end)
  return end
}

/** At least one, so that each row takes some room. */
function rowBytes({ texts, keys }: Chunk, row: number): number {
  return texts.reduce((bytes, column) => bytes + column.at(row).length, 1) + keys.reduce((bytes, column) => bytes + (column[row]?.length ?? 0), 0)
}

function slice({ texts, keys, totalCount }: Chunk, from: number, end: number): Chunk {
  const cut = (column: Texts): Texts => Texts.of(Array.from({ length: end - from }, (_, row) => column.at(from + row)))
  return { count: end - from, texts: texts.map(cut), keys: keys.map((column) => column.slice(from, end)), totalCount }
}
