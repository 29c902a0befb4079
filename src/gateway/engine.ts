/**
 * The way of an operation through the engine: bind → authorize → restrict → compile → execute → assemble. What does not depend on a request's values is made once: a
 * bound plan for each input shape, a route for each authority beside it (`route.ts`), a compiled statement for each decision shape.
 */
import { Abort, type Signal } from '../abort.js'
import type { OwnerDisclosure } from '../audit/record.js'
import type { Answer, Chunk, ExecuteOptions, Statement, Values } from '../connectors/connector.js'
import { GatewayError, invariant } from '../errors.js'
import { compareText } from '../query/order.js'
import type { ListPlan } from '../query/plan.js'
import { bind } from './bind.js'
import type { BindParts } from './document.js'
import { firstRows } from './first-fetch.js'
import { slotValues } from './input.js'
import { checkTexts, resolvePivots } from './pivot.js'
import { isShort, keysAt, mergePage, type OwnerRows } from './merge.js'
import type { Operation } from './operation.js'
import type { AnswerError, EngineOutcome, EngineStream, Sovereignty } from './outcome.js'
import { placeOfTexts } from './page-position.js'
import { Pieces } from './pieces.js'
import { checkValues, costOf, operandValue } from './request-values.js'
import { answerError, type RootContext, writeRoot } from './root-text.js'
import { kept, type RootRoute, Routes, type StoreRoute, type Task } from './route.js'
import { type EngineParts, type EngineRequest, NO_POSITIONS, type OwnerShare, type Run, type Slots, type StartPlace, typeOf } from './run.js'
import { notGiven, ownerParts, sovereigntyOf, streamedParts } from './sovereignty.js'
import { canStream, joinedChunks, StreamedData } from './stream.js'
import { type VariableReader, variableReader } from './variables.js'

/** A compiled statement of one owner as `explain` shows it. */
export interface ExplainedStatement {
  readonly organization: string
  readonly responseKey: string
  readonly type: string
  readonly text: string
}

export class Engine {
  private readonly askedInVain = new WeakMap<object, readonly OwnerDisclosure[]>()
  private readonly routes: Routes
  private readonly readers = new WeakMap<Operation, { readonly reader: VariableReader; readonly parts: BindParts }>()

  constructor(readonly parts: EngineParts) {
    this.routes = new Routes(parts)
  }

  /** The whole answer. @throws GatewayError every code of a refusal; failures of owners are part of the outcome. */
  async run(request: EngineRequest): Promise<EngineOutcome> {
    const run = this.prepare(request)
    return this.concluded(run, await this.executed(run, false))
  }

  /** The whole answer where it is small, or else one that streams, to be read to its end or ended. @throws as `run`. */
  async answer(request: EngineRequest): Promise<EngineOutcome | EngineStream> {
    const run = this.prepare(request)
    const asked = await this.executed(run, canStream(run.bound))
    if (!asked.results.some((result) => !(result instanceof GatewayError) && result.rest !== null)) return this.concluded(run, asked)
    try {
      return this.stream(run, asked)
    } catch (error) {
      asked.giveUp(error)
      this.inVain(run, error)
      throw error
    }
  }

  private concluded(run: Run, asked: Asked): EngineOutcome {
    asked.end()
    try {
      return this.assemble(run, asked.results)
    } catch (error) {
      this.inVain(run, error)
      throw error
    }
  }

  private async executed(run: Run, streams: boolean): Promise<Asked> {
    try {
      return await this.execute(run, streams)
    } catch (error) {
      this.inVain(run, error)
      throw error
    }
  }

  private inVain(run: Run, error: unknown): void {
    if (typeof error === 'object' && error !== null) this.askedInVain.set(error, notGiven(ownerParts(run.route.owners, new Map(), new Map())))
  }

  /** The owners whose stores were asked before a run ended with this error: their ledgers have that, though nothing was given. */
  askedBefore(error: unknown): readonly OwnerDisclosure[] {
    return typeof error === 'object' && error !== null ? (this.askedInVain.get(error) ?? []) : []
  }

