/**
 * The route of an operation for one authority: owners, decisions and compiled statements of every root field, and what answers and ledgers say of them. No value of a
 * request is in it but names of organizations and where pages start, so it is made once and serves all requests of its key.
 */
import type { Connector } from '../connectors/connector.js'
import { type Code, GatewayError, invariant } from '../errors.js'
import type { Authority } from '../policy/authority.js'
import { restrict } from '../policy/restrict.js'
import type { OrganizationBinding } from '../query/binding.js'
import { parseGlobalId } from '../query/global-id.js'
import { compareText } from '../query/order.js'
import type { AggregatePlan, AuthorizedPlan, ListPlan, Plan, SeriesPlan } from '../query/plan.js'
import type { Operand } from '../query/predicate.js'
import { needsKeys } from './assemble.js'
import type { BoundPlan, BoundRoot, Pivot } from './bound-plan.js'
import { mixesOwners } from './first-fetch.js'
import type { Sovereignty } from './outcome.js'
import { type ChosenOwner, chooseOwners, type FieldRefusal } from './owners.js'
import { pageStarts, startsFor } from './page-position.js'
import { namesOf, operandValue } from './request-values.js'
import { isByOrganization } from './root-text.js'
import { type EngineParts, type EngineRequest, NO_POSITIONS, type Positions, type Slots, type StartPlace, typeOf } from './run.js'
import { type OwnerBase, ownerBases, type OwnerPart, refusalDisclosure, sovereigntyOf } from './sovereignty.js'

/** One statement to run: for one root field (or one type of it) and one owner. */
export interface Task {
  /** Among all tasks of the route. */
  readonly index: number
  readonly root: BoundRoot
  readonly rootIndex: number
  /** Of the bound plan, whose cursors say where the task's pages start; null for aggregates. */
  readonly list: ListPlan | null
  readonly plan: Plan
  readonly owner: ChosenOwner
  /** Names the plan among those of its document and input shape. */
  readonly key: string
  /** Null: the owner's stores were never described, or do not bind the type as the contract needs. */
  readonly connector: Connector | null
  readonly native: unknown
}

export interface RootRoute {
  readonly index: number
  readonly root: BoundRoot
  readonly tasks: readonly Task[]
  /** Rows of its owners are likely to be mixed: each is asked for a part of the page first. */
  readonly isMixed: boolean
}

/** The statement that gives the vector of a row that a search names. */
export interface PivotRoute extends Pick<Task, 'owner' | 'plan' | 'connector' | 'native'> {
  readonly rootIndex: number
  readonly slot: number
}

/** All that one store is asked. */
export interface StoreRoute {
  readonly organization: string
  readonly connector: Connector
  readonly tasks: readonly Task[]
}

export interface Route {
  readonly roots: readonly RootRoute[]
  readonly tasks: readonly Task[]
  readonly stores: readonly StoreRoute[]
  /** Asked before all others. */
  readonly pivots: readonly PivotRoute[]
  readonly chosen: readonly ChosenOwner[]
  readonly leftOut: readonly { readonly organization: string; readonly code: Code }[]
  readonly approximate: NonNullable<Sovereignty['approximate']>
  /** Where nobody fails. */
  readonly sovereignty: Sovereignty
  /** What the ledgers say of each owner and rule, whatever its rows are. */
  readonly owners: readonly OwnerBase[]
  /** Owners that are left out because their policy refuses a field. */
  readonly refusals: readonly OwnerPart[]
}

interface RootChoice {
  readonly root: BoundRoot
  readonly plans: readonly Pick<Task, 'owner' | 'list' | 'plan' | 'key'>[]
  /** Null: there is none, or no owner that may be asked for it. */
  readonly pivot: (Pick<Task, 'owner' | 'plan' | 'key'> & Pick<Pivot, 'slot'>) | null
}

/** Owners of every root field, before cursors say more. */
interface Choice {
  readonly bound: BoundPlan
  readonly roots: readonly RootChoice[]
  readonly chosen: readonly ChosenOwner[]
  readonly leftOut: Route['leftOut']
  readonly refused: readonly FieldRefusal[]
  /** Of every owner that was considered: another binding is another choice. */
  readonly bindings: readonly (readonly [organization: string, binding: OrganizationBinding | null])[]
  /** By where pages start. */
  readonly routes: Map<string, unknown>
}

