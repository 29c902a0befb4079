/**
 * `data` of an answer that is larger than what is held: written while it is read, no faster than its reader takes it. Owners are merged as they come; of each there is
 * about one buffer of rows here.
 */
import { Contribution } from '../audit/contribution.js'
import type { Answer, Chunk } from '../connectors/connector.js'
import { type Bytes, type ByteText, Texts } from '../connectors/texts.js'
import { GatewayError, invariant } from '../errors.js'
import type { ConnectionField, ListPlan } from '../query/plan.js'
import { connectionName, edgeTexts, nodesIn, pageInfoText, totalCountKeys } from './assemble.js'
import type { BoundPlan, BoundRoot } from './bound-plan.js'
import { keysAt, rowComparator } from './merge.js'
import type { AnswerError } from './outcome.js'
import { Pieces } from './pieces.js'
import { operandValue } from './request-values.js'
import { answerError, cursorsOf, missingOwners, type RootContext, sealedChunk, withoutComma, writeRoot } from './root-text.js'
import type { RootRoute, Route, Task } from './route.js'
import type { EngineParts, Results, Run } from './run.js'

/** Rows that are read though nobody wants them. */
const READ_ON_ROWS = 1_000
/** Bytes that are written at a time. */
const WRITTEN_BYTES = 64 * 1024

/** What one owner has given until now. */
export interface StreamedShare {
  rows: number
  readonly contribution: Contribution
}

export interface StreamParts {
  readonly engine: EngineParts
  readonly run: Run
  /** Answers that are not whole yet have a `rest`. */
  readonly results: (Answer | GatewayError)[]
  /** `Task.index` of those that have been asked for more of a page already. */
  readonly whole: ReadonlySet<number>
  /** Asks an owner that has more of a page than it was asked for first. */
  readonly restOf: (task: Task, list: ListPlan, last: Chunk, rows: number) => Promise<Answer>
}

/**
 * Whether the answer can be written before it has been read: lists are read forward, and what depends on all of their rows stands behind them in the document. (The
 * order of the members of an answer is the document's.)
 */
export function canStream({ roots }: BoundPlan): boolean {
  return roots.every((root) => root.kind !== 'connection' || isForward(root.list)) && roots.some((root) => root.kind === 'connection')
}

function isForward({ backward, search, fields }: ListPlan): boolean {
  const rows = fields.findIndex(({ kind }) => kind === 'nodes' || kind === 'edges')
  const isOnly = fields.filter(({ kind }) => kind === 'nodes' || kind === 'edges').length === 1
  const columns = fields.reduce((sum, field) => sum + (field.kind === 'nodes' ? 1 : field.kind === 'edges' ? nodesIn(field) : 0), 0)
  return !backward && search === null && isOnly && columns === 1 && fields.slice(0, rows).every(({ kind }) => kind === 'typename' || kind === 'totalCount')
}

export class StreamedData {
  readonly shares = new Map<string, StreamedShare>()
  readonly errors: AnswerError[] = []

  constructor(private readonly parts: StreamParts) {}

  /** JSON text of `data`, in order. @throws GatewayError what a store failed with midway, or why nobody may or wants to read on. */
  async *pieces(route: Route): AsyncGenerator<readonly Bytes[]> {
    const out = new Pieces()
    for (const root of route.roots) {
      out.ascii(`${root.index === 0 ? '{' : ','}"${root.root.responseKey}":`)
      if (root.root.kind === 'connection') yield* this.page(root, root.root, out)
      else await this.whole(root, out)
    }
    out.ascii('}')
    yield out.take()
  }

  // --- lists ---------------------------------------------------------------------------------------------------------------------------------------------------

