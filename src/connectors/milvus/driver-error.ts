/** What the driver throws and the server refuses, as a code. Their words stay in `cause`. */
import type { Signal } from '../../abort.js'
import { GatewayError } from '../../errors.js'
import { endedBy } from '../in-turn.js'

/** Of gRPC. */
const [DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED] = [4, 8]
/** Of Milvus: a rate limit that was reached. */
const BUSY: ReadonlySet<unknown> = new Set(['RateLimit', 'ForceDeny', 'MemoryQuotaExhausted', 'DiskQuotaExhausted', 'TimeTickLongDelay'])

/** A statement that the server refused. */
export class RefusedError extends Error {
  constructor(
    readonly reason: string,
    readonly kind: string,
  ) {
    super(reason)
  }
}

export function codedError(error: unknown, signal: Signal): GatewayError {
  if (signal.aborted) return endedBy(signal)
  if (error instanceof GatewayError) return error
  const code: unknown = typeof error === 'object' && error !== null && 'code' in error ? error.code : null
  if (code === DEADLINE_EXCEEDED) return new GatewayError('SOURCE_TIMEOUT', 'the store took too long', { cause: error })
  const isWaiting = error instanceof Error && (error.name === 'TimeoutError' || /max waitingClients/.test(error.message))
  if (code === RESOURCE_EXHAUSTED || isWaiting || (error instanceof RefusedError && BUSY.has(error.kind)))
    return new GatewayError('SOURCE_BUSY', 'the store has too many requests under way', { cause: error })
  return new GatewayError('SOURCE_UNAVAILABLE', 'the store failed', { cause: error })
}

/** An answer that is not one to what was asked. */
export function nonsense(what: string): GatewayError {
  return new GatewayError('SOURCE_UNAVAILABLE', `the store answered with ${what}`)
}