  /**
   * What would be asked of whom; nothing is asked. To a principal the statements are those of its own organization: another owner's would show its tables, its columns
   * and the conditions of its policy, and no agreement gives those. The gateway's operator, who has the configuration, may see all.
   *
   * @throws as `run`.
   */
  explain(
    request: EngineRequest,
    statementsOf: 'home' | 'all' = 'home',
  ): {
    readonly sovereignty: Sovereignty
    readonly owners: readonly OwnerDisclosure[]
    readonly statements: readonly ExplainedStatement[]
    readonly cost: number
  } {
    const run = this.prepare(request)
    const { tasks, pivots, roots } = run.route
    const statements = [...pivots, ...tasks].flatMap(({ rootIndex, plan, owner, native, connector }): ExplainedStatement[] =>
      connector && (statementsOf === 'all' || owner.organization === request.principal.organization)
        ? [
            {
              organization: owner.organization,
              responseKey: roots[rootIndex]?.root.responseKey ?? '',
              type: typeOf(plan),
              text: connector.describe(native),
            },
          ]
        : [],
    )
    return { sovereignty: run.route.sovereignty, owners: [], statements, cost: costOf(run) }
  }

  // --- bind, authorize, restrict, compile ----------------------------------------------------------------------------------------------------------------------

  private prepare(request: EngineRequest): Run {
    const { operation } = request
    const { limits } = this.parts
    const { reader, parts } = this.readerOf(operation)
    const { values, shape } = reader(request.variables)
    const bound = this.derived(request, `b|${shape}`, () => bind(operation, values, parts))
    const own = slotValues(bound.slots, values)
    checkValues(bound, own, limits)
    const slots = own.slice()
    for (let root = 0; root < bound.roots.length; root += 1) slots.push(null)
    const { principal, authority, signal, variables, onFailure } = request
    const { route, positions } = this.routes.of({ operation, principal, authority, bound, shape, slots })
    for (const { index, root, tasks, isMixed } of route.roots)
      if (root.kind === 'connection') slots[bound.slots.length + index] = firstRows(Number(operandValue(root.list.limit, own)), isMixed ? tasks.length : 1)
    // Written out: a spread of the request costs 2 % of a point lookup.
    const run: Run = { operation, principal, authority, signal, variables, bound, slots, route, positions, onFailure, unasked: new Map() }
    if (bound.hasPivots) checkTexts(run, this.parts.embeddings)
    if (costOf(run) > limits.cost) throw new GatewayError('QUERY_TOO_COSTLY', `more than ${limits.cost} rows and counts are asked for`)
    return run
  }

  private readerOf(operation: Operation): { readonly reader: VariableReader; readonly parts: BindParts } {
    const known = this.readers.get(operation)
    if (known) return known
    const { limits } = this.parts
    const { defaultRows, nestedRows, seriesBuckets } = limits
    const bounds = { rows: limits.pageRows, nestedRows, defaultRows, terms: limits.conditions, seriesBuckets }
    const parts: BindParts = { ...this.parts, limits: bounds }
    const made = { reader: variableReader(operation, parts), parts }
    this.readers.set(operation, made)
    return made
  }

  private derived<T>({ operation }: Pick<EngineRequest, 'operation'>, key: string, make: () => T): T {
    const known = operation.derived.get(key)
    if (known !== undefined) return known as T // one key, one maker
    return kept(operation.derived, key, make(), this.parts.limits.derived)
  }

  // --- execute -------------------------------------------------------------------------------------------------------------------------------------------------