  private async *page(route: RootRoute, root: Extract<BoundRoot, { kind: 'connection' }>, out: Pieces): AsyncGenerator<readonly Bytes[]> {
    const { run, results } = this.parts
    const { list } = root
    const missing = missingOwners(route, { results })
    const path = [root.responseKey]
    const readers = route.tasks.flatMap((task) => {
      const answer = results[task.index]
      return answer && !(answer instanceof GatewayError) ? [new OwnerReader(task, answer, list, this.parts)] : []
    })
    if (run.positions.get(list)?.pinned && missing.length > 0) {
      // As in `root-text.ts`: keyset paging would skip rows for ever.
      for (const [organization, code] of missing) this.errors.push(answerError(code, { organization, path }))
      for (const reader of readers) await reader.finish()
      return out.ascii('null')
    }
    for (const reader of readers) await reader.hasRow()
    for (const key of totalCountKeys(list))
      for (const [organization] of missing) this.errors.push(answerError('INCOMPLETE', { organization, path: [...path, key] }))
    const totalCount = missing.length > 0 ? null : readers.reduce((sum, reader) => sum + (reader.totalCount ?? 0), 0)
    for (const reader of readers)
      if (reader.totalCount !== null) this.give(reader.organization, 0, JSON.stringify({ totalCount: reader.totalCount }) as ByteText)
    const page = new StreamedPage(root, readers, this.parts)
    let isWritten = false
    try {
      let separator = '{'
      for (const field of list.fields) {
        out.ascii(`${separator}"${field.responseKey}":`)
        separator = ','
        switch (field.kind) {
          case 'typename':
            out.ascii(JSON.stringify(connectionName(list)))
            break
          case 'totalCount':
            out.ascii(totalCount === null ? 'null' : String(totalCount))
            break
          case 'nodes':
          case 'edges':
            out.ascii('[')
            for await (const rows of this.merged(list, readers, page.limit)) {
              this.giveRows(rows)
              page.write(rows, field, out)
              if (out.length >= WRITTEN_BYTES) yield out.take()
            }
            out.ascii(']')
            break
          case 'pageInfo':
            page.hasMore = await page.isCut()
            out.add(pageInfoText(field.fields, list, { page, hasStart: list.cursor !== null, cursorOf: (row) => page.cursorOf(row) }))
        }
      }
      out.ascii('}')
      isWritten = true
    } finally {
      for (const reader of readers) await (isWritten ? reader.finish() : reader.leave())
    }
  }

  /** Runs of rows in the order of the page: of one owner as many as have come, of several those that come before the next one's. */
  private async *merged(list: ListPlan, readers: readonly OwnerReader[], limit: number): AsyncGenerator<RowRun> {
    const compare = rowComparator(list, this.parts.engine.catalog)
    let left = limit
    while (left > 0) {
      let best: OwnerReader | null = null
      let second: OwnerReader | null = null
      for (const reader of readers) {
        if (!(await reader.hasRow(left))) continue
        if (!best || compare(reader.keys(), reader.organization, best.keys(), best.organization) < 0) [best, second] = [reader, best]
        else if (!second || compare(reader.keys(), reader.organization, second.keys(), second.organization) < 0) second = reader
      }
      if (!best) return
      const from = best.at
      const end = Math.min(best.chunk.count, from + left)
      let to = second ? from + 1 : end
      if (second) while (to < end && compare(keysAt(best.chunk, to), best.organization, second.keys(), second.organization) < 0) to += 1
      best.at = to
      left -= to - from
      yield { owner: best.organization, chunk: best.chunk, from, to }
    }
  }

  // --- all else ------------------------------------------------------------------------------------------------------------------------------------------------

  /** What is small is read to its end, and written as in an answer that is held. */
  private async whole(route: RootRoute, out: Pieces): Promise<void> {
    const { run, results, engine } = this.parts
    for (const task of route.tasks) {
      const answer = results[task.index]
      if (!answer || answer instanceof GatewayError || answer.rest === null) continue
      results[task.index] = { first: await drained(answer, engine.limits.answerBytes), rest: null }
    }
    const shares: RootContext['shares'] = new Map()
    writeRoot(route, { parts: engine, run, results: results as Results, errors: this.errors, shares }, out)
    for (const [organization, { rows, texts }] of shares) {
      for (const [index, text] of texts.entries()) this.give(organization, index === 0 ? rows : 0, text)
    }
  }

