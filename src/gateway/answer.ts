/** The whole way of one request. Nothing leaves before the ledgers concerned have it, refusals included. */
import { sha256 } from '../audit/digest.js'
import { Abort } from '../abort.js'
import type { IntentDisclosure } from '../audit/intent.js'
import type { Begun, Ledger, Receipt } from '../audit/ledger.js'
import { StaleEpoch } from '../audit/ledger.js'
import { type Disclosure, entriesOf, type OwnerDisclosure } from '../audit/record.js'
import type { Random } from '../audit/uuid.js'
import { byteText, type Bytes } from '../connectors/texts.js'
import { type Code, CODES, GatewayError } from '../errors.js'
import type { Observe } from '../observe.js'
import type { Authority } from '../policy/authority.js'
import type { Principal } from '../policy/principal.js'
import type { Authenticate } from './authenticate.js'
import type { Engine } from './engine.js'
import type { FramedRefusal, Operation, Operations } from './operation.js'
import { FieldRefusal } from './owners.js'
import { type AnswerError, type Attempt, type EngineStream, NOTHING_SERVED } from './outcome.js'
import { type GatewayRequest, type GatewayResponse, isStream } from './request.js'
import { lengthOf, piecesOf } from './pieces.js'
import { endOfStream, headersOfStream, NO_HEADERS, respond } from './respond.js'
import { notGiven, refusalDisclosure } from './sovereignty.js'
import type { EngineRequest } from './run.js'
import type { Supergraph } from './supergraph.js'

export interface AnswerParts {
  readonly authenticate: Authenticate
  readonly operations: Operations
  readonly engine: Engine
  /** Null: there are no foreign services. */
  readonly supergraph: Supergraph | null
  readonly authorities: Authorities
  readonly ledger: Ledger
  readonly seats: Seats
  readonly entryParts: { readonly tokenKey: Uint8Array; readonly random: Random }
  /** Unix milliseconds, and milliseconds of a clock that never goes back. */
  readonly clock: { now(): number; monotonic(): number }
  readonly answerBytes: number
  /** For the bench alone, which measures what recording costs: nothing is recorded, and no answer has a receipt. */
  readonly unrecorded: boolean
  readonly observe: Observe
}

/** What principals may see, under the policies in force. */
export interface Authorities {
  /** At once where it is kept. @throws GatewayError FORBIDDEN, PURPOSE_REQUIRED, AUDIT_UNAVAILABLE, or rejects with it */
  of(principal: Principal, purposeHeader: string | null): Authority | Promise<Authority>
  /** The ledger has seen newer policies: reads them. @throws GatewayError POLICY_STALE where the files here are not those. */
  renew(): Promise<void>
}

/** Requests under way, by principal. */
export interface Seats {
  /** @returns how to leave; null where all are taken. */
  take(principal: Principal): (() => void) | null
}

export async function answer(request: GatewayRequest, parts: AnswerParts): Promise<GatewayResponse> {
  let principal: Principal
  try {
    const authenticated = parts.authenticate(request)
    principal = authenticated instanceof Promise ? await authenticated : authenticated
  } catch (error) {
    const failure = coded(error, request, parts)
    parts.ledger.countRefusal(failure.code) // strangers cannot fill or stall a ledger: they are counted
    return respond(request, refusal(failure, request, UNKNOWN), null)
  }
  const leave = parts.seats.take(principal)
  if (!leave) {
    parts.ledger.countRefusal('TOO_MANY_REQUESTS')
    return respond(request, refusal(new GatewayError('TOO_MANY_REQUESTS', 'all seats of this principal are taken'), request, UNKNOWN), null)
  }
  try {
    const response = await recorded(request, principal, parts)
    const { body } = response
    if (!isStream(body)) leave()
    return isStream(body) ? { ...response, body: until(body, leave) } : response
  } catch (error) {
    leave()
    throw error
  }
}

/** A stream holds its seat until it has ended. */
async function* until<T>(body: AsyncIterable<T>, leave: () => void): AsyncGenerator<T> {
  try {
    yield* body
  } finally {
    leave()
  }
}

