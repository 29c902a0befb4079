/** What the engine carries along while it answers one operation. */
import type { GraphQLSchema } from 'graphql'
import type { Connector, Values } from '../connectors/connector.js'
import type { Code, GatewayError } from '../errors.js'
import type { Authority } from '../policy/authority.js'
import type { Principal } from '../policy/principal.js'
import type { OrganizationBinding } from '../query/binding.js'
import type { Catalog } from '../query/catalog.js'
import type { ListPlan, Plan } from '../query/plan.js'
import type { Scalar } from '../query/predicate.js'
import type { ApiIndex } from './api-schema.js'
import type { BoundPlan, BoundRoot } from './bound-plan.js'
import type { CursorPlace, Cursors } from './cursor.js'
import type { Operation } from './operation.js'
import type { ChoiceContext, ChosenOwner, FieldRefusal } from './owners.js'

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
  /** Told why a store failed, where the caller learns a code only. */
  readonly onFailure?: (failure: GatewayError) => void
  readonly operation: Operation
  /** As the client sent them. */
  readonly variables: unknown
  readonly principal: Principal
  readonly authority: Authority
  readonly signal: AbortSignal
}

/** One statement to run: for one root field (or one type of it) and one owner. */
export interface Task {
  readonly root: BoundRoot
  readonly plan: Plan
  readonly owner: ChosenOwner
  readonly native: unknown
  readonly connector: Connector | null
  readonly values: Values
}

export interface Run extends EngineRequest {
  readonly bound: BoundPlan
  readonly shape: string
  readonly slots: readonly (Scalar | readonly Scalar[] | null)[]
  readonly choice: ChoiceContext
  readonly leftOut: { organization: string; code: Code }[]
  /** Why owners are left out, for their ledgers. */
  readonly refused: FieldRefusal[]
  readonly chosen: ChosenOwner[]
}

/** Unsealed cursors of one root field. */
export interface Positions {
  /** Owners that served the first page; null for a first page. */
  readonly pinned: readonly string[] | null
  readonly places: readonly { readonly list: ListPlan; readonly place: CursorPlace; readonly firstValue: number }[]
  /** Slots after those of the request. */
  readonly values: readonly Scalar[]
}

export const NO_POSITIONS: Positions = { pinned: null, places: [], values: [] }

export function typeOf(plan: Plan): string {
  return plan.kind === 'list' ? plan.list.type : plan.aggregate.type
}

/** What of one owner leaves in an answer: rows, and the texts that its ledger's digest is made of, in answer order. */
export interface OwnerShare {
  rows: number
  readonly texts: string[]
}

export function shareOf(organization: string, shares: Map<string, OwnerShare>): OwnerShare {
  const known = shares.get(organization)
  if (known) return known
  const made: OwnerShare = { rows: 0, texts: [] }
  shares.set(organization, made)
  return made
}
