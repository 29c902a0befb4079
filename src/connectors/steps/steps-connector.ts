/**
 * The stores of one organization together: a plan that they hold in parts is asked in steps, joined by key. Each step is an authorized plan over the same views, so that
 * every store enforces what concerns its rows; keys travel between stores of one owner, in the gateway's memory only. Every store answers from its own moment.
 */
import { GatewayError, invariant } from '../../errors.js'
import type { AuthorizedPlan } from '../../query/plan.js'
import { ALL } from '../../query/predicate.js'
import type { Answer, Capability, Chunk, Connector, ExecuteOptions, Statement, StoresTogether, Values } from '../connector.js'
import { type ByteText, byteText } from '../texts.js'
import { filled, keyAt, type Keys, keysIn, listsOf, unwrapped } from './places.js'
import { type Attachment, type KeySource, splitPlan, type Step } from './split.js'

export interface StepsOptions {
  readonly organization: string
  readonly stores: ReadonlyMap<string, Connector>
  /** How many keys may travel for one condition. */
  readonly keysMax: number
  /** Bytes of one store's answers that are held at once. */
  readonly answerBytes: number
}

/** A step with its store's own query. */
export interface CompiledStep {
  readonly connector: Connector
  readonly native: unknown
  readonly wrapped: Step['wrapped']
  readonly orphans: Step['orphans']
  readonly sources: readonly (Omit<KeySource, 'step'> & { readonly step: CompiledStep })[]
  readonly attachments: ReadonlyMap<string, Omit<Attachment, 'step'> & { readonly step: CompiledStep }>
}

/** What one step is to be asked, as one of the statements of its store's flush. */
interface Asked {
  readonly step: CompiledStep
  readonly values: Values
}

export class StepsConnector implements StoresTogether<CompiledStep> {
  readonly capabilities: ReadonlySet<Capability>

  constructor(private readonly options: StepsOptions) {
    const [first, ...others] = options.stores.values()
    invariant(first, 'an organization has a store')
    const common = [...first.capabilities].filter((capability) => others.every(({ capabilities }) => capabilities.has(capability)))
    this.capabilities = new Set(common.filter((capability) => capability !== 'orderRelation' && capability !== 'countRelation'))
  }

  get store(): string {
    return [...this.options.stores.keys()].join('+')
  }

  /** @throws GatewayError FIELD_NOT_USABLE for what a store does not claim, and for orders and counts that go through another store. */
  compile(plan: AuthorizedPlan): { readonly native: CompiledStep; readonly residual: typeof ALL } {
    return { native: this.compiled(splitPlan(plan, this.options.keysMax)), residual: ALL }
  }

  alone(plan: AuthorizedPlan): Connector | null {
    const { store, sources, attachments, wrapped } = splitPlan(plan, this.options.keysMax)
    return sources.length === 0 && attachments.size === 0 && wrapped === null ? this.connectorOf(store) : null
  }

  describe(native: CompiledStep): string {
    const lines = (step: CompiledStep, title: string): string[] => [
      ...step.sources.flatMap((source) => lines(source.step, `keys of a condition, from \`${source.step.connector.store}\``)),
      `-- ${title}`,
      step.connector.describe(step.native),
      ...[...step.attachments.values()].flatMap((attached) => lines(attached.step, `joined by key, from \`${attached.step.connector.store}\``)),
    ]
    return lines(native, `from \`${native.connector.store}\``).join('\n')
  }

  storesOf({ connector, sources, attachments }: CompiledStep): readonly string[] {
    const others = [...sources, ...attachments.values()].flatMap(({ step }) => this.storesOf(step))
    return [...new Set([connector.store, ...others])]
  }

  isApproximate(native: CompiledStep): boolean {
    return native.connector.isApproximate?.(native.native) ?? false
  }

  /** Whole: what is joined by key is not read while a store waits. @throws GatewayError as a connector does, and QUERY_TOO_COSTLY past a limit. */
  async execute(statements: readonly Statement<CompiledStep>[], caller: string, { signal, deadlineMs }: ExecuteOptions): Promise<readonly Answer[]> {
    const asked = statements.map(({ native, values }) => ({ step: native, values }))
    const chunks = await this.run(asked, { caller, options: { signal, deadlineMs, bufferBytes: this.options.answerBytes } })
    return chunks.map((first) => ({ first, rest: null }))
  }

  /** The stores belong to whoever made them. */
  async close(): Promise<void> {
    return Promise.resolve()
  }

  private compiled({ store, plan, sources, attachments, wrapped, orphans }: Step): CompiledStep {
    const connector = this.connectorOf(store)
    const { native, residual } = connector.compile(plan)
    invariant(residual.kind === 'all', `store \`${connector.store}\` left a residual`)
    return {
      connector,
      native,
      wrapped,
      orphans,
      sources: sources.map((source) => ({ ...source, step: this.compiled(source.step) })),
      attachments: new Map([...attachments].map(([name, attachment]) => [name, { ...attachment, step: this.compiled(attachment.step) }])),
    }
  }

  /** @param store null: any will do. */
  private connectorOf(store: string | null): Connector {
    const { stores } = this.options
    const connector = stores.get(store ?? '') ?? [...stores.values()][0]
    invariant(connector, 'an organization has a store')
    return connector
  }

