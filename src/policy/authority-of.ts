/**
 * From a principal and its purpose to what it may see, owner by owner: roles at home, agreements elsewhere. No rule means no. Pure; no plan is looked at, so the
 * outcome serves every request of the principal for this purpose until `validUntilMs` or a change of policies.
 */
import { createHash } from 'node:crypto'
import { GatewayError, type Code } from '../errors.js'
import type { Catalog } from '../query/catalog.js'
import { compareText } from '../query/order.js'
import type { ViewField } from '../query/plan.js'
import { and } from '../query/predicate.js'
import { admitsActor } from './actor.js'
import type { Agreement } from './agreement.js'
import type { Authority, GrantSource, OwnerGrant, TypeGrant } from './authority.js'
import { anyOf } from './condition.js'
import type { PolicySet, Versioned } from './policy-set.js'
import type { Principal } from './principal.js'
import { coversRows, type Role, type RoleFile } from './role.js'

export interface AuthorityContext {
  readonly catalog: Catalog
  /** Unix milliseconds. */
  readonly nowMs: number
  /** Where this gateway runs. */
  readonly gatewayJurisdiction: string
  readonly organizations: readonly { readonly id: string; readonly jurisdiction: string; readonly storeJurisdictions: readonly string[] }[]
  /** Policy epoch. */
  readonly epoch: bigint
}

export interface PurposeRequest {
  /** The `x-purpose` header, or null. */
  readonly purposeHeader: string | null
}

/**
 * @throws GatewayError FORBIDDEN where the header names a purpose that the token does not carry; PURPOSE_REQUIRED where the principal can do nothing at all
 *   before it names one of its purposes.
 */
export function authorityOf(principal: Principal, request: PurposeRequest, policies: PolicySet, context: AuthorityContext): Authority {
  const purpose = purposeOf(principal, request)
  const file = policies.roles.get(principal.organization)
  const admitted = admittedRoles(principal, file)
  const roles = admitted.filter((role) => !role.purposes || (purpose !== null && role.purposes.has(purpose)))
  const home = file && homeGrant(file, roles, context.catalog)
  const foreign = purpose !== null && roles.some((role) => role.crossOrganization.has(purpose)) ? foreignGrants(principal, purpose, policies, context) : []
  const owners = [...(home ? [home] : []), ...foreign].sort((a, b) => compareText(a.organization, b.organization))
  const refusals = purpose === null ? undecided({ principal, admitted, policies, context }) : new Map<string, Code>()
  if (!home && !refusals.has(principal.organization)) refusals.set(principal.organization, 'FORBIDDEN')
  if (home) refusals.delete(principal.organization)
  const may = {
    explain: roles.some((role) => role.explain),
    auditList: roles.some(({ audit }) => audit.has('list')),
    auditExport: roles.some(({ audit }) => audit.has('export')),
  }
  if (owners.length === 0 && !Object.values(may).some(Boolean) && [...refusals.values()].includes('PURPOSE_REQUIRED')) {
    throw new GatewayError('PURPOSE_REQUIRED', 'the token carries several purposes and the request names none')
  }
  const grants = new Map(owners.map((owner) => [owner.organization, owner]))
  return { owners: grants, refusals, purpose, may, shape: shapeOf(owners), epoch: context.epoch, validUntilMs: nextEdge(principal, policies, context) }
}

/** A sole purpose is implied; among several the header names one. Null: none is named. */
function purposeOf({ purposes }: Principal, { purposeHeader }: PurposeRequest): string | null {
  const [sole] = purposes
  if (purposeHeader === null) return purposes.length === 1 && sole !== undefined ? sole : null
  if (purposes.includes(purposeHeader)) return purposeHeader
  throw new GatewayError('FORBIDDEN', 'the token does not carry the purpose that the request names')
}

/** The principal's roles that its outermost actor may use. Names that the organization does not define are nothing. */
function admittedRoles(principal: Principal, file: RoleFile | undefined): readonly Role[] {
  const names = [...new Set(principal.roles)].sort(compareText)
  return names.flatMap((name) => file?.roles.get(name) ?? []).filter((role) => admitsActor(role.actors, principal.actors))
}

/** Several roles are a union: a row shows where one of them shows it, a value where one of them shows it in a row of its own. Null: nothing is granted. */
function homeGrant(file: Versioned<RoleFile>, roles: readonly Role[], catalog: Catalog): OwnerGrant | null {
  const names = [...new Set(roles.flatMap((role) => [...role.grants.keys()]))].sort(compareText)
  if (names.length === 0) return null
  const types = names.map((type) => unionGrant(type, file, roles))
  return { organization: file.organization, types: withoutHiddenInverses(new Map(types.map((grant) => [grant.type, grant])), catalog) }
}

function unionGrant(type: string, file: Versioned<RoleFile>, roles: readonly Role[]): TypeGrant {
  const granting = roles.filter((role) => role.grants.has(type))
  const grants = granting.flatMap((role) => role.grants.get(type) ?? [])
  const rows = anyOf(grants.map((grant) => grant.rows))
  const names = [...new Set(grants.flatMap((grant) => [...grant.fields.keys()]))].sort(compareText)
  const fields = names.map((name): [string, GrantedField] => {
    const conditions = grants.flatMap((grant) => {
      const condition = grant.fields.get(name)
      return condition ? [and([grant.rows, condition])] : []
    })
    const shown = anyOf(conditions)
    if (coversRows(shown, rows)) return [name, { kind: 'plain' }]
    // Within one role the view has the rows already.
    const [only] = grants
    return [name, { kind: 'cell', condition: (grants.length === 1 && only?.fields.get(name)) || shown }]
  })
  const source: GrantSource = { kind: 'roles', roles: granting.map((role) => role.name), version: file.version, digest: file.digest }
  return { type, rows, fields: new Map(fields), source }
}

