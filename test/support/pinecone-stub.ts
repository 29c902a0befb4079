/**
 * A stub of Pinecone, which is a service and cannot be had: its HTTP interface as the public description of version 2026-04 has it, over records in memory. One server is
 * the control plane, and each index has a server of its own. What the description leaves open is a choice of who makes an index (`onMissing`, `finds`), so that a suite
 * can hold against either. It looks at every record where the service walks an index, and what was written is there at once.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

export type Metadata = Readonly<Record<string, string | number | boolean | readonly string[]>>

export interface StubRecord {
  readonly id: string
  readonly values: readonly number[]
  readonly metadata?: Metadata
}

export interface StubIndexOptions {
  readonly name: string
  readonly dimension: number
  readonly metric: 'cosine' | 'euclidean' | 'dotproduct'
  /** What `$ne` and `$nin` say of a record without the field. */
  readonly onMissing?: 'matches' | 'fails'
  /** Records that a walk over the index comes upon. */
  readonly finds?: (id: string) => boolean
  /** Names of metadata that are filtered by; absent: all. */
  readonly filterable?: readonly string[]
}

export interface StubRequest {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly body: unknown
}

/** In place of an answer: another one, or none at all. */
export type Fault = { readonly status: number; readonly body: string | Buffer; readonly headers?: Readonly<Record<string, string>> } | 'silence' | 'reset'

class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: number,
    message: string,
  ) {
    super(message)
  }
}

/** Codes of gRPC, which the data plane has in its errors. */
const [INVALID_ARGUMENT, NOT_FOUND, UNAUTHENTICATED] = [3, 5, 16]
const [IDS_MAX, LIST_MAX, TOP_K_MAX, ITEMS_MAX, ADDRESS_MAX, METADATA_MAX] = [1_000, 100, 10_000, 10_000, 8_192, 40_960]

export class PineconeStub {
  readonly apiKey = 'pcsk_stub-key'
  /** All that was asked, in its order. */
  readonly requests: StubRequest[] = []
  /** Asked before each answer; null: as it should be. */
  fault: (request: StubRequest) => Fault | null = () => null
  private readonly indexes = new Map<string, StubIndex>()
  private readonly servers: Server[] = []
  private control = ''

  static async start(): Promise<PineconeStub> {
    const stub = new PineconeStub()
    stub.control = await stub.serve((request) => stub.answerControl(request))
    return stub
  }

  /** As a store's `url` has it. */
  get url(): string {
    return `http://:${this.apiKey}@${this.control}`
  }

  async createIndex(options: StubIndexOptions): Promise<StubIndex> {
    const index = new StubIndex(options)
    index.host = await this.serve((request) => index.answer(request))
    this.indexes.set(options.name, index)
    return index
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.servers.map(async (server) => {
        server.closeAllConnections()
        server.close()
        await once(server, 'close')
      }),
    )
  }

  private answerControl({ method, path }: StubRequest): unknown {
    const name = /^\/indexes\/([^/]+)$/.exec(path)?.[1]
    const index = name === undefined || method !== 'GET' ? undefined : this.indexes.get(decodeURIComponent(name))
    if (!index) throw new Refusal(404, NOT_FOUND, `Resource ${name ?? path} not found`)
    return index.model()
  }

  private async serve(answer: (request: StubRequest) => unknown): Promise<string> {
    const server = createServer((incoming, response) => void this.respond(incoming, response, answer))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    this.servers.push(server)
    const at = server.address()
    if (at === null || typeof at === 'string') throw new Error('a server listens on a port')
    return `127.0.0.1:${at.port}`
  }

  private async respond(incoming: IncomingMessage, response: ServerResponse, answer: (request: StubRequest) => unknown): Promise<void> {
    const { pathname, searchParams } = new URL(incoming.url ?? '', 'http://stub')
    const text = await textOf(incoming)
    const request = { method: incoming.method ?? '', path: pathname, query: searchParams, headers: incoming.headers, body: text === '' ? null : jsonOf(text) }
    this.requests.push(request)
    const fault = this.fault(request)
    if (fault === 'silence') return
    if (fault === 'reset') return void response.destroy()
    if (fault) return void response.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers }).end(fault.body)
    const isControl = pathname.startsWith('/indexes')
    try {
      if (incoming.headers['api-key'] !== this.apiKey) throw new Refusal(401, UNAUTHENTICATED, 'Invalid API Key')
      if (!/^\d{4}-\d\d$/.test(String(incoming.headers['x-pinecone-api-version']))) throw invalid('X-Pinecone-Api-Version is required')
      if ((incoming.url ?? '').length > ADDRESS_MAX) throw new Refusal(414, INVALID_ARGUMENT, 'URI Too Long')
      send(response, 200, answer(request))
    } catch (error) {
      const { status, code, message } = error instanceof Refusal ? error : new Refusal(500, 13, String(error))
      send(
        response,
        status,
        isControl ? { status, error: { code: status === 404 ? 'NOT_FOUND' : 'UNAUTHENTICATED', message } } : { code, message, details: [] },
      )
    }
  }
}

