/** Bytes of an answer on their way out: what is short is one text, what is long stays in the buffers that it came in. */
import { byteText, type Bytes, type ByteText, textOf } from '../connectors/texts.js'

/** Collects an answer from its beginning to its end. */
export class Pieces {
  readonly #done: Bytes[] = []
  #text = ''
  #length = 0

  /** Adds ASCII, such as the structure of JSON around values. */
  ascii(text: string): void {
    this.#text += text
    this.#length += text.length
  }

  add(bytes: Bytes): void {
    this.#length += bytes.length
    if (typeof bytes === 'string') {
      this.#text += bytes
      return
    }
    this.#flush()
    this.#done.push(bytes)
  }

  addAll(pieces: readonly Bytes[]): void {
    for (const piece of pieces) this.add(piece)
  }

  /** Bytes since the last time that they were taken. */
  get length(): number {
    return this.#length
  }

  /** All that was added since the last time, in order. */
  take(): readonly Bytes[] {
    this.#flush()
    this.#length = 0
    return this.#done.splice(0)
  }

  #flush(): void {
    if (this.#text !== '') this.#done.push(this.#text as ByteText) // the brand: of bytes and ASCII
    this.#text = ''
  }
}

export function lengthOf(pieces: readonly Bytes[]): number {
  let length = 0
  for (const piece of pieces) length += piece.length
  return length
}

/** The text that the pieces are together. */
export function wholeText(pieces: readonly Bytes[]): string {
  const [only] = pieces
  if (pieces.length === 1 && only !== undefined) return textOf(only)
  return Buffer.concat(pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece))).utf8Slice()
}

/** Pieces of a text of ours. */
export function piecesOf(text: string): readonly Bytes[] {
  return [byteText(text)]
}