/** Policies that changed while the request was under way: it is authorized and answered afresh, once. */
async function recorded(request: GatewayRequest, principal: Principal, parts: AnswerParts): Promise<GatewayResponse> {
  for (let isRetry = false; ; isRetry = true) {
    const attempt = await attempted(request, principal, parts)
    try {
      if ('kind' in attempt) return await streamed(request, principal, attempt, parts)
      return respond(request, attempt, await record(request, principal, attempt, parts))
    } catch (error) {
      if ('kind' in attempt) attempt.stream.end(error)
      if (error instanceof StaleEpoch && !isRetry) {
        try {
          await parts.authorities.renew()
          continue
        } catch (renewing) {
          return respond(request, refusal(coded(renewing, request, parts), request, UNKNOWN), null)
        }
      }
      return respond(request, refusal(coded(error, request, parts), request, UNKNOWN), null)
    }
  }
}

/** What has come to be known of a request on its way, for its record. */
interface Known {
  operationName: string | null
  /** Absent: the one that the request names. */
  purpose?: string | null
  epoch: bigint | null
  documentSha256: Uint8Array | null
}

const UNKNOWN: Readonly<Known> = { operationName: null, epoch: null, documentSha256: null }

/** Never throws: a refusal is an outcome, and is recorded as one. */
async function attempted(request: GatewayRequest, principal: Principal, parts: AnswerParts): Promise<Attempt | StreamAttempt> {
  const known: Known = { operationName: null, epoch: null, documentSha256: null }
  try {
    // What is kept comes without a wait: each one is a microsecond or two, on a way of fifty.
    const found = parts.authorities.of(principal, request.purpose)
    const authority = found instanceof Promise ? await found : found
    known.operationName = request.operationName
    known.purpose = authority.purpose
    known.epoch = authority.epoch
    if (request.document === null) throw new GatewayError('BAD_REQUEST', 'no `query`')
    const { method, document, operationName, accept, variables, signal } = request
    const asked = { method, document, operationName, accept }
    const operation = parts.operations.known(asked) ?? (await parts.operations.prepare(asked))
    if ('errors' in operation) return framedRefusal(operation, request, known)
    known.operationName = operation.name
    known.documentSha256 = operation.sha256
    const onFailure = (failure: GatewayError): void => parts.observe({ kind: 'failed', requestId: request.id, cause: failure })
    const engineRequest = { operation, variables, principal, authority, signal, onFailure }
    if (request.explain) return explained(engineRequest, request, known, parts)
    const stitched = parts.supergraph?.touchesForeign(operation) ? parts.supergraph : null
    const outcome = await (stitched?.run(engineRequest, parts.engine) ?? parts.engine.answer(engineRequest))
    if ('kind' in outcome) return { kind: 'stream', stream: outcome, authority, operation }
    const { data, errors, sovereignty, owners, cost } = outcome
    if (data !== null && lengthOf(data) > parts.answerBytes) {
      const error = new GatewayError('QUERY_TOO_COSTLY', `the answer is larger than ${parts.answerBytes} bytes`)
      return { ...refusal(error, request, known), owners: notGiven(owners), cost }
    }
    const code = (errors[0]?.code as Code | undefined) ?? null // the engine's codes are in our table
    return attempt({ status: 200, data, errors, sovereignty, owners, cost, code }, request, known)
  } catch (error) {
    const owner = error instanceof FieldRefusal ? refusalDisclosure(error, principal.organization, parts.engine.parts) : null
    return { ...refusal(coded(error, request, parts), request, known), owners: owner ? [owner] : askedBefore(error, parts) }
  }
}

/** An answer that is larger than what is held; not a byte of it has been given. */
interface StreamAttempt {
  readonly kind: 'stream'
  readonly stream: EngineStream
  readonly authority: Authority
  readonly operation: Operation
}

type Found = Pick<Attempt, 'status' | 'data' | 'errors' | 'sovereignty' | 'owners' | 'cost' | 'code'>

/** Written out: objects that are spread into each other took a tenth of a point lookup. */
function attempt({ status, data, errors, sovereignty, owners, cost, code }: Found, request: GatewayRequest, known: Readonly<Known>): Attempt {
  const { operationName, purpose = request.purpose, epoch, documentSha256 } = known
  return {
    status,
    headers: NO_HEADERS,
    data,
    errors,
    sovereignty,
    owners,
    cost,
    code,
    operationName,
    purpose,
    epoch,
    documentSha256,
    explanation: null,
  }
}

