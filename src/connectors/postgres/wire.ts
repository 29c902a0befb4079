/**
 * A connection that speaks PostgreSQL's protocol (version 3.0) by itself, once `pg` has connected it: address, TLS and authentication are the driver's, and all that
 * follows is ours. The driver makes an object and strings of each row; see `chunk-builder.ts` for what that costs.
 */
import type { Socket } from 'node:net'
import pg from 'pg'
import { cancelBackend } from './cancel.js'
import { databaseError } from './database-error.js'
import type { FlushStatement } from './flush.js'
import { flushBytes, PreparedNames } from './flush.js'

/** Who reads what a flush answers. */
export interface Receiver {
  /** A row's columns stand in `bytes` from `at` to `end`: how many (16 bits), then of each its length (32 bits, -1 for null) and its text. Valid during the call only. */
  row(bytes: Buffer, at: number, end: number): void
  /** All rows of a statement have come. */
  statementEnded(): void
  /** What the socket gave has been read. */
  paused(): void
  /** Nothing more comes, and the wire is free; unless there was an error: then it is of no use any more. */
  ended(error: Error | null): void
}

export interface WireOptions {
  readonly connection: pg.ClientConfig
  readonly connectMs: number
  /** Prepared statements it keeps. */
  readonly preparedMax: number
}

export class Wire {
  /** Since when nobody uses it, for the pool; of a monotonic clock. */
  idleSinceMs = 0
  /** The connection has ended. */
  isClosed = false
  /** Told once, when the connection has ended for whatever reason. */
  onClosed: () => void = () => undefined
  private readonly socket: Socket
  private readonly prepared: PreparedNames
  private receiver: Receiver | null = null
  private fault: Error | null = null
  /** The start of a message that is not whole yet; a copy, so that the socket's 64 KiB do not live for it. */
  private partial: Buffer | null = null
  private partialBytes = 0

  /** @throws the driver's error. */
  static async open(options: WireOptions): Promise<Wire> {
    const client = new pg.Client({ ...options.connection, connectionTimeoutMillis: options.connectMs })
    client.on('error', () => undefined) // who uses the wire is told; without a listener the event would end the process
    await client.connect()
    return new Wire(client, options.preparedMax)
  }

  private constructor(
    private readonly client: pg.Client,
    preparedMax: number,
  ) {
    this.prepared = new PreparedNames(preparedMax)
    this.socket = (client as unknown as ConnectedClient).connection.stream
    this.socket.removeAllListeners('data') // the driver's parser; it has read up to ReadyForQuery, and writes nothing unasked
    this.socket.on('data', (chunk: Buffer) => this.receive(chunk))
    this.socket.on('error', (error) => (this.fault ??= error))
    this.socket.on('close', () => this.closed())
  }

  /** Whether a flush can be sent. */
  get isUsable(): boolean {
    return !this.isClosed && this.fault === null && this.socket.writable
  }

  /** Sends a flush; the one before it has ended. */
  send(statements: readonly FlushStatement[], receiver: Receiver): void {
    if (!this.isUsable) return receiver.ended(this.fault ?? new Error('connection lost'))
    this.receiver = receiver
    this.socket.write(flushBytes(this.prepared, statements))
  }

  /** Stops reading, so that the store waits. */
  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  /** Asks the server to end what runs. Resolves when it has taken the request. */
  async cancel(): Promise<void> {
    return cancelBackend(this.client)
  }

  /** Ends it without a word to the server; whoever waits for an answer on it gets an error. */
  destroy(): void {
    this.socket.destroy()
  }

  /** Ends it in good order. */
  end(): void {
    if (this.isClosed) return
    this.socket.resume() // a paused socket would never see the other side's end
    this.socket.end(TERMINATE)
    setTimeout(() => this.socket.destroy(), END_MS).unref()
  }

  private closed(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.give((receiver) => receiver.ended(this.fault ?? new Error('connection lost')))
    this.onClosed()
  }

