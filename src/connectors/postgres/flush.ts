/**
 * Several statements in one flush: Parse (once a connection), Bind and Execute for each, and one Sync. PostgreSQL runs all of them in one implicit transaction, so a
 * setting that is local to it reaches the statements behind it and nobody else. (PostgreSQL's protocol 3.0, "Message Formats".)
 */
import { invariant } from '../../errors.js'

export interface FlushStatement {
  /** Of the prepared statement, in ASCII; equal names mean equal texts. Empty: prepared anew each time, for poolers that cannot keep them, or to be planned for its values. */
  readonly name: string
  readonly text: string
  readonly values: readonly (string | null)[]
}

/** Prepared statements of a connection, least recently used first. Closed on eviction, so that a connection holds no more than `max`. */
export class PreparedNames {
  private readonly names = new Set<string>()
  private newest = ''
  constructor(private readonly max: number) {}

  /** @returns whether it is prepared already, and the name to close. */
  use(name: string): { readonly known: boolean; readonly evicted: string | null } {
    if (name === '') return UNNAMED
    if (name === this.newest) return KNOWN
    this.newest = name
    const known = this.names.delete(name)
    this.names.add(name)
    if (known) return KNOWN
    if (this.names.size <= this.max) return UNNAMED
    const [oldest] = this.names
    if (oldest === undefined || oldest === name) return UNNAMED
    this.names.delete(oldest)
    return { known, evicted: oldest }
  }
}

const KNOWN = { known: true, evicted: null } as const
const UNNAMED = { known: false, evicted: null } as const

/** The bytes of a whole flush, for one write to the socket: the system call is more than half of what a lookup costs here. */
export function flushBytes(prepared: PreparedNames, statements: readonly FlushStatement[]): Buffer {
  const flush = new FlushWriter()
  for (const { name, text, values } of statements) {
    const { known, evicted } = prepared.use(name)
    if (evicted !== null) flush.close(evicted)
    if (!known) flush.parse(name, text)
    flush.bind(name, values)
    flush.execute()
  }
  return flush.sync()
}

const BIND = 0x42
const CLOSE = 0x43
const EXECUTE = 0x45
const PARSE = 0x50
const SYNC = 0x53
/** What a Close means: a statement, not a portal. */
const STATEMENT = 0x53
/** UTF-8 takes no more than this for a UTF-16 unit. */
const UNIT_BYTES_MAX = 3
/** Of a message but its texts: type, length, counts, terminators. */
const FRAME_BYTES_MAX = 32
const LENGTH_BYTES = 4
/** What most flushes take: claims and a lookup. */
const FIRST_BYTES = 1_024
/** The protocol counts parameters in 16 bits. */
const PARAMETERS_MAX = 65_535

class FlushWriter {
  private bytes = Buffer.allocUnsafe(FIRST_BYTES)
  private at = 0

  close(name: string): void {
    const start = this.start(CLOSE, name.length)
    this.bytes[this.at++] = STATEMENT
    this.cString(name)
    this.end(start)
  }

  parse(name: string, text: string): void {
    const start = this.start(PARSE, (name.length + text.length) * UNIT_BYTES_MAX)
    this.cString(name)
    this.cString(text)
    this.int16(0) // the text says the types
    this.end(start)
  }

  bind(name: string, values: readonly (string | null)[]): void {
    invariant(values.length <= PARAMETERS_MAX, 'a statement has no more parameters than the protocol counts')
    const start = this.start(BIND, name.length)
    this.bytes[this.at++] = 0 // the unnamed portal
    this.cString(name)
    this.int16(0) // all parameters are text
    this.int16(values.length)
    for (const value of values) this.value(value)
    this.reserve(FRAME_BYTES_MAX)
    this.int16(0) // and so are all columns
    this.end(start)
  }

  execute(): void {
    const start = this.start(EXECUTE, 0)
    this.bytes[this.at++] = 0
    this.at = this.bytes.writeInt32BE(0, this.at) // all rows
    this.end(start)
  }

  /** @returns all that was written; nothing may follow. */
  sync(): Buffer {
    this.end(this.start(SYNC, 0))
    return this.bytes.subarray(0, this.at)
  }

  /** @returns where the message's length stands. */
  private start(type: number, textBytes: number): number {
    this.reserve(FRAME_BYTES_MAX + textBytes)
    this.bytes[this.at] = type
    const start = this.at + 1
    this.at = start + LENGTH_BYTES
    return start
  }

  private end(start: number): void {
    this.bytes.writeInt32BE(this.at - start, start)
  }

  private value(value: string | null): void {
    if (value === null) {
      this.reserve(LENGTH_BYTES)
      this.at = this.bytes.writeInt32BE(-1, this.at)
      return
    }
    this.reserve(LENGTH_BYTES + value.length * UNIT_BYTES_MAX)
    const length = this.bytes.write(value, this.at + LENGTH_BYTES)
    this.bytes.writeInt32BE(length, this.at)
    this.at += LENGTH_BYTES + length
  }

  private cString(text: string): void {
    this.at += this.bytes.write(text, this.at)
    this.bytes[this.at++] = 0
  }

  private int16(value: number): void {
    this.at = this.bytes.writeUInt16BE(value, this.at)
  }

  private reserve(count: number): void {
    if (this.at + count <= this.bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.at + count))
    this.bytes.copy(larger, 0, 0, this.at)
    this.bytes = larger
  }
}
