/** Pinecone: the records of one namespace a statement. It finds, by ids, filters and vectors; what fits and how near it is, the gateway decides. */
import type { Signal } from '../../abort.js'
import { invariant } from '../../errors.js'
import type { AuthorizedPlan } from '../../query/plan.js'
import { ALL, type Predicate } from '../../query/predicate.js'
import type { Answer, Capability, Chunk, Connector, ExecuteOptions, Statement } from '../connector.js'
import { InTurn } from '../in-turn.js'
import { answerOf } from './answer.js'
import { Calls } from './calls.js'
import { type ControlPlane, describeIndex, type IndexDescription } from './describe.js'
import { codedError, nonsense } from './driver-error.js'
import { filled, printed } from './pushdown.js'
import { type Reading, readingOf } from './reading.js'
import { type CallOptions, Transport } from './transport.js'

export type PineconeNative = { readonly kind: 'empty'; readonly hasTotal: boolean } | { readonly kind: 'reading'; readonly reading: Reading }

export interface PineconeOptions {
  readonly store: string
  /** Of the control plane, with the key as its password: `https`, or `http` on this machine. */
  readonly url: string
  readonly pool: { readonly max: number; readonly waitingMax: number; readonly connectMs: number; readonly idleMs: number }
  /** Rows that one statement may read to order or score them here. */
  readonly rowsMax: number
}

/** The gateway gives up first, so that the caller reads the reason. */
const GRACE_MS = 250
const DESCRIBE_MS = 10_000

export class PineconeConnector implements Connector<PineconeNative> {
  readonly capabilities: ReadonlySet<Capability> = new Set<Capability>(['filter', 'filterText', 'order', 'limit', 'search', 'cancel'])
  private readonly control: ControlPlane
  private readonly transport: Transport
  /** By name; asked for again once a statement over one has failed. */
  private readonly indexes = new Map<string, IndexDescription>()
  private readonly turns: InTurn

  constructor(private readonly options: PineconeOptions) {
    this.turns = new InTurn(options.pool, codedError)
    const { protocol, origin, password } = new URL(options.url)
    const { max, connectMs, idleMs } = options.pool
    this.control = { url: origin, apiKey: password }
    this.transport = new Transport({ isSecure: protocol === 'https:', max, connectMs, idleMs })
  }

  get store(): string {
    return this.options.store
  }

  /** @throws GatewayError FIELD_NOT_USABLE for what the capabilities do not claim. */
  compile(plan: AuthorizedPlan): { readonly native: PineconeNative; readonly residual: Predicate } {
    const reading = readingOf(plan)
    const hasTotal = plan.plan.kind === 'list' && plan.plan.list.fields.some(({ kind }) => kind === 'totalCount')
    return { native: reading ? { kind: 'reading', reading } : { kind: 'empty', hasTotal }, residual: ALL }
  }

  /** Statements run one after the other, each over its own moment of the data. Answers are whole: rows are few, and come in pages as it is. */
  async execute(statements: readonly Statement<PineconeNative>[], caller: string, options: ExecuteOptions): Promise<readonly Answer[]> {
    for (const { native } of statements)
      invariant(native.kind === 'empty' || native.reading.caller === caller, 'a plan runs for the caller that it was made for')
    return this.turns.run(statements, options.signal, async (statement) => ({ first: await this.answer(statement, options), rest: null }))
  }

  isApproximate(native: PineconeNative): boolean {
    return native.kind === 'reading' && native.reading.search?.isApproximate === true
  }

  describe(native: PineconeNative): string {
    if (native.kind === 'empty') return '(an empty table)'
    const { context, pushdown, search } = native.reading
    const way = search ? ` nearest by ${search.field} (${search.metric}, ${search.isApproximate ? 'approximate' : 'scored in the gateway'})` : ''
    return `${context.table.schema}/${context.table.table} where ${printed(pushdown)}${way}`
  }

  /** Those of the names that are indexes. @throws GatewayError as `execute`. */
  async describeIndexes(names: readonly string[], signal: Signal): Promise<readonly IndexDescription[]> {
    try {
      const described: IndexDescription[] = []
      for (const name of names) {
        const index = await this.described(name, { signal, untilMs: performance.now() + DESCRIBE_MS })
        if (index) described.push(index)
      }
      return described
    } catch (error) {
      throw codedError(error, signal)
    }
  }

  close(): Promise<void> {
    this.transport.close()
    return Promise.resolve()
  }

  private async answer({ native, values }: Statement<PineconeNative>, { signal, deadlineMs }: ExecuteOptions): Promise<Chunk> {
    if (native.kind === 'empty') return { count: 0, texts: [], keys: [], totalCount: native.hasTotal ? 0 : null }
    const { reading } = native
    const asked = filled(reading.pushdown, values)
    if (asked === null) return answerOf(reading, values, null)
    const { schema: name, table: namespace } = reading.context.table
    const options = { signal, untilMs: performance.now() + deadlineMs + GRACE_MS }
    try {
      const index = this.indexes.get(name) ?? (await this.described(name, options))
      if (!index) throw nonsense('that there is no index of the name')
      const calls = new Calls({ host: index.host, apiKey: this.control.apiKey, namespace, dimensions: index.dimensions }, this.transport, options)
      return await answerOf(reading, values, { calls, reading, asked, values, rowsMax: this.options.rowsMax })
    } catch (error) {
      const coded = codedError(error, signal)
      if (coded.code === 'SOURCE_UNAVAILABLE') this.indexes.delete(name)
      throw coded
    }
  }

  private async described(name: string, options: CallOptions): Promise<IndexDescription | null> {
    const index = await describeIndex(this.control, name, this.transport, options)
    if (index) this.indexes.set(name, index)
    return index
  }
}
