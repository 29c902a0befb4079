/**
 * How the driver's requests travel: over connections of our own, whose number, opening and idle time are bounded as configured, each under a deadline and cancelled with
 * its signal. What the platform's `fetch` would do otherwise: it follows redirects, with the key in its headers, and reads answers of any length.
 */
import { Agent as PlainAgent, type ClientRequest, type IncomingMessage, request as plainRequest } from 'node:http'
import { Agent as SecureAgent, request as secureRequest } from 'node:https'
import type { Signal } from '../../abort.js'
import { endedBy } from '../in-turn.js'
import { refusalOf, TransportError } from './driver-error.js'

export interface TransportOptions {
  readonly isSecure: boolean
  /** Connections to each host. */
  readonly max: number
  readonly connectMs: number
  readonly idleMs: number
}

export interface CallOptions {
  readonly signal: Signal
  /** By the process' monotonic clock. */
  readonly untilMs: number
}

/** What the driver takes as `fetchApi`, as far as it uses it. */
export type Fetch = (
  url: string,
  init: { readonly method?: string; readonly headers?: Readonly<Record<string, string>>; readonly body?: string },
) => Promise<Response>

export class Transport {
  private readonly agent: PlainAgent | SecureAgent

  constructor(private readonly options: TransportOptions) {
    const { isSecure, max, idleMs } = options
    const settings = { keepAlive: true, maxSockets: max, timeout: idleMs }
    this.agent = isSecure ? new SecureAgent(settings) : new PlainAgent(settings)
  }

  /** `bytesMax`: of an answer. A connection that the other side had closed meanwhile is replaced once: nothing here writes. */
  fetch(call: CallOptions, bytesMax: number): Fetch {
    return (url, init) => {
      const send = (): Promise<Response> => new Exchange(call, bytesMax, this.options.connectMs).run((onAnswer) => this.request(url, init, onAnswer))
      return send().catch((error: unknown) => {
        if (error instanceof StaleError) return send()
        throw error
      })
    }
  }

  close(): void {
    this.agent.destroy()
  }

  private request(url: string, { method = 'GET', headers = {}, body }: Parameters<Fetch>[1], onAnswer: (answer: IncomingMessage) => void): ClientRequest {
    const make = this.options.isSecure ? secureRequest : plainRequest
    const request = make(url, { method, headers: { ...headers }, agent: this.agent }, onAnswer)
    request.end(body)
    return request
  }
}

class StaleError extends TransportError {}

/** One request and its answer. */
class Exchange {
  private readonly timers: NodeJS.Timeout[] = []
  private request: ClientRequest | null = null
  private answer: IncomingMessage | null = null
  private onAbort: (() => void) | null = null

  constructor(
    private readonly call: CallOptions,
    private readonly bytesMax: number,
    private readonly connectMs: number,
  ) {}

  async run(start: (onAnswer: (answer: IncomingMessage) => void) => ClientRequest): Promise<Response> {
    const { signal, untilMs } = this.call
    if (signal.aborted) throw endedBy(signal)
    try {
      return await new Promise<Response>((resolve, reject) => {
        this.onAbort = () => reject(endedBy(signal))
        signal.addEventListener('abort', this.onAbort, { once: true })
        this.after(untilMs - performance.now(), () => reject(new TransportError('SOURCE_TIMEOUT', 'the deadline has passed')))
        this.request = start((answer) => this.read(answer).then(resolve, reject))
        this.request.on('error', (cause: NodeJS.ErrnoException) => {
          const isStale = cause.code === 'ECONNRESET' && this.request?.reusedSocket === true
          reject(new (isStale ? StaleError : TransportError)('SOURCE_UNAVAILABLE', 'the connection failed', { cause }))
        })
        this.watchConnecting(reject)
      })
    } finally {
      this.end()
    }
  }

  private watchConnecting(reject: (error: unknown) => void): void {
    this.request?.on('socket', (socket) => {
      if (!socket.connecting) return
      const timer = this.after(this.connectMs, () => reject(new TransportError('SOURCE_UNAVAILABLE', 'no connection was opened in time')))
      socket.once('connect', () => clearTimeout(timer))
    })
  }

  private async read(answer: IncomingMessage): Promise<Response> {
    this.answer = answer
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > this.bytesMax) throw new TransportError('SOURCE_UNAVAILABLE', 'the answer is longer than what was asked for can be')
      chunks.push(chunk)
    }
    const status = answer.statusCode ?? 0
    const refused = refusalOf(status)
    if (refused) throw refused
    if (status < 200 || status > 599) throw new TransportError('SOURCE_UNAVAILABLE', 'the answer has no status')
    const hasBody = status !== 204 && status !== 205 && status !== 304
    return new Response(hasBody ? Buffer.concat(chunks) : null, { status, headers: { 'content-type': answer.headers['content-type'] ?? '' } })
  }

  private after(ms: number, run: () => void): NodeJS.Timeout {
    const timer = setTimeout(run, Math.max(1, ms))
    this.timers.push(timer)
    return timer
  }

  /** What has been read to its end keeps its connection; what has not loses it. */
  private end(): void {
    for (const timer of this.timers) clearTimeout(timer)
    if (this.onAbort) this.call.signal.removeEventListener('abort', this.onAbort)
    this.request?.on('error', () => undefined)
    if (this.answer?.complete !== true) this.request?.destroy()
  }
}
