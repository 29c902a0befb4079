import { GraphQLError } from 'graphql'

/**
 * Every way in which the gateway says no. Clients switch on `extensions.code`; `blame` tells the operator whose problem it is; `status` is the HTTP status when
 * the answer has no `data`. The message is constant, so that it can tell nothing about hidden data. `docs/errors.md` has a heading for each.
 */
export const CODES = {
  BAD_REQUEST: { status: 400, blame: 'caller', message: 'The request is not one that this server understands.' },
  PAYLOAD_TOO_LARGE: { status: 413, blame: 'caller', message: 'The request is larger than this server accepts.' },
  OVERLOADED: { status: 503, blame: 'gateway', message: 'The server has too many requests under way.' },
  TOO_MANY_REQUESTS: { status: 429, blame: 'caller', message: 'You have too many requests under way.' },
  UNAUTHENTICATED: { status: 401, blame: 'caller', message: 'A valid token is needed.' },
  GRAPHQL_PARSE_FAILED: { status: 400, blame: 'caller', message: 'The document is not valid GraphQL.' },
  GRAPHQL_VALIDATION_FAILED: { status: 400, blame: 'caller', message: 'The document does not fit the schema.' },
  OPERATION_RESOLUTION_FAILURE: { status: 400, blame: 'caller', message: 'The operation to run is not clear.' },
  BAD_USER_INPUT: { status: 400, blame: 'caller', message: 'An argument or variable has a value that is not accepted.' },
  CURSOR_INVALID: { status: 400, blame: 'caller', message: 'This cursor does not belong to this query; ask for the first page again.' },
  QUERY_TOO_COSTLY: { status: 400, blame: 'caller', message: 'The operation asks for more than one request may cost.' },
  FORBIDDEN: { status: 403, blame: 'caller', message: 'You may not do this.' },
  NO_AGREEMENT: { status: 403, blame: 'caller', message: 'No agreement lets you query this organization for this purpose.' },
  FIELD_NOT_USABLE: { status: 403, blame: 'caller', message: 'A field in this operation cannot be used here.' },
  PURPOSE_REQUIRED: { status: 403, blame: 'caller', message: 'Name the purpose of this request.' },
  NOT_EXACT: { status: 400, blame: 'caller', message: 'This number cannot be combined exactly over several organizations.' },
  INCOMPLETE: { status: 503, blame: 'source', message: 'This number needs an organization that did not answer.' },
  SOURCE_UNAVAILABLE: { status: 503, blame: 'source', message: 'An organization did not answer.' },
  SOURCE_TIMEOUT: { status: 503, blame: 'source', message: 'An organization did not answer in time.' },
  SOURCE_BUSY: { status: 503, blame: 'source', message: 'An organization has too many requests under way.' },
  AUDIT_UNAVAILABLE: { status: 503, blame: 'gateway', message: 'The audit ledger cannot be written, so nothing is answered.' },
  POLICY_STALE: { status: 503, blame: 'gateway', message: 'This process waits for the current policies.' },
  CANCELLED: { status: 499, blame: 'caller', message: 'The caller went away.' },
  INTERNAL: { status: 500, blame: 'gateway', message: 'The server failed; the request id leads to the reason in its log.' },
} as const

export type Code = keyof typeof CODES

export interface ErrorContext {
  /** The organization concerned; only ever one that the caller may know of. */
  readonly organization?: string
  /** Response path; only where the value at that path is null. */
  readonly path?: readonly (string | number)[]
  /** Where in the document. */
  readonly locations?: readonly { readonly line: number; readonly column: number }[]
  /** The argument or variable that was refused, as a path such as `agents.where.name`; part of the caller's own input. */
  readonly argument?: string
  readonly cause?: unknown
}

/**
 * A refusal or failure with a code. `detail` is for logs and tests: one lowercase sentence without a full stop, naming the schema thing in backticks, never a
 * row value, SQL, host or token. The client gets the constant message of the code.
 */
export class GatewayError extends GraphQLError {
  constructor(
    readonly code: Code,
    readonly detail: string,
    readonly context: ErrorContext = {},
  ) {
    super(CODES[code].message, { extensions: { code, http: { status: CODES[code].status } } })
    this.name = 'GatewayError'
    this.cause = context.cause
  }
}

/** A broken invariant is our bug; it leaves as INTERNAL. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`invariant: ${message}`)
}