  /** All statements of one owner's store in one flush, all owners at once, under one deadline. What `streams` may be handed over before it is whole. */
  private async execute(run: Run, streams: boolean): Promise<Asked> {
    const { route } = run
    const asked = new Asked(run, this.parts.limits.deadlineMs)
    if (route.stores.length === 0) return asked
    try {
      const options = this.optionsOf(run, streams, asked.abort)
      if (run.bound.hasPivots) await resolvePivots(run, this.parts.embeddings, options)
      const [only, ...others] = route.stores
      if (only && others.length === 0) await this.ask(only, run, asked.results, options)
      else await Promise.all(route.stores.map((store) => this.ask(store, run, asked.results, options)))
      if (!streams) refuseUnread(asked.results, options)
      for (const root of route.roots) if (root.isMixed) await this.refill(root, run, asked, options)
      if (!streams) refuseUnread(asked.results, options) // what was asked for again counts too
      if (run.signal.aborted) throw new GatewayError('CANCELLED', 'the client went away')
      return asked
    } catch (error) {
      asked.giveUp(error)
      throw error
    }
  }

  private optionsOf({ bound, slots }: Run, streams: boolean, signal: Signal): ExecuteOptions {
    const { deadlineMs, streamMs, bufferedBytes, answerBytes } = this.parts.limits
    const isLong = streams && bound.roots.some((root) => root.kind === 'connection' && Number(operandValue(root.list.limit, slots)) > SHORT_ROWS)
    return { signal, deadlineMs: isLong ? streamMs : deadlineMs, bufferBytes: streams ? bufferedBytes : answerBytes }
  }

  private async ask({ connector, tasks: all }: StoreRoute, run: Run, results: (Answer | GatewayError)[], options: ExecuteOptions): Promise<void> {
    const tasks = run.unasked.size === 0 ? all : all.filter(({ rootIndex }) => !run.unasked.has(rootIndex))
    for (const task of all) if (!tasks.includes(task)) results[task.index] = NOTHING
    if (tasks.length === 0) return
    const statements = tasks.map((task): Statement<unknown> => ({ native: task.native, values: valuesOf(task, run) }))
    try {
      const answers = await connector.execute(statements, run.principal.organization, options)
      for (const [index, task] of tasks.entries()) {
        const answer = answers[index]
        invariant(answer, 'a connector answers every statement')
        results[task.index] = answer
      }
    } catch (error) {
      const failure = error instanceof GatewayError ? error : new GatewayError('SOURCE_UNAVAILABLE', 'a connector failed', { cause: error })
      for (const task of tasks) results[task.index] = failure
      if (failure.code !== 'CANCELLED') run.onFailure?.(failure)
    }
  }

  /** Owners whose part of a merged page turns out to be too small are asked for the rest of it, each at most once, strictly after their last row. */
  private async refill({ root, tasks }: RootRoute, run: Run, { results, whole }: Asked, options: ExecuteOptions): Promise<void> {
    if (root.kind !== 'connection') return
    // One that streams asks for more when it is there.
    if (tasks.some(({ index }) => !(results[index] instanceof GatewayError) && (results[index] as Answer).rest !== null)) return
    const limit = Number(operandValue(root.list.limit, run.slots))
    const asked = Number(run.slots[run.bound.slots.length + (tasks[0]?.rootIndex ?? 0)])
    for (;;) {
      const owners = tasks.flatMap((task): OwnerRows[] => {
        const answer = results[task.index]
        if (!answer || answer instanceof GatewayError) return []
        const { organization } = task.owner
        return [{ organization, chunk: answer.first, isCut: asked < limit && !whole.has(task.index) && answer.first.count > asked }]
      })
      const page = mergePage(root.list, owners, limit, this.parts.catalog)
      if (!isShort(page)) return
      const task = tasks.find(({ owner }) => owner.organization === page.organization)
      const before = task && results[task.index]
      invariant(task?.connector && before && !(before instanceof GatewayError), 'a page is short of rows of an owner that answered')
      whole.add(task.index)
      const answer = await this.restOf(task, { list: root.list, last: before.first, rows: limit - page.taken }, run, options).catch((error: unknown) =>
        error instanceof GatewayError ? error : new GatewayError('SOURCE_UNAVAILABLE', 'a connector failed', { cause: error }),
      )
      if (answer instanceof GatewayError) run.onFailure?.(answer)
      results[task.index] = answer instanceof GatewayError ? answer : { first: joinedChunks([before.first, answer.first]), rest: answer.rest }
      if (!(answer instanceof GatewayError) && answer.rest !== null) return // what follows streams
    }
  }

