/**
 * Whether the key of a row may be sent to a service of another organization: only when that organization may itself read the key, unmasked, for this purpose. Pure.
 */
import type { OwnerGrant, TypeGrant } from './authority.js'
import { applies, type AuthorityContext } from './authority-of.js'
import type { PolicySet } from './policy-set.js'

export interface KeyRequest {
  /** The organization that runs the service, and where the service is. */
  readonly recipient: { readonly organization: string; readonly jurisdiction: string }
  readonly owner: string
  readonly type: string
  readonly purpose: string | null
}

export type KeyAccess =
  | { readonly kind: 'none' }
  /** The owner's own service. */
  | { readonly kind: 'own' }
  /** By agreement: every row of the type, or those that the condition shows to the recipient. */
  | { readonly kind: 'agreed'; readonly grant: OwnerGrant; readonly source: TypeGrant['source'] }

const NONE: KeyAccess = { kind: 'none' }

/** An agreement that asks for a proof of possession opens nothing here: a service shows no token. */
export function keyAccess(request: KeyRequest, policies: PolicySet, context: Omit<AuthorityContext, 'epoch'>): KeyAccess {
  const { recipient, owner, type, purpose } = request
  if (owner === recipient.organization) return { kind: 'own' }
  const key = context.catalog.entities.get(type)?.key
  if (purpose === null || !key) return NONE
  const reader = { organization: recipient.organization, proof: 'none', actors: [] } as const
  for (const agreement of policies.agreements) {
    const agreed = agreement.types.get(type)
    if (agreement.grantor !== owner || !agreed || !applies(agreement, reader, purpose, context)) continue
    if (!agreement.jurisdictions.grantee.has(recipient.jurisdiction)) continue
    if (!key.every((field) => agreed.fields.get(field)?.kind === 'plain')) continue
    const source = { kind: 'agreement', agreement: agreement.id, version: agreement.version, digest: agreement.digest } as const
    const grant: TypeGrant = { type, rows: agreed.rows, fields: agreed.fields, source }
    return { kind: 'agreed', grant: { organization: owner, types: new Map([[type, grant]]) }, source }
  }
  return NONE
}
