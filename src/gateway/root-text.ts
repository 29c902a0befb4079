/** The JSON text of each root field, from what the owners gave. */
import { execute as executeGraphql, Kind } from 'graphql'
import type { DocumentNode, FieldNode } from 'graphql'
import type { Chunk } from '../connectors/connector.js'
import { byteText, type Bytes, type ByteText, Texts } from '../connectors/texts.js'
import { type Code, CODES, GatewayError, invariant } from '../errors.js'
import { aggregateJson, combineGroups, groupsOfNobody, readGroup, releasedGroups } from '../query/aggregate.js'
import { ORGANIZATION_FIELD } from '../query/catalog.js'
import { parseGlobalId } from '../query/global-id.js'
import { compareText } from '../query/order.js'
import type { AggregatePlan, ListPlan } from '../query/plan.js'
import { readBucket } from '../query/series.js'
import {
  hasNestedCursors,
  listText,
  member,
  nestedLists,
  nestedSeries,
  NULL,
  objectText,
  scoreOf,
  sealNested,
  totalCountKeys,
  writeConnection,
} from './assemble.js'
import type { BoundRoot } from './bound-plan.js'
import { keysAt, mergePage, type OwnerRows, type Page, isShort } from './merge.js'
import type { AnswerError } from './outcome.js'
import { cursorBinding, placeOfTexts } from './page-position.js'
import { operandValue } from './request-values.js'
import type { Pieces } from './pieces.js'
import type { RootRoute, Task } from './route.js'
import { type EngineParts, type OwnerShare, type Results, type Run, shareOf, typeOf } from './run.js'
import { seriesText, withNestedSeries } from './series-text.js'

export function writeRoot(route: RootRoute, context: RootContext, out: Pieces): void {
  const { root } = route
  switch (root.kind) {
    case 'typename':
      return out.ascii('"Query"')
    case 'introspection':
      return out.add(byteText(introspection(root.nodes, context)))
    case 'organizations':
      return out.add(organizationsText(root, context))
    case 'connection':
      return writePage(route, root, context, out)
    case 'lookup':
      return out.add(lookup(route, root, context))
    case 'nodes':
      return out.add(nodesText(route, root, context))
    case 'aggregate':
      return out.add(byteText(aggregate(route, root, context)))
    case 'series':
      return out.add(byteText(series(route, root, context)))
  }
}

function lookup({ tasks: [task] }: RootRoute, { list }: Extract<BoundRoot, { kind: 'lookup' }>, context: RootContext): ByteText {
  if (!task) return NULL
  const chunk = chunkOf(task, list, context)
  const text = chunk && chunk.count > 0 ? chunk.texts[0]?.at(0) : undefined
  if (text === undefined) return NULL
  const share = shareOf(task.owner.organization, context.shares)
  share.rows += 1
  share.texts.push(text)
  return text
}

function writePage(route: RootRoute, root: Extract<BoundRoot, { kind: 'connection' }>, context: RootContext, out: Pieces): void {
  const { list } = root
  const { run, errors } = context
  const missing = missingOwners(route, context)
  const path = [root.responseKey]
  const unasked = run.unasked.get(route.index)
  if (unasked) {
    errors.push(answerError(unasked.error.code, { organization: unasked.organization, path }))
    return out.ascii('null')
  }
  const pinned = run.positions.get(list)?.pinned ?? null
  if (pinned && missing.length > 0) {
    // Keyset paging would skip the rows of an owner that served an earlier page for ever.
    for (const [organization, code] of missing) errors.push(answerError(code, { organization, path }))
    return out.ascii('null')
  }
  const owners = rowsOf(route, list, context)
  const page = mergePage(list, owners, Number(operandValue(list.limit, run.slots)), context.parts.catalog)
  invariant(!isShort(page), 'rows that the page lacks have been asked for')
  let totalCount: number | null = owners.reduce((sum, { chunk }) => sum + (chunk.totalCount ?? 0), 0)
  if (missing.length > 0) {
    totalCount = null
    for (const key of totalCountKeys(list)) for (const [organization] of missing) errors.push(answerError('INCOMPLETE', { organization, path: [...path, key] }))
  }
  // Where numbers alone are asked for, they are what the owner gave.
  for (const { organization, chunk } of owners)
    if (chunk.totalCount !== null) shareOf(organization, context.shares).texts.push(byteText(JSON.stringify({ totalCount: chunk.totalCount })))
  give(page, owners, context.shares)
  if (list.search) giveScores(list, page, context.shares)
  writeConnection(list, { page, totalCount, hasStart: list.cursor !== null, cursorOf: cursorsOf(page, root, owners, context) }, out)
}

