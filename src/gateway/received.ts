/**
 * A request whose body is collected as it comes. The stream that `node:http` makes of a body hands it on through a queue and listeners of its own, which costs a small
 * request 0.02 ms of the 0.12 that all of HTTP takes it; here the parser's buffers are what is kept.
 */
import { IncomingMessage } from 'node:http'
import { GatewayError } from '../errors.js'

/** Of one that is refused before all of it has come: how many times the limit may be sent in all, so that the client reads the refusal. */
const DISCARDED = 8

interface Taker {
  readonly limit: number
  readonly resolve: (body: Buffer) => void
  readonly reject: (error: GatewayError) => void
}

export class Received extends IncomingMessage {
  #chunks: Buffer[] = []
  #bytes = 0
  /** Who waits for the body; without one it is dropped. */
  #taker: Taker | null = null
  #discardedMax = Infinity

  /**
   * The whole body. To be called in the turn in which the request has come, and once.
   *
   * @throws GatewayError PAYLOAD_TOO_LARGE, CANCELLED
   */
  body(limit: number): Promise<Buffer> {
    if (Number(this.headers['content-length'] ?? 0) > limit) return Promise.reject(tooLarge(limit))
    return new Promise((resolve, reject) => (this.#taker = { limit, resolve, reject }))
  }

  /** Of what still comes nothing is wanted; a client that sends on and on is cut off. */
  discard(limit: number): void {
    this.#taker = null
    this.#discardedMax = limit * DISCARDED
    this.read(0) // one that nobody has begun to read is dropped uncounted once its answer has gone
    if (this.#bytes > this.#discardedMax) setImmediate(() => this.destroy()) // the refusal goes first
  }

  /** `node:http` calls this with each piece of a body, and with null at its end. */
  override push(chunk: Buffer | null): boolean {
    if (chunk !== null) this.#take(chunk)
    else if (this.#taker) this.#taker.resolve(this.#chunks.length === 1 && this.#chunks[0] !== undefined ? this.#chunks[0] : Buffer.concat(this.#chunks))
    return true
  }

  /** Also called by `node:http` where the connection breaks off, with an error: it is told to who waits and not emitted, since one that nobody listens to ends the process. */
  override destroy(): this {
    if (!this.complete) this.#taker?.reject(new GatewayError('CANCELLED', 'the caller went away'))
    return super.destroy()
  }

  #take(chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#bytes > this.#discardedMax) {
      this.destroy()
      return
    }
    const taker = this.#taker
    if (!taker) return
    this.#chunks.push(chunk)
    if (this.#bytes <= taker.limit) return
    this.#taker = null
    this.#chunks = []
    taker.reject(tooLarge(taker.limit))
  }
}

function tooLarge(limit: number): GatewayError {
  return new GatewayError('PAYLOAD_TOO_LARGE', `the body has more than ${limit} bytes`)
}