  private giveRows({ owner, chunk, from, to }: RowRun): void {
    const [first, ...others] = chunk.texts[0]?.joined(to, from) ?? []
    if (first !== undefined) this.give(owner, to - from, first)
    for (const piece of others) this.give(owner, 0, withoutComma(piece))
  }

  private give(organization: string, rows: number, texts: Bytes): void {
    const share = this.shares.get(organization) ?? { rows: 0, contribution: new Contribution() }
    this.shares.set(organization, share)
    share.rows += rows
    share.contribution.addJoined(texts)
  }
}

/** What of a page has been written. */
class StreamedPage {
  readonly limit: number
  count = 0
  hasMore = false
  private readonly ends: { readonly keys: readonly (string | null)[]; readonly owner: string }[] = []

  constructor(
    private readonly root: Extract<BoundRoot, { kind: 'connection' }>,
    private readonly readers: readonly OwnerReader[],
    private readonly parts: StreamParts,
  ) {
    this.limit = Number(operandValue(root.list.limit, parts.run.slots))
  }

  write({ owner, chunk, from, to }: RowRun, field: RowsField, out: Pieces): void {
    const [column] = chunk.texts
    invariant(column, 'a list that streams has one column of texts')
    if (this.count > 0) out.ascii(',')
    if (field.kind === 'nodes') out.addAll(column.joined(to, from))
    else {
      const page = {
        count: to - from,
        at: (_column: number, row: number): ByteText => column.at(from + row),
        keysOf: (row: number) => keysAt(chunk, from + row),
      }
      const edges = edgeTexts(field, this.root.list, 0, { page, cursorOf: (row) => this.sealed(keysAt(chunk, from + row), owner) })
      out.add(edges.join(',') as ByteText) // the brand: of bytes and commas
    }
    this.ends[0] ??= { keys: keysAt(chunk, from), owner }
    this.ends[1] = { keys: keysAt(chunk, to - 1), owner }
    this.count += to - from
  }

  /** Rows are left behind the page. */
  async isCut(): Promise<boolean> {
    if (this.count < this.limit) return false
    for (const reader of this.readers) if (await reader.hasRow()) return true
    return false
  }

  /** @param row the first one, or another for the last. */
  cursorOf(row: number): string {
    const end = this.ends[row === 0 ? 0 : 1]
    invariant(end, 'a page with rows has ends')
    return this.sealed(end.keys, end.owner)
  }

  private sealed(keys: readonly (string | null)[], owner: string): string {
    const { engine, run } = this.parts
    return cursorsOf({ keysOf: () => keys, organizationOf: () => owner }, this.root, this.readers, { parts: engine, run })(0)
  }
}

type RowsField = Extract<ConnectionField, { kind: 'nodes' | 'edges' }>

/** Rows of one owner that stand one after the other in the page. */
interface RowRun {
  readonly owner: string
  readonly chunk: Chunk
  readonly from: number
  readonly to: number
}

/** Reads what one owner gives for a list, a chunk at a time. */
class OwnerReader {
  readonly organization: string
  chunk: Chunk
  /** The next row of the chunk. */
  at = 0
  totalCount: number | null
  private rest: AsyncIterator<Chunk> | null
  private given: number
  private isAskedAgain: boolean

  constructor(
    private readonly task: Task,
    answer: Answer,
    private readonly list: ListPlan,
    private readonly parts: StreamParts,
  ) {
    this.organization = task.owner.organization
    this.chunk = this.sealed(answer.first)
    this.totalCount = answer.first.totalCount
    this.given = answer.first.count
    this.rest = answer.rest?.[Symbol.asyncIterator]() ?? null
    this.isAskedAgain = parts.whole.has(task.index)
  }

