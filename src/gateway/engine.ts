/**
 * The way of an operation through the engine: bind → authorize → restrict → compile → execute → assemble. What is made on the way is kept beside the operation: a
 * bound plan per input shape, a compiled statement per input shape, decision shape and page start.
 */
import { execute as executeGraphql, getVariableValues, Kind } from 'graphql'
import type { DocumentNode, FieldNode, GraphQLSchema } from 'graphql'
import type { OwnerDisclosure, TypeDisclosure } from '../audit/record.js'
import type { Chunk, Connector, Row, Statement, Values } from '../connectors/connector.js'
import { CODES, type Code, GatewayError, invariant } from '../errors.js'
import type { Authority, GrantSource } from '../policy/authority.js'
import type { Principal } from '../policy/principal.js'
import { restrict } from '../policy/restrict.js'
import { aggregateJson, combineGroups, groupsOfNobody, readGroup, releasedGroups } from '../query/aggregate.js'
import type { OrganizationBinding } from '../query/binding.js'
import { type Catalog, ORGANIZATION_FIELD } from '../query/catalog.js'
import { parseGlobalId } from '../query/global-id.js'
import { compareText } from '../query/order.js'
import type { AggregatePlan, AuthorizedPlan, ListPlan, PageStart, Plan } from '../query/plan.js'
import type { Operand, Scalar } from '../query/predicate.js'
import type { ApiIndex } from './api-schema.js'
import { connectionText, hasNestedCursors, member, nestedLists, sealNested, totalCountKeys } from './assemble.js'
import { bind } from './bind.js'
import type { BoundPlan, BoundRoot, CostNode, FieldUse } from './bound-plan.js'
import { inputShape } from './input-shape.js'
import type { CursorPlace, Cursors } from './cursor.js'
import { checkText, slotValues } from './input.js'
import { mergePage, type OwnedRow } from './merge.js'
import type { Operation } from './operation.js'
import type { AnswerError, EngineOutcome, Sovereignty } from './outcome.js'
import { type ChoiceContext, type ChosenOwner, chooseOwners, type FieldRefusal } from './owners.js'

export interface EngineOrganization {
  readonly id: string
  readonly name: string
  readonly jurisdiction: string
  readonly stores: ReadonlyMap<string, { readonly jurisdiction: string; readonly connector: Connector }>
  /** Null until the stores have been described. */
  binding(): OrganizationBinding | null
}

export interface EngineParts {
  readonly schema: GraphQLSchema
  readonly catalog: Catalog
  readonly index: ApiIndex
  readonly organizations: ReadonlyMap<string, EngineOrganization>
  readonly cursors: Cursors
  readonly gatewayJurisdiction: string
  readonly limits: EngineLimits
}

export interface EngineLimits {
  readonly deadlineMs: number
  readonly pageRows: number
  readonly defaultRows: number
  readonly nestedRows: number
  /** Groups that one owner may give to be combined with those of others. */
  readonly groups: number
  readonly conditions: number
  readonly listValues: number
  readonly cost: number
  readonly answerBytes: number
  /** Bound plans and compiled statements kept for one document. */
  readonly derived: number
}

export interface EngineRequest {
  readonly operation: Operation
  /** As the client sent them. */
  readonly variables: unknown
  readonly principal: Principal
  readonly authority: Authority
  readonly signal: AbortSignal
}

/** One statement to run: for one root field (or one type of it) and one owner. */
interface Task {
  readonly root: BoundRoot
  readonly plan: Plan
  readonly owner: ChosenOwner
  readonly native: unknown
  readonly connector: Connector | null
  readonly values: Values
}

interface Run extends EngineRequest {
  readonly bound: BoundPlan
  readonly shape: string
  readonly slots: readonly (Scalar | readonly Scalar[] | null)[]
  readonly choice: ChoiceContext
  readonly leftOut: { organization: string; code: Code }[]
  readonly chosen: ChosenOwner[]
}

/** A compiled statement of one owner as `explain` shows it. */
export interface ExplainedStatement {
  readonly organization: string
  readonly responseKey: string
  readonly type: string
  readonly text: string
}

export class Engine {
  constructor(private readonly parts: EngineParts) {}

  /** @throws GatewayError every code of a refusal; failures of owners are part of the outcome. */
  async run(request: EngineRequest): Promise<EngineOutcome> {
    const run = this.prepare(request)
    const { tasks, positions } = this.plan(run)
    const results = await this.execute(tasks, run)
    return this.assemble(run, tasks, results, positions)
  }

