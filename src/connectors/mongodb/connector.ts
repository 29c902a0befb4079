/** MongoDB: one aggregation pipeline a plan, policy first, with every value as a literal. */
import { type AggregationCursor, type Document, MongoClient } from 'mongodb'
import type { Signal } from '../../abort.js'
import { GatewayError, invariant } from '../../errors.js'
import type { AuthorizedPlan } from '../../query/plan.js'
import { ALL, type Predicate } from '../../query/predicate.js'
import type { Answer, Capability, Chunk, Connector, ExecuteOptions, Statement } from '../connector.js'
import { documents, type ReadChunk } from '../documents.js'
import { endedBy, InTurn } from '../in-turn.js'
import { codedError } from './driver-error.js'
import { sortText } from './bson-text.js'
import { compilePipeline, type Pipeline } from './pipeline.js'
import { filled, printed } from './template.js'

export type MongoNative =
  | { readonly kind: 'empty'; readonly hasTotal: boolean }
  | { readonly kind: 'pipeline'; readonly organization: string; readonly caller: string; readonly pipeline: Pipeline }

export interface MongoOptions {
  readonly store: string
  /** With the name of the database. */
  readonly url: string
  readonly pool: { readonly max: number; readonly waitingMax: number; readonly connectMs: number; readonly idleMs: number }
}

/** The gateway gives up first, so that the caller reads the reason. */
const GRACE_MS = 250

export class MongoConnector implements Connector<MongoNative> {
  readonly capabilities: ReadonlySet<Capability> = new Set<Capability>([
    'filter',
    'filterText',
    'filterJson',
    'filterRelation',
    'order',
    'limit',
    'nested',
    'orderRelation',
    'cancel',
  ])
  private readonly client: MongoClient
  private readonly turns: InTurn

  constructor(private readonly options: MongoOptions) {
    this.turns = new InTurn(options.pool, codedError)
    const { url, pool } = options
    this.client = new MongoClient(url, {
      appName: 'concordat',
      maxPoolSize: pool.max,
      maxIdleTimeMS: pool.idleMs,
      connectTimeoutMS: pool.connectMs,
      serverSelectionTimeoutMS: pool.connectMs,
      readConcern: { level: 'majority' },
      retryReads: true,
    })
  }

  get store(): string {
    return this.options.store
  }

  /** @throws GatewayError FIELD_NOT_USABLE for what the capabilities do not claim. */
  compile(plan: AuthorizedPlan): { readonly native: MongoNative; readonly residual: Predicate } {
    const pipeline = compilePipeline(plan)
    const hasTotal = plan.plan.kind === 'list' && plan.plan.list.fields.some(({ kind }) => kind === 'totalCount')
    const native: MongoNative = pipeline ? { kind: 'pipeline', organization: plan.organization, caller: plan.caller, pipeline } : { kind: 'empty', hasTotal }
    return { native, residual: ALL }
  }

  /** Statements run one after the other, each over its own moment of the data. */
  async execute(statements: readonly Statement<MongoNative>[], caller: string, options: ExecuteOptions): Promise<readonly Answer[]> {
    for (const { native } of statements) invariant(native.kind === 'empty' || native.caller === caller, 'a plan runs for the caller that it was made for')
    const request: Request = { options, room: options.bufferBytes, isLeft: false }
    return this.turns.run(statements, options.signal, async (statement) => this.answer(statement, request))
  }

  describe(native: MongoNative): string {
    return native.kind === 'empty' ? '(an empty table)' : `${native.pipeline.collection} ${printed(native.pipeline.stages)}`
  }

  /** Whether the server answers. @throws GatewayError as `execute`. */
  async ping(signal: Signal): Promise<void> {
    try {
      await this.client.db().command({ ping: 1 }, { timeoutMS: this.options.pool.connectMs })
    } catch (error) {
      throw codedError(error, signal)
    }
  }

  async close(): Promise<void> {
    await this.client.close()
  }

  private async answer(statement: Statement<MongoNative>, request: Request): Promise<Answer> {
    if (statement.native.kind === 'empty') return { first: { count: 0, texts: [], keys: [], totalCount: statement.native.hasTotal ? 0 : null }, rest: null }
    const chunks = this.chunks(statement, statement.native, request)
    if (request.room <= 0) return { first: NOTHING, rest: chunks }
    const first = await chunks.next()
    invariant(!first.done, 'an answer has a first chunk')
    request.room -= first.value.bytes
    if (first.value.isLast) {
      await chunks.return(undefined)
      return { first: first.value, rest: null }
    }
    request.room = 0
    return { first: first.value, rest: chunks }
  }

  /** Read no faster than they are taken. Who leaves early ends what comes after. */
  private async *chunks({ values }: Statement<MongoNative>, native: Extract<MongoNative, { kind: 'pipeline' }>, request: Request): AsyncGenerator<ReadChunk> {
    const { signal, bufferBytes, deadlineMs } = request.options
    const check = (): void => {
      if (signal.aborted) throw endedBy(signal)
      if (request.isLeft) throw new GatewayError('CANCELLED', 'the answers were left before their end')
    }
    check()
    const abort = new AbortController()
    const onAbort = (): void => abort.abort()
    signal.addEventListener('abort', onAbort, { once: true })
    const { pipeline, organization } = native
    const stages = filled(pipeline.stages, values) as Document[] // a list of stages stays one
    const cursor: AggregationCursor<Document> = this.client
      .db()
      .collection(pipeline.collection)
      .aggregate(stages, { maxTimeMS: deadlineMs + GRACE_MS, allowDiskUse: true, promoteValues: false, signal: abort.signal })
    let isDone = false
    try {
      for await (const chunk of documents(cursor, pipeline, { values, organization, sortText }, bufferBytes)) {
        isDone = chunk.isLast
        yield chunk
        if (!isDone) check()
      }
    } catch (error) {
      isDone = true
      throw codedError(error, signal)
    } finally {
      if (!isDone) request.isLeft = true
      signal.removeEventListener('abort', onAbort)
      await cursor.close().catch(() => undefined) // what it fails with has been told, or nobody waits for it
    }
  }
}

/** What the statements of one request share. */
interface Request {
  readonly options: ExecuteOptions
  /** Bytes that may still be read before the answers are handed over. */
  room: number
  isLeft: boolean
}

const NOTHING: Chunk = { count: 0, texts: [], keys: [], totalCount: null }
