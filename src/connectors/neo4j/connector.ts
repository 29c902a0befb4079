/** Neo4j: one Cypher statement a plan, policy within it, every value a parameter. */
import { randomUUID } from 'node:crypto'
import neo4j, { type Driver, type Session } from 'neo4j-driver'
import type { Signal } from '../../abort.js'
import { GatewayError, invariant } from '../../errors.js'
import type { AuthorizedPlan } from '../../query/plan.js'
import { ALL, type Predicate } from '../../query/predicate.js'
import type { Answer, Capability, Chunk, Connector, ExecuteOptions, Statement } from '../connector.js'
import { documents, type ReadChunk } from '../documents.js'
import { endedBy, InTurn } from '../in-turn.js'
import { filled, printed } from './cypher.js'
import { codedError } from './driver-error.js'
import { sortText } from './graph-value.js'
import { compileStatement, type GraphStatement } from './statement.js'

export type GraphNative =
  | { readonly kind: 'empty'; readonly hasTotal: boolean }
  | { readonly kind: 'statement'; readonly organization: string; readonly caller: string; readonly statement: GraphStatement }

export interface GraphOptions {
  readonly store: string
  /** `bolt` or `neo4j`, with `+s` for TLS; perhaps with the name of a database as its path. */
  readonly url: string
  readonly pool: { readonly max: number; readonly waitingMax: number; readonly connectMs: number; readonly idleMs: number }
}

/** The gateway gives up first, so that the caller reads the reason. */
const GRACE_MS = 250

export class Neo4jConnector implements Connector<GraphNative> {
  readonly capabilities: ReadonlySet<Capability> = new Set<Capability>([
    'filter',
    'filterText',
    'filterRelation',
    'order',
    'limit',
    'nested',
    'traverse',
    'orderRelation',
    'cancel',
  ])
  private readonly driver: Driver
  private readonly database: string | null
  private readonly turns: InTurn

  constructor(private readonly options: GraphOptions) {
    this.turns = new InTurn(options.pool, codedError)
    const { pool, url } = options
    const { protocol, host, username, password, pathname } = new URL(url)
    const [user, secret] = [decodeURIComponent(username), decodeURIComponent(password)]
    this.database = pathname.length > 1 ? decodeURIComponent(pathname.slice(1)) : null
    this.driver = neo4j.driver(`${protocol}//${host}`, user === '' ? undefined : neo4j.auth.basic(user, secret), {
      useBigInt: true,
      userAgent: 'concordat',
      // One more than there are statements, for those that end others.
      maxConnectionPoolSize: pool.max + 1,
      connectionAcquisitionTimeout: pool.connectMs,
      connectionTimeout: pool.connectMs,
      connectionLivenessCheckTimeout: pool.idleMs,
      telemetryDisabled: true,
    })
  }

  get store(): string {
    return this.options.store
  }

  /** @throws GatewayError FIELD_NOT_USABLE for what the capabilities do not claim. */
  compile(plan: AuthorizedPlan): { readonly native: GraphNative; readonly residual: Predicate } {
    const statement = compileStatement(plan)
    const hasTotal = plan.plan.kind === 'list' && plan.plan.list.fields.some(({ kind }) => kind === 'totalCount')
    const native: GraphNative = statement ? { kind: 'statement', organization: plan.organization, caller: plan.caller, statement } : { kind: 'empty', hasTotal }
    return { native, residual: ALL }
  }

  /** Statements run one after the other, each over its own moment of the data. */
  async execute(statements: readonly Statement<GraphNative>[], caller: string, options: ExecuteOptions): Promise<readonly Answer[]> {
    for (const { native } of statements) invariant(native.kind === 'empty' || native.caller === caller, 'a plan runs for the caller that it was made for')
    const request: Request = { options, room: options.bufferBytes, isLeft: false }
    return this.turns.run(statements, options.signal, async (statement) => this.answer(statement, request))
  }

  describe(native: GraphNative): string {
    return native.kind === 'empty' ? '(an empty table)' : printed(native.statement.cypher)
  }

