/** Which keys of rows may go to a foreign service: those that its organization may itself read, for this purpose. */
import type { Signal } from '../abort.js'
import { type Code, GatewayError, invariant } from '../errors.js'
import type { Authority, GrantSource, OwnerGrant } from '../policy/authority.js'
import type { KeyAccess, KeyRequest } from '../policy/key-access.js'
import type { Principal } from '../policy/principal.js'
import type { Catalog } from '../query/catalog.js'
import { parseGlobalId } from '../query/global-id.js'
import { compareText } from '../query/order.js'
import type { Operation } from './operation.js'
import type { EngineOutcome } from './outcome.js'
import { piecesOf, wholeText } from './pieces.js'
import type { EngineRequest } from './run.js'
import type { ForeignService, SupergraphLimits } from './supergraph.js'

export interface KeyTravelParts {
  readonly catalog: Catalog
  readonly mayReceiveKey: (request: KeyRequest) => KeyAccess
  readonly limits: SupergraphLimits
  readonly request: EngineRequest
  readonly engine: EngineDoor
  /** Takes `ids` and gives `nodes { id }`. What the engine derives with it is of one engine. */
  readonly keyLookup: Operation
  /** Aborted when the time of the operation is over, with SOURCE_TIMEOUT, or when it ends for another reason. */
  readonly signal: Signal
  /** What the operation has cost without the keys. */
  readonly spent: () => number
}

/** The engine, as far as foreign fields need it. */
export interface EngineDoor {
  run(request: EngineRequest): Promise<EngineOutcome>
}

/** Keys that may go, by owner, and keys of which nobody could say. */
export interface TravellingKeys {
  readonly owners: Map<string, { readonly keys: string[]; readonly source: GrantSource | null }>
  readonly failed: Map<string, GatewayError>
}

export class KeyTravel {
  /** Owners that could not say which of their keys may go. */
  readonly failedOwners = new Map<string, Code>()
  /** Keys that were looked up. */
  cost = 0

  constructor(private readonly parts: KeyTravelParts) {}

  async of(service: ForeignService, type: string, keys: readonly string[]): Promise<TravellingKeys> {
    const travel: TravellingKeys = { owners: new Map(), failed: new Map() }
    const conditional = new Map<string, ConditionalKeys>()
    for (const key of new Set(keys)) {
      const id = parseGlobalId(key)
      invariant(id?.type === type, 'keys are global ids of the joined type')
      const access = this.access(service, id.organization, type)
      if (access.kind === 'none') continue
      if (access.kind === 'agreed' && access.grant.types.get(type)?.rows.kind !== 'all') {
        const owner = conditional.get(id.organization) ?? { grant: access.grant, source: access.source, keys: [] }
        conditional.set(id.organization, owner)
        owner.keys.push(key)
      } else put(travel, id.organization, key, access.kind === 'own' ? null : access.source)
    }
    if (conditional.size > 0) await this.addConditional(service, conditional, travel)
    return travel
  }

  /** What a service may get of an owner. A caller who may not query the service's organization, or who sees pseudonyms for keys, sends nothing. */
  access(service: ForeignService, owner: string, type: string): KeyAccess {
    const { mayReceiveKey, catalog, request } = this.parts
    const { owners, purpose } = request.authority
    const seen = owners.get(owner)?.types.get(type)?.fields
    const isSeen = catalog.entities.get(type)?.key.every((field) => seen?.get(field)?.kind === 'plain') ?? false
    if (!owners.has(service.organization) || !isSeen) return { kind: 'none' }
    const { organization, jurisdiction } = service
    return mayReceiveKey({ recipient: { organization, jurisdiction }, owner, type, purpose })
  }