function framedRefusal({ status, headers, errors: framed }: FramedRefusal, request: GatewayRequest, known: Readonly<Known>): Attempt {
  const errors = framed.map(({ message, locations, extensions }) => ({ message, code: extensions.code, ...(locations ? { locations } : {}) }))
  const code = (errors[0]?.code ?? 'BAD_REQUEST') as Code // Apollo's codes are in our table: `prepare` checks
  return { ...attempt({ ...NOTHING, status, errors, code }, request, known), headers }
}

function explained(asked: EngineRequest, request: GatewayRequest, known: Readonly<Known>, parts: AnswerParts): Attempt {
  if (!asked.authority.may.explain) throw new GatewayError('FORBIDDEN', 'no role allows `explain`')
  const { statements, sovereignty, cost } = parts.engine.explain(asked)
  return { ...attempt({ ...NOTHING, status: 200, sovereignty, cost }, request, known), explanation: byteText(JSON.stringify({ statements, cost })) }
}

function askedBefore(error: unknown, { engine, supergraph }: AnswerParts): readonly OwnerDisclosure[] {
  return [...engine.askedBefore(error), ...(supergraph?.askedBefore(error) ?? [])]
}

const NOTHING = { data: null, errors: [], sovereignty: NOTHING_SERVED, owners: [], cost: 0, code: null } as const

/** A refusal has no `data`. With the older media type, what concerns the document has status 200 (GraphQL over HTTP, section 6.4.1). */
function refusal(error: GatewayError, request: GatewayRequest, known: Readonly<Known>): Attempt {
  const { code, context } = error
  const { organization, path, locations, argument } = context
  const body: AnswerError = {
    message: CODES[code].message,
    code,
    ...(organization !== undefined && { organization }),
    ...(path && { path }),
    ...(locations && { locations }),
    ...(argument !== undefined && { argument }),
  }
  const status = request.accept === 'json' && code === 'BAD_USER_INPUT' ? 200 : CODES[code].status
  return attempt({ ...NOTHING, status, errors: [body], code }, request, known)
}

/** What is not ours leaves as INTERNAL, with a request id and nothing else; the log has the rest. */
function coded(error: unknown, request: GatewayRequest, parts: AnswerParts): GatewayError {
  if (error instanceof GatewayError) {
    if (error.cause !== undefined || CODES[error.code].blame !== 'caller') parts.observe({ kind: 'failed', requestId: request.id, cause: error })
    return error
  }
  parts.observe({ kind: 'failed', requestId: request.id, cause: error })
  return new GatewayError('INTERNAL', 'an unexpected failure', { cause: error })
}

/** Durable before the first byte leaves. @throws StaleEpoch, GatewayError AUDIT_UNAVAILABLE */
async function record(request: GatewayRequest, principal: Principal, attempt: Attempt, parts: AnswerParts): Promise<Receipt | null> {
  if (parts.unrecorded) return null
  const disclosure: Disclosure = {
    requestId: request.id,
    time: parts.clock.now(),
    principal,
    purpose: attempt.purpose,
    operationName: attempt.operationName,
    documentSha256: attempt.documentSha256 ?? sha256(request.document ?? ''),
    variablesText: JSON.stringify(request.variables ?? null),
    outcome: outcomeOf(attempt),
    code: attempt.code,
    durationMs: Math.round(parts.clock.monotonic() - request.startedMs),
    cost: attempt.cost,
    owners: attempt.owners,
  }
  const epoch = attempt.epoch ?? BigInt((await parts.ledger.currentEpoch()).epoch)
  const receipts = await parts.ledger.append({ epoch: Number(epoch), entries: entriesOf(disclosure, parts.entryParts) })
  const receipt = receipts.get(principal.organization)
  if (!receipt) throw new GatewayError('AUDIT_UNAVAILABLE', 'the ledger gave no receipt')
  return receipt
}

// --- streams -----------------------------------------------------------------------------------------------------------------------------------------------------

interface Streamed {
  readonly request: GatewayRequest
  readonly principal: Principal
  readonly attempt: StreamAttempt
  readonly begun: Begun
  readonly cut: Abort
}

