/** From a recorded outcome to HTTP. Pure. */
import type { Receipt } from '../audit/ledger.js'
import { byteText, type Bytes, type ByteText } from '../connectors/texts.js'
import { MEDIA_TYPES } from './media.js'
import type { AnswerError, Attempt, Sovereignty } from './outcome.js'
import { Pieces } from './pieces.js'
import type { GatewayRequest, GatewayResponse } from './request.js'

export function respond(request: GatewayRequest, attempt: Attempt, receipt: Receipt | null): GatewayResponse {
  const out = new Pieces()
  out.ascii('{')
  if (attempt.data !== null) {
    out.ascii('"data":')
    out.addAll(attempt.data)
    out.ascii(',')
  }
  if (attempt.errors.length > 0) {
    out.ascii('"errors":')
    out.add(errorsText(attempt.errors))
    out.ascii(',')
  }
  out.ascii('"extensions":')
  out.add(extensionsText(request, attempt, receipt))
  out.ascii('}')
  return { status: attempt.status, code: attempt.code, headers: headersOf(request, attempt), body: out.take() }
}

/** What comes after `data` of an answer that streams. */
export function endOfStream(request: GatewayRequest, { errors, sovereignty }: Pick<Attempt, 'errors' | 'sovereignty'>, receipt: Receipt): readonly Bytes[] {
  const told = errors.length === 0 ? '' : `,"errors":${errorsText(errors)}`
  return [`${told},"extensions":${extensionsText(request, { sovereignty, explanation: null }, receipt)}}` as ByteText] // the brand: bytes and ASCII
}

export function headersOfStream(request: GatewayRequest): Readonly<Record<string, string>> {
  return { 'content-type': MEDIA_TYPES[request.accept] }
}

export function errorsText(errors: readonly AnswerError[]): ByteText {
  return byteText(JSON.stringify(errors.map(errorBody)))
}

export function extensionsText(
  { id }: GatewayRequest,
  { sovereignty, explanation }: Pick<Attempt, 'sovereignty' | 'explanation'>,
  receipt: Receipt | null,
): ByteText {
  const proof = receipt === null ? '' : `,"receipt":${receiptText(receipt)}`
  const explain = explanation === null ? '' : `,"explain":${explanation}`
  return `{"requestId":${JSON.stringify(id)},"sovereignty":{${sovereigntyText(sovereignty)}${proof}}${explain}}` as ByteText // the brand: bytes and ASCII
}

/** Of the caller's own ledger. An id and base64 need no escaping; the name of a ledger is that of an organization. */
function receiptText({ entry, ledger, leaf }: Receipt): string {
  return `{"entry":"${entry}","ledger":${JSON.stringify(ledger)},"leaf":"${leaf}"}`
}

/** Members of `sovereignty`. Where nobody fails, one object serves all requests of a route, and so does its text. */
function sovereigntyText(sovereignty: Sovereignty): ByteText {
  const known = SOVEREIGNTY_TEXTS.get(sovereignty)
  if (known !== undefined) return known
  const made = byteText(JSON.stringify(sovereignty).slice(1, -1))
  SOVEREIGNTY_TEXTS.set(sovereignty, made)
  return made
}

const SOVEREIGNTY_TEXTS = new WeakMap<Sovereignty, ByteText>()

function headersOf(request: GatewayRequest, { status, headers }: Attempt): Readonly<Record<string, string>> {
  const type = MEDIA_TYPES[request.accept]
  if (status === 200 && headers === NO_HEADERS) return { 'content-type': type }
  const retry = status === 503 || status === 429 ? { 'retry-after': '1' } : {}
  const challenge = status === 401 ? { 'www-authenticate': 'Bearer' } : {}
  return { 'content-type': type, ...retry, ...challenge, ...headers }
}

/** Of attempts that have none of their own. */
export const NO_HEADERS: Readonly<Record<string, string>> = {}

function errorBody(error: AnswerError): Readonly<Record<string, unknown>> {
  const { message, locations, path, code, organization, argument } = error
  const extensions = { code, ...(organization !== undefined && { organization }), ...(argument !== undefined && { argument }) }
  return { message, ...(locations && { locations }), ...(path && { path }), extensions }
}
