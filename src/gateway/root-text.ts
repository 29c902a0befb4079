/** The JSON text of each root field, from what the owners gave. */
import { execute as executeGraphql, Kind } from 'graphql'
import type { DocumentNode, FieldNode } from 'graphql'
import type { Chunk, Row } from '../connectors/connector.js'
import { type Code, CODES, GatewayError, invariant } from '../errors.js'
import { aggregateJson, combineGroups, groupsOfNobody, readGroup, releasedGroups } from '../query/aggregate.js'
import { ORGANIZATION_FIELD } from '../query/catalog.js'
import { parseGlobalId } from '../query/global-id.js'
import { compareText } from '../query/order.js'
import type { AggregatePlan, ListPlan } from '../query/plan.js'
import { connectionText, hasNestedCursors, member, nestedLists, sealNested, totalCountKeys } from './assemble.js'
import type { BoundRoot } from './bound-plan.js'
import { mergePage, type OwnedRow } from './merge.js'
import type { AnswerError } from './outcome.js'
import { cursorBinding, placeOf, placeOfTexts } from './page-position.js'
import { operandValue } from './request-values.js'
import { type EngineParts, type OwnerShare, type Positions, type Run, shareOf, type Task, typeOf } from './run.js'

export function rootText(root: BoundRoot, context: RootContext): string {
  switch (root.kind) {
    case 'typename':
      return '"Query"'
    case 'introspection':
      return introspection(root.nodes, context)
    case 'organizations':
      return organizationsText(root, context)
    case 'connection':
      return connection(root, context)
    case 'lookup': {
      const [owner] = rowsOf(root.list, context)
      const row = owner?.rows[0]
      if (owner && row) give([{ ...row, organization: owner.organization }], context)
      return row?.texts[0] ?? 'null'
    }
    case 'nodes':
      return nodesText(root, context)
    case 'aggregate':
      return aggregate(root, context)
  }
}

function connection(root: Extract<BoundRoot, { kind: 'connection' }>, context: RootContext): string {
  const { list } = root
  const { run, errors, positions } = context
  const missing = missingOwners(context)
  const path = [root.responseKey]
  if (positions.pinned && missing.length > 0) {
    // Keyset paging would skip the rows of an owner that served an earlier page for ever.
    for (const [organization, code] of missing) errors.push(answerError(code, { organization, path }))
    return 'null'
  }
  const owners = rowsOf(list, context)
  const limit = Number(operandValue(list.limit, run.slots))
  const page = mergePage(list, owners, limit, context.parts.catalog)
  let totalCount: number | null = owners.reduce((sum, owner) => sum + (owner.totalCount ?? 0), 0)
  if (missing.length > 0) {
    totalCount = null
    for (const key of totalCountKeys(list)) for (const [organization] of missing) errors.push(answerError('INCOMPLETE', { organization, path: [...path, key] }))
  }
  // Where numbers alone are asked for, they are what the owner gave.
  for (const { organization, totalCount: own } of owners)
    if (own !== null) shareOf(organization, context.shares).texts.push(JSON.stringify({ totalCount: own }))
  give(page.rows, context)
  const served = owners.map((owner) => owner.organization)
  const pinned = positions.pinned ?? served
  const binding = cursorBinding(list, root.organizations, run)
  const cursorOf = (row: OwnedRow): string => context.parts.cursors.seal(placeOf(row, list, pinned), binding)
  return connectionText(list, { rows: page.rows, hasMore: page.hasMore, totalCount, hasStart: list.cursor !== null, cursorOf })
}

/** Rows of each owner that answered, with nested cursors sealed. */
function rowsOf(list: ListPlan, context: RootContext): { organization: string; rows: readonly Row[]; totalCount: number | null; type: string }[] {
  const { own, results, run } = context
  const sealing = hasNestedCursors(list)
  const nested = sealing ? nestedLists(list) : new Map<string, ListPlan>()
  return own.flatMap((task) => {
    const chunk = results.get(task)
    if (!chunk || chunk instanceof GatewayError) return []
    const { organization } = task.owner
    const seal = (path: string, texts: readonly (string | null)[]): string => {
      const inner = nested.get(path)
      invariant(inner, `nested list \`${path}\``)
      return context.parts.cursors.seal(placeOfTexts(texts, inner, organization, []), cursorBinding(inner, null, run))
    }
    const rows = sealing ? chunk.rows.map((row) => ({ ...row, texts: row.texts.map((text) => sealNested(text, seal)) })) : chunk.rows
    return [{ organization, rows, totalCount: chunk.totalCount, type: typeOf(task.plan) }]
  })
}