  /** The rows of a list that come after the last one of a chunk. @throws GatewayError as a connector does */
  private async restOf(
    task: Task,
    { list, last, rows }: { readonly list: ListPlan; readonly last: Chunk; readonly rows: number },
    run: Run,
    options: ExecuteOptions,
  ): Promise<Answer> {
    const { slots, values } = valuesAt(task, run)
    const place = placeOfTexts(keysAt(last, last.count - 1), list, task.owner.organization, [])
    const limit = slots.length + values.length
    const nested = (run.positions.get(list) ?? NO_POSITIONS).places.filter((start) => start.list !== list)
    const starts: readonly StartPlace[] = [{ list, place, firstValue: limit + 1 }, ...nested]
    // The count came with the first rows.
    const fields = list.fields.filter(({ kind }) => kind !== 'totalCount')
    const plan = { kind: 'list' as const, list: { ...list, fields, limit: { kind: 'slot' as const, index: limit } }, withKeys: true }
    const { native, connector } = this.routes.statement({ plan, owner: task.owner, key: `${task.key}|rest` }, starts, run)
    invariant(connector, 'an owner that gave rows has a connector')
    const all = [...slots, ...values, rows, ...place.order.map((value) => value ?? ''), ...place.key]
    const [answer] = await connector.execute([{ native, values: { slots: all, claims: run.principal.claims } }], run.principal.organization, options)
    invariant(answer, 'a connector answers every statement')
    return answer
  }

  // --- stream --------------------------------------------------------------------------------------------------------------------------------------------------

  private stream(run: Run, asked: Asked): EngineStream {
    const { route, bound } = run
    const { limits } = this.parts
    const failed = failuresIn(run, asked.results)
    this.refuseIncomplete(run, failed)
    asked.inTime(limits.streamMs)
    const options = this.optionsOf(run, true, asked.abort)
    const data = new StreamedData({
      engine: this.parts,
      run,
      results: asked.results,
      whole: asked.whole,
      restOf: (task, list, last, rows) => this.restOf(task, { list, last, rows }, run, options),
    })
    const missing = bound.onUnavailable === 'REPORT' ? [...failed].sort(([a], [b]) => compareText(a, b)) : []
    return {
      kind: 'stream',
      owners: [...route.owners, ...route.refusals],
      cost: costOf(run),
      sovereignty: failed.size === 0 ? route.sovereignty : sovereigntyOf(route, failed, this.parts.catalog),
      pieces: () => data.pieces(route),
      given: () => ({
        errors: [...missing.map(([organization, { code }]) => answerError(code, { organization })), ...data.errors],
        owners: [...streamedParts(route.owners, failed, data.shares), ...route.refusals],
      }),
      end: (error) => (error === null ? asked.end() : asked.giveUp(error)),
    }
  }

  /** @returns failures by organization, in order. @throws GatewayError where the operation asks for all or nothing */
  private refuseIncomplete({ bound, unasked }: Run, failed: ReadonlyMap<string, GatewayError>): readonly (readonly [string, GatewayError])[] {
    for (const missing of unasked.values()) if (missing && bound.onUnavailable === 'FAIL') throw missing.error
    if (failed.size === 0) return []
    const inOrder = [...failed].sort(([a], [b]) => compareText(a, b))
    const [first] = inOrder
    if (!first || bound.onUnavailable !== 'FAIL') return inOrder
    const [organization, error] = first
    throw new GatewayError(error.code, 'an organization failed, and the operation asks for all or nothing', { organization, cause: error })
  }

  // --- assemble ------------------------------------------------------------------------------------------------------------------------------------------------