  /** Ends the flush: its receiver hears no more. */
  private give(last: (receiver: Receiver) => void): void {
    const { receiver } = this
    this.receiver = null
    if (receiver) last(receiver)
  }

  private receive(chunk: Buffer): void {
    try {
      this.read(chunk)
      this.receiver?.paused()
    } catch (error) {
      // What cannot be read leaves a connection of which nobody knows the state.
      this.fault ??= error instanceof Error ? error : new Error('unreadable message', { cause: error })
      this.socket.destroy()
    }
  }

  private read(chunk: Buffer): void {
    let at = this.partial ? this.complete(chunk) : 0
    while (chunk.length - at >= HEAD_BYTES) {
      const end = at + messageBytes(chunk, at)
      if (end > chunk.length) break
      this.message(chunk, at, end)
      at = end
    }
    if (at < chunk.length) this.keep(chunk, at)
  }

  /** Keeps the rest of a chunk, with room for the whole message where its length has come. */
  private keep(chunk: Buffer, at: number): void {
    const count = chunk.length - at
    this.partial = Buffer.allocUnsafe(count < HEAD_BYTES ? HEAD_BYTES : messageBytes(chunk, at))
    this.partialBytes = chunk.copy(this.partial, 0, at)
  }

  /** Adds what is missing of the message that was kept. @returns where the chunk's next one starts. */
  private complete(chunk: Buffer): number {
    let at = 0
    while (this.partial && at < chunk.length) {
      const count = chunk.copy(this.partial, this.partialBytes, at, at + this.partial.length - this.partialBytes)
      at += count
      this.partialBytes += count
      if (this.partialBytes < this.partial.length) return at
      const whole = this.partial
      const length = messageBytes(whole, 0)
      this.partial = null
      if (length === whole.length) this.message(whole, 0, length)
      else {
        this.partial = Buffer.allocUnsafe(length)
        whole.copy(this.partial)
      }
    }
    return at
  }

  private message(bytes: Buffer, at: number, end: number): void {
    switch (bytes[at]) {
      case DATA_ROW:
        this.receiver?.row(bytes, at + HEAD_BYTES, end)
        return
      case COMMAND_COMPLETE:
      case EMPTY_QUERY:
        this.receiver?.statementEnded()
        return
      case READY_FOR_QUERY:
        this.give((receiver) => receiver.ended(null))
        return
      case ERROR_RESPONSE: {
        // Also without a flush: the server tells so why it ends a connection.
        const error = databaseError(bytes, at + HEAD_BYTES, end)
        this.fault ??= error
        this.give((receiver) => receiver.ended(error))
        return
      }
      case PARSE_COMPLETE:
      case BIND_COMPLETE:
      case CLOSE_COMPLETE:
      case NO_DATA:
      case NOTICE:
      case NOTIFICATION:
      case PARAMETER_STATUS:
        return
      default:
        throw new Error(`message of type ${bytes[at]} was not asked for`)
    }
  }
}

/** The type and the length, which counts itself. */
const HEAD_BYTES = 5
const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4])
/** How long the other side may take to close. */
const END_MS = 1_000

const PARSE_COMPLETE = 0x31
const BIND_COMPLETE = 0x32
const CLOSE_COMPLETE = 0x33
const NOTIFICATION = 0x41
const COMMAND_COMPLETE = 0x43
const DATA_ROW = 0x44
const ERROR_RESPONSE = 0x45
const EMPTY_QUERY = 0x49
const NOTICE = 0x4e
const PARAMETER_STATUS = 0x53
const READY_FOR_QUERY = 0x5a
const NO_DATA = 0x6e

function messageBytes(bytes: Buffer, at: number): number {
  const length = bytes.readInt32BE(at + 1)
  if (length < HEAD_BYTES - 1) throw new Error('message of no length')
  return 1 + length
}

/** What of the driver's client (`pg` 8.23, lib/client.js) `@types/pg` leaves out. */
interface ConnectedClient {
  readonly connection: { readonly stream: Socket }
}