/** Seals the place of a row of the page. */
export function cursorsOf(
  page: Pick<Page, 'keysOf' | 'organizationOf'>,
  { list, organizations }: Extract<BoundRoot, { kind: 'connection' }>,
  owners: readonly Pick<OwnerRows, 'organization'>[],
  { parts, run }: Pick<RootContext, 'parts' | 'run'>,
): (row: number) => string {
  let known: { readonly binding: string; readonly pinned: readonly string[] } | null = null
  return (row) => {
    known ??= {
      binding: cursorBinding(list, organizations, run),
      pinned: run.positions.get(list)?.pinned ?? owners.map(({ organization }) => organization),
    }
    return parts.cursors.seal(placeOfTexts(page.keysOf(row), list, page.organizationOf(row), known.pinned), known.binding)
  }
}

/** What an owner gave for a list, with nested cursors sealed; null where it failed. */
export function chunkOf(task: Task, list: ListPlan, { results, run, parts }: Pick<RootContext, 'results' | 'run' | 'parts'>): Chunk | null {
  const answer = results[task.index]
  if (!answer || answer instanceof GatewayError) return null
  return sealedChunk(answer.first, task.owner.organization, list, { run, parts })
}

export function sealedChunk(chunk: Chunk, organization: string, list: ListPlan, { run, parts }: Pick<RootContext, 'run' | 'parts'>): Chunk {
  const isSealed = hasNestedCursors(list)
  const hasSeries = nestedSeries(list).size > 0
  if (!isSealed && !hasSeries) return chunk
  const nested = nestedLists(list)
  const seal = (path: string, texts: readonly (string | null)[]): string => {
    const inner = nested.get(path)
    invariant(inner, `nested list \`${path}\``)
    return parts.cursors.seal(placeOfTexts(texts, inner, organization, []), cursorBinding(inner, null, run))
  }
  const whole = (text: ByteText): ByteText => {
    const sealed = isSealed ? sealNested(text, seal) : text
    return hasSeries ? withNestedSeries(sealed, organization, list, { run, parts }) : sealed
  }
  return { ...chunk, texts: chunk.texts.map((column) => Texts.of(Array.from({ length: column.count }, (_, row) => whole(column.at(row))))) }
}

/** Rows of each owner that answered. */
function rowsOf({ tasks }: RootRoute, list: ListPlan, context: RootContext): readonly OwnerRows[] {
  return tasks.flatMap((task) => {
    const chunk = chunkOf(task, list, context)
    return chunk ? [{ organization: task.owner.organization, chunk, isCut: false }] : []
  })
}

function nodesText({ tasks }: RootRoute, root: Extract<BoundRoot, { kind: 'nodes' }>, context: RootContext): ByteText {
  const found = new Map<string, ByteText>()
  for (const [type, { list }] of root.lists) {
    for (const task of tasks) {
      const chunk = typeOf(task.plan) === type ? chunkOf(task, list, context) : null
      if (!chunk) continue
      const { organization } = task.owner
      const share = shareOf(organization, context.shares)
      share.rows += chunk.count
      for (let row = 0; row < chunk.count; row += 1) {
        for (const column of chunk.texts) share.texts.push(column.at(row))
        found.set(JSON.stringify([type, organization, ...keysAt(chunk, row)]), chunk.texts[0]?.at(row) ?? NULL)
      }
    }
  }
  const texts = [operandValue(root.ids, context.run.slots)].flat().map((id) => {
    const parsed = parseGlobalId(String(id))
    return (parsed && found.get(JSON.stringify([parsed.type, parsed.organization, ...parsed.key]))) ?? NULL
  })
  return root.single ? (texts[0] ?? NULL) : listText(texts)
}

function aggregate(route: RootRoute, root: Extract<BoundRoot, { kind: 'aggregate' }>, context: RootContext): string {
  const { aggregate } = root
  const { run } = context
  const entity = context.parts.catalog.entities.get(aggregate.type)
  invariant(entity, 'a type of the contract')
  if (isIncomplete(route, aggregate, context)) return 'null'
  const groups = partials(route, context.parts.limits.groups, context).map(({ texts, organization }) => readGroup(aggregate, texts, organization))
  const combined = route.tasks.length === 0 ? groupsOfNobody(aggregate) : combineGroups(aggregate, entity, groups)
  return aggregateJson(
    aggregate,
    entity,
    releasedGroups(aggregate, entity, combined, (operand) => operandValue(operand, run.slots)),
  )
}

function series(route: RootRoute, root: Extract<BoundRoot, { kind: 'series' }>, context: RootContext): string {
  const { series: plan } = root
  if (isIncomplete(route, plan, context)) return 'null'
  const rows = partials(route, plan.bucketsMax, context).map(({ texts, organization }) => readBucket(plan, texts, organization))
  return seriesText(plan, rows, context)
}

/** Whether numbers of all owners together are asked for while one is missing; says so. */
function isIncomplete(route: RootRoute, plan: Pick<AggregatePlan, 'groupBy'>, context: RootContext): boolean {
  const missing = missingOwners(route, context)
  if (missing.length === 0 || isByOrganization(plan)) return false
  for (const [organization] of missing) context.errors.push(answerError('INCOMPLETE', { organization, path: [route.root.responseKey] }))
  return true
}