  private assemble(run: Run, results: readonly (Answer | GatewayError)[]): EngineOutcome {
    const { route, bound } = run
    const failed = failuresIn(run, results)
    const inOrder = this.refuseIncomplete(run, failed)
    const errors: AnswerError[] = []
    const shares = new Map<string, OwnerShare>()
    const context: RootContext = { parts: this.parts, run, results, errors, shares }
    const out = new Pieces()
    for (const root of route.roots) {
      out.ascii(`${root.index === 0 ? '{' : ','}"${root.root.responseKey}":`)
      writeRoot(root, context, out)
    }
    out.ascii('}')
    if (bound.onUnavailable === 'REPORT') errors.unshift(...inOrder.map(([organization, { code }]) => answerError(code, { organization })))
    return {
      data: out.take(),
      errors,
      sovereignty: failed.size === 0 ? route.sovereignty : sovereigntyOf(route, failed, this.parts.catalog),
      owners: [...ownerParts(route.owners, failed, shares), ...route.refusals],
      cost: costOf(run),
    }
  }
}

/** Of what was not asked. */
const NOTHING: Answer = { first: { count: 0, texts: [], keys: [], totalCount: null }, rest: null }
const NEVER_REACHED = new GatewayError('SOURCE_UNAVAILABLE', 'the stores were never reached')
/** A page of no more rows is sent within the deadline, however slowly it is read: it fits into what lies between the store and the client. */
const SHORT_ROWS = 100

/** What one request has under way at its stores. */
class Asked {
  readonly abort = new Abort()
  /** By `Task.index`. */
  readonly results: (Answer | GatewayError)[]
  /** `Task.index` of those that were asked for all of the page: there is nothing to ask them again for. */
  readonly whole = new Set<number>()
  private timer: NodeJS.Timeout
  private readonly leave = (): void => this.abort.abort(new GatewayError('CANCELLED', 'the client went away'))

  constructor(
    private readonly run: Run,
    deadlineMs: number,
  ) {
    this.results = run.route.tasks.map(() => NEVER_REACHED)
    this.timer = this.late(deadlineMs)
    run.signal.addEventListener('abort', this.leave)
    if (run.signal.aborted) this.leave()
  }

  /** From here on it has so long. */
  inTime(ms: number): void {
    clearTimeout(this.timer)
    this.timer = this.late(ms)
  }

  /** All has been read. */
  end(): void {
    clearTimeout(this.timer)
    this.run.signal.removeEventListener('abort', this.leave)
  }

  /** What is still under way is cancelled at the stores. */
  giveUp(reason: unknown): void {
    this.end()
    this.abort.abort(reason)
  }

  private late(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.abort.abort(new GatewayError('SOURCE_TIMEOUT', 'the deadline has passed')), ms)
  }
}

/** @throws GatewayError QUERY_TOO_COSTLY where there is more to read than is held. */
function refuseUnread(results: readonly (Answer | GatewayError)[], { bufferBytes }: ExecuteOptions): void {
  if (results.some((result) => !(result instanceof GatewayError) && result.rest !== null))
    throw new GatewayError('QUERY_TOO_COSTLY', `the answer is larger than ${bufferBytes} bytes`)
}

/** By organization. */
function failuresIn({ route, unasked }: Run, results: readonly (Answer | GatewayError)[]): ReadonlyMap<string, GatewayError> {
  const failed = new Map<string, GatewayError>()
  for (const missing of unasked.values()) if (missing?.isStore) failed.set(missing.organization, missing.error)
  for (const task of route.tasks) {
    const result = results[task.index]
    if (result instanceof GatewayError) failed.set(task.owner.organization, result)
  }
  return failed
}

/** Values of a statement: those of the request, then those of the cursors of its lists. */
function valuesOf(task: Task, run: Run): Values {
  const { slots, values } = valuesAt(task, run)
  return { slots: values.length === 0 ? slots : [...slots, ...values], claims: run.principal.claims }
}

function valuesAt({ list }: Task, { slots, positions }: Run): { readonly slots: Slots; readonly values: Slots } {
  return { slots, values: ((list && positions.get(list)) ?? NO_POSITIONS).values }
}
