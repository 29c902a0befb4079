/**
 * The way of an operation through the engine: bind → authorize → restrict → compile → execute → assemble. What is made on the way is kept beside the operation: a
 * bound plan per input shape, a compiled statement per input shape, decision shape and page start.
 */
import { getVariableValues } from 'graphql'
import type { OwnerDisclosure } from '../audit/record.js'
import type { Chunk, Connector, Statement, Values } from '../connectors/connector.js'
import { GatewayError, invariant } from '../errors.js'
import { restrict } from '../policy/restrict.js'
import type { OrganizationBinding } from '../query/binding.js'
import { parseGlobalId } from '../query/global-id.js'
import { compareText } from '../query/order.js'
import type { AggregatePlan, AuthorizedPlan, Plan } from '../query/plan.js'
import { member } from './assemble.js'
import { bind } from './bind.js'
import type { BoundRoot, FieldUse } from './bound-plan.js'
import { slotValues } from './input.js'
import { inputShape } from './input-shape.js'
import type { Operation } from './operation.js'
import type { AnswerError, EngineOutcome, Sovereignty } from './outcome.js'
import { type ChoiceContext, type ChosenOwner, chooseOwners } from './owners.js'
import { pageStarts, startsFor } from './page-position.js'
import { checkValues, costOf, namesOf, operandValue } from './request-values.js'
import { answerError, isByOrganization, type RootContext, rootText } from './root-text.js'
import { type EngineParts, type EngineRequest, NO_POSITIONS, type OwnerShare, type Positions, type Run, type Task, typeOf } from './run.js'
import { notGiven, ownerDisclosures, refusalDisclosure, sovereigntyOf } from './sovereignty.js'

/** A compiled statement of one owner as `explain` shows it. */
export interface ExplainedStatement {
  readonly organization: string
  readonly responseKey: string
  readonly type: string
  readonly text: string
}

export class Engine {
  private readonly askedInVain = new WeakMap<object, readonly OwnerDisclosure[]>()

  private readonly generations = new WeakMap<OrganizationBinding, number>()
  private lastGeneration = 0

  constructor(readonly parts: EngineParts) {}

  /** @throws GatewayError every code of a refusal; failures of owners are part of the outcome. */
  async run(request: EngineRequest): Promise<EngineOutcome> {
    const run = this.prepare(request)
    const { tasks, positions } = this.plan(run)
    try {
      return this.assemble(run, tasks, await this.execute(tasks, run), positions)
    } catch (error) {
      if (typeof error === 'object' && error !== null) this.askedInVain.set(error, notGiven(ownerDisclosures(run, tasks, new Map(), new Map(), this.parts)))
      throw error
    }
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
    const { tasks } = this.plan(run)
    const statements = tasks.flatMap(({ root, plan, owner, native, connector }): ExplainedStatement[] =>
      connector && (statementsOf === 'all' || owner.organization === request.principal.organization)
        ? [{ organization: owner.organization, responseKey: root.responseKey, type: typeOf(plan), text: connector.describe(native) }]
        : [],
    )
    return { sovereignty: sovereigntyOf(run, new Map()), owners: [], statements, cost: costOf(run) }
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
    const run: Run = { ...request, bound, shape, slots, choice, leftOut: [], refused: [], chosen: [] }
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
          const page = pageStarts(root.list, root.organizations, owners, run, this.parts.cursors)
          positions.set(root, page)
          const taken = page.pinned ? owners.filter((owner) => page.pinned?.includes(owner.organization)) : owners
          for (const owner of owners) if (!taken.includes(owner)) run.chosen.splice(run.chosen.indexOf(owner), 1) // not asked for this page
          for (const owner of taken) tasks.push(this.task(root, { kind: 'list', list: root.list }, owner, page, `${index}`, run))
          break
        }
        case 'lookup': {
          const organization = String(operandValue(root.organization, run.slots))
          const [owner] = this.choose(root.list.type, root.uses, [organization], run)
          const page = pageStarts(root.list, null, [], run, this.parts.cursors)
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
    const { chosen, leftOut, refused } = chooseOwners(type, uses, named, run.choice)
    run.leftOut.push(...leftOut)
    run.refused.push(...refused)
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
      const page = pageStarts(list, null, [], run, this.parts.cursors)
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
    const native = this.derived(run.operation, `c|${run.shape}|${key}|${organization}|${this.generationOf(binding)}|${run.authority.shape}|${shape}`, () => {
      const authorized = restrict(plan, grant, { catalog: this.parts.catalog, binding, caller: run.principal.organization, starts })
      return compileWhole(connector, authorized)
    })
    return { root, plan, owner, native, connector, values }
  }

  /** A binding that is resolved anew has other columns: what was compiled for the last one is not for it. */
  private generationOf(binding: OrganizationBinding): number {
    let generation = this.generations.get(binding)
    if (generation === undefined) this.generations.set(binding, (generation = ++this.lastGeneration))
    return generation
  }

  private connectorOf(type: string, organization: string, binding: OrganizationBinding): Connector {
    const stores = this.parts.organizations.get(organization)?.stores
    const bound = binding.types.get(type)
    const store = bound?.kind === 'table' ? stores?.get(bound.store) : stores?.values().next().value
    invariant(store, `organization \`${organization}\` has a store for \`${type}\``)
    return store.connector
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
            if (failure.code !== 'CANCELLED') run.onFailure?.(failure)
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
    const shares = new Map<string, OwnerShare>()
    const members = run.bound.roots.map((root) => {
      const own = tasks.filter((task) => task.root === root)
      const context: RootContext = { parts: this.parts, run, own, results, errors, shares, positions: positions.get(root) ?? NO_POSITIONS }
      return member(root.responseKey, rootText(root, context))
    })
    if (run.bound.onUnavailable === 'REPORT')
      errors.unshift(...[...failed].sort(([a], [b]) => compareText(a, b)).map(([organization, { code }]) => answerError(code, { organization })))
    return {
      data: `{${members.join(',')}}`,
      errors,
      sovereignty: sovereigntyOf(run, failed),
      owners: [
        ...ownerDisclosures(run, tasks, failed, shares, this.parts),
        ...run.refused.flatMap((refusal) => refusalDisclosure(refusal, run.principal, this.parts) ?? []),
      ],
      cost: costOf(run),
    }
  }
}

const EMPTY_CHUNK: Chunk = { rows: [], totalCount: null }

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

function variableContext(error: { readonly locations?: readonly { readonly line: number; readonly column: number }[] | undefined } | undefined): {
  locations?: readonly { readonly line: number; readonly column: number }[]
} {
  return error?.locations ? { locations: error.locations } : {}
}