  /** What would be asked of whom; nothing is asked. @throws as `run`. */
  explain(request: EngineRequest): {
    readonly sovereignty: Sovereignty
    readonly owners: readonly OwnerDisclosure[]
    readonly statements: readonly ExplainedStatement[]
    readonly cost: number
  } {
    const run = this.prepare(request)
    const { tasks } = this.plan(run)
    const statements = tasks.flatMap(({ root, plan, owner, native, connector }): ExplainedStatement[] =>
      connector ? [{ organization: owner.organization, responseKey: root.responseKey, type: typeOf(plan), text: connector.describe(native) }] : [],
    )
    return { sovereignty: this.sovereignty(run, new Map()), owners: [], statements, cost: costOf(run) }
  }

  // --- bind ----------------------------------------------------------------------------------------------------------------------------------------------------

  private prepare(request: EngineRequest): Run {
    const { operation, authority, principal } = request
    const { schema, limits } = this.parts
    const given = request.variables ?? {}
    if (typeof given !== 'object' || Array.isArray(given)) throw new GatewayError('BAD_USER_INPUT', '`variables` is not an object', { argument: 'variables' })
    const coerced = getVariableValues(schema, operation.definition.variableDefinitions ?? [], given as Record<string, unknown>, { maxErrors: 5 })
    if (coerced.errors) throw new GatewayError('BAD_USER_INPUT', 'a variable does not fit its type', variableContext(coerced.errors[0]))
    const parts = { ...this.parts, limits: { rows: limits.pageRows, nestedRows: limits.nestedRows, defaultRows: limits.defaultRows, terms: limits.conditions } }
    const shape = inputShape(operation, coerced.coerced, parts)
    const bound = this.derived(operation, `b|${shape}`, () => bind(operation, coerced.coerced, parts))
    const slots = slotValues(bound.slots, coerced.coerced)
    checkValues(bound, slots, limits)
    const bindings = new Map<string, OrganizationBinding>()
    for (const organization of this.parts.organizations.values()) {
      const binding = organization.binding()
      if (binding) bindings.set(organization.id, binding)
    }
    const choice: ChoiceContext = { authority, home: principal.organization, catalog: this.parts.catalog, bindings, onForbidden: bound.onForbidden }
    const run: Run = { ...request, bound, shape, slots, choice, leftOut: [], chosen: [] }
    if (costOf(run) > limits.cost) throw new GatewayError('QUERY_TOO_COSTLY', `more than ${limits.cost} rows and counts are asked for`)
    return run
  }

  private derived<T>(operation: Operation, key: string, make: () => T): T {
    const known = operation.derived.get(key)
    if (known !== undefined) return known as T // one key, one maker
    const made = make()
    operation.derived.set(key, made)
    if (operation.derived.size > this.parts.limits.derived) {
      const [oldest] = operation.derived.keys()
      if (oldest !== undefined) operation.derived.delete(oldest)
    }
    return made
  }

  // --- authorize, restrict, compile ----------------------------------------------------------------------------------------------------------------------------

  private plan(run: Run): { readonly tasks: readonly Task[]; readonly positions: ReadonlyMap<BoundRoot, Positions> } {
    const tasks: Task[] = []
    const positions = new Map<BoundRoot, Positions>()
    for (const [index, root] of run.bound.roots.entries()) {
      switch (root.kind) {
        case 'connection': {
          const owners = this.choose(root.list.type, root.uses, namesOf(root.organizations, run.slots), run)
          const page = this.pageStarts(root.list, root.organizations, owners, run)
          positions.set(root, page)
          const taken = page.pinned ? owners.filter((owner) => page.pinned?.includes(owner.organization)) : owners
          for (const owner of taken) tasks.push(this.task(root, { kind: 'list', list: root.list }, owner, page, `${index}`, run))
          break
        }
        case 'lookup': {
          const organization = String(operandValue(root.organization, run.slots))
          const [owner] = this.choose(root.list.type, root.uses, [organization], run)
          const page = this.pageStarts(root.list, null, [], run)
          if (owner) tasks.push(this.task(root, { kind: 'list', list: root.list }, owner, page, `${index}`, run))
          break
        }
        case 'nodes':
          tasks.push(...this.nodeTasks(root, index, run))
          break
        case 'aggregate': {
          const owners = this.choose(root.aggregate.type, root.uses, namesOf(root.organizations, run.slots), run)
          const aggregate = partOfAggregate(root.aggregate, owners.length, this.parts.limits.groups)
          for (const owner of owners)
            tasks.push(this.task(root, { kind: 'aggregate', aggregate }, owner, NO_POSITIONS, `${index}:${owners.length > 1 ? 'part' : 'whole'}`, run))
          break
        }
        case 'organizations':
        case 'typename':
        case 'introspection':
          break
      }
    }
    return { tasks, positions }
  }

