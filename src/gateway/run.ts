/** What the engine carries along while it answers one operation. */
import type { GraphQLSchema } from 'graphql'
import type { Signal } from '../abort.js'
import type { Answer, Connector, StoresTogether } from '../connectors/connector.js'
import type { Bytes } from '../connectors/texts.js'
import type { GatewayError } from '../errors.js'
import type { Authority } from '../policy/authority.js'
import type { Principal } from '../policy/principal.js'
import type { OrganizationBinding } from '../query/binding.js'
import type { Catalog } from '../query/catalog.js'
import type { ListPlan, Plan } from '../query/plan.js'
import type { Scalar } from '../query/predicate.js'
import type { ApiIndex } from './api-schema.js'
import type { BoundPlan } from './bound-plan.js'
import type { CursorPlace, Cursors } from './cursor.js'
import type { Embeddings } from './embedding.js'
import type { Operation } from './operation.js'
import type { PagePositions, Route } from './route.js'

export interface EngineOrganization {
  readonly id: string
  readonly name: string
  readonly jurisdiction: string
  readonly stores: ReadonlyMap<string, { readonly jurisdiction: string; readonly connector: Connector }>
  /** All of its stores as one, for plans that they hold in parts; null where one store holds all. */
  readonly steps: StoresTogether | null
  /** Null until the stores have been described. */
  binding(): OrganizationBinding | null
}

export interface EngineParts {
  readonly schema: GraphQLSchema
  readonly catalog: Catalog
  readonly index: ApiIndex
  readonly organizations: ReadonlyMap<string, EngineOrganization>
  readonly cursors: Cursors
  /** Null: nobody makes vectors of texts here. */
  readonly embeddings: Embeddings | null
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
  /** Of a series: buckets that its range may touch, and pairs of group and bucket that it may list. */
  readonly seriesBuckets: number
  /** Of a traversal. */
  readonly steps: number
  readonly conditions: number
  readonly listValues: number
  readonly cost: number
  readonly answerBytes: number
  /** Answers up to this are held and have one entry; larger ones stream. */
  readonly bufferedBytes: number
  /** How long a streamed answer may take, its reader included. */
  readonly streamMs: number
  /** Bound plans and compiled statements kept for one document, and routes. */
  readonly derived: number
}

export interface EngineRequest {
  /** Told why a store failed, where the caller learns a code only. */
  readonly onFailure?: ((failure: GatewayError) => void) | undefined
  readonly operation: Operation
  /** As the client sent them. */
  readonly variables: unknown
  readonly principal: Principal
  readonly authority: Authority
  readonly signal: Signal
}

/** Values of a request, by slot: those of the bound plan, then for each root field how many rows each owner is asked for first, then those of cursors. */
export type Slots = readonly (Scalar | readonly Scalar[] | null)[]

export interface Run extends EngineRequest {
  readonly bound: BoundPlan
  readonly slots: (Scalar | readonly Scalar[] | null)[]
  readonly route: Route
  readonly positions: PagePositions
  /** Root fields for which nothing is asked, since the row that they start from has not been found or could not be had: with the failure, where there is one. */
  readonly unasked: Map<number, Unasked | null>
}

/** Why a search was not made: the row's owner failed, or the service that makes vectors of texts, which is no store. */
export interface Unasked {
  readonly organization: string
  readonly isStore: boolean
  readonly error: GatewayError
}

/** Unsealed cursors of one root field. */
export interface Positions {
  /** Owners that served the first page; null for a first page. */
  readonly pinned: readonly string[] | null
  readonly places: readonly StartPlace[]
  /** Slots after those of the request. */
  readonly values: readonly Scalar[]
}

/** Where a list goes on: after a row of an owner, whose sort values and key stand in slots from `firstValue` on. */
export interface StartPlace {
  readonly list: ListPlan
  readonly place: Pick<CursorPlace, 'order' | 'key' | 'organization'>
  readonly firstValue: number
}

export const NO_POSITIONS: Positions = { pinned: null, places: [], values: [] }

/** What became of each statement, by `Task.index`. */
export type Results = readonly (Answer | GatewayError)[]

export function typeOf(plan: Plan): string {
  switch (plan.kind) {
    case 'list':
      return plan.list.type
    case 'aggregate':
      return plan.aggregate.type
    case 'series':
      return plan.series.type
  }
}

/** What of one owner leaves in an answer: rows, and their texts in answer order, for its ledger's digest. */
export interface OwnerShare {
  rows: number
  /** One row text each, or several with commas between them. */
  readonly texts: Bytes[]
}

export function shareOf(organization: string, shares: Map<string, OwnerShare>): OwnerShare {
  const known = shares.get(organization)
  if (known) return known
  const made: OwnerShare = { rows: 0, texts: [] }
  shares.set(organization, made)
  return made
}