  /** Where an agreement shows the service's organization some rows only, it asks for them as anybody would: the rows that it gets are the keys that may go. */
  private async addConditional(service: ForeignService, owners: ReadonlyMap<string, ConditionalKeys>, travel: TravellingKeys): Promise<void> {
    const keys = [...owners.values()].flatMap((owner) => owner.keys)
    const { pageRows, listValues, cost } = this.parts.limits
    const idsMax = Math.min(pageRows, listValues)
    for (let start = 0; start < keys.length; start += idsMax) {
      const ids = keys.slice(start, start + idsMax)
      if (this.parts.spent() + this.cost + ids.length > cost)
        throw new GatewayError('QUERY_TOO_COSTLY', `more than ${cost} rows, counts and keys are asked for`)
      const { found, failed } = await this.readable(service, ids, owners)
      for (const id of ids) {
        const organization = parseGlobalId(id)?.organization ?? ''
        const code = failed.get(organization)
        const owner = owners.get(organization)
        if (code) {
          this.failedOwners.set(organization, code)
          travel.failed.set(id, new GatewayError(code, 'an owner could not say which keys may go', { organization }))
        } else if (found.has(id) && owner) put(travel, organization, id, owner.source)
      }
    }
  }

  private async readable(
    service: ForeignService,
    ids: readonly string[],
    owners: ReadonlyMap<string, ConditionalKeys>,
  ): Promise<{ readonly found: ReadonlySet<string>; readonly failed: ReadonlyMap<string, Code> }> {
    const { request, engine, signal } = this.parts
    try {
      const outcome = await engine.run({
        operation: this.parts.keyLookup,
        variables: { ids },
        principal: recipientPrincipal(service, request.principal.expiresMs),
        authority: recipientAuthority(owners, request.authority),
        signal,
        ...(request.onFailure && { onFailure: request.onFailure }),
      })
      this.cost += outcome.cost
      const { nodes } = JSON.parse(wholeText(outcome.data ?? piecesOf('{"nodes":[]}'))) as { nodes: ({ id: string } | null)[] } // the engine's answer to our own document
      return {
        found: new Set(nodes.flatMap((node) => (node ? [node.id] : []))),
        failed: new Map(outcome.sovereignty.failed.map(({ organization, code }) => [organization, code])),
      }
    } catch (error) {
      const isLate = signal.reason instanceof GatewayError && signal.reason.code === 'SOURCE_TIMEOUT'
      if (!isLate) throw error
      return { found: new Set(), failed: new Map([...owners.keys()].map((organization) => [organization, 'SOURCE_TIMEOUT'])) }
    }
  }
}

interface ConditionalKeys {
  readonly grant: OwnerGrant
  readonly source: GrantSource
  readonly keys: string[]
}

function put({ owners }: TravellingKeys, organization: string, key: string, source: GrantSource | null): void {
  const owner = owners.get(organization) ?? { keys: [], source }
  owners.set(organization, owner)
  owner.keys.push(key)
}

// --- a recipient as a reader -----------------------------------------------------------------------------------------------------------------------------------

/** The service's organization without a person: no roles, no claims, and so nothing that a condition on a claim would show. */
function recipientPrincipal({ name, organization }: ForeignService, expiresMs: number): Principal {
  return {
    subject: `service:${name}`,
    organization,
    issuer: 'concordat',
    roles: [],
    purposes: [],
    actors: [],
    tokenId: null,
    proof: 'none',
    claims: new Map(),
    expiresMs,
  }
}

function recipientAuthority(owners: ReadonlyMap<string, ConditionalKeys>, { purpose, epoch, validUntilMs }: Authority): Authority {
  const inOrderOfIds = [...owners].sort(([a], [b]) => compareText(a, b))
  return {
    owners: new Map(inOrderOfIds.map(([organization, { grant }]) => [organization, grant])),
    refusals: new Map(),
    purpose,
    may: { explain: false, auditList: false, auditExport: false },
    shape: `keys ${JSON.stringify(inOrderOfIds.map(([organization, { grant, source }]) => [organization, [...grant.types.keys()], source.digest]))}`,
    epoch,
    validUntilMs,
  }
}