  private choose(type: string, uses: readonly FieldUse[], named: readonly string[] | null, run: Run): readonly ChosenOwner[] {
    const { chosen, leftOut } = chooseOwners(type, uses, named, run.choice)
    run.leftOut.push(...leftOut)
    run.chosen.push(...chosen)
    return chosen
  }

  /** Ids say whom they belong to. An unknown, hidden or foreign one is null, and nothing tells which. */
  private nodeTasks(root: Extract<BoundRoot, { kind: 'nodes' }>, index: number, run: Run): readonly Task[] {
    const tasks: Task[] = []
    const ids = [operandValue(root.ids, run.slots)].flat().map((id) => parseGlobalId(String(id)))
    for (const [type, { list, uses }] of root.lists) {
      const named = new Set(ids.flatMap((id) => (id?.type === type && run.authority.owners.get(id.organization)?.types.has(type) ? [id.organization] : [])))
      if (named.size === 0) continue
      const page = this.pageStarts(list, null, [], run)
      for (const owner of this.choose(type, uses, [...named].sort(compareText), run)) {
        tasks.push(this.task(root, { kind: 'list', list }, owner, page, `${index}:${type}`, run))
      }
    }
    return tasks
  }

  private task(root: BoundRoot, plan: Plan, owner: ChosenOwner, positions: Positions, key: string, run: Run): Task {
    const { organization, binding, grant } = owner
    const starts = startsFor(organization, positions)
    const values: Values = { slots: [...run.slots, ...positions.values], claims: run.principal.claims }
    if (!binding?.types.has(typeOf(plan))) return { root, plan, owner, native: null, connector: null, values } // never described, or not bound as the contract needs
    const connector = this.connectorOf(typeOf(plan), organization, binding)
    const shape = [...starts].map(([path, start]) => `${path}:${start.side}:${start.nulls.map(Number).join('')}`).join(',')
    const native = this.derived(run.operation, `c|${run.shape}|${key}|${organization}|${run.authority.shape}|${shape}`, () => {
      const authorized = restrict(plan, grant, { catalog: this.parts.catalog, binding, caller: run.principal.organization, starts })
      return compileWhole(connector, authorized)
    })
    return { root, plan, owner, native, connector, values }
  }

  private connectorOf(type: string, organization: string, binding: OrganizationBinding): Connector {
    const stores = this.parts.organizations.get(organization)?.stores
    const bound = binding.types.get(type)
    const store = bound?.kind === 'table' ? stores?.get(bound.store) : stores?.values().next().value
    invariant(store, `organization \`${organization}\` has a store for \`${type}\``)
    return store.connector
  }

  /** Opens the cursors of a root list and of the lists in it. @throws GatewayError CURSOR_INVALID */
  private pageStarts(root: ListPlan, organizations: Operand | null, owners: readonly ChosenOwner[], run: Run): Positions {
    const lists = [root, ...nestedLists(root).values()].filter((list) => list.cursor !== null)
    if (lists.length === 0) return NO_POSITIONS
    const values: Scalar[] = []
    const places = lists.map((list) => {
      invariant(list.cursor, 'lists without a cursor are left out')
      const place = this.parts.cursors.open(String(operandValue(list.cursor, run.slots)), cursorBinding(list, list === root ? organizations : null, run))
      const firstValue = run.slots.length + values.length
      values.push(...place.order.map((value) => value ?? ''), ...place.key)
      return { list, place, firstValue }
    })
    const pinned = root.cursor ? (places[0]?.place.owners ?? []) : null
    const missing = pinned?.find((organization) => !owners.some((owner) => owner.organization === organization))
    if (missing !== undefined) throw new GatewayError('CURSOR_INVALID', 'an owner of the first page may no longer be queried')
    return { pinned, places, values }
  }

  // --- execute -------------------------------------------------------------------------------------------------------------------------------------------------

