/** The wire to a foreign GraphQL service: one address, which only the configuration names, and nothing of the caller on it. */
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest, type RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { GatewayError } from '../errors.js'

export interface ForeignServiceOptions {
  /** `https`, or `http` on this machine; no user, no fragment. */
  readonly url: string
  /** The gateway's own `Authorization` header for this service; null where it needs none. */
  readonly authorization: string | null
  readonly limits: ForeignServiceLimits
}

export interface ForeignServiceLimits {
  /** From the moment a request is sent to the last byte of its answer. */
  readonly deadlineMs: number
  readonly responseBytes: number
  /** Requests under way; one more is refused as SOURCE_BUSY. */
  readonly concurrent: number
}

/** Sends a GraphQL request in JSON and gives the body of the answer as text; `signal` aborts with the GatewayError that says why. */
export interface ForeignTransport {
  /** @throws GatewayError SOURCE_UNAVAILABLE | SOURCE_TIMEOUT | SOURCE_BUSY, or the reason of `signal`. */
  send(body: string, signal: AbortSignal): Promise<string>
  close(): void
}

const LOCAL_HOSTS: readonly string[] = ['127.0.0.1', '[::1]', 'localhost']

/** @throws Error where the address is not one that may be called. */
export function foreignAddress(text: string): URL {
  const url = new URL(text)
  const isLocal = url.protocol === 'http:' && LOCAL_HOSTS.includes(url.hostname)
  if (url.protocol !== 'https:' && !isLocal) throw new Error('a foreign service is called over https, or over http on this machine')
  if (url.username !== '' || url.password !== '' || url.hash !== '') throw new Error('the address of a foreign service has no user, password or fragment')
  return url
}

/** Redirects are not followed, answers are not decompressed, and no proxy of the environment is used: what answers is what the configuration names. */
export class HttpForeignTransport implements ForeignTransport {
  private readonly url: URL
  private readonly agent: HttpAgent
  private readonly request: typeof httpRequest
  private underWay = 0

  /** @throws Error where the address is not one that may be called. */
  constructor(private readonly options: ForeignServiceOptions) {
    this.url = foreignAddress(options.url)
    const isSecure = this.url.protocol === 'https:'
    const settings = { keepAlive: true, maxSockets: options.limits.concurrent, maxFreeSockets: options.limits.concurrent }
    this.agent = isSecure ? new HttpsAgent(settings) : new HttpAgent(settings)
    this.request = isSecure ? httpsRequest : httpRequest
  }

  async send(body: string, signal: AbortSignal): Promise<string> {
    const { concurrent, deadlineMs } = this.options.limits
    if (this.underWay >= concurrent) throw new GatewayError('SOURCE_BUSY', `more than ${concurrent} requests to a foreign service`)
    this.underWay += 1
    const deadline = AbortSignal.timeout(deadlineMs)
    const either = AbortSignal.any([signal, deadline])
    try {
      either.throwIfAborted()
      return await this.exchange(Buffer.from(body), either)
    } catch (error) {
      if (signal.aborted) throw signal.reason as GatewayError // by contract, above
      if (deadline.aborted) throw new GatewayError('SOURCE_TIMEOUT', 'a foreign service did not answer in time', { cause: error })
      throw error instanceof GatewayError ? error : unavailable('a foreign service could not be reached', error)
    } finally {
      this.underWay -= 1
    }
  }

  close(): void {
    this.agent.destroy()
  }

  private async exchange(body: Buffer, signal: AbortSignal): Promise<string> {
    for (let isRetry = false; ; isRetry = true) {
      let isStale = false
      try {
        return await this.answer(await this.ask(body, signal, () => (isStale = true)))
      } catch (error) {
        // A connection that was kept may have been closed by the service at the moment we took it; it has read nothing then.
        if (!isStale || isRetry || signal.aborted) throw error
      }
    }
  }

  private ask(body: Buffer, signal: AbortSignal, onStale: () => void): Promise<IncomingMessage> {
    const { authorization } = this.options
    const options: RequestOptions = {
      method: 'POST',
      agent: this.agent,
      signal,
      headers: {
        accept: 'application/graphql-response+json, application/json;q=0.9',
        'accept-encoding': 'identity',
        'content-type': 'application/json',
        'content-length': body.byteLength,
        ...(authorization !== null && { authorization }),
      },
    }
    return new Promise((resolve, reject) => {
      const request = this.request(this.url, options)
      let isAnswered = false
      request.once('response', (response) => {
        isAnswered = true
        resolve(response)
      })
      request.on('error', (error: NodeJS.ErrnoException) => {
        if (!isAnswered && request.reusedSocket && error.code === 'ECONNRESET') onStale()
        reject(error)
      })
      request.end(body)
    })
  }

  private async answer(response: IncomingMessage): Promise<string> {
    try {
      const { statusCode, headers } = response
      if (statusCode !== 200) throw unavailable(`a foreign service answered with status ${statusCode ?? 'none'}`)
      const [media = ''] = (headers['content-type'] ?? '').split(';')
      if (!MEDIA_TYPES.includes(media.trim().toLowerCase())) throw unavailable('a foreign service answered with another media type')
      if ((headers['content-encoding'] ?? 'identity') !== 'identity') throw unavailable('a foreign service compressed its answer unasked')
      return await boundedText(response, this.options.limits.responseBytes)
    } catch (error) {
      response.destroy()
      throw error
    }
  }
}

const MEDIA_TYPES: readonly string[] = ['application/json', 'application/graphql-response+json']

async function boundedText(response: IncomingMessage, bytesMax: number): Promise<string> {
  const tooLarge = (): GatewayError => unavailable(`a foreign service answered with more than ${bytesMax} bytes`)
  if (Number(response.headers['content-length'] ?? 0) > bytesMax) throw tooLarge()
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength
    if (bytes > bytesMax) throw tooLarge()
    chunks.push(chunk)
  }
  if (!response.complete) throw unavailable('the answer of a foreign service was cut')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
  } catch (error) {
    throw unavailable('a foreign service answered with what is not UTF-8', error)
  }
}

function unavailable(detail: string, cause?: unknown): GatewayError {
  return new GatewayError('SOURCE_UNAVAILABLE', detail, cause === undefined ? {} : { cause })
}