export class StubIndex {
  host = ''
  private readonly namespaces = new Map<string, Map<string, StubRecord>>()

  constructor(readonly options: StubIndexOptions) {}

  /** As `upsert` takes them. */
  upsert(namespace: string, records: readonly StubRecord[]): void {
    for (const record of records) this.check(record)
    const held = this.held(namespace)
    for (const record of records) held.set(record.id, { ...record, values: record.values.map(Math.fround) })
  }

  delete(namespace: string, ids: readonly string[]): void {
    for (const id of ids) this.held(namespace).delete(id)
  }

  model(): unknown {
    const { name, dimension, metric, filterable } = this.options
    const schema = filterable && { schema: { fields: Object.fromEntries(filterable.map((field) => [field, { filterable: true }])) } }
    const spec = { serverless: { cloud: 'aws', region: 'us-east-1', ...schema } }
    return { name, dimension, metric, host: this.host, spec, status: { ready: true, state: 'Ready' }, vector_type: 'dense', deletion_protection: 'disabled' }
  }

  answer({ method, path, query, body }: StubRequest): unknown {
    switch (`${method} ${path}`) {
      case 'POST /describe_index_stats':
        return this.stats()
      case 'POST /vectors/upsert': {
        const { vectors, namespace } = objectOf(body)
        if (!Array.isArray(vectors)) throw invalid('vectors are required')
        this.upsert(nameOf(namespace), vectors as StubRecord[])
        return { upsertedCount: vectors.length }
      }
      case 'GET /vectors/fetch':
        return this.fetch(query)
      case 'GET /vectors/list':
        return this.list(query)
      case 'POST /vectors/fetch_by_metadata':
        return this.fetchByMetadata(objectOf(body))
      case 'POST /query':
        return this.query(objectOf(body))
      default:
        throw new Refusal(404, NOT_FOUND, 'Not Found')
    }
  }

  private stats(): unknown {
    const { dimension, metric } = this.options
    const counts = [...this.namespaces].map(([name, records]) => [name, { vectorCount: records.size }] as const)
    const totalVectorCount = counts.reduce((total, [, { vectorCount }]) => total + vectorCount, 0)
    return { namespaces: Object.fromEntries(counts), dimension, indexFullness: 0, totalVectorCount, metric, vectorType: 'dense' }
  }

  private fetch(query: URLSearchParams): unknown {
    const ids = query.getAll('ids')
    if (ids.length === 0 || ids.length > IDS_MAX) throw invalid('ids are required, 1000 at most')
    const namespace = nameOf(query.get('namespace'))
    const found = ids.flatMap((id) => this.held(namespace).get(id) ?? [])
    return { vectors: Object.fromEntries(found.map((record) => [record.id, record])), namespace, usage: { readUnits: 1 } }
  }

  private list(query: URLSearchParams): unknown {
    const limit = Number(query.get('limit') ?? LIST_MAX)
    if (!Number.isInteger(limit) || limit < 1 || limit > LIST_MAX) throw invalid('limit must be between 1 and 100')
    const namespace = nameOf(query.get('namespace'))
    const past = tokenOf(query.get('paginationToken'))
    const ids = [...this.held(namespace).keys()]
      .filter((id) => id.startsWith(query.get('prefix') ?? ''))
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    const left = past === null ? ids : ids.slice(ids.findIndex((id) => id === past) + 1)
    const given = left.slice(0, limit)
    return { vectors: given.map((id) => ({ id })), namespace, usage: { readUnits: 1 }, ...paginated(left.length > limit ? given.at(-1) : undefined) }
  }

