/** What an owner's section of an entry says of the decision alone: made once for all requests that the decision is good for. */
import { canonical, stringText } from './canonical-json.js'
import { sha256 } from './digest.js'

/** What an owner let the caller use, and under which rule. */
export type Source =
  | { readonly kind: 'roles'; readonly roles: readonly string[]; readonly version: number; readonly digest: string }
  | { readonly kind: 'agreement'; readonly agreement: string; readonly version: number; readonly digest: string }

export type FieldDecision = 'allow' | 'mask' | 'conditional' | 'deny'

/** One type of one owner, as the request used it. */
export interface TypeDisclosure {
  readonly type: string
  /** Every field that the request names, in any clause. */
  readonly fields: readonly string[]
  /** A field that is not here was allowed. */
  readonly decisions?: Readonly<Record<string, FieldDecision>>
  /** Kind of mask by field, such as `pseudonym`. */
  readonly masks?: Readonly<Record<string, string>>
}

/** Where rows lie, where the gateway is, and where the caller's organization is; null where that is not known. */
export interface Jurisdictions {
  readonly stored: readonly string[]
  readonly gateway: string
  readonly grantee: string | null
}

export interface OwnerFacts {
  readonly organization: string
  readonly source: Source
  readonly types: readonly TypeDisclosure[]
  /** Names of the stores that are asked. */
  readonly stores: readonly string[]
  readonly jurisdictions: Jurisdictions
  /** The owner's compiled predicate; only its digest is kept. Null: nothing was compiled. */
  readonly predicateText: string | null
}

declare const terms: unique symbol

/** Facts of one owner, ready for any number of entries. Only `ownerTerms` makes them. */
export interface OwnerTerms {
  readonly [terms]: true
  readonly organization: string
  /** Members of a section as canonical JSON, for the principal's ledger and for the owner's: from `jurisdictions` to the name of `outcome`, … */
  readonly middle: { readonly home: string; readonly own: string }
  /** … and from `source` to the end, which is the same in both. */
  readonly tail: string
  readonly predicateSha256: Uint8Array | null
}

/** @throws Error when a version is not finite. */
export function ownerTerms(facts: OwnerFacts): OwnerTerms {
  const { organization, jurisdictions, predicateText } = facts
  const { stored, gateway, grantee } = jurisdictions
  const where = `"jurisdictions":${canonical({ stored, gateway, grantee })}`
  const made: Omit<OwnerTerms, typeof terms> = {
    organization,
    middle: { home: `${where},"organization":${stringText(organization)},"outcome":`, own: `${where},"outcome":` },
    tail: canonical({ source: sourceOf(facts.source), stores: facts.stores, types: facts.types.map(typeOf) }).slice(1),
    predicateSha256: predicateText === null ? null : sha256(predicateText),
  }
  return made as OwnerTerms // the brand: this is the one maker
}

/** Only what the format names: a caller's object may hold more. */
function sourceOf(source: Source): Source {
  switch (source.kind) {
    case 'roles':
      return { kind: 'roles', roles: source.roles, version: source.version, digest: source.digest }
    case 'agreement':
      return { kind: 'agreement', agreement: source.agreement, version: source.version, digest: source.digest }
  }
}

function typeOf({ type, fields, decisions, masks }: TypeDisclosure): object {
  return { type, fields: [...fields].sort(), decisions: decisions ?? {}, masks: masks ?? {} }
}
