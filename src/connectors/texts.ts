/**
 * JSON texts of rows on their way from the store's socket to the client's, as bytes. Few of them are strings, which are cheap to join to what stands around them; many
 * stay in the buffers that the socket was read into, joined by commas as they will be sent: 5,000 rows (1.3 MB) as strings had the garbage collector take a quarter of a gateway's
 * processor time, since all that is under way outlives its nursery.
 */

declare const bytes: unique symbol
/**
 * Bytes of UTF-8 as a string, one character (U+0000 to U+00FF) a byte: what `buffer.latin1Slice()` reads and `Buffer.from(text, 'latin1')` writes. `length` is the
 * number of bytes. Only `byteText` and connectors make one.
 */
export type ByteText = string & { readonly [bytes]: true }

/** Bytes of UTF-8, in either form; `length` is their number. */
export type Bytes = ByteText | Buffer

declare global {
  // Of every Node version, but not in its types: what `toString(encoding)` calls, without looking the encoding up for each value.
  // eslint-disable-next-line @typescript-eslint/no-unused-vars -- the parameter of the interface that this adds to
  interface Buffer<TArrayBuffer extends ArrayBufferLike = ArrayBufferLike> {
    latin1Slice(start?: number, end?: number): string
    latin1Write(text: string, offset?: number, length?: number): number
    utf8Slice(start?: number, end?: number): string
  }
}

/** The bytes of a text. What is ASCII is its own. */
export function byteText(text: string): ByteText {
  return (isAscii(text) ? text : Buffer.from(text).latin1Slice()) as ByteText // the brand: made of bytes just now
}

/** The text that bytes are. */
export function textOf(of: Bytes): string {
  if (typeof of !== 'string') return of.utf8Slice()
  return isAscii(of) ? of : Buffer.from(of, 'latin1').utf8Slice()
}

function isAscii(text: string): boolean {
  return /^[\0-\x7f]*$/.test(text)
}

/** Bytes of one column that stay strings. */
const STRINGS_BYTES = 32 * 1024
const COMMA = 0x2c

/** Texts that stand in one buffer, with a comma between two, and one before the first unless it is the first of all. */
interface Run {
  readonly buffer: Buffer
  readonly start: number
  /** Rows before it. */
  readonly before: number
  /** Where each text ends. */
  readonly ends: number[]
}

/** One column of row texts. */
export class Texts {
  #count = 0
  #bytes = 0
  /** Null once there are many. */
  #items: ByteText[] | null = []
  readonly #runs: Run[] = []

  static of(items: Iterable<ByteText>): Texts {
    const texts = new Texts()
    for (const item of items) texts.push(item)
    return texts
  }

  get count(): number {
    return this.#count
  }

  push(text: ByteText): void {
    if (!this.#items) {
      const buffer = Buffer.allocUnsafe(text.length + 1)
      buffer.latin1Write(text, 1)
      this.pushFrom(buffer, 1, buffer.length)
      return
    }
    this.#items.push(text)
    this.#count += 1
    this.#bytes += text.length
    if (this.#bytes > STRINGS_BYTES) this.#spill(this.#items)
  }

  /**
   * Adds the text that stands in `source` from `start` to before `end`. Of many texts `source` itself becomes the place: each is moved to where the last one ended,
   * which takes a quarter of copying it elsewhere. So whoever gives `source` neither reads nor writes what stands before `end` again.
   *
   * INVARIANT: there is a byte before `start` that is nobody's.
   */
  pushFrom(source: Buffer, start: number, end: number): void {
    if (this.#items) return this.push(source.latin1Slice(start, end) as ByteText) // the brand: bytes that a store sent as UTF-8
    const last = this.#runs.at(-1)
    if (last?.buffer === source) {
      const comma = last.ends.at(-1) ?? start
      source[comma] = COMMA
      source.copyWithin(comma + 1, start, end)
      last.ends.push(comma + 1 + end - start)
    } else {
      source[start - 1] = COMMA
      this.#runs.push({ buffer: source, start: start - 1, before: this.#count, ends: [end] })
    }
    this.#count += 1
  }

  /** The text of a row. */
  at(row: number): ByteText {
    if (this.#items) return this.#items[row] ?? NULL
    const run = this.#runOf(row)
    return run.buffer.latin1Slice(startIn(run, row), run.ends[row - run.before]) as ByteText // the brand: they came as bytes
  }

  /** The texts of the rows from `from` to before `to`, joined by commas, in pieces; each piece but the first begins with the comma before it. */
  joined(to: number, from = 0): readonly Bytes[] {
    if (to <= from) return []
    if (this.#items) return [(from === 0 && to === this.#count ? this.#items : this.#items.slice(from, to)).join(',') as ByteText] // the brand: of bytes and commas
    const pieces: Bytes[] = []
    for (const run of this.#runs) {
      if (run.before >= to) break
      if (run.before + run.ends.length <= from) continue
      const start = run.before > from ? run.start : startIn(run, from)
      pieces.push(run.buffer.subarray(start, run.ends[Math.min(run.ends.length, to - run.before) - 1]))
    }
    return pieces
  }

  *[Symbol.iterator](): Generator<ByteText> {
    for (let row = 0; row < this.#count; row += 1) yield this.at(row)
  }

  #runOf(row: number): Run {
    let [low, high] = [0, this.#runs.length - 1]
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if ((this.#runs[middle]?.before ?? 0) <= row) low = middle
      else high = middle - 1
    }
    const run = this.#runs[low]
    if (!run) throw new RangeError('no such row')
    return run
  }

  #spill(items: readonly ByteText[]): void {
    const buffer = Buffer.allocUnsafeSlow(this.#bytes + items.length)
    const ends: number[] = []
    let at = 0
    for (const item of items) {
      buffer[at] = COMMA
      at += 1 + buffer.latin1Write(item, at + 1)
      ends.push(at)
    }
    this.#items = null
    this.#runs.push({ buffer, start: 0, before: 0, ends })
  }
}

function startIn({ start, before, ends }: Run, row: number): number {
  return (row === before ? start : (ends[row - before - 1] ?? start)) + 1
}

const NULL = 'null' as ByteText // the brand: ASCII
