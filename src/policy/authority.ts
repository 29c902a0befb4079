/**
 * What one principal may see for one purpose, per owner: the outcome of roles and agreements before any plan is looked at. Depends on principal, purpose,
 * policies and the clock only, so it is kept until `validUntilMs`.
 */
import type { Code } from '../errors.js'
import type { Predicate } from '../query/predicate.js'
import type { ViewField } from '../query/plan.js'

export interface TypeGrant {
  readonly type: string
  /** Three-valued, over the raw row. */
  readonly rows: Predicate
  /** By field of the contract, relations included; a field that is not here is denied. Every `required` field is here as `plain` or `masked`. */
  readonly fields: ReadonlyMap<string, Exclude<ViewField, { kind: 'absent' }>>
  /** The rule for this type, for decisions with reasons, such as `role analyst` or `agreement borealis-aurora-operations`. */
  readonly source: GrantSource
}

export type GrantSource =
  | { readonly kind: 'roles'; readonly roles: readonly string[]; readonly version: number; readonly digest: string }
  | { readonly kind: 'agreement'; readonly agreement: string; readonly version: number; readonly digest: string }

export interface OwnerGrant {
  readonly organization: string
  /** By type; a type that is not here is denied whole. Several agreements of one grantor may each give other types. */
  readonly types: ReadonlyMap<string, TypeGrant>
}

export interface Authority {
  /** Owners that the principal may query at all, home included, in code point order of their ids. */
  readonly owners: ReadonlyMap<string, OwnerGrant>
  /** Why an owner that is not in `owners` refuses, where there is more to say than NO_AGREEMENT (home: FORBIDDEN or PURPOSE_REQUIRED). */
  readonly refusals: ReadonlyMap<string, Code>
  readonly purpose: string | null
  /** The roles allow `explain`, and reading or exporting the own ledger. */
  readonly may: { readonly explain: boolean; readonly auditList: boolean; readonly auditExport: boolean }
  /** Names the decision shape: equal strings mean equal grants up to the values of claims. */
  readonly shape: string
  /** Policy epoch under which it was made. */
  readonly epoch: bigint
  /** Unix milliseconds at which an agreement begins or ends. */
  readonly validUntilMs: number
}
