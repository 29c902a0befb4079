/** What the driver throws and the service refuses, as a code. Their words, which name the host, stay in `cause`. */
import type { Signal } from '../../abort.js'
import { GatewayError } from '../../errors.js'
import { endedBy } from '../in-turn.js'

const [TOO_MANY_REQUESTS, GATEWAY_TIMEOUT] = [429, 504]
/** The driver's own errors lie around those of the transport. */
const CAUSES_MAX = 8

/** What the transport gave up for, thrown through the driver, which wraps it. */
export class TransportError extends Error {
  constructor(
    readonly code: 'SOURCE_UNAVAILABLE' | 'SOURCE_TIMEOUT' | 'SOURCE_BUSY',
    message: string,
    options?: { readonly cause: unknown },
  ) {
    super(message, options)
  }
}

/** Null: the driver itself knows what to make of it. */
export function refusalOf(status: number): TransportError | null {
  if (status === TOO_MANY_REQUESTS) return new TransportError('SOURCE_BUSY', 'a rate limit of the service was reached')
  return status === GATEWAY_TIMEOUT ? new TransportError('SOURCE_TIMEOUT', 'the service took too long for itself') : null
}

export function codedError(error: unknown, signal: Signal): GatewayError {
  if (signal.aborted) return endedBy(signal)
  if (error instanceof GatewayError) return error
  switch (transportError(error)?.code) {
    case 'SOURCE_TIMEOUT':
      return new GatewayError('SOURCE_TIMEOUT', 'the store took too long', { cause: error })
    case 'SOURCE_BUSY':
      return new GatewayError('SOURCE_BUSY', 'the store has too many requests under way', { cause: error })
    case 'SOURCE_UNAVAILABLE':
    case undefined:
      return new GatewayError('SOURCE_UNAVAILABLE', 'the store failed', { cause: error })
  }
}

function transportError(error: unknown): TransportError | null {
  let each = error
  for (let depth = 0; depth < CAUSES_MAX && each instanceof Error; depth += 1) {
    if (each instanceof TransportError) return each
    each = each.cause
  }
  return null
}

/** Whether the service says that there is nothing of this name. */
export function isNotFound(error: unknown): boolean {
  return error instanceof Error && error.name === 'PineconeNotFoundError'
}

/** An answer that is not one to what was asked. */
export function nonsense(what: string): GatewayError {
  return new GatewayError('SOURCE_UNAVAILABLE', `the store answered with ${what}`)
}
