/** From a recorded outcome to HTTP. Pure. */
import type { Receipt } from '../audit/ledger.js'
import { MEDIA_TYPES } from './media.js'
import type { AnswerError, Attempt } from './outcome.js'
import type { GatewayRequest, GatewayResponse } from './request.js'

export function respond(request: GatewayRequest, attempt: Attempt, receipt: Receipt | null): GatewayResponse {
  const members: string[] = []
  if (attempt.data !== null) members.push(`"data":${attempt.data}`)
  if (attempt.errors.length > 0) members.push(`"errors":${JSON.stringify(attempt.errors.map(errorBody))}`)
  const sovereignty = { ...attempt.sovereignty, ...(receipt && { receipt: { entry: receipt.entry, ledger: receipt.ledger, leaf: receipt.leaf } }) }
  const explain = attempt.explanation === null ? '' : `,"explain":${attempt.explanation}`
  members.push(`"extensions":{"requestId":${JSON.stringify(request.id)},"sovereignty":${JSON.stringify(sovereignty)}${explain}}`)
  const retry = attempt.status === 503 || attempt.status === 429 ? { 'retry-after': '1' } : {}
  const challenge = attempt.status === 401 ? { 'www-authenticate': 'Bearer' } : {}
  const headers = { 'content-type': MEDIA_TYPES[request.accept], ...retry, ...challenge, ...attempt.headers }
  return { status: attempt.status, code: attempt.code, headers, body: `{${members.join(',')}}` }
}

function errorBody(error: AnswerError): Readonly<Record<string, unknown>> {
  const { message, locations, path, code, organization, argument } = error
  const extensions = { code, ...(organization !== undefined && { organization }), ...(argument !== undefined && { argument }) }
  return { message, ...(locations && { locations }), ...(path && { path }), extensions }
}
