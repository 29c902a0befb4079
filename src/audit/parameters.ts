/**
 * Parameters of a statement in PostgreSQL's binary formats (the types' `_recv` functions in its sources), one after the other as a Bind message has them. Arrays are
 * written element by element to where they leave from: thousands of values cost no quoting here, no parsing there, and no buffer of their own.
 */
export class Parameters {
  private buffer: Buffer
  private at = 0
  private written = 0

  /** @param bytes what they are expected to take; more costs a copy. */
  constructor(
    bytes = SMALL_BYTES,
    readonly format: Format = 'binary',
  ) {
    this.buffer = Buffer.allocUnsafe(bytes)
  }

  /** Each as its type is written. */
  static ofTexts(values: readonly string[]): Parameters {
    const parameters = new Parameters(SMALL_BYTES, 'text')
    for (const value of values) {
      parameters.written += 1
      parameters.writeText(value)
    }
    return parameters
  }

  /** How many there are. */
  get count(): number {
    return this.written
  }

  /** All that was written; nothing may follow. */
  get bytes(): Buffer {
    return this.buffer.subarray(0, this.at)
  }

  /** A `bigint`. INVARIANT: a safe integer. */
  int8(value: number): this {
    this.written += 1
    this.reserve(ELEMENT_BYTES_MAX)
    this.writeInt8(value)
    return this
  }

  /** A `text[]`. */
  texts<Item>(items: readonly Item[], pick: (item: Item) => string | null): this {
    const start = this.begin(OID.text, items.length)
    for (const item of items) {
      const value = pick(item)
      if (value === null) this.writeNull()
      else this.writeText(value)
    }
    return this.end(start)
  }

  /** A `text[]` of what is UTF-8 already. */
  utf8s<Item>(items: readonly Item[], pick: (item: Item) => Uint8Array): this {
    return this.bytesOf(OID.text, items, pick)
  }

  /** A `bytea[]`. */
  byteas<Item>(items: readonly Item[], pick: (item: Item) => Uint8Array): this {
    return this.bytesOf(OID.bytea, items, pick)
  }

  /** A `smallint[]`. */
  int2s<Item>(items: readonly Item[], pick: (item: Item) => number): this {
    const start = this.begin(OID.int2, items.length)
    for (const item of items) {
      this.reserve(ELEMENT_BYTES_MAX)
      this.writeLength(2)
      this.at = this.buffer.writeInt16BE(pick(item), this.at)
    }
    return this.end(start)
  }

  /** A `bigint[]`. INVARIANT: safe integers. */
  int8s<Item>(items: readonly Item[], pick: (item: Item) => number): this {
    const start = this.begin(OID.int8, items.length)
    for (const item of items) {
      this.reserve(ELEMENT_BYTES_MAX)
      this.writeInt8(pick(item))
    }
    return this.end(start)
  }

  /** A `uuid[]`. */
  uuids<Item>(items: readonly Item[], pick: (item: Item) => string): this {
    const start = this.begin(OID.uuid, items.length)
    for (const item of items) {
      this.reserve(ELEMENT_BYTES_MAX)
      this.writeLength(UUID_BYTES)
      this.at += this.buffer.write(pick(item).replaceAll('-', ''), this.at, 'hex')
    }
    return this.end(start)
  }

  /** A `timestamptz[]`: milliseconds since the Unix epoch, where PostgreSQL counts microseconds from the year 2000. */
  times<Item>(items: readonly Item[], pick: (item: Item) => number): this {
    const start = this.begin(OID.timestamptz, items.length)
    for (const item of items) {
      this.reserve(ELEMENT_BYTES_MAX)
      this.writeInt8((pick(item) - Y2K_MS) * 1000)
    }
    return this.end(start)
  }

  private bytesOf<Item>(oid: number, items: readonly Item[], pick: (item: Item) => Uint8Array): this {
    const start = this.begin(oid, items.length)
    for (const item of items) {
      const value = pick(item)
      this.reserve(LENGTH_BYTES + value.length)
      this.writeLength(value.length)
      this.buffer.set(value, this.at)
      this.at += value.length
    }
    return this.end(start)
  }

  /** The header of an array (`array_recv`). @returns where its length stands. */
  private begin(oid: number, elements: number): number {
    this.written += 1
    this.reserve(HEADER_BYTES_MAX)
    const start = this.at
    this.at += LENGTH_BYTES
    this.at = this.buffer.writeInt32BE(elements === 0 ? 0 : 1, this.at) // dimensions
    this.at = this.buffer.writeInt32BE(1, this.at) // there may be nulls
    this.at = this.buffer.writeInt32BE(oid, this.at)
    if (elements > 0) {
      this.at = this.buffer.writeInt32BE(elements, this.at)
      this.at = this.buffer.writeInt32BE(1, this.at) // the lower bound
    }
    return start
  }

  private end(start: number): this {
    this.buffer.writeInt32BE(this.at - start - LENGTH_BYTES, start)
    return this
  }

  private writeText(value: string): void {
    this.reserve(LENGTH_BYTES + value.length * UNIT_BYTES_MAX)
    const length = this.buffer.write(value, this.at + LENGTH_BYTES)
    this.writeLength(length)
    this.at += length
  }

  private writeNull(): void {
    this.reserve(LENGTH_BYTES)
    this.writeLength(-1)
  }

  /** Two halves: a BigInt would be another object for each. */
  private writeInt8(value: number): void {
    this.writeLength(8)
    this.at = this.buffer.writeInt32BE(Math.floor(value / 2 ** 32), this.at)
    this.at = this.buffer.writeUInt32BE(value - Math.floor(value / 2 ** 32) * 2 ** 32, this.at)
  }

  private writeLength(length: number): void {
    this.at = this.buffer.writeInt32BE(length, this.at)
  }

  private reserve(bytes: number): void {
    if (this.at + bytes <= this.buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.at + bytes))
    this.buffer.copy(larger, 0, 0, this.at)
    this.buffer = larger
  }
}

/** Of all parameters of a statement. */
type Format = 'text' | 'binary'

/** `pg_type.oid` of the elements. */
const OID = { bytea: 17, int8: 20, int2: 21, text: 25, timestamptz: 1184, uuid: 2950 } as const
const Y2K_MS = Date.UTC(2000, 0, 1)
const UUID_BYTES = 16
const LENGTH_BYTES = 4
/** Of an element of a fixed size, with its length. */
const ELEMENT_BYTES_MAX = LENGTH_BYTES + UUID_BYTES
const HEADER_BYTES_MAX = 24
/** UTF-8 takes no more than this for a UTF-16 unit. */
const UNIT_BYTES_MAX = 3
const SMALL_BYTES = 512

export const NO_PARAMETERS = Parameters.ofTexts([])