/** The intent is durable before the first byte leaves. @throws StaleEpoch, GatewayError AUDIT_UNAVAILABLE */
async function streamed(request: GatewayRequest, principal: Principal, attempt: StreamAttempt, parts: AnswerParts): Promise<GatewayResponse> {
  const { stream, authority, operation } = attempt
  const intent: IntentDisclosure = {
    requestId: request.id,
    time: parts.clock.now(),
    principal,
    purpose: authority.purpose,
    operationName: operation.name,
    documentSha256: operation.sha256,
    variablesText: JSON.stringify(request.variables ?? null),
    cost: stream.cost,
    owners: stream.owners.map(({ terms }) => ({ terms })),
  }
  const begun = await parts.ledger.begin({ epoch: Number(authority.epoch), intent, parts: parts.entryParts })
  const cut = new Abort()
  return { status: 200, code: null, headers: headersOfStream(request), body: streamedBody({ request, principal, attempt, begun, cut }, parts), cut }
}

/**
 * `errors` and `extensions` come last, with the receipt of the outcome: without it nobody has the whole answer. What goes wrong before breaks the connection off, and is
 * in the ledgers as `truncated`.
 */
async function* streamedBody({ request, principal, attempt, begun, cut }: Streamed, parts: AnswerParts): AsyncGenerator<readonly Bytes[]> {
  const { stream, authority } = attempt
  const ended = async (outcome: 'answered' | 'partial' | 'truncated', code: Code | null): Promise<Receipt> => {
    const { owners } = stream.given()
    const durationMs = Math.round(parts.clock.monotonic() - request.startedMs)
    const receipts = await begun.end({ time: parts.clock.now(), outcome, code, durationMs, owners })
    const receipt = receipts.get(principal.organization)
    if (!receipt) throw new GatewayError('AUDIT_UNAVAILABLE', 'the ledger gave no receipt')
    return receipt
  }
  let failure: GatewayError | null = new GatewayError('CANCELLED', 'the client went away') // where nobody asks for the next piece
  // Also while nobody takes the next piece: what waits in the connection does not leave either.
  const watch = setInterval(() => {
    mayGoOn(principal, authority, parts).catch((error: unknown) => {
      if (failure === null) return // all has been given, and its outcome is on its way: there is one
      failure = coded(error, request, parts)
      cut.abort(failure)
    })
  }, WATCH_MS)
  try {
    let head = piecesOf('{"data":')
    for await (const pieces of stream.pieces()) {
      if (cut.aborted) throw cut.reason
      yield [...head, ...pieces]
      head = []
    }
    if (cut.aborted) throw cut.reason
    const { errors } = stream.given()
    const isPartial = stream.sovereignty.failed.length > 0
    failure = null
    clearInterval(watch)
    stream.end(null)
    const receipt = await ended(isPartial ? 'partial' : 'answered', (errors[0]?.code as Code | undefined) ?? null) // the engine's codes are in our table
    yield endOfStream(request, { errors, sovereignty: stream.sovereignty }, receipt)
  } catch (error) {
    if (failure !== null && !cut.aborted) failure = coded(error, request, parts)
    throw error
  } finally {
    clearInterval(watch)
    if (failure) {
      stream.end(failure)
      // Where that fails too, the intent is closed as unknown.
      await ended('truncated', failure.code).catch((error: unknown) => parts.observe({ kind: 'failed', requestId: request.id, cause: error }))
    }
  }
}

/** Between two looks at the policies in force. */
const WATCH_MS = 2_000

/** Whether the caller of a stream may still have it. @throws GatewayError POLICY_STALE, UNAUTHENTICATED, AUDIT_UNAVAILABLE */
async function mayGoOn(principal: Principal, authority: Authority, { clock, ledger }: AnswerParts): Promise<void> {
  const now = clock.now()
  if (principal.expiresMs <= now) throw new GatewayError('UNAUTHENTICATED', 'the token has expired while its answer streamed')
  if (authority.validUntilMs <= now) throw new GatewayError('POLICY_STALE', 'an agreement began or ended while the answer streamed')
  const { epoch } = await ledger.currentEpoch()
  if (BigInt(epoch) !== authority.epoch) throw new GatewayError('POLICY_STALE', 'the policies have changed while the answer streamed')
}

function outcomeOf(attempt: Attempt): Disclosure['outcome'] {
  if (attempt.data === null && attempt.explanation === null) return attempt.code !== null && CODES[attempt.code].blame !== 'caller' ? 'failed' : 'refused'
  return attempt.sovereignty.failed.length > 0 ? 'partial' : 'answered'
}