  /** All statements of one owner's store in one flush, all owners at once, under one deadline. */
  private async execute(tasks: readonly Task[], run: Run): Promise<ReadonlyMap<Task, Chunk | GatewayError>> {
    const results = new Map<Task, Chunk | GatewayError>()
    const groups = new Map<string, { connector: Connector; tasks: Task[] }>()
    for (const task of tasks) {
      if (!task.connector) {
        results.set(task, new GatewayError('SOURCE_UNAVAILABLE', 'the stores were never reached'))
        continue
      }
      const key = `${task.owner.organization}/${task.connector.store}`
      const group = groups.get(key) ?? { connector: task.connector, tasks: [] }
      group.tasks.push(task)
      groups.set(key, group)
    }
    if (groups.size === 0) return results
    const { deadlineMs } = this.parts.limits
    const controller = new AbortController()
    const timer = setTimeout(() => controller.abort(new GatewayError('SOURCE_TIMEOUT', 'the deadline has passed')), deadlineMs)
    const leave = (): void => controller.abort(new GatewayError('CANCELLED', 'the client went away'))
    run.signal.addEventListener('abort', leave, { once: true })
    if (run.signal.aborted) leave()
    try {
      await Promise.all(
        [...groups.values()].map(async ({ connector, tasks: asked }) => {
          const statements = asked.map(({ native, values }): Statement<unknown> => ({ native, values }))
          try {
            const chunks = await connector.execute(statements, run.principal.organization, { signal: controller.signal, deadlineMs })
            for (const [index, task] of asked.entries()) results.set(task, chunks[index] ?? EMPTY_CHUNK)
          } catch (error) {
            const failure = error instanceof GatewayError ? error : new GatewayError('SOURCE_UNAVAILABLE', 'a connector failed', { cause: error })
            for (const task of asked) results.set(task, failure)
          }
        }),
      )
    } finally {
      clearTimeout(timer)
      run.signal.removeEventListener('abort', leave)
    }
    if (run.signal.aborted) throw new GatewayError('CANCELLED', 'the client went away')
    return results
  }

  // --- assemble ------------------------------------------------------------------------------------------------------------------------------------------------

  private assemble(
    run: Run,
    tasks: readonly Task[],
    results: ReadonlyMap<Task, Chunk | GatewayError>,
    positions: ReadonlyMap<BoundRoot, Positions>,
  ): EngineOutcome {
    const failed = new Map<string, GatewayError>()
    for (const [task, result] of results) if (result instanceof GatewayError) failed.set(task.owner.organization, result)
    if (failed.size > 0 && run.bound.onUnavailable === 'FAIL') {
      const [[organization, error]] = [...failed].sort(([a], [b]) => compareText(a, b)) as [[string, GatewayError]] // not empty
      throw new GatewayError(error.code, 'an organization failed, and the operation asks for all or nothing', { organization, cause: error })
    }
    const errors: AnswerError[] = []
    const given = new Map<string, string[]>()
    const members = run.bound.roots.map((root) => {
      const own = tasks.filter((task) => task.root === root)
      const context: RootContext = { run, own, results, errors, given, positions: positions.get(root) ?? NO_POSITIONS }
      return member(root.responseKey, this.rootText(root, context))
    })
    if (run.bound.onUnavailable === 'REPORT')
      errors.unshift(...[...failed].sort(([a], [b]) => compareText(a, b)).map(([organization, { code }]) => answerError(code, { organization })))
    return {
      data: `{${members.join(',')}}`,
      errors,
      sovereignty: this.sovereignty(run, failed),
      owners: this.ownerDisclosures(run, tasks, failed, given),
      cost: costOf(run),
    }
  }

  private rootText(root: BoundRoot, context: RootContext): string {
    switch (root.kind) {
      case 'typename':
        return '"Query"'
      case 'introspection':
        return this.introspection(root.nodes, context.run)
      case 'organizations':
        return this.organizationsText(root, context.run)
      case 'connection':
        return this.connection(root, context)
      case 'lookup': {
        const [owner] = this.rowsOf(root.list, context)
        const row = owner?.rows[0]
        if (owner && row) this.give([{ ...row, organization: owner.organization }], context)
        return row?.texts[0] ?? 'null'
      }
      case 'nodes':
        return this.nodesText(root, context)
      case 'aggregate':
        return this.aggregate(root, context)
    }
  }

  private connection(root: Extract<BoundRoot, { kind: 'connection' }>, context: RootContext): string {
    const { list } = root
    const { run, errors, positions } = context
    const missing = missingOwners(context)
    const path = [root.responseKey]
    if (positions.pinned && missing.length > 0) {
      // Keyset paging would skip the rows of an owner that served an earlier page for ever.
      for (const [organization, code] of missing) errors.push(answerError(code, { organization, path }))
      return 'null'
    }
    const owners = this.rowsOf(list, context)
    const limit = Number(operandValue(list.limit, run.slots))
    const page = mergePage(list, owners, limit, this.parts.catalog)
    let totalCount: number | null = owners.reduce((sum, owner) => sum + (owner.totalCount ?? 0), 0)
    if (missing.length > 0) {
      totalCount = null
      for (const key of totalCountKeys(list))
        for (const [organization] of missing) errors.push(answerError('INCOMPLETE', { organization, path: [...path, key] }))
    }
    this.give(page.rows, context)
    const served = owners.map((owner) => owner.organization)
    const pinned = positions.pinned ?? served
    const binding = cursorBinding(list, root.organizations, run)
    const cursorOf = (row: OwnedRow): string => this.parts.cursors.seal(placeOf(row, list, pinned), binding)
    return connectionText(list, { rows: page.rows, hasMore: page.hasMore, totalCount, hasStart: list.cursor !== null, cursorOf })
  }

