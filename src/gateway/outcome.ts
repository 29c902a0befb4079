/** What became of a request, before it is recorded and sent. */
import type { OwnerDisclosure } from '../audit/record.js'
import type { Bytes, ByteText } from '../connectors/texts.js'
import type { Code } from '../errors.js'
import type { OwnerBase, OwnerPart } from './sovereignty.js'

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
  /** Searches, by response key, that an index may have answered with rows that are near but not the nearest. Absent: there are none. */
  readonly approximate?: readonly (OfOwner & { readonly search: string })[]
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
  /** JSON text of `data` in pieces, or null where the whole operation failed. */
  readonly data: readonly Bytes[] | null
  readonly errors: readonly AnswerError[]
  readonly sovereignty: Sovereignty
  readonly owners: readonly OwnerPart[]
  readonly cost: number
}

/** An answer that is larger than what is held. */
export interface EngineStream {
  readonly kind: 'stream'
  readonly owners: readonly OwnerBase[]
  readonly cost: number
  readonly sovereignty: Sovereignty
  /** JSON text of `data` in pieces, no faster than they are taken. To be called once. @throws GatewayError what a store failed with midway */
  pieces(): AsyncIterable<readonly Bytes[]>
  /** What was given until now, owners in the order of `owners`. */
  given(): Pick<EngineOutcome, 'errors' | 'owners'>
  /** Nobody reads on; what is under way at the stores is cancelled unless `error` is null. */
  end(error: unknown): void
}

/** What is known of a request when it ends. */
export interface Attempt {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** JSON text in pieces; null where nothing is given. */
  readonly data: readonly Bytes[] | null
  readonly errors: readonly AnswerError[]
  readonly sovereignty: EngineOutcome['sovereignty']
  readonly owners: readonly OwnerDisclosure[]
  readonly cost: number
  readonly code: Code | null
  readonly operationName: string | null
  readonly purpose: string | null
  readonly epoch: bigint | null
  /** Instead of `data`: the decisions and statements that were asked for. */
  readonly explanation: ByteText | null
  /** SHA-256 of the document's text, where it was prepared. */
  readonly documentSha256: Uint8Array | null
}
