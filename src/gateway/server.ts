/** HTTP: what comes in, bounded and checked, becomes a GatewayRequest; what the gateway answers goes out. Nothing here knows who asks. */
import { isUtf8 } from 'node:buffer'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Abort, type Signal } from '../abort.js'
import type { Bytes } from '../connectors/texts.js'
import { CODES, GatewayError, type Code } from '../errors.js'
import type { Observe } from '../observe.js'
import type { Explorer } from './explorer.js'
import { acceptsHtml, isJson, MEDIA_TYPES, negotiate, type ResponseMedia } from './media.js'
import { lengthOf, piecesOf } from './pieces.js'
import { Received } from './received.js'
import { type GatewayRequest, type GatewayResponse, isStream } from './request.js'

export type Answer = (request: GatewayRequest) => Promise<GatewayResponse>

/** A principal of the demo, with a token that anybody on this machine may use. */
export interface DemoPrincipal {
  readonly name: string
  readonly organization: string
  readonly roles: readonly string[]
  readonly purposes: readonly string[]
  readonly token: string
}

export interface ServerParts {
  readonly answer: Answer
  readonly listen: { readonly host: string; readonly port: number }
  /** What clients call, without a path; null: the address that is listened on. */
  readonly url: string | null
  readonly limits: { readonly bodyBytes: number; readonly receiveMs: number; readonly nesting: number; readonly concurrent: number; readonly stallMs: number }
  /** How long requests under way may take to end once the process is told to stop. */
  readonly drainMs: number
  /** Whether requests can be answered now. */
  readonly ready: () => boolean
  readonly requestId: () => string
  readonly observe: Observe
  /** Null: there is no explorer. */
  readonly explorer: Explorer | null
  /** Null: this is no demo. */
  readonly demo: readonly DemoPrincipal[] | null
}

export interface RunningServer {
  /** Without a path. */
  readonly url: string
  /** Refuses what comes from now on, and ends once nothing is under way or the time for it is over. A second call ends at once. */
  stop(): Promise<void>
}