/** What a route is for. */
export interface RouteRequest extends Pick<EngineRequest, 'operation' | 'authority' | 'principal'> {
  readonly bound: BoundPlan
  readonly shape: string
  readonly slots: Slots
}

export class Routes {
  readonly #serials = new WeakMap<Authority, number>()
  readonly #generations = new WeakMap<OrganizationBinding, number>()
  #lastSerial = 0

  constructor(private readonly parts: EngineParts) {}

  /** @throws GatewayError NO_AGREEMENT, FORBIDDEN, PURPOSE_REQUIRED, FIELD_NOT_USABLE, CURSOR_INVALID */
  of(request: RouteRequest): { readonly route: Route; readonly positions: PagePositions } {
    const choice = this.#choice(request)
    const positions = request.bound.hasCursors ? this.#positions(choice, request) : FIRST_PAGES
    const key = positions.size === 0 ? '' : positionsKey(positions)
    const known = choice.routes.get(key) as Route | undefined // nothing else is kept there
    return { route: known ?? kept(choice.routes, key, this.#route(choice, positions, request), this.parts.limits.derived), positions }
  }

  /** Authorities are kept per principal's rights, so that one number stands for all that they allow. */
  #serialOf(authority: Authority): number {
    const known = this.#serials.get(authority)
    if (known !== undefined) return known
    this.#serials.set(authority, (this.#lastSerial += 1))
    return this.#lastSerial
  }

  // --- owners --------------------------------------------------------------------------------------------------------------------------------------------------

  #choice(request: RouteRequest): Choice {
    const { authority, principal, bound, operation, shape } = request
    const key = `${this.#serialOf(authority)}|${principal.organization}|${shape}|${bound.namesVary ? namesKey(request) : ''}`
    const known = operation.routes.get(key) as Choice | undefined // nothing else is kept there
    // A plan that was bound anew has other lists, which pages are found by.
    if (known?.bound === bound && known.bindings.every(([organization, binding]) => this.#bindingOf(organization) === binding)) return known
    return kept(operation.routes, key, this.#choose(request), this.parts.limits.derived)
  }

  #bindingOf(organization: string): OrganizationBinding | null {
    return this.parts.organizations.get(organization)?.binding() ?? null
  }

  #choose(request: RouteRequest): Choice {
    const { bound, authority, principal, slots } = request
    const bindings = new Map<string, OrganizationBinding | null>()
    const bindingOf = (organization: string): OrganizationBinding | null => {
      const binding = this.#bindingOf(organization)
      bindings.set(organization, binding)
      return binding
    }
    const context = { authority, home: principal.organization, catalog: this.parts.catalog, bindingOf, onForbidden: bound.onForbidden }
    const chosen: ChosenOwner[] = []
    const leftOut: Route['leftOut'][number][] = []
    const refused: FieldRefusal[] = []
    const choose: Choose = (type, uses, named, within = null) => {
      const choice = chooseOwners(type, uses, named, { ...context, within })
      chosen.push(...choice.chosen)
      leftOut.push(...choice.leftOut)
      refused.push(...choice.refused)
      return choice.chosen
    }
    const roots = bound.roots.map((root, index): RootChoice => {
      if (root.kind === 'connection' && root.pivot?.kind === 'row') return this.#searchOf(root, root.pivot, index, choose, request)
      return { root, plans: this.#plansOf(root, index, slots, choose, request), pivot: null }
    })
    return { bound, roots, chosen, leftOut, refused, bindings: [...bindings], routes: new Map() }
  }

  #plansOf(root: BoundRoot, index: number, slots: Slots, choose: Choose, request: RouteRequest): RootChoice['plans'] {
    const name = `${request.shape}|${index}`
    switch (root.kind) {
      case 'connection': {
        const owners = choose(root.list.type, root.uses, namesOf(root.organizations, slots))
        return owners.map((owner) => ({ owner, list: root.list, plan: this.#listPlan(root.list, index, owners.length, request), key: name }))
      }
      case 'lookup':
        return choose(root.list.type, root.uses, [String(operandValue(root.organization, slots))]).map((owner) => ({
          owner,
          list: root.list,
          plan: { kind: 'list', list: root.list, withKeys: false },
          key: name,
        }))
      case 'nodes':
        // Ids say whom they belong to. An unknown, hidden or foreign one is null, and nothing tells which.
        return [...root.lists].flatMap(([type, { list, uses }]) => {
          const named = nodeOwners(root, type, request)
          if (named.length === 0) return []
          return choose(type, uses, named).map((owner) => ({ owner, list, plan: { kind: 'list', list, withKeys: true } as const, key: `${name}:${type}` }))
        })
      case 'aggregate': {
        const owners = choose(root.aggregate.type, root.uses, namesOf(root.organizations, slots))
        const aggregate = partOfAggregate(root.aggregate, owners.length, this.parts.limits.groups)
        return owners.map((owner) => ({ owner, list: null, plan: { kind: 'aggregate', aggregate }, key: `${name}:${owners.length > 1 ? 'part' : 'whole'}` }))
      }
      case 'series': {
        const { series } = root
        const owners = choose(series.type, root.uses, namesOf(root.organizations, slots))
        refuseInexact(series, owners.length)
        return owners.map((owner) => ({ owner, list: null, plan: { kind: 'series', series }, key: name }))
      }
      case 'organizations':
      case 'typename':
      case 'introspection':
        return []
    }
  }

  /**
   * A search for what is near to a row. The vector of the caller's own row goes to every owner that is asked; a partner's is compared within that partner, whose agreement
   * does not cover sending it on. An unknown row, a hidden one and one of a stranger give nothing, and nothing tells which.
   */
  #searchOf(
    root: Extract<BoundRoot, { kind: 'connection' }>,
    { id, list, uses, slot }: Extract<Pivot, { kind: 'row' }>,
    index: number,
    choose: Choose,
    request: RouteRequest,
  ): RootChoice {
    const { principal, slots, shape } = request
    const pivotOwner = pivotOwnerOf(id, list.type, request)
    const named = namesOf(root.organizations, slots)
    const isOwn = pivotOwner === principal.organization
    // Names that may not be asked are refused, whatever the row.
    const owners = choose(list.type, root.uses, named, isOwn ? null : pivotOwner === null ? [] : [pivotOwner])
    const plans = owners.map((owner) => ({ owner, list: root.list, plan: this.#listPlan(root.list, index, owners.length, request), key: `${shape}|${index}` }))
    const [owner] = pivotOwner === null || owners.length === 0 ? [] : choose(list.type, uses, [pivotOwner])
    const plan: Plan = { kind: 'list', list, withKeys: false }
    return { root, plans, pivot: owner ? { owner, plan, key: `${shape}|${index}:pivot`, slot } : null }
  }

  /** Of several owners each is asked for a part of the page first; see `firstRows` of `first-fetch.ts`. */
  #listPlan(list: ListPlan, rootIndex: number, owners: number, { bound }: RouteRequest): Plan {
    if (owners <= 1) return { kind: 'list', list, withKeys: needsKeys(list) }
    if (!mixesOwners(list, this.parts.catalog)) return { kind: 'list', list, withKeys: true }
    return { kind: 'list', list: { ...list, limit: { kind: 'slot', index: bound.slots.length + rootIndex } }, withKeys: true }
  }

  // --- pages ---------------------------------------------------------------------------------------------------------------------------------------------------

  #positions(choice: Choice, { bound, slots, principal, authority }: RouteRequest): PagePositions {
    const positions = new Map<ListPlan, Positions>()
    for (const [index, root] of bound.roots.entries()) {
      const lists = root.kind === 'nodes' ? [...root.lists.values()].map(({ list }) => list) : 'list' in root ? [root.list] : []
      for (const list of lists) {
        const organizations = root.kind === 'connection' ? root.organizations : null
        const found = pageStarts(list, organizations, { slots, principal, authority }, this.parts.cursors)
        const missing = found.pinned?.find((organization) => !choice.roots[index]?.plans.some(({ owner }) => owner.organization === organization))
        if (missing !== undefined) throw new GatewayError('CURSOR_INVALID', 'an owner of the first page may no longer be queried')
        if (found.places.length > 0) positions.set(list, found)
      }
    }
    return positions
  }

  // --- statements ----------------------------------------------------------------------------------------------------------------------------------------------

  #route(choice: Choice, positions: PagePositions, request: RouteRequest): Route {
    const tasks: Task[] = []
    const pivots: PivotRoute[] = []
    const unasked = new Set<ChosenOwner>()
    const roots = choice.roots.map(({ root, plans, pivot }, index): RootRoute => {
      const own = plans.flatMap((planned): Task[] => {
        const { owner, list } = planned
        const { pinned, places } = (list && positions.get(list)) ?? NO_POSITIONS
        if (pinned && !pinned.includes(owner.organization)) {
          unasked.add(owner)
          return []
        }
        const task = { index: tasks.length, root, rootIndex: index, ...planned, ...this.statement(planned, places, request) }
        tasks.push(task)
        return [task]
      })
      if (pivot) pivots.push({ rootIndex: index, owner: pivot.owner, plan: pivot.plan, slot: pivot.slot, ...this.statement(pivot, [], request) })
      const isMixed = root.kind === 'connection' && own.length > 1 && mixesOwners(root.list, this.parts.catalog)
      return { index, root, tasks: own, isMixed }
    })
    const chosen = unasked.size === 0 ? choice.chosen : choice.chosen.filter((owner) => !unasked.has(owner))
    const approximate = tasks.flatMap(({ connector, native, owner, root }) =>
      connector?.isApproximate?.(native) === true ? [{ organization: owner.organization, search: root.responseKey }] : [],
    )
    const facts = { chosen, leftOut: choice.leftOut, approximate }
    return {
      roots,
      tasks,
      stores: storesOf(tasks),
      pivots,
      ...facts,
      sovereignty: sovereigntyOf(facts, new Map(), this.parts.catalog),
      owners: ownerBases(chosen, [...pivots, ...tasks], request.principal.organization, this.parts),
      refusals: choice.refused.flatMap((refusal) => refusalDisclosure(refusal, request.principal.organization, this.parts) ?? []),
    }
  }

  /** The compiled statement of one owner; kept per input shape, decision shape and start of pages, for all whose decisions are equal. */
  statement(
    { plan, owner, key }: Pick<Task, 'plan' | 'owner' | 'key'>,
    places: readonly StartPlace[],
    request: Omit<RouteRequest, 'bound' | 'slots' | 'shape'>,
  ): Pick<Task, 'connector' | 'native'> {
    const { organization, binding, grant } = owner
    if (!binding?.types.has(typeOf(plan))) return { connector: null, native: null }
    const starts = startsFor(organization, places)
    const start = [...starts].map(([path, { side, nulls }]) => `${path}:${side}:${nulls.map(Number).join('')}`).join(',')
    const keys = plan.kind === 'list' ? `${plan.withKeys ? 'k' : ''}${plan.list.limit.kind}` : ''
    const name = `s|${key}|${keys}|${organization}|${this.#generationOf(binding)}|${request.authority.shape}|${start}`
    const known = request.operation.derived.get(name) as Pick<Task, 'connector' | 'native'> | undefined // nothing else is kept under such a name
    if (known) return known
    const authorized = restrict(plan, grant, { catalog: this.parts.catalog, binding, caller: request.principal.organization, starts })
    const connector = this.#connectorOf(authorized)
    return kept(request.operation.derived, name, { connector, native: compileWhole(connector, authorized) }, this.parts.limits.derived)
  }

  /** A binding that is resolved anew has other columns: what was compiled for the last one is not for it. */
  #generationOf(binding: OrganizationBinding): number {
    const known = this.#generations.get(binding)
    if (known !== undefined) return known
    this.#generations.set(binding, (this.#lastSerial += 1))
    return this.#lastSerial
  }

  /** Of the store that has all types of the plan, or of all stores together. */
  #connectorOf(plan: AuthorizedPlan): Connector {
    const owner = this.parts.organizations.get(plan.organization)
    if (owner?.steps) return owner.steps.alone(plan) ?? owner.steps
    const store = owner?.stores.values().next().value
    invariant(store, `organization \`${plan.organization}\` has a store`)
    return store.connector
  }
}

/** @param within of the owners that may be asked, those to ask; null: all. */
type Choose = (type: string, uses: ChosenOwner['uses'], named: readonly string[] | null, within?: readonly string[] | null) => readonly ChosenOwner[]

/** By list of the bound plan; those of first pages are not here. */
export type PagePositions = ReadonlyMap<ListPlan, Positions>

const FIRST_PAGES: PagePositions = new Map()

/** Keeps what was made, and forgets what was made first where there are more than `max`. */
export function kept<T>(into: Map<string, unknown>, key: string, made: T, max: number): T {
  into.set(key, made)
  if (into.size > max) {
    const [oldest] = into.keys()
    if (oldest !== undefined) into.delete(oldest)
  }
  return made
}

/** Names of organizations in the values of a request. */
function namesKey(request: RouteRequest): string {
  return JSON.stringify(
    request.bound.roots.map((root) => {
      if (root.kind === 'nodes') return [...root.lists.keys()].map((type) => nodeOwners(root, type, request))
      if (root.kind === 'lookup') return operandValue(root.organization, request.slots)
      if (root.kind === 'connection' && root.pivot?.kind === 'row')
        return [namesOf(root.organizations, request.slots), pivotOwnerOf(root.pivot.id, root.list.type, request)]
      return 'organizations' in root ? namesOf(root.organizations, request.slots) : null
    }),
  )
}

function nodeOwners({ ids }: Extract<BoundRoot, { kind: 'nodes' }>, type: string, request: RouteRequest): readonly string[] {
  return ownersOfIds(ids, type, request)
}

/** Null: the id is none of this type, or of an owner that may not be asked. */
function pivotOwnerOf(id: Operand, type: string, request: RouteRequest): string | null {
  return ownersOfIds(id, type, request)[0] ?? null
}

function ownersOfIds(operand: Operand, type: string, { slots, authority }: RouteRequest): readonly string[] {
  const ids = [operandValue(operand, slots)].flat().map((id) => parseGlobalId(String(id)))
  const named = ids.flatMap((id) => (id?.type === type && authority.owners.get(id.organization)?.types.has(type) ? [id.organization] : []))
  return [...new Set(named)].sort(compareText)
}

function positionsKey(positions: PagePositions): string {
  return JSON.stringify([...positions.values()].map(({ pinned, places }) => [pinned, places.map(placeKey)]))
}

function placeKey({ list, place, firstValue }: StartPlace): readonly unknown[] {
  return [list.path, place.organization, place.order.map((value) => value === null), firstValue]
}

function storesOf(tasks: readonly Task[]): readonly StoreRoute[] {
  const stores = new Map<string, { organization: string; connector: Connector; tasks: Task[] }>()
  for (const task of tasks) {
    if (!task.connector) continue
    const { organization } = task.owner
    const key = `${organization}/${task.connector.store}`
    const store = stores.get(key) ?? { organization, connector: task.connector, tasks: [] }
    store.tasks.push(task)
    stores.set(key, store)
  }
  return [...stores.values()]
}

/** Policy and predicate are pushed down whole by every connector that there is; a residual would need filtering here, and forbids the pushed limit. */
function compileWhole(connector: Connector, plan: AuthorizedPlan): unknown {
  const { native, residual } = connector.compile(plan)
  invariant(residual.kind === 'all', `store \`${connector.store}\` left a residual`)
  return native
}

/** Parts of all other measures can be combined. */
function refuseInexact(series: SeriesPlan, owners: number): void {
  if (owners > 1 && !isByOrganization(series) && series.measures.some(({ fn }) => fn === 'percentile'))
    throw new GatewayError('NOT_EXACT', '`percentile` over several organizations: group by ORGANIZATION')
}

/** Groups that several owners share are combined here: each gives all of its groups, and having, order and limit come after. */
function partOfAggregate(aggregate: AggregatePlan, owners: number, groupsMax: number): AggregatePlan {
  if (owners <= 1 || isByOrganization(aggregate)) return aggregate
  if (aggregate.measures.some((measure) => measure.fn === 'countDistinct'))
    throw new GatewayError('NOT_EXACT', '`countDistinct` over several organizations: group by ORGANIZATION')
  return { ...aggregate, having: { kind: 'all' }, order: [], limit: { kind: 'constant', value: groupsMax + 1 } }
}
