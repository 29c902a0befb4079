/** The places in texts of rows where fields from another store go. */
import { invariant } from '../../errors.js'
import type { ValueType } from '../../query/catalog.js'
import type { Scalar } from '../../query/predicate.js'
import { keyScalar } from '../../query/value.js'
import type { Chunk } from '../connector.js'
import { type ByteText, textOf, Texts } from '../texts.js'

/** Keys of one place's name, each once, by the text that stands in the place. */
export type Keys = Map<string, readonly string[]>

/** What the places of a chunk ask for, by name. */
export function keysIn(chunk: Chunk): ReadonlyMap<string, Keys> {
  const wanted = new Map<string, Keys>()
  const known = new Set<string>()
  for (const column of chunk.texts) {
    for (const text of column) {
      for (const [, place = ''] of text.matchAll(PLACE)) {
        if (known.has(place)) continue
        known.add(place)
        const [name, ...key] = JSON.parse(textOf(place as ByteText)) as [string, ...string[]] // a piece of bytes; written by our own statement
        const keys = wanted.get(name) ?? new Map<string, readonly string[]>()
        keys.set(place, key)
        wanted.set(name, keys)
      }
    }
  }
  return wanted
}

/** The chunk with a text in every place. */
export function filled(chunk: Chunk, texts: ReadonlyMap<string, ByteText>): Chunk {
  const put = (_match: string, place: string): string => {
    const text = texts.get(place)
    invariant(text !== undefined, 'a step answers every key')
    return text
  }
  const columns = chunk.texts.map((column) => {
    const rows = new Texts()
    for (const text of column) rows.push(text.replace(PLACE, put) as ByteText) // the brand: pieces of bytes
    return rows
  })
  return { ...chunk, texts: columns }
}

const HEAD = '{"v":'

/** The key in the place of a row, before that is filled. */
export function keyAt(text: ByteText): readonly string[] {
  const [, place] = new RegExp(PLACE.source).exec(text) ?? []
  invariant(place !== undefined, 'a row has a place')
  const [, ...key] = JSON.parse(textOf(place as ByteText)) as [string, ...string[]] // a piece of bytes; written by our own statement
  return key
}

/** The chunk with what its objects of one member hold. Without rows whose member is null, where rows are what is meant; see `Step.wrapped`. */
export function unwrapped(chunk: Chunk, what: 'value' | 'row' | 'mark'): { readonly chunk: Chunk; readonly dropped: readonly number[] } {
  const columns = chunk.texts.map((column) => [...column].map((text) => text.slice(HEAD.length, -1) as ByteText)) // the brand: a piece of bytes
  const isThere = (row: number): boolean => what === 'value' || columns.every((column) => column[row] !== 'null')
  const all = Array.from({ length: chunk.count }, (_, row) => row)
  const kept = all.filter(isThere)
  const own = {
    ...chunk,
    count: kept.length,
    texts: (what === 'mark' ? [] : columns).map((column) => Texts.of(kept.flatMap((row) => column[row] ?? []))),
    keys: chunk.keys.map((column) => kept.map((row) => column[row] ?? null)),
  }
  return { chunk: own, dropped: all.filter((row) => !isThere(row)) }
}

/** A raw control character is in JSON nowhere else. */
const PLACE = /\u0005([^\u0006]*)\u0006/g

/** A list for each part of the keys, as `Values.steps` has them. */
export function listsOf(keys: Iterable<readonly (string | null)[]>, parts: readonly ValueType[]): readonly (readonly Scalar[])[] {
  const all = [...keys]
  return parts.map((type, index) => all.map((key) => keyScalar(type, key[index] ?? '')))
}