  /** Rows of each owner that answered, with nested cursors sealed. */
  private rowsOf(
    list: ListPlan,
    { own, results, run }: RootContext,
  ): { organization: string; rows: readonly Row[]; totalCount: number | null; type: string }[] {
    const sealing = hasNestedCursors(list)
    const nested = sealing ? nestedLists(list) : new Map<string, ListPlan>()
    return own.flatMap((task) => {
      const chunk = results.get(task)
      if (!chunk || chunk instanceof GatewayError) return []
      const { organization } = task.owner
      const seal = (path: string, texts: readonly (string | null)[]): string => {
        const inner = nested.get(path)
        invariant(inner, `nested list \`${path}\``)
        return this.parts.cursors.seal(placeOfTexts(texts, inner, organization, []), cursorBinding(inner, null, run))
      }
      const rows = sealing ? chunk.rows.map((row) => ({ ...row, texts: row.texts.map((text) => sealNested(text, seal)) })) : chunk.rows
      return [{ organization, rows, totalCount: chunk.totalCount, type: typeOf(task.plan) }]
    })
  }

  private nodesText(root: Extract<BoundRoot, { kind: 'nodes' }>, context: RootContext): string {
    const found = new Map<string, string>()
    for (const [type, { list }] of root.lists) {
      for (const owner of this.rowsOf(list, { ...context, own: context.own.filter((task) => typeOf(task.plan) === type) })) {
        this.give(
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

  private aggregate(root: Extract<BoundRoot, { kind: 'aggregate' }>, context: RootContext): string {
    const { aggregate } = root
    const { run, own, results, errors } = context
    const entity = this.parts.catalog.entities.get(aggregate.type)
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
      if (chunk.rows.length > this.parts.limits.groups) throw new GatewayError('QUERY_TOO_COSTLY', `more than ${this.parts.limits.groups} groups of one owner`)
      const given = context.given.get(organization) ?? []
      given.push(...chunk.rows.map((row) => JSON.stringify(row.keys)))
      context.given.set(organization, given)
      return chunk.rows.map((row) => readGroup(aggregate, row.keys, organization))
    })
    const combined = own.length === 0 ? groupsOfNobody(aggregate) : combineGroups(aggregate, entity, groups)
    return aggregateJson(
      aggregate,
      entity,
      releasedGroups(aggregate, entity, combined, (operand) => operandValue(operand, run.slots)),
    )
  }

  private organizationsText(root: Extract<BoundRoot, { kind: 'organizations' }>, { authority }: Run): string {
    const texts = [...authority.owners.keys()].sort(compareText).flatMap((id) => {
      const organization = this.parts.organizations.get(id)
      if (!organization) return []
      const values = { id, name: organization.name, jurisdiction: organization.jurisdiction, __typename: 'Organization' }
      return [`{${root.fields.map((field) => member(field.responseKey, JSON.stringify(values[field.field]))).join(',')}}`]
    })
    return `[${texts.join(',')}]`
  }

  /** Introspection tells of the schema only, which is the same for everybody: graphql-js answers it. */
  private introspection(nodes: readonly FieldNode[], { operation, variables }: Run): string {
    const definition = {
      ...operation.definition,
      directives: [],
      selectionSet: { kind: Kind.SELECTION_SET as const, selections: nodes.map((node) => ({ ...node, directives: [] })) },
    }
    const document: DocumentNode = { kind: Kind.DOCUMENT, definitions: [definition, ...operation.fragments.values()] }
    const result = executeGraphql({ schema: this.parts.schema, document, variableValues: (variables ?? {}) as Record<string, unknown> })
    invariant(!(result instanceof Promise), 'introspection is synchronous')
    const [value] = Object.values(result.data ?? {}) // all nodes answer under one key
    return JSON.stringify(value ?? null)
  }

  /** Notes the texts that leave, by owner, for the ledger's digest. */
  private give(rows: readonly OwnedRow[], { given }: RootContext): void {
    for (const row of rows) {
      const texts = given.get(row.organization)
      if (texts) texts.push(...row.texts)
      else given.set(row.organization, [...row.texts])
    }
  }

  // --- what the answer says of itself --------------------------------------------------------------------------------------------------------------------------

  private sovereignty(run: Run, failed: ReadonlyMap<string, GatewayError>): Sovereignty {
    const served = new Map<string, Readonly<Record<string, unknown>>>()
    const masked = new Map<string, Readonly<Record<string, unknown>>>()
    const withheld = new Map<string, Readonly<Record<string, unknown>>>()
    for (const owner of run.chosen) {
      const { organization, grant } = owner
      for (const type of typesOf(owner)) {
        const source = grant.types.get(type)?.source
        if (source && !failed.has(organization)) served.set(JSON.stringify([organization, sourceName(source)]), { organization, ...sourceWords(source) })
      }
      for (const disclosure of owner.disclosures) {
        const { type, field } = disclosure
        const source = grant.types.get(type)?.source ?? [...grant.types.values()][0]?.source
        const key = JSON.stringify([organization, type, field])
        const words = source ? sourceWords(source) : {}
        if (disclosure.kind === 'masked') masked.set(key, { organization, type, field, mask: disclosure.mask, ...words })
        else withheld.set(key, { organization, type, field, conditional: disclosure.conditional, ...words })
      }
    }
    const inOrder = <T>(entries: ReadonlyMap<string, T>): T[] => [...entries].sort(([a], [b]) => compareText(a, b)).map(([, entry]) => entry)
    const codes = [...failed].map(([organization, { code }]) => [organization, { organization, code }] as const)
    return {
      served: inOrder(served),
      leftOut: inOrder(new Map(run.leftOut.map((entry) => [entry.organization, entry]))),
      failed: inOrder(new Map(codes)),
      masked: inOrder(masked),
      withheld: inOrder(withheld),
    }
  }

  /** What an owner's ledger says of an operation that its policy refused. */
  refusalDisclosure({ grant, use, code }: FieldRefusal, principal: Principal): OwnerDisclosure | null {
    const source = grant.types.get(use.type)?.source ?? [...grant.types.values()][0]?.source
    if (!source) return null
    return {
      organization: grant.organization,
      source,
      types: [{ type: use.type, fields: [use.field], decisions: { [use.field]: 'deny' } }],
      stores: [],
      jurisdictions: this.jurisdictions([], grant.organization, principal),
      rows: 0,
      contribution: null,
      outcome: 'refused',
      code,
    }
  }

  private jurisdictions(stores: readonly string[], organization: string, principal: Principal): OwnerDisclosure['jurisdictions'] {
    const facts = this.parts.organizations.get(organization)
    return {
      stored: [...new Set(stores.flatMap((store) => facts?.stores.get(store)?.jurisdiction ?? []))],
      gateway: this.parts.gatewayJurisdiction,
      grantee: this.parts.organizations.get(principal.organization)?.jurisdiction ?? null,
    }
  }

  private ownerDisclosures(
    run: Run,
    tasks: readonly Task[],
    failed: ReadonlyMap<string, GatewayError>,
    given: ReadonlyMap<string, readonly string[]>,
  ): readonly OwnerDisclosure[] {
    const disclosures: OwnerDisclosure[] = []
    const counted = new Set<string>()
    for (const { organization, source, types } of sourcesOf(run.chosen)) {
      const own = tasks.filter((task) => task.owner.organization === organization && types.some(({ type }) => type === typeOf(task.plan)))
      const failure = failed.get(organization)
      const texts = given.get(organization) ?? []
      const isFirst = !counted.has(organization) // several agreements of one owner: its rows are counted once
      counted.add(organization)
      const stores = [...new Set(own.flatMap((task) => task.connector?.store ?? []))]
      disclosures.push({
        organization,
        source,
        types,
        stores,
        jurisdictions: this.jurisdictions(stores, organization, run.principal),
        rows: isFirst ? texts.length : 0,
        contribution: isFirst && texts.length > 0 ? texts : null,
        predicateText: own.map((task) => (task.connector ? task.connector.describe(task.native) : '')).join('\n'),
        ...(failure ? { outcome: 'failed' as const, code: failure.code } : {}),
      })
    }
    return disclosures
  }
}

interface RootContext {
  readonly run: Run
  readonly own: readonly Task[]
  readonly results: ReadonlyMap<Task, Chunk | GatewayError>
  readonly errors: AnswerError[]
  readonly given: Map<string, string[]>
  readonly positions: Positions
}

const EMPTY_CHUNK: Chunk = { rows: [], totalCount: null }

/** Unsealed cursors of one root field. */
interface Positions {
  /** Owners that served the first page; null for a first page. */
  readonly pinned: readonly string[] | null
  readonly places: readonly { readonly list: ListPlan; readonly place: CursorPlace; readonly firstValue: number }[]
  /** Slots after those of the request. */
  readonly values: readonly Scalar[]
}

const NO_POSITIONS: Positions = { pinned: null, places: [], values: [] }

/** Where each list starts for one owner: its side of the cursor's owner decides whether rows that equal the cursor's sort values are still to come. */
function startsFor(organization: string, { places }: Positions): ReadonlyMap<string, PageStart> {
  return new Map(
    places.map(({ list, place, firstValue }) => {
      const turned = list.backward ? -1 : 1
      const side = compareText(organization, place.organization) * turned
      const slot = (index: number): Operand => ({ kind: 'slot', index: firstValue + index })
      return [
        list.path,
        {
          side: side < 0 ? 'before' : side > 0 ? 'after' : 'same',
          nulls: place.order.map((value) => value === null),
          values: place.order.map((_value, index) => slot(index)),
          key: place.key.map((_value, index) => slot(place.order.length + index)),
        },
      ]
    }),
  )
}

/** What a cursor belongs to: caller, purpose, list, its arguments but the page's, and the decision shape. */
function cursorBinding(list: ListPlan, organizations: Operand | null, run: Run): string {
  const resolve = (_key: string, value: unknown): unknown => (isSlot(value) ? { value: run.slots[value.index] } : value)
  const named = organizations ? operandValue(organizations, run.slots) : null
  const { principal, authority } = run
  return JSON.stringify([principal.issuer, principal.subject, authority.purpose, authority.shape, list.type, list.path, list.where, list.order, named], resolve)
}

function isSlot(value: unknown): value is Extract<Operand, { kind: 'slot' }> {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'slot' && 'index' in value
}

function placeOf(row: OwnedRow, list: ListPlan, owners: readonly string[]): CursorPlace {
  return placeOfTexts(row.keys, list, row.organization, owners)
}

function placeOfTexts(texts: readonly (string | null)[], list: ListPlan, organization: string, owners: readonly string[]): CursorPlace {
  return { order: texts.slice(0, list.order.length), organization, key: texts.slice(list.order.length).map((text) => text ?? ''), owners }
}

/** Policy and predicate are pushed down whole by every connector that there is; a residual would need filtering here, and forbids the pushed limit. */
function compileWhole(connector: Connector, plan: AuthorizedPlan): unknown {
  const { native, residual } = connector.compile(plan)
  invariant(residual.kind === 'all', `store \`${connector.store}\` left a residual`)
  return native
}

/** Groups that several owners share are combined here: each gives all of its groups, and having, order and limit come after. */
function partOfAggregate(aggregate: AggregatePlan, owners: number, groupsMax: number): AggregatePlan {
  if (owners <= 1 || isByOrganization(aggregate)) return aggregate
  if (aggregate.measures.some((measure) => measure.fn === 'countDistinct'))
    throw new GatewayError('NOT_EXACT', '`countDistinct` over several organizations: group by ORGANIZATION')
  return { ...aggregate, having: { kind: 'all' }, order: [], limit: { kind: 'constant', value: groupsMax + 1 } }
}

function isByOrganization(aggregate: AggregatePlan): boolean {
  return aggregate.groupBy.some((key) => key.field === ORGANIZATION_FIELD)
}

function missingOwners({ own, results }: RootContext): readonly (readonly [string, Code])[] {
  return own.flatMap((task) => {
    const result = results.get(task)
    return result instanceof GatewayError ? [[task.owner.organization, result.code] as const] : []
  })
}

function answerError(code: Code, place: Pick<AnswerError, 'organization' | 'path'>): AnswerError {
  return { message: CODES[code].message, code, ...place }
}

function typeOf(plan: Plan): string {
  return plan.kind === 'list' ? plan.list.type : plan.aggregate.type
}

function typesOf(owner: ChosenOwner): readonly string[] {
  return [...new Set(owner.uses.map((use) => use.type))]
}

function sourceName(source: GrantSource): string {
  return source.kind === 'roles' ? 'roles' : source.agreement
}

/** As answers name a rule. */
export function sourceWords(source: GrantSource): Readonly<Record<string, unknown>> {
  return source.kind === 'roles' ? { roles: source.roles, version: source.version } : { agreement: source.agreement, version: source.version }
}

interface OwnerSource {
  readonly organization: string
  readonly grant: ChosenOwner['grant']
  readonly source: GrantSource
  readonly types: readonly TypeDisclosure[]
}

/** By owner and rule: the types and fields that the operation names there. */
function sourcesOf(chosen: readonly ChosenOwner[]): readonly OwnerSource[] {
  const found = new Map<string, { organization: string; grant: ChosenOwner['grant']; source: GrantSource; types: Map<string, FieldFacts> }>()
  for (const owner of chosen) {
    for (const use of owner.uses) {
      const source = owner.grant.types.get(use.type)?.source ?? [...owner.grant.types.values()][0]?.source
      if (!source) continue
      const key = JSON.stringify([owner.organization, sourceName(source)])
      const entry = found.get(key) ?? { organization: owner.organization, grant: owner.grant, source, types: new Map<string, FieldFacts>() }
      found.set(key, entry)
      const facts = entry.types.get(use.type) ?? { fields: new Set<string>(), decisions: {}, masks: {} }
      entry.types.set(use.type, facts)
      facts.fields.add(use.field)
      const disclosure = owner.disclosures.find((candidate) => candidate.type === use.type && candidate.field === use.field)
      if (disclosure?.kind === 'masked') {
        facts.decisions[use.field] = 'mask'
        facts.masks[use.field] = disclosure.mask
      } else if (disclosure) facts.decisions[use.field] = disclosure.conditional ? 'conditional' : 'deny'
    }
  }
  return [...found.values()].map(({ types, ...rest }) => ({
    ...rest,
    types: [...types].map(([type, facts]) => ({ type, fields: [...facts.fields].sort(compareText), decisions: facts.decisions, masks: facts.masks })),
  }))
}

interface FieldFacts {
  readonly fields: Set<string>
  readonly decisions: Record<string, 'mask' | 'conditional' | 'deny'>
  readonly masks: Record<string, string>
}

// --- values ----------------------------------------------------------------------------------------------------------------------------------------------------

function operandValue(operand: Operand, slots: readonly (Scalar | readonly Scalar[] | null)[]): Scalar | readonly Scalar[] | null {
  if (operand.kind === 'constant') return operand.value
  return operand.kind === 'slot' ? (slots[operand.index] ?? null) : null
}

function namesOf(operand: Operand | null, slots: readonly (Scalar | readonly Scalar[] | null)[]): readonly string[] | null {
  const value = operand ? operandValue(operand, slots) : null
  return value === null ? null : [value].flat().map(String)
}

/** What must hold of values in every request, whatever plan serves it. */
function checkValues(bound: BoundPlan, slots: readonly (Scalar | readonly Scalar[] | null)[], limits: EngineLimits): void {
  let listValues = 0
  for (const value of slots) {
    checkText(value)
    if (Array.isArray(value)) listValues += value.length
  }
  if (listValues > limits.listValues) throw new GatewayError('QUERY_TOO_COSTLY', `more than ${limits.listValues} values in lists`)
  for (const { operand, kind, argument } of bound.checks) {
    const value = operandValue(operand, slots)
    if (kind === 'likePattern') {
      if (/(^|[^\\])(\\\\)*\\$/.test(String(value))) throw new GatewayError('BAD_USER_INPUT', 'a pattern ends in a lone backslash', { argument })
    } else if (kind === 'ids') {
      if (Array.isArray(value) && value.length > limits.pageRows) throw new GatewayError('BAD_USER_INPUT', `more than ${limits.pageRows} ids`, { argument })
    } else {
      const max = kind === 'rows' ? limits.pageRows : limits.nestedRows
      if (typeof value !== 'number' || value < 0 || value > max) throw new GatewayError('BAD_USER_INPUT', `not between 0 and ${max}`, { argument })
    }
  }
}

function costOf({ bound, slots }: Run): number {
  const cost = (node: CostNode): number =>
    rowsAsked(operandValue(node.rows, slots)) * (1 + node.nested.reduce((sum, inner) => sum + cost(inner), 0)) + node.fixed
  return bound.cost.reduce((sum, node) => sum + cost(node), 0)
}

/** A number of rows, or the ids of rows. */
function rowsAsked(value: ReturnType<typeof operandValue>): number {
  if (typeof value === 'object') return value?.length ?? 0
  return typeof value === 'number' ? value : 1
}

function variableContext(error: { readonly locations?: readonly { readonly line: number; readonly column: number }[] | undefined } | undefined): {
  locations?: readonly { readonly line: number; readonly column: number }[]
} {
  return error?.locations ? { locations: error.locations } : {}
}