interface Partial {
  readonly texts: readonly (string | null)[]
  readonly organization: string
}

/** What owners gave to be combined, in their order; their ledgers have it. @throws GatewayError QUERY_TOO_COSTLY */
function partials({ tasks }: RootRoute, max: number, { results, shares }: RootContext): readonly Partial[] {
  return tasks.flatMap((task): Partial[] => {
    const answer = results[task.index]
    if (!answer || answer instanceof GatewayError) return []
    const { organization } = task.owner
    const { first: chunk } = answer
    if (chunk.count > max) throw new GatewayError('QUERY_TOO_COSTLY', `more than ${max} groups or buckets of one owner`)
    const share = shareOf(organization, shares)
    share.rows += chunk.count
    return Array.from({ length: chunk.count }, (_, row) => {
      const texts = keysAt(chunk, row)
      share.texts.push(byteText(JSON.stringify(texts))) // its canonical partial
      return { texts, organization }
    })
  })
}

function organizationsText(root: Extract<BoundRoot, { kind: 'organizations' }>, context: RootContext): ByteText {
  const texts = [...context.run.authority.owners.keys()].sort(compareText).flatMap((id) => {
    const organization = context.parts.organizations.get(id)
    if (!organization) return []
    const values = { id, name: organization.name, jurisdiction: organization.jurisdiction, __typename: 'Organization' }
    return [objectText(root.fields.map((field) => member(field.responseKey, byteText(JSON.stringify(values[field.field])))))]
  })
  return listText(texts)
}

/** Introspection tells of the schema only, which is the same for everybody: graphql-js answers it. */
function introspection(nodes: readonly FieldNode[], context: RootContext): string {
  const { operation, variables } = context.run
  const definition = {
    ...operation.definition,
    directives: [],
    selectionSet: { kind: Kind.SELECTION_SET as const, selections: nodes.map((node) => ({ ...node, directives: [] })) },
  }
  const document: DocumentNode = { kind: Kind.DOCUMENT, definitions: [definition, ...operation.fragments.values()] }
  const result = executeGraphql({ schema: context.parts.schema, document, variableValues: (variables ?? {}) as Record<string, unknown> })
  invariant(!(result instanceof Promise), 'introspection is synchronous')
  const [value] = Object.values(result.data ?? {}) // all nodes answer under one key
  return JSON.stringify(value ?? null)
}

/** Notes what leaves, by owner, for the ledger. A row that is selected twice, under `nodes` and `edges`, is one row of two texts. */
export function give(page: Page, owners: readonly Pick<OwnerRows, 'organization'>[], shares: Map<string, OwnerShare>): void {
  if (page.count === 0) return
  const [only, ...others] = owners
  if (only && others.length === 0 && page.columns === 1) {
    const share = shareOf(only.organization, shares)
    share.rows += page.count
    for (const [index, piece] of page.joined(0).entries()) share.texts.push(index === 0 ? piece : withoutComma(piece))
    return
  }
  for (let row = 0; row < page.count; row += 1) {
    const share = shareOf(page.organizationOf(row), shares)
    share.rows += 1
    for (let column = 0; column < page.columns; column += 1) share.texts.push(page.at(column, row))
  }
}

/** A score tells of a row's vector, so it is of what the owner gave. */
function giveScores(list: ListPlan, page: Page, shares: Map<string, OwnerShare>): void {
  if (!list.fields.some((field) => field.kind === 'edges' && field.fields.some(({ kind }) => kind === 'score'))) return
  for (let row = 0; row < page.count; row += 1) shareOf(page.organizationOf(row), shares).texts.push(scoreOf(page.keysOf(row)))
}

/** Every piece but the first begins with the comma before its first text. */
export function withoutComma(piece: Bytes): Bytes {
  return typeof piece === 'string' ? (piece.slice(1) as ByteText) : piece.subarray(1) // the brand: a part of bytes
}

export interface RootContext {
  readonly parts: EngineParts
  readonly run: Run
  readonly results: Results
  readonly errors: AnswerError[]
  readonly shares: Map<string, OwnerShare>
}

export function missingOwners({ tasks }: RootRoute, { results }: Pick<RootContext, 'results'>): readonly (readonly [string, Code])[] {
  return tasks.flatMap((task) => {
    const result = results[task.index]
    return result instanceof GatewayError ? [[task.owner.organization, result.code] as const] : []
  })
}

export function isByOrganization({ groupBy }: Pick<AggregatePlan, 'groupBy'>): boolean {
  return groupBy.some((key) => key.field === ORGANIZATION_FIELD)
}

export function answerError(code: Code, place: Pick<AnswerError, 'organization' | 'path'>): AnswerError {
  return { message: CODES[code].message, code, ...place }
}