/** @throws Error with the code of Node (`EADDRINUSE`, `EACCES`) when the address cannot be listened on. */
export async function startServer(parts: ServerParts): Promise<RunningServer> {
  const traffic = new Traffic(parts)
  const server = createServer(
    {
      IncomingMessage: Received,
      requestTimeout: parts.limits.receiveMs,
      headersTimeout: parts.limits.receiveMs,
      connectionsCheckingInterval: Math.min(1_000, parts.limits.receiveMs),
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: HEADER_BYTES,
      requireHostHeader: true,
      insecureHTTPParser: false,
      noDelay: true,
    },
    (request, response) => {
      traffic.handle(request, response)
    },
  )
  server.maxConnections = parts.limits.concurrent * CONNECTIONS_PER_REQUEST
  await listen(server, parts.listen)
  const { port } = server.address() as AddressInfo // A server that listens on a port has such an address.
  const { host } = parts.listen
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`
  traffic.origin = parts.url ?? url
  parts.observe({ kind: 'listening', url })
  return { url, stop: () => traffic.stop(server) }
}

const KEEP_ALIVE_MS = 60_000
const HEADER_BYTES = 16 * 1024
/** Connections that are kept open without a request count too. */
const CONNECTIONS_PER_REQUEST = 8

function listen(server: Server, { host, port }: ServerParts['listen']): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** One request on its way through the server. */
interface Exchange {
  readonly id: string
  readonly startedMs: number
  readonly request: Received
  readonly response: ServerResponse
  readonly path: string
  /** With the question mark, or empty. */
  readonly search: string
}

const ignored = (): void => undefined

class Traffic {
  origin = ''
  #underWay = 0
  #draining = false
  #drained: () => void = () => undefined
  #cut: () => void = () => undefined

  constructor(private readonly parts: ServerParts) {}

  handle(request: Received, response: ServerResponse): void {
    const target = request.url ?? '/'
    const at = target.indexOf('?')
    const exchange = {
      id: this.parts.requestId(),
      startedMs: performance.now(),
      request,
      response,
      path: at < 0 ? target : target.slice(0, at),
      search: at < 0 ? '' : target.slice(at),
    }
    // A broken connection is seen when the response closes; without a listener its error would end the process.
    response.on('error', ignored)
    if (exchange.path === '/graphql' || exchange.path === '/explain') void this.#operation(exchange)
    else this.#page(exchange)
  }

  stop(server: Server): Promise<void> {
    if (this.#draining) {
      this.#cut()
      return new Promise((resolve) => server.close(() => resolve()))
    }
    this.#draining = true
    this.parts.observe({ kind: 'draining', underWay: this.#underWay, drainMs: this.parts.drainMs })
    const ended = new Promise<void>((resolve) => {
      this.#cut = resolve
      this.#drained = resolve
      if (this.#underWay === 0) resolve()
    })
    const late = setTimeout(() => this.#cut(), this.parts.drainMs)
    return ended.then(
      () =>
        new Promise<void>((resolve) => {
          clearTimeout(late)
          this.parts.observe({ kind: 'stopped', cut: this.#underWay })
          server.close(() => resolve())
          server.closeAllConnections()
        }),
    )
  }

  async #operation(exchange: Exchange): Promise<void> {
    const { request, response } = exchange
    const media = negotiate(request.headers.accept)
    if (this.#draining || this.#underWay >= this.parts.limits.concurrent) {
      const headers = { ...HEADERS.OVERLOADED, ...(this.#draining && { connection: 'close' }) }
      this.#refuse(exchange, new GatewayError('OVERLOADED', 'too many requests are under way, or the process is stopping'), { media, headers })
      return
    }
    this.#underWay += 1
    const gone = new Abort()
    response.once('close', () => {
      if (!response.writableFinished) gone.abort(new GatewayError('CANCELLED', 'the client went away'))
      this.#underWay -= 1
      if (this.#draining && this.#underWay === 0) this.#drained()
    })
    try {
      const { nesting } = this.parts.limits
      const accept = acceptable(exchange, media)
      const sent = request.method === 'POST' ? parsedJson(await this.#body(request), nesting) : parametersOf(exchange.search, nesting)
      this.#send(exchange, await this.parts.answer(this.#requestOf(exchange, { accept, sent, signal: gone })))
    } catch (error) {
      if (error instanceof HttpRefusal) this.#refuse(exchange, error.reason, { media, headers: error.headers, status: error.status })
      else this.#fail(exchange, error, media)
    }
  }

  /** @throws GatewayError BAD_REQUEST */
  #requestOf({ id, startedMs, request, path }: Exchange, { accept, sent, signal }: Understood): GatewayRequest {
    const { headers } = request
    const method = request.method === 'POST' ? 'POST' : 'GET'
    const { document, operationName, variables } = operationOf(sent)
    return {
      id,
      startedMs,
      authorization: headers.authorization ?? null,
      proof: { dpop: single(headers.dpop), method, url: this.origin + path },
      purpose: single(headers['x-purpose']),
      method,
      document,
      operationName,
      variables,
      accept,
      explain: path === '/explain',
      connection: request.socket,
      signal,
    }
  }

  /** @throws HttpRefusal; GatewayError PAYLOAD_TOO_LARGE, CANCELLED */
  #body(request: Received): Promise<Buffer> {
    if (!isJson(request.headers['content-type'])) throw new HttpRefusal(415, { accept: 'application/json' }, 'the body is not JSON in UTF-8')
    const encoding = request.headers['content-encoding'] ?? 'identity'
    if (encoding !== 'identity') throw new HttpRefusal(415, { 'accept-encoding': 'identity' }, 'the body is compressed')
    return request.body(this.parts.limits.bodyBytes)
  }

  #page(exchange: Exchange): void {
    const { path, request } = exchange
    const page = this.#pageAt(path, request)
    if (page === null) {
      this.#refuse(exchange, new GatewayError('BAD_REQUEST', 'there is nothing at this address'), { media: 'json', headers: {}, status: 404 })
      return
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      this.#refuse(exchange, new GatewayError('BAD_REQUEST', 'this method is not allowed here'), {
        media: 'json',
        headers: { allow: 'GET, HEAD' },
        status: 405,
      })
      return
    }
    this.#send(exchange, page)
  }

  #pageAt(path: string, request: Received): GatewayResponse | null {
    const { explorer, demo, ready } = this.parts
    if (path === '/healthz') return { status: 200, headers: PLAIN, body: piecesOf('ok\n') }
    if (path === '/readyz')
      return ready() && !this.#draining
        ? { status: 200, headers: PLAIN, body: piecesOf('ready\n') }
        : { status: 503, headers: PLAIN, body: piecesOf('not ready\n') }
    if (path === '/demo/principals' && demo !== null && isLocal(request))
      return { status: 200, headers: { 'content-type': MEDIA_TYPES.json }, body: piecesOf(JSON.stringify(demo)) }
    if (explorer === null) return null
    if (path === '/') return acceptsHtml(request.headers.accept) ? explorer.page() : null
    return path.startsWith('/explorer/') ? explorer.asset(path.slice('/explorer/'.length)) : null
  }

  #fail(exchange: Exchange, error: unknown, media: ResponseMedia | null): void {
    const refusal = error instanceof GatewayError ? error : new GatewayError('INTERNAL', 'unexpected', { cause: error })
    if (refusal.code === 'INTERNAL') this.parts.observe({ kind: 'failed', requestId: exchange.id, cause: error })
    this.#refuse(exchange, refusal, { media, headers: HEADERS[refusal.code] ?? {} })
  }

  #refuse(exchange: Exchange, { code, message }: GatewayError, { media, headers, status }: Refusal): void {
    const body = piecesOf(JSON.stringify({ errors: [{ message, extensions: { code } }], extensions: { requestId: exchange.id } }))
    this.#send(exchange, { status: status ?? CODES[code].status, headers: { 'content-type': MEDIA_TYPES[media ?? 'json'], ...headers }, body, code })
  }

  #send(exchange: Exchange, { status, headers, body, cut, code = null }: GatewayResponse): void {
    if (isStream(body)) {
      void this.#stream(exchange, { status, headers, body, ...(cut && { cut }) })
      return
    }
    const { id, request, response } = exchange
    if (response.destroyed) return this.#abandoned(exchange)
    const bytes = lengthOf(body)
    response.writeHead(status, headersOf(id, headers, bytes))
    if (request.method === 'HEAD') response.end()
    else write(response, body)
    this.#answered(exchange, { status, code, bytes })
  }

  /** Without a length: as it comes, no faster than it is read. A failure breaks the connection off, so that nobody takes a part for the whole. */
  async #stream(exchange: Exchange, { status, headers, body, cut }: StreamedResponse): Promise<void> {
    const { id, response } = exchange
    const { stallMs } = this.parts.limits
    let bytes = 0
    cut?.addEventListener('abort', () => response.socket?.resetAndDestroy())
    try {
      // It is begun in any case: what has been begun is ended, and recorded.
      for await (const pieces of body) {
        if (response.destroyed) break
        if (!response.headersSent) response.writeHead(status, headersOf(id, headers, null))
        response.cork()
        for (const piece of pieces) response.write(piece, 'latin1')
        response.uncork()
        bytes += lengthOf(pieces)
        if (response.writableNeedDrain) await drained(response, stallMs)
      }
      if (response.destroyed) return this.#abandoned(exchange)
      response.end()
      this.#answered(exchange, { status, code: null, bytes })
    } catch (error) {
      const code = error instanceof GatewayError ? error.code : 'INTERNAL'
      // What lies in the socket's queue does not leave either.
      if (response.headersSent) response.socket?.resetAndDestroy()
      else return this.#fail(exchange, error, headers['content-type'] === MEDIA_TYPES['graphql-response'] ? 'graphql-response' : 'json')
      this.#answered(exchange, { status, code, bytes })
    }
  }

  #abandoned({ id, startedMs, path }: Exchange): void {
    this.parts.observe({ kind: 'abandoned', requestId: id, route: routeOf(path), durationMs: sinceMs(startedMs) })
  }

  #answered({ id, startedMs, request, path }: Exchange, how: { readonly status: number; readonly code: Code | null; readonly bytes: number }): void {
    if (!request.complete) request.discard(this.parts.limits.bodyBytes)
    const { status, code, bytes } = how
    this.parts.observe({ kind: 'answered', requestId: id, route: routeOf(path), status, code, bytes, durationMs: sinceMs(startedMs) })
  }
}

function routeOf(path: string): string {
  return ROUTES.has(path) ? path : path.startsWith('/explorer/') ? '/explorer' : 'other'
}

/** Milliseconds, with microseconds. */
function sinceMs(startedMs: number): number {
  return Math.round((performance.now() - startedMs) * 1000) / 1000
}

/** @throws HttpRefusal */
function acceptable({ request: { method }, path }: Exchange, media: ResponseMedia | null): ResponseMedia {
  const explain = path === '/explain'
  if (method !== 'POST' && (method !== 'GET' || explain))
    throw new HttpRefusal(405, { allow: explain ? 'POST' : 'GET, POST' }, 'this method is not allowed here')
  if (media === null) throw new HttpRefusal(406, {}, 'the client accepts no media type of an answer')
  return media
}

/** What a request says besides its headers. */
interface Understood {
  readonly accept: ResponseMedia
  /** The JSON of the body, or the parameters of the address. */
  readonly sent: unknown
  readonly signal: Signal
}

/** Resolves when the client has taken what was written, or is gone; one that takes nothing for too long is cut off. */
function drained(response: ServerResponse, stallMs: number): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer)
      response.off('drain', over)
      response.off('close', over)
      resolve()
    }
    const timer = setTimeout(() => response.destroy(), stallMs)
    response.once('drain', over)
    response.once('close', over)
  })
}

interface StreamedResponse extends Pick<GatewayResponse, 'status' | 'headers' | 'cut'> {
  readonly body: AsyncIterable<readonly Bytes[]>
}

interface Refusal {
  readonly media: ResponseMedia | null
  readonly headers: Readonly<Record<string, string>>
  readonly status?: number
}

/** A BAD_REQUEST for which HTTP has a status of its own. */
class HttpRefusal extends Error {
  readonly reason: GatewayError
  constructor(
    readonly status: number,
    readonly headers: Readonly<Record<string, string>>,
    detail: string,
  ) {
    super(detail)
    this.reason = new GatewayError('BAD_REQUEST', detail)
  }
}

const HEADERS: Readonly<Partial<Record<Code, Readonly<Record<string, string>>>>> = {
  OVERLOADED: { 'retry-after': '1' },
  TOO_MANY_REQUESTS: { 'retry-after': '1' },
  UNAUTHENTICATED: { 'www-authenticate': 'Bearer' },
}

const ROUTES: ReadonlySet<string> = new Set(['/graphql', '/explain', '/healthz', '/readyz', '/', '/demo/principals'])

/** Answers belong to one caller, are what their type says, and are in no frame. A page says more for itself. */
const SAFE: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}
const PLAIN: Readonly<Record<string, string>> = { 'content-type': 'text/plain; charset=utf-8' }

/** Bytes as they are; a Buffer takes no notice of the encoding. Several pieces go to the socket together. */
function write(response: ServerResponse, body: readonly Bytes[]): void {
  const [only] = body
  if (body.length === 1 && only !== undefined) {
    response.end(only, 'latin1')
    return
  }
  response.cork()
  for (const piece of body) response.write(piece, 'latin1')
  response.end()
  response.uncork()
}

const SAFE_PAIRS: readonly string[] = Object.entries(SAFE).flat()

/** Names and values in turn, which is the form that Node.js writes without looking at them again. Those of a page stand in for the usual ones. */
function headersOf(id: string, own: GatewayResponse['headers'], bytes: number | null): string[] {
  const names = Object.keys(own)
  const replaced = names.some((name) => Object.hasOwn(SAFE, name))
  const pairs = replaced ? Object.entries(SAFE).flatMap(([name, value]) => (Object.hasOwn(own, name) ? [] : [name, value])) : [...SAFE_PAIRS]
  pairs.push('x-request-id', id)
  for (const name of names) pairs.push(name, own[name] ?? '')
  if (bytes !== null) pairs.push('content-length', String(bytes))
  return pairs
}

/**
 * The demo's tokens are for pages of this very server: a name that somebody else's DNS gives to this machine is not accepted, nor a request that a page from
 * elsewhere makes.
 */
function isLocal({ headers }: IncomingMessage): boolean {
  const name = (headers.host ?? '').replace(/:\d+$/, '')
  const site = headers['sec-fetch-site'] ?? 'none'
  return ['127.0.0.1', 'localhost', '[::1]'].includes(name) && (site === 'none' || site === 'same-origin')
}

function single(header: string | string[] | undefined): string | null {
  return typeof header === 'string' ? header : null
}

/** @throws GatewayError BAD_REQUEST */
function parsedJson(body: Buffer, nesting: number): unknown {
  if (!isUtf8(body)) throw new GatewayError('BAD_REQUEST', 'the body is not UTF-8')
  if (isNestedDeeper(body, nesting)) throw new GatewayError('BAD_REQUEST', `the JSON has more than ${nesting} brackets within each other`)
  try {
    return JSON.parse(body.utf8Slice())
  } catch {
    // The error of JSON.parse quotes its input.
    throw new GatewayError('BAD_REQUEST', 'the body is not JSON')
  }
}

/** Brackets within each other, before anything recursive reads them. Most requests have too few to be counted by depth. */
function isNestedDeeper(json: Buffer, nesting: number): boolean {
  return hasMore(json, nesting) && nestingOf(json) > nesting
}

function hasMore(json: Buffer, brackets: number): boolean {
  let count = 0
  for (const bracket of [BRACE_OPEN, BRACKET_OPEN])
    for (let at = json.indexOf(bracket); at >= 0; at = json.indexOf(bracket, at + 1)) if ((count += 1) > brackets) return true
  return false
}

function nestingOf(json: Buffer): number {
  let [depth, most, quoted] = [0, 0, false]
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at]
    if (quoted) {
      if (byte === BACKSLASH) at += 1
      else if (byte === QUOTE) quoted = false
    } else if (byte === QUOTE) quoted = true
    else if (byte === BRACE_OPEN || byte === BRACKET_OPEN) most = Math.max(most, (depth += 1))
    else if (byte === BRACE_CLOSE || byte === BRACKET_CLOSE) depth -= 1
  }
  return most
}

const [QUOTE, BACKSLASH, BRACE_OPEN, BRACE_CLOSE, BRACKET_OPEN, BRACKET_CLOSE] = [0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d]

/** @throws GatewayError BAD_REQUEST */
function parametersOf(search: string, nesting: number): unknown {
  const parameters = new URLSearchParams(search)
  const found = ['query', 'operationName', 'variables', 'extensions'].flatMap((name): [string, unknown][] => {
    const [value, ...rest] = parameters.getAll(name)
    if (value === undefined) return []
    if (rest.length > 0) throw new GatewayError('BAD_REQUEST', `the parameter \`${name}\` stands more than once`)
    return [[name, name === 'query' || name === 'operationName' ? value : parsedJson(Buffer.from(value), nesting)]]
  })
  return Object.fromEntries(found)
}

/** @throws GatewayError BAD_REQUEST */
function operationOf(sent: unknown): Pick<GatewayRequest, 'document' | 'operationName' | 'variables'> {
  if (!isObject(sent)) throw new GatewayError('BAD_REQUEST', Array.isArray(sent) ? 'batches are not accepted' : 'the request is not an object')
  const query = Object.hasOwn(sent, 'query') ? sent.query : null
  const operationName = Object.hasOwn(sent, 'operationName') ? sent.operationName : null
  const variables = Object.hasOwn(sent, 'variables') ? sent.variables : null
  const extensions = Object.hasOwn(sent, 'extensions') ? sent.extensions : null
  if (query !== null && typeof query !== 'string') throw new GatewayError('BAD_REQUEST', '`query` is not a text')
  if (operationName !== null && typeof operationName !== 'string') throw new GatewayError('BAD_REQUEST', '`operationName` is not a text')
  if (variables !== null && !isObject(variables)) throw new GatewayError('BAD_REQUEST', '`variables` is not an object')
  if (extensions !== null && !isObject(extensions)) throw new GatewayError('BAD_REQUEST', '`extensions` is not an object')
  return { document: query ?? null, operationName: operationName ?? null, variables: variables ?? null }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