  /** In an order of its own. */
  private fetchByMetadata({ filter, namespace: name, limit = 100, paginationToken }: Readonly<Record<string, unknown>>): unknown {
    if (typeof limit !== 'number' || !Number.isInteger(limit) || limit < 1) throw invalid('limit must be at least 1')
    const namespace = nameOf(name)
    const fits = this.filterOf(objectOf(filter))
    const found = [...this.held(namespace).values()].reverse().filter(({ metadata = {} }) => fits(metadata))
    const past = tokenOf(paginationToken)
    const left = past === null ? found : found.slice(found.findIndex(({ id }) => id === past) + 1)
    const given = left.slice(0, limit)
    const vectors = Object.fromEntries(given.map((record) => [record.id, record]))
    return { vectors, namespace, usage: { readUnits: 1 }, ...paginated(left.length > limit ? given.at(-1)?.id : undefined) }
  }

  private query({ topK, vector, filter, namespace: name, includeValues, includeMetadata }: Readonly<Record<string, unknown>>): unknown {
    if (typeof topK !== 'number' || !Number.isInteger(topK) || topK < 1 || topK > TOP_K_MAX) throw invalid('topK must be between 1 and 10000')
    const { dimension, metric, finds = () => true } = this.options
    if (!Array.isArray(vector) || vector.length !== dimension || !vector.every((element) => typeof element === 'number'))
      throw invalid(`Vector dimension ${Array.isArray(vector) ? vector.length : 0} does not match the dimension of the index ${dimension}`)
    const namespace = nameOf(name)
    const fits = filter === undefined ? () => true : this.filterOf(objectOf(filter))
    const target = vector.map(Number).map(Math.fround)
    const candidates = [...this.held(namespace).values()].filter(({ id, metadata = {} }) => finds(id) && fits(metadata))
    const scored = candidates.map((record) => ({ record, score: SCORES[metric](record.values, target) }))
    scored.sort((a, b) => (metric === 'euclidean' ? a.score - b.score : b.score - a.score))
    const matches = scored.slice(0, topK).map(({ record, score }) => ({
      id: record.id,
      score,
      values: includeValues === true ? record.values : [],
      ...(includeMetadata === true && { metadata: record.metadata ?? {} }),
    }))
    return { results: [], matches, namespace, usage: { readUnits: 1 } }
  }

  private held(namespace: string): Map<string, StubRecord> {
    const held = this.namespaces.get(namespace) ?? new Map<string, StubRecord>()
    this.namespaces.set(namespace, held)
    return held
  }

  private check({ id, values, metadata = {} }: StubRecord): void {
    if (!/^[\x01-\x7f]{1,512}$/.test(id)) throw invalid(`Vector ID must be ASCII, but got '${id}'`)
    if (values.length !== this.options.dimension) throw invalid(`Vector dimension ${values.length} does not match the dimension of the index`)
    if (!values.every((value) => Number.isFinite(value))) throw invalid('values must be numbers')
    if (values.every((value) => value === 0)) throw invalid('Dense vectors must contain at least one non-zero value')
    if (Buffer.byteLength(JSON.stringify(metadata)) > METADATA_MAX) throw invalid('Metadata size exceeds the limit of 40960 bytes per vector')
    for (const [name, value] of Object.entries(metadata)) {
      const isScalar = typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))
      if (name.startsWith('$')) throw invalid(`Metadata key cannot start with $: ${name}`)
      if (!isScalar && !(Array.isArray(value) && value.every((item) => typeof item === 'string')))
        throw invalid(`Metadata value must be a string, number, boolean or list of strings: ${name}`)
    }
  }

  // --- filters -------------------------------------------------------------------------------------------------------------------------------------------------

  private filterOf(filter: Readonly<Record<string, unknown>>): (metadata: Metadata) => boolean {
    const terms = Object.entries(filter).map(([name, term]) => {
      if (name === '$and' || name === '$or') {
        if (!Array.isArray(term) || term.length === 0) throw invalid(`${name} must be a list that is not empty`)
        const inner = term.map((each) => this.filterOf(objectOf(each)))
        return (metadata: Metadata) => (name === '$and' ? inner.every((fits) => fits(metadata)) : inner.some((fits) => fits(metadata)))
      }
      if (name.startsWith('$')) throw invalid(`${name} is not a valid operator`)
      const { filterable } = this.options
      if (filterable && !filterable.includes(name)) throw invalid(`${name} is not filterable`)
      return this.fieldFilterOf(name, term)
    })
    if (terms.length === 0) throw invalid('filter must not be empty')
    return (metadata) => terms.every((fits) => fits(metadata))
  }

  private fieldFilterOf(name: string, term: unknown): (metadata: Metadata) => boolean {
    // A value alone means that it is equal.
    const operators = typeof term === 'object' && term !== null ? Object.entries(objectOf(term)) : [['$eq', term] as const]
    if (operators.length === 0) throw invalid('a condition must not be empty')
    const tests = operators.map(([operator, operand]) => testOf(operator, operand, this.options.onMissing ?? 'matches'))
    return (metadata) => tests.every((fits) => fits(Object.hasOwn(metadata, name) ? metadata[name] : undefined))
  }
}

