/** Which owners a root field goes to, and what the caller is told where one is named that may not be asked. */
import { type Code, GatewayError } from '../errors.js'
import type { OrganizationBinding } from '../query/binding.js'
import type { Catalog } from '../query/catalog.js'
import { compareText } from '../query/order.js'
import type { Authority, OwnerGrant } from '../policy/authority.js'
import { authorize, type Disclosure } from '../policy/authorize.js'
import type { FieldUse } from './bound-plan.js'

export interface ChosenOwner {
  readonly organization: string
  /** Whose rows the root field gives, or counts. */
  readonly type: string
  readonly grant: OwnerGrant
  /** Null while its stores cannot be reached and have never been described. */
  readonly binding: OrganizationBinding | null
  readonly disclosures: readonly Disclosure[]
  readonly uses: readonly FieldUse[]
}

export interface OwnerChoice {
  /** In code point order. */
  readonly chosen: readonly ChosenOwner[]
  readonly leftOut: readonly { readonly organization: string; readonly code: Code }[]
  /** One for each that is left out. */
  readonly refused: readonly FieldRefusal[]
}

export interface ChoiceContext {
  readonly authority: Authority
  readonly home: string
  readonly catalog: Catalog
  /** Null while its stores cannot be reached and have never been described. */
  readonly bindingOf: (organization: string) => OrganizationBinding | null
  readonly onForbidden: 'REFUSE' | 'EXCLUDE'
  /** Owners that are asked, of those that may be and are named; null: all. */
  readonly within: readonly string[] | null
}

/**
 * @param named organizations that the operation names; null is everyone permitted, an empty list nobody.
 * @throws GatewayError NO_AGREEMENT, FORBIDDEN, PURPOSE_REQUIRED, FIELD_NOT_USABLE
 */
export function chooseOwners(type: string, uses: readonly FieldUse[], named: readonly string[] | null, context: ChoiceContext): OwnerChoice {
  const { authority } = context
  const grants = [...authority.owners.values()].filter((grant) => grant.types.has(type))
  const leftOut: { organization: string; code: Code }[] = []
  if (named !== null) {
    for (const organization of new Set(named)) {
      if (!grants.some((grant) => grant.organization === organization)) throw refusalOf(organization, context)
    }
  } else {
    // Among several purposes none was named: to fan out to home alone would pass for the whole answer.
    if ([...authority.refusals].some(([organization, code]) => organization !== context.home && code === 'PURPOSE_REQUIRED')) {
      throw new GatewayError('PURPOSE_REQUIRED', 'the token carries several purposes and the request names none')
    }
    if (grants.length === 0) throw refusalOf(context.home, context)
  }
  const chosen: ChosenOwner[] = []
  const refused: FieldRefusal[] = []
  for (const grant of grants) {
    const { organization } = grant
    if (named !== null && !named.includes(organization)) continue
    if (context.within !== null && !context.within.includes(organization)) continue
    const binding = context.bindingOf(organization)
    const decision = authorize(uses, grant, binding ?? unboundOf(organization, context.catalog), context.catalog)
    // Of a type whose store was never reached nobody knows which columns it has: that is no refusal, and nothing is asked of it. What policy denies is one even then.
    if ((!binding || binding.types.has(type)) && decision.refused) {
      const refusal = new FieldRefusal(grant, decision.refused)
      if (context.onForbidden === 'REFUSE') throw refusal
      refused.push(refusal)
      leftOut.push({ organization, code: refusal.code })
    } else chosen.push({ organization, type, grant, binding, disclosures: decision.disclosures, uses })
  }
  chosen.sort((a, b) => compareText(a.organization, b.organization))
  return { chosen, leftOut, refused }
}

/** An owner's policy refuses the operation for the use of a field; the owner's ledger has that too. */
export class FieldRefusal extends GatewayError {
  constructor(
    readonly grant: OwnerGrant,
    readonly use: FieldUse,
  ) {
    const { type, field, place } = use
    super('FIELD_NOT_USABLE', `\`${type}.${field}\` cannot be used here`, { organization: grant.organization, ...(place && { locations: [place] }) })
  }
}

/** An unknown organization and one without an agreement give the same answer. */
export function refusalOf(organization: string, context: Pick<ChoiceContext, 'authority' | 'home'>): GatewayError {
  const code = context.authority.refusals.get(organization) ?? (organization === context.home ? 'FORBIDDEN' : 'NO_AGREEMENT')
  return new GatewayError(code, 'an organization that may not be queried', code === 'NO_AGREEMENT' ? {} : { organization })
}

/** Stands in for stores that were never reached: nothing is bound, and nothing is asked. */
function unboundOf(organization: string, catalog: Catalog): OrganizationBinding {
  return { organization, types: new Map([...catalog.entities.keys()].map((type) => [type, { kind: 'none', type }])) }
}
