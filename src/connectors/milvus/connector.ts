/** Milvus: the rows of one collection a statement, policy first, searched by their vectors. */
import { MilvusClient } from '@zilliz/milvus2-sdk-node'
import type { Signal } from '../../abort.js'
import { invariant } from '../../errors.js'
import type { AuthorizedPlan } from '../../query/plan.js'
import { ALL, type Predicate } from '../../query/predicate.js'
import type { Answer, Capability, Chunk, Connector, ExecuteOptions, Statement } from '../connector.js'
import { InTurn } from '../in-turn.js'
import { answerOf } from './answer.js'
import { type CollectionDescription, describeCollections } from './describe.js'
import { codedError } from './driver-error.js'
import { filled, printed } from './filter.js'
import { type Reading, readingOf } from './reading.js'

export type MilvusNative = { readonly kind: 'empty'; readonly hasTotal: boolean } | { readonly kind: 'reading'; readonly reading: Reading }

export interface MilvusOptions {
  readonly store: string
  /** `http` or `https`, with user and password or a token (as the password alone), and the name of a database where that is not the default one. */
  readonly url: string
  readonly pool: { readonly max: number; readonly waitingMax: number; readonly connectMs: number; readonly idleMs: number }
  /** Rows that one statement may read to order or score them here. */
  readonly rowsMax: number
}

/** The gateway gives up first, so that the caller reads the reason. */
const GRACE_MS = 250
const DESCRIBE_MS = 10_000
/** More than Milvus sends as a rule (100 MB). */
const MESSAGE_BYTES = 128 * 1024 * 1024

export class MilvusConnector implements Connector<MilvusNative> {
  readonly capabilities: ReadonlySet<Capability> = new Set<Capability>(['filter', 'order', 'limit', 'search', 'cancel'])
  private readonly client: MilvusClient
  private readonly turns: InTurn

  constructor(private readonly options: MilvusOptions) {
    this.turns = new InTurn(options.pool, codedError)
    this.client = new MilvusClient(clientConfig(options))
  }

  get store(): string {
    return this.options.store
  }

  /** @throws GatewayError FIELD_NOT_USABLE for what the capabilities do not claim. */
  compile(plan: AuthorizedPlan): { readonly native: MilvusNative; readonly residual: Predicate } {
    const reading = readingOf(plan)
    const hasTotal = plan.plan.kind === 'list' && plan.plan.list.fields.some(({ kind }) => kind === 'totalCount')
    return { native: reading ? { kind: 'reading', reading } : { kind: 'empty', hasTotal }, residual: ALL }
  }

  /** Statements run one after the other, each over its own moment of the data. Answers are whole: rows are few, and come in messages as it is. */
  async execute(statements: readonly Statement<MilvusNative>[], caller: string, options: ExecuteOptions): Promise<readonly Answer[]> {
    for (const { native } of statements)
      invariant(native.kind === 'empty' || native.reading.caller === caller, 'a plan runs for the caller that it was made for')
    return this.turns.run(statements, options.signal, async (statement) => ({ first: await this.answer(statement, options), rest: null }))
  }

  isApproximate(native: MilvusNative): boolean {
    return native.kind === 'reading' && native.reading.search?.near === 'approximate'
  }

  describe(native: MilvusNative): string {
    if (native.kind === 'empty') return '(an empty table)'
    const { context, filter, search } = native.reading
    const way = search ? ` nearest by ${search.column ?? 'nothing'} (${search.metric}, ${search.near ?? 'scored in the gateway'})` : ''
    return `${context.table.table} where ${printed(filter)}${way}`
  }

  /** Those of the names that are collections. @throws GatewayError as `execute`. */
  async describeCollections(names: readonly string[], signal: Signal): Promise<readonly CollectionDescription[]> {
    try {
      return await describeCollections(this.client, names, { signal, untilMs: performance.now() + DESCRIBE_MS })
    } catch (error) {
      throw codedError(error, signal)
    }
  }

  async close(): Promise<void> {
    await this.client.closeConnection()
  }

  private async answer({ native, values }: Statement<MilvusNative>, { signal, deadlineMs }: ExecuteOptions): Promise<Chunk> {
    if (native.kind === 'empty') return { count: 0, texts: [], keys: [], totalCount: native.hasTotal ? 0 : null }
    const { reading } = native
    const filter = filled(reading.filter, values)
    const options = { signal, untilMs: performance.now() + deadlineMs + GRACE_MS }
    const asking = { client: this.client, options, reading, filter: typeof filter === 'string' ? filter : null, rowsMax: this.options.rowsMax }
    return answerOf(asking, values, filter !== false)
  }
}

function clientConfig({ url, pool }: MilvusOptions): ConstructorParameters<typeof MilvusClient>[0] {
  const { protocol, hostname, port, username, password, pathname } = new URL(url)
  const isSecure = protocol === 'https:'
  const [user, secret] = [decodeURIComponent(username), decodeURIComponent(password)]
  return {
    address: `${hostname}:${port === '' ? (isSecure ? 443 : 19_530) : port}`,
    ssl: isSecure,
    ...(user !== '' && { username: user, password: secret }),
    ...(user === '' && secret !== '' && { token: secret }),
    ...(pathname.length > 1 && { database: decodeURIComponent(pathname.slice(1)) }),
    // Nothing is sent until something is asked, and a failure is told once.
    __SKIP_CONNECT__: true,
    maxRetries: 0,
    logLevel: 'error',
    channelOptions: { 'grpc.max_receive_message_length': MESSAGE_BYTES, 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 5_000 },
    pool: { min: 0, max: pool.max, maxWaitingClients: pool.waitingMax, acquireTimeoutMillis: pool.connectMs, idleTimeoutMillis: pool.idleMs },
  }
}
