/** The whole way of one request. Nothing leaves before the ledgers concerned have it, refusals included. */
import type { Ledger, Receipt } from '../audit/ledger.js'
import { StaleEpoch } from '../audit/ledger.js'
import { type Disclosure, entriesOf, type OwnerDisclosure } from '../audit/record.js'
import type { Random } from '../audit/uuid.js'
import { type Code, CODES, GatewayError } from '../errors.js'
import type { Observe } from '../observe.js'
import type { Authority } from '../policy/authority.js'
import type { Principal } from '../policy/principal.js'
import type { Authenticate } from './authenticate.js'
import type { Engine } from './engine.js'
import type { Operations } from './operation.js'
import { FieldRefusal } from './owners.js'
import { type AnswerError, type Attempt, NOTHING_SERVED } from './outcome.js'
import type { GatewayRequest, GatewayResponse } from './request.js'
import { respond } from './respond.js'
import { notGiven, refusalDisclosure } from './sovereignty.js'
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
  readonly observe: Observe
}

/** What principals may see, under the policies in force. */
export interface Authorities {
  /** @throws GatewayError FORBIDDEN, PURPOSE_REQUIRED, AUDIT_UNAVAILABLE */
  of(principal: Principal, purposeHeader: string | null): Promise<Authority>
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
    principal = await parts.authenticate(request)
  } catch (error) {
    const failure = coded(error, request, parts)
    parts.ledger.countRefusal(failure.code) // strangers cannot fill or stall a ledger: they are counted
    return respond(request, refusal(failure, request), null)
  }
  const leave = parts.seats.take(principal)
  if (!leave) {
    parts.ledger.countRefusal('TOO_MANY_REQUESTS')
    return respond(request, refusal(new GatewayError('TOO_MANY_REQUESTS', 'all seats of this principal are taken'), request), null)
  }
  try {
    return await recorded(request, principal, parts)
  } finally {
    leave()
  }
}

/** Policies that changed while the request was under way: it is authorized and answered afresh, once. */
async function recorded(request: GatewayRequest, principal: Principal, parts: AnswerParts): Promise<GatewayResponse> {
  for (let isRetry = false; ; isRetry = true) {
    const attempt = await attempted(request, principal, parts)
    try {
      return respond(request, attempt, await record(request, principal, attempt, parts))
    } catch (error) {
      if (error instanceof StaleEpoch && !isRetry) {
        try {
          await parts.authorities.renew()
          continue
        } catch (renewing) {
          return respond(request, refusal(coded(renewing, request, parts), request), null)
        }
      }
      return respond(request, refusal(coded(error, request, parts), request), null)
    }
  }
}

/** Never throws: a refusal is an outcome, and is recorded as one. */
async function attempted(request: GatewayRequest, principal: Principal, parts: AnswerParts): Promise<Attempt> {
  let known: Pick<Attempt, 'operationName' | 'purpose' | 'epoch'> = { operationName: null, purpose: request.purpose, epoch: null }
  try {
    const authority = await parts.authorities.of(principal, request.purpose)
    known = { operationName: request.operationName, purpose: authority.purpose, epoch: authority.epoch }
    if (request.document === null) throw new GatewayError('BAD_REQUEST', 'no `query`')
    const { method, document, operationName, accept, variables, signal } = request
    const operation = await parts.operations.prepare({ method, document, operationName, accept })
    if ('errors' in operation) {
      const errors = operation.errors.map(({ message, locations, extensions }) => ({ message, code: extensions.code, ...(locations ? { locations } : {}) }))
      const code = (errors[0]?.code ?? 'BAD_REQUEST') as Code // Apollo's codes are in our table: `prepare` checks
      return { ...known, ...NOTHING, status: operation.status, headers: operation.headers, errors, code }
    }
    known = { ...known, operationName: operation.name }
    const onFailure = (failure: GatewayError): void => parts.observe({ kind: 'failed', requestId: request.id, cause: failure })
    const engineRequest = { operation, variables, principal, authority, signal, onFailure }
    if (request.explain) {
      if (!authority.may.explain) throw new GatewayError('FORBIDDEN', 'no role allows `explain`')
      const { statements, sovereignty, cost } = parts.engine.explain(engineRequest)
      return { ...known, ...NOTHING, status: 200, sovereignty, cost, explanation: JSON.stringify({ statements, cost }) }
    }
    const stitched = parts.supergraph?.touchesForeign(operation) ? parts.supergraph : null
    const outcome = await (stitched?.run(engineRequest, parts.engine) ?? parts.engine.run(engineRequest))
    if (outcome.data !== null && outcome.data.length > parts.answerBytes) {
      const error = new GatewayError('QUERY_TOO_COSTLY', `the answer is larger than ${parts.answerBytes} bytes`)
      return { ...refusal(error, request), ...known, owners: notGiven(outcome.owners), cost: outcome.cost }
    }
    return { ...known, ...NOTHING, ...outcome, status: 200, code: (outcome.errors[0]?.code as Code | undefined) ?? null }
  } catch (error) {
    const owner = error instanceof FieldRefusal ? refusalDisclosure(error, principal, parts.engine.parts) : null
    return { ...refusal(coded(error, request, parts), request), ...known, owners: owner ? [owner] : askedBefore(error, parts) }
  }
}

function askedBefore(error: unknown, { engine, supergraph }: AnswerParts): readonly OwnerDisclosure[] {
  return [...engine.askedBefore(error), ...(supergraph?.askedBefore(error) ?? [])]
}

const NOTHING = { headers: {}, data: null, errors: [], sovereignty: NOTHING_SERVED, owners: [], cost: 0, code: null, explanation: null } as const

/** A refusal has no `data`. With the older media type, what concerns the document has status 200 (GraphQL over HTTP, section 6.4.1). */
function refusal(error: GatewayError, request: GatewayRequest): Attempt {
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
  return { ...NOTHING, status, errors: [body], code, operationName: null, purpose: request.purpose, epoch: null }
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
async function record(request: GatewayRequest, principal: Principal, attempt: Attempt, parts: AnswerParts): Promise<Receipt> {
  const disclosure: Disclosure = {
    requestId: request.id,
    time: parts.clock.now(),
    principal,
    purpose: attempt.purpose,
    operationName: attempt.operationName,
    documentText: request.document ?? '',
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

function outcomeOf(attempt: Attempt): Disclosure['outcome'] {
  if (attempt.data === null && attempt.explanation === null) return attempt.code !== null && CODES[attempt.code].blame !== 'caller' ? 'failed' : 'refused'
  return attempt.sovereignty.failed.length > 0 ? 'partial' : 'answered'
}