  /** Each store is asked for all of its statements in one flush. */
  private async run(asked: readonly Asked[], request: Request): Promise<readonly Chunk[]> {
    const ready = await Promise.all(asked.map(async ({ step, values }) => ({ step, values: await this.withKeys(step, values, request) })))
    const stores = new Map<Connector, { readonly index: number; readonly statement: Statement<unknown> }[]>()
    for (const [index, { step, values }] of ready.entries()) {
      const own = stores.get(step.connector) ?? []
      own.push({ index, statement: { native: step.native, values } })
      stores.set(step.connector, own)
    }
    const chunks: Chunk[] = []
    await Promise.all(
      [...stores].map(async ([connector, own]) => {
        const statements = own.map(({ statement }) => statement)
        const answers = await wholeAnswers(connector, statements, request)
        for (const [place, { index }] of own.entries()) chunks[index] = chunkAt(answers, place)
      }),
    )
    return Promise.all(ready.map(async (one, index) => this.meant(one, chunkAt(chunks, index), request)))
  }

  /** A vector without its row takes no place of one that has it: the search is asked again without those that are known. */
  private async meant({ step, values }: Asked, given: Chunk, request: Request): Promise<Chunk> {
    const whole = await this.attached(step, given, values, request)
    if (step.wrapped === null) return whole
    const { chunk, dropped } = unwrapped(whole, step.wrapped)
    if (dropped.length === 0 || step.orphans === null) return chunk
    const { firstList, parts } = step.orphans
    const gone = listsOf(
      dropped.map((row) => keyAt(textAt(given, row))),
      parts,
    )
    const steps = [...(values.steps ?? [])]
    for (const [part, list] of gone.entries()) steps[firstList + part] = [...(steps[firstList + part] ?? []), ...list]
    if ((steps[firstList]?.length ?? 0) > this.options.keysMax) throw this.tooMany(`more than ${this.options.keysMax} vectors are of no row`)
    const again = { step, values: { ...values, steps } }
    const [answer] = await wholeAnswers(step.connector, [{ native: step.native, values: again.values }], request)
    invariant(answer, 'every statement has an answer')
    return this.meant(again, answer, request)
  }

  /** The values of a step, once the conditions that other stores decide are known. */
  private async withKeys({ sources, orphans }: CompiledStep, values: Values, request: Request): Promise<Values> {
    if (sources.length === 0 && orphans === null) return values
    const given = await this.run(
      sources.map(({ step }) => ({ step, values: { ...values, steps: [] } })),
      request,
    )
    const steps = [...(values.steps ?? [])]
    for (const index of orphans?.parts.keys() ?? []) steps[(orphans?.firstList ?? 0) + index] = []
    for (const [index, { firstList, parts }] of sources.entries()) {
      const chunk = chunkAt(given, index)
      if (chunk.count > this.options.keysMax) throw this.tooMany(`a condition on a relation to another store fits more than ${this.options.keysMax} keys`)
      const keys = Array.from({ length: chunk.count }, (_, row) => chunk.keys.map((column) => column[row] ?? null))
      for (const [part, list] of listsOf(keys, parts).entries()) steps[firstList + part] = list
    }
    return { ...values, steps }
  }

  /** All places of a chunk, with one statement for each name. */
  private async attached({ attachments }: CompiledStep, chunk: Chunk, values: Values, request: Request): Promise<Chunk> {
    if (attachments.size === 0) return chunk
    const wanted = [...keysIn(chunk)].map(([name, keys]): { keys: Keys; isOne: boolean; asked: Asked } => {
      const attachment = attachments.get(name)
      invariant(attachment, 'a place has an attachment')
      return { keys, isOne: attachment.isOne, asked: { step: attachment.step, values: { ...values, steps: listsOf(keys.values(), attachment.parts) } } }
    })
    if (wanted.length === 0) return chunk
    const given = await this.run(
      wanted.map(({ asked }) => asked),
      request,
    )
    const texts = new Map<string, ByteText>()
    for (const [index, { keys, isOne }] of wanted.entries()) {
      const own = isOne ? rowsByKey(keys, chunkAt(given, index)) : rowsInOrder(keys, chunkAt(given, index))
      for (const [place, text] of own) texts.set(place, text)
    }
    return filled(chunk, texts)
  }

  private tooMany(detail: string): GatewayError {
    return new GatewayError('QUERY_TOO_COSTLY', detail, { organization: this.options.organization })
  }
}

interface Request {
  readonly caller: string
  readonly options: ExecuteOptions
}

/** @throws GatewayError QUERY_TOO_COSTLY where there is more to read than is held. */
async function wholeAnswers(connector: Connector, statements: readonly Statement<unknown>[], { caller, options }: Request): Promise<readonly Chunk[]> {
  const answers = await connector.execute(statements, caller, options)
  const unread = answers.flatMap(({ rest }) => (rest ? [rest[Symbol.asyncIterator]()] : []))
  if (unread.length === 0) return answers.map(({ first }) => first)
  for (const rest of unread) await rest.return?.()
  throw new GatewayError('QUERY_TOO_COSTLY', `a step of the answer is larger than ${options.bufferBytes} bytes`)
}

/** The text of each place. */
function rowsInOrder(keys: Keys, { texts: [column] }: Chunk): Iterable<readonly [string, ByteText]> {
  invariant(column?.count === keys.size, 'a step answers every key')
  return [...keys.keys()].map((place, row) => [place, column.at(row)])
}

function rowsByKey(keys: Keys, { count, texts: [column], keys: parts }: Chunk): Iterable<readonly [string, ByteText]> {
  const rows = new Map(Array.from({ length: count }, (_, row) => [JSON.stringify(parts.map((part) => part[row])), row]))
  return [...keys].map(([place, key]) => {
    const row = rows.get(JSON.stringify(key))
    return [place, row === undefined || !column ? NULL : column.at(row)]
  })
}

function textAt({ texts: [column] }: Chunk, row: number): ByteText {
  invariant(column, 'rows have a place')
  return column.at(row)
}

const NULL = byteText('null')

function chunkAt(chunks: readonly Chunk[], index: number): Chunk {
  const chunk = chunks[index]
  invariant(chunk, 'every statement has an answer')
  return chunk
}
