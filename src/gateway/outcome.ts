/** What became of a request, before it is recorded and sent. */
import type { OwnerDisclosure } from '../audit/record.js'
import type { Code } from '../errors.js'

/** One entry of `errors` in the answer. */
export interface AnswerError {
  readonly message: string
  readonly code: string
  readonly organization?: string
  readonly path?: readonly (string | number)[]
  readonly locations?: readonly { readonly line: number; readonly column: number }[]
  readonly argument?: string
}

/** Everything here follows from plan, policy and health, never from rows. Lists are ordered by organization, type and field. */
export interface Sovereignty {
  readonly served: readonly (OfOwner & RuleWords)[]
  readonly leftOut: readonly (OfOwner & { readonly code: Code })[]
  readonly failed: readonly (OfOwner & { readonly code: Code })[]
  readonly masked: readonly (OfOwner & OfField & Partial<RuleWords> & { readonly mask: string })[]
  readonly withheld: readonly (OfOwner & OfField & Partial<RuleWords> & { readonly conditional: boolean })[]
}

interface OfOwner {
  readonly organization: string
}

interface OfField {
  readonly type: string
  readonly field: string
}

/** A rule as answers name it: roles at home, the agreement elsewhere. */
export interface RuleWords {
  readonly roles?: readonly string[]
  readonly agreement?: string
  readonly version: number
}

export const NOTHING_SERVED: Sovereignty = { served: [], leftOut: [], failed: [], masked: [], withheld: [] }

export interface EngineOutcome {
  /** JSON text of `data`, or null where the whole operation failed. */
  readonly data: string | null
  readonly errors: readonly AnswerError[]
  readonly sovereignty: Sovereignty
  readonly owners: readonly OwnerDisclosure[]
  readonly cost: number
}

/** What is known of a request when it ends. */
export interface Attempt {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** JSON text; null where nothing is given. */
  readonly data: string | null
  readonly errors: readonly AnswerError[]
  readonly sovereignty: EngineOutcome['sovereignty']
  readonly owners: readonly OwnerDisclosure[]
  readonly cost: number
  readonly code: Code | null
  readonly operationName: string | null
  readonly purpose: string | null
  readonly epoch: bigint | null
  /** Instead of `data`: the decisions and statements that were asked for. */
  readonly explanation: string | null
}