  /** Whether the server answers. @throws GatewayError as `execute`. */
  async ping(signal: Signal): Promise<void> {
    try {
      await this.driver.executeQuery('RETURN 1', {}, { ...(this.database !== null && { database: this.database }), routing: neo4j.routing.READ })
    } catch (error) {
      throw codedError(error, signal)
    }
  }

  async close(): Promise<void> {
    await this.driver.close()
  }

  private async answer(statement: Statement<GraphNative>, request: Request): Promise<Answer> {
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
  private async *chunks({ values }: Statement<GraphNative>, native: Extract<GraphNative, { kind: 'statement' }>, request: Request): AsyncGenerator<ReadChunk> {
    const { signal, bufferBytes } = request.options
    const check = (): void => {
      if (signal.aborted) throw endedBy(signal)
      if (request.isLeft) throw new GatewayError('CANCELLED', 'the answers were left before their end')
    }
    check()
    const { statement, organization } = native
    const run = new Running(this.session(), filled(statement.cypher, values), request.options, () => this.session())
    let isDone = false
    try {
      for await (const chunk of documents(run, statement, { values, organization, sortText }, bufferBytes)) {
        isDone = chunk.isLast
        yield chunk
        if (!isDone) check()
      }
    } catch (error) {
      isDone ||= !signal.aborted // the server has ended it
      throw codedError(error, signal)
    } finally {
      if (!isDone) request.isLeft = true
      run.close(isDone)
    }
  }

  private session(): Session {
    return this.driver.session({ defaultAccessMode: neo4j.session.READ, ...(this.database !== null && { database: this.database }) })
  }
}

/** A statement that was sent. Its transaction has a name, by which another one ends it. */
class Running {
  private readonly name = randomUUID()
  private readonly records: AsyncIterator<{ get(key: string): unknown }>
  private readonly ended: Promise<never>
  private readonly stop: () => void

  constructor(
    private readonly session: Session,
    { text, parameters }: ReturnType<typeof filled>,
    { signal, deadlineMs }: ExecuteOptions,
    private readonly another: () => Session,
  ) {
    const result = session.run(text, parameters, { timeout: Math.ceil(deadlineMs + GRACE_MS), metadata: { [MARK]: this.name } })
    this.records = result[Symbol.asyncIterator]()
    let onAbort = (): void => undefined
    this.ended = new Promise((_, reject) => (onAbort = () => reject(endedBy(signal))))
    this.ended.catch(() => undefined) // told to who waits for a document
    signal.addEventListener('abort', onAbort, { once: true })
    this.stop = () => signal.removeEventListener('abort', onAbort)
  }

  /** @throws what ends the request, without waiting for the server. */
  async next(): Promise<unknown> {
    const next = await Promise.race([this.records.next(), this.ended])
    return next.done === true ? null : next.value.get('d')
  }

  /** What it still does at the server is ended; nobody waits for that. */
  close(isDone: boolean): void {
    this.stop()
    const closing = isDone ? this.session.close() : Promise.allSettled([this.terminate(), this.session.close()])
    closing.catch(() => undefined) // what it fails with has been told, or nobody waits for it
  }

  private async terminate(): Promise<void> {
    const session = this.another()
    try {
      const mark = { mark: MARK, name: this.name }
      const { records } = await session.run('SHOW TRANSACTIONS YIELD transactionId, metaData WHERE metaData[$mark] = $name RETURN transactionId AS id', mark)
      const ids = records.map((record) => record.get('id') as unknown)
      if (ids.length > 0) await session.run('TERMINATE TRANSACTIONS $ids', { ids })
    } finally {
      await session.close()
    }
  }
}

const MARK = 'concordat'

/** What the statements of one request share. */
interface Request {
  readonly options: ExecuteOptions
  /** Bytes that may still be read before the answers are handed over. */
  room: number
  isLeft: boolean
}

const NOTHING: Chunk = { count: 0, texts: [], keys: [], totalCount: null }