type Stored = Metadata[string] | undefined

function testOf(operator: string, operand: unknown, onMissing: 'matches' | 'fails'): (stored: Stored) => boolean {
  switch (operator) {
    case '$eq':
    case '$ne': {
      if (!isScalar(operand)) throw invalid(`${operator} takes a string, a number or a boolean`)
      if (operator === '$eq') return (stored) => holds(stored, operand)
      return (stored) => (stored === undefined ? onMissing === 'matches' : !holds(stored, operand))
    }
    case '$gt':
    case '$gte':
    case '$lt':
    case '$lte': {
      if (typeof operand !== 'number') throw invalid(`${operator} takes a number`)
      return (stored) => typeof stored === 'number' && ORDERS[operator](stored, operand)
    }
    case '$in':
    case '$nin': {
      if (!Array.isArray(operand) || operand.length > ITEMS_MAX || !operand.every((item) => typeof item === 'string' || typeof item === 'number'))
        throw invalid(`${operator} takes a list of strings or numbers, 10000 at most`)
      const isIn = (stored: Stored): boolean => operand.some((item: string | number) => holds(stored, item))
      return operator === '$in' ? isIn : (stored) => (stored === undefined ? onMissing === 'matches' : !isIn(stored))
    }
    case '$exists': {
      if (typeof operand !== 'boolean') throw invalid('$exists takes a boolean')
      return (stored) => (stored !== undefined) === operand
    }
    default:
      throw invalid(`${operator} is not a valid operator`)
  }
}

const ORDERS = {
  $gt: (a: number, b: number) => a > b,
  $gte: (a: number, b: number) => a >= b,
  $lt: (a: number, b: number) => a < b,
  $lte: (a: number, b: number) => a <= b,
} as const

/** A list takes on all of its values. */
function holds(stored: Stored, value: string | number | boolean): boolean {
  return Array.isArray(stored) ? stored.includes(value as string) : stored === value
}

function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number'
}

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, index) => sum + x * (b[index] ?? 0), 0)

/** Of `euclidean` the square of the distance. */
const SCORES: Readonly<Record<StubIndexOptions['metric'], (a: readonly number[], b: readonly number[]) => number>> = {
  cosine: (a, b) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)),
  dotproduct: dot,
  euclidean: (a, b) => a.reduce((sum, x, index) => sum + (x - (b[index] ?? 0)) ** 2, 0),
}

// --- messages ----------------------------------------------------------------------------------------------------------------------------------------------------

function invalid(message: string): Refusal {
  return new Refusal(400, INVALID_ARGUMENT, message)
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('an object is required')
  return value as Readonly<Record<string, unknown>> // checked just now
}

function nameOf(namespace: unknown): string {
  return typeof namespace === 'string' && namespace !== '' ? namespace : '__default__'
}

function tokenOf(token: unknown): string | null {
  if (token === null || token === undefined) return null
  const text = jsonOf(Buffer.from(typeof token === 'string' ? token : '', 'base64').toString())
  const { skip_past: past } = objectOf(text)
  if (typeof past !== 'string') throw invalid('Pagination token is not valid')
  return past
}

function paginated(past: string | undefined): { readonly pagination?: { readonly next: string } } {
  return past === undefined ? {} : { pagination: { next: Buffer.from(JSON.stringify({ skip_past: past })).toString('base64') } }
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
