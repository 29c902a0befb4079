/** What the driver throws, as a code. The server's words stay in `cause`. */
import { MongoOperationTimeoutError, MongoServerError } from 'mongodb'
import type { Signal } from '../../abort.js'
import { GatewayError } from '../../errors.js'
import { endedBy } from '../in-turn.js'

/** MaxTimeMSExpired, ExceededTimeLimit, and Interrupted: an operation that was killed. */
const TIMEOUTS: ReadonlySet<unknown> = new Set([50, 262, 11601])

export function codedError(error: unknown, signal: Signal): GatewayError {
  if (signal.aborted) return endedBy(signal)
  if (error instanceof GatewayError) return error
  if (error instanceof Error && error.name === 'MongoWaitQueueTimeoutError')
    return new GatewayError('SOURCE_BUSY', 'no connection became free in time', { cause: error })
  if (error instanceof MongoOperationTimeoutError || (error instanceof MongoServerError && TIMEOUTS.has(error.code)))
    return new GatewayError('SOURCE_TIMEOUT', 'the store took too long', { cause: error })
  return new GatewayError('SOURCE_UNAVAILABLE', 'the store failed', { cause: error })
}