function nodesText(root: Extract<BoundRoot, { kind: 'nodes' }>, context: RootContext): string {
  const found = new Map<string, string>()
  for (const [type, { list }] of root.lists) {
    for (const owner of rowsOf(list, { ...context, own: context.own.filter((task) => typeOf(task.plan) === type) })) {
      give(
        owner.rows.map((row) => ({ ...row, organization: owner.organization })),
        context,
      )
      for (const row of owner.rows) found.set(JSON.stringify([type, owner.organization, ...row.keys]), row.texts[0] ?? 'null')
    }
  }
  const texts = [operandValue(root.ids, context.run.slots)].flat().map((id) => {
    const parsed = parseGlobalId(String(id))
    return (parsed && found.get(JSON.stringify([parsed.type, parsed.organization, ...parsed.key]))) ?? 'null'
  })
  return root.single ? (texts[0] ?? 'null') : `[${texts.join(',')}]`
}

function aggregate(root: Extract<BoundRoot, { kind: 'aggregate' }>, context: RootContext): string {
  const { aggregate } = root
  const { run, own, results, errors } = context
  const entity = context.parts.catalog.entities.get(aggregate.type)
  invariant(entity, 'a type of the contract')
  const missing = missingOwners(context)
  if (missing.length > 0 && !isByOrganization(aggregate)) {
    for (const [organization] of missing) errors.push(answerError('INCOMPLETE', { organization, path: [root.responseKey] }))
    return 'null'
  }
  const groups = own.flatMap((task) => {
    const chunk = results.get(task)
    if (!chunk || chunk instanceof GatewayError) return []
    const { organization } = task.owner
    if (chunk.rows.length > context.parts.limits.groups)
      throw new GatewayError('QUERY_TOO_COSTLY', `more than ${context.parts.limits.groups} groups of one owner`)
    const share = shareOf(organization, context.shares)
    share.rows += chunk.rows.length
    share.texts.push(...chunk.rows.map((row) => JSON.stringify(row.keys))) // its canonical partial
    return chunk.rows.map((row) => readGroup(aggregate, row.keys, organization))
  })
  const combined = own.length === 0 ? groupsOfNobody(aggregate) : combineGroups(aggregate, entity, groups)
  return aggregateJson(
    aggregate,
    entity,
    releasedGroups(aggregate, entity, combined, (operand) => operandValue(operand, run.slots)),
  )
}

function organizationsText(root: Extract<BoundRoot, { kind: 'organizations' }>, context: RootContext): string {
  const texts = [...context.run.authority.owners.keys()].sort(compareText).flatMap((id) => {
    const organization = context.parts.organizations.get(id)
    if (!organization) return []
    const values = { id, name: organization.name, jurisdiction: organization.jurisdiction, __typename: 'Organization' }
    return [`{${root.fields.map((field) => member(field.responseKey, JSON.stringify(values[field.field]))).join(',')}}`]
  })
  return `[${texts.join(',')}]`
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
function give(rows: readonly OwnedRow[], { shares }: RootContext): void {
  for (const row of rows) {
    const share = shareOf(row.organization, shares)
    share.rows += 1
    share.texts.push(...row.texts)
  }
}

export interface RootContext {
  readonly parts: EngineParts
  readonly run: Run
  readonly own: readonly Task[]
  readonly results: ReadonlyMap<Task, Chunk | GatewayError>
  readonly errors: AnswerError[]
  readonly shares: Map<string, OwnerShare>
  readonly positions: Positions
}

function missingOwners({ own, results }: RootContext): readonly (readonly [string, Code])[] {
  return own.flatMap((task) => {
    const result = results.get(task)
    return result instanceof GatewayError ? [[task.owner.organization, result.code] as const] : []
  })
}

export function isByOrganization(aggregate: AggregatePlan): boolean {
  return aggregate.groupBy.some((key) => key.field === ORGANIZATION_FIELD)
}

export function answerError(code: Code, place: Pick<AnswerError, 'organization' | 'path'>): AnswerError {
  return { message: CODES[code].message, code, ...place }
}