type GrantedField = Exclude<ViewField, { kind: 'absent' }>

function foreignGrants(principal: Principal, purpose: string, policies: PolicySet, context: AuthorityContext): readonly OwnerGrant[] {
  const byGrantor = new Map<string, Map<string, TypeGrant>>()
  for (const agreement of policies.agreements) {
    if (!applies(agreement, principal, purpose, context)) continue
    const source: GrantSource = { kind: 'agreement', agreement: agreement.id, version: agreement.version, digest: agreement.digest }
    const types = byGrantor.get(agreement.grantor) ?? new Map<string, TypeGrant>()
    for (const [name, { rows, fields }] of agreement.types) types.set(name, { type: name, rows, fields, source })
    byGrantor.set(agreement.grantor, types)
  }
  return [...byGrantor].map(([organization, types]) => ({ organization, types: withoutHiddenInverses(types, context.catalog) }))
}

/** Whether the agreement lets this principal in, for this purpose, now and from here. */
export function applies(
  agreement: Agreement,
  principal: Pick<Principal, 'organization' | 'proof' | 'actors'>,
  purpose: string,
  context: Omit<AuthorityContext, 'epoch'>,
): boolean {
  return (
    agreement.grantee === principal.organization &&
    agreement.purposes.has(purpose) &&
    agreement.fromMs <= context.nowMs &&
    context.nowMs < agreement.untilMs &&
    fitsJurisdictions(agreement, context) &&
    (agreement.require === null || (principal.proof !== 'none' && agreement.require.has(principal.proof))) &&
    admitsActor(agreement.actors, principal.actors)
  )
}

function fitsJurisdictions(
  { jurisdictions, grantor, grantee }: Agreement,
  { gatewayJurisdiction, organizations }: Pick<AuthorityContext, 'gatewayJurisdiction' | 'organizations'>,
): boolean {
  const owner = organizations.find(({ id }) => id === grantor)
  const reader = organizations.find(({ id }) => id === grantee)
  if (!owner || !reader || owner.storeJurisdictions.length === 0) return false
  const isStoredWell = owner.storeJurisdictions.every((jurisdiction) => jurisdictions.stored.has(jurisdiction))
  return isStoredWell && jurisdictions.gateway.has(gatewayJurisdiction) && jurisdictions.grantee.has(reader.jurisdiction)
}

/** A list of related rows tells who they belong to: without the relation from their side, which is the foreign key, it is denied. */
function withoutHiddenInverses(types: ReadonlyMap<string, TypeGrant>, catalog: Catalog): ReadonlyMap<string, TypeGrant> {
  const isHidden = (type: string, name: string) => {
    const field = catalog.entities.get(type)?.fields.get(name)
    return field?.kind === 'toMany' && types.has(field.target) && !types.get(field.target)?.fields.has(field.inverse)
  }
  return new Map([...types].map(([name, grant]) => [name, { ...grant, fields: new Map([...grant.fields].filter(([field]) => !isHidden(name, field))) }]))
}

interface Undecided {
  readonly principal: Principal
  readonly admitted: readonly Role[]
  readonly policies: PolicySet
  readonly context: AuthorityContext
}

/** No purpose is named: the owners that one of the token's purposes would open say so. It tells no more than asking with each of them. */
function undecided({ principal, admitted, policies, context }: Undecided): Map<string, Code> {
  const refusals = new Map<string, Code>()
  for (const purpose of principal.purposes) {
    const roles = admitted.filter((role) => !role.purposes || role.purposes.has(purpose))
    if (roles.some((role) => role.grants.size > 0)) refusals.set(principal.organization, 'PURPOSE_REQUIRED')
    if (!roles.some((role) => role.crossOrganization.has(purpose))) continue
    for (const agreement of policies.agreements) if (applies(agreement, principal, purpose, context)) refusals.set(agreement.grantor, 'PURPOSE_REQUIRED')
  }
  // A token without purposes cannot name one; it is told so where a role asks for one.
  if (principal.purposes.length === 0 && admitted.some((role) => role.purposes && role.grants.size > 0))
    refusals.set(principal.organization, 'PURPOSE_REQUIRED')
  return refusals
}

/** Rules by digest, and which of their parts apply: all that a grant depends on but the values of claims. */
function shapeOf(owners: readonly OwnerGrant[]): string {
  const parts = owners.map(({ organization, types }) => [
    organization,
    [...types.values()]
      .map(({ type, source }) => [type, source.digest, source.kind === 'roles' ? source.roles : source.agreement])
      .sort((a, b) => compareText(String(a[0]), String(b[0]))),
  ])
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
}

/** The next time at which an agreement with the principal's organization begins or ends. */
function nextEdge(principal: Principal, { agreements }: PolicySet, { nowMs }: AuthorityContext): number {
  const edges = agreements.filter(({ grantee }) => grantee === principal.organization).flatMap(({ fromMs, untilMs }) => [fromMs, untilMs])
  return Math.min(...edges.filter((edge) => edge > nowMs), Number.MAX_SAFE_INTEGER)
}