  /** Whether there is a row at `at`, of which `wanted` are wanted at most; waits for it. */
  async hasRow(wanted = 1): Promise<boolean> {
    while (this.at >= this.chunk.count) if (!(await this.advance(wanted))) return false
    return true
  }

  keys(): readonly (string | null)[] {
    return keysAt(this.chunk, this.at)
  }

  /**
   * Nobody wants what is left: a little is read to its end, since whoever leaves before it costs the store a connection; and so is what stands before other answers of
   * this request, since who leaves ends them all.
   */
  async finish(): Promise<void> {
    const { bound, slots } = this.parts.run
    const left = Number(slots[bound.slots.length + this.task.rootIndex]) + 1 - this.given
    if (!this.rest) return
    if (left > READ_ON_ROWS && !this.hasFollowers()) return this.leave()
    while ((await this.rest.next()).done !== true);
  }

  /** Nobody wants anything of this request any more. */
  async leave(): Promise<void> {
    await this.rest?.return?.()
  }

  /** Answers that come behind this one's from the same store. */
  private hasFollowers(): boolean {
    const { run, results } = this.parts
    const store = run.route.stores.find(({ tasks }) => tasks.includes(this.task))
    return (store?.tasks ?? []).some(({ index }) => {
      const answer = index > this.task.index ? results[index] : undefined
      return answer !== undefined && !(answer instanceof GatewayError) && answer.rest !== null
    })
  }

  private async advance(wanted: number): Promise<boolean> {
    if (this.rest) {
      const next = await this.rest.next()
      if (next.done !== true) return this.take(next.value)
      this.rest = null
    }
    const { bound, slots } = this.parts.run
    const asked = Number(slots[bound.slots.length + this.task.rootIndex])
    const isCut = asked < Number(operandValue(this.list.limit, slots)) && this.given > asked
    if (!isCut || this.isAskedAgain) return false
    this.isAskedAgain = true
    const more = await this.parts.restOf(this.task, this.list, this.chunk, wanted)
    this.rest = more.rest?.[Symbol.asyncIterator]() ?? null
    return this.take(more.first)
  }

  private take(chunk: Chunk): boolean {
    this.totalCount ??= chunk.totalCount
    if (chunk.count > 0) {
      this.chunk = this.sealed(chunk)
      this.at = 0
      this.given += chunk.count
    }
    return true
  }

  private sealed(chunk: Chunk): Chunk {
    const { run, engine } = this.parts
    return sealedChunk(chunk, this.organization, this.list, { run, parts: engine })
  }
}

/** @throws GatewayError QUERY_TOO_COSTLY */
async function drained({ first, rest }: Answer, bytesMax: number): Promise<Chunk> {
  const chunks = [first]
  let bytes = 0
  for await (const chunk of rest ?? []) {
    chunks.push(chunk)
    for (const texts of chunk.texts) for (const piece of texts.joined(texts.count)) bytes += piece.length
    if (bytes > bytesMax) throw new GatewayError('QUERY_TOO_COSTLY', `a part of the answer is larger than ${bytesMax} bytes`)
  }
  return joinedChunks(chunks)
}

/** Several chunks of one answer as one. */
export function joinedChunks(chunks: readonly Chunk[]): Chunk {
  const withRows = chunks.filter(({ count }) => count > 0)
  const [only] = withRows
  const totalCount = chunks.find((chunk) => chunk.totalCount !== null)?.totalCount ?? null
  if (!only) return { count: 0, texts: chunks[0]?.texts ?? [], keys: [], totalCount }
  if (withRows.length === 1) return { ...only, totalCount }
  return {
    count: withRows.reduce((sum, { count }) => sum + count, 0),
    texts: only.texts.map((_, column) => Texts.of(withRows.flatMap(({ texts }) => [...(texts[column] ?? [])]))),
    keys: only.keys.map((_, column) => withRows.flatMap(({ keys }) => keys[column] ?? [])),
    totalCount,
  }
}
