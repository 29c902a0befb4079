/** What the driver throws, as a code. The server's words stay in `cause`. */
import { Neo4jError } from 'neo4j-driver'
import type { Signal } from '../../abort.js'
import { GatewayError } from '../../errors.js'
import { endedBy } from '../in-turn.js'

/** A transaction that took too long, or that was ended. */
const TIMEOUTS = /^Neo\.(ClientError|TransientError)\.Transaction\.(TransactionTimedOut|TransactionTimedOutClientConfiguration|Terminated|LockClientStopped)$/

export function codedError(error: unknown, signal: Signal): GatewayError {
  if (signal.aborted) return endedBy(signal)
  if (error instanceof GatewayError) return error
  if (error instanceof Neo4jError && TIMEOUTS.test(error.code)) return new GatewayError('SOURCE_TIMEOUT', 'the store took too long', { cause: error })
  if (error instanceof Error && /acquisition timed out/.test(error.message))
    return new GatewayError('SOURCE_BUSY', 'no connection became free in time', { cause: error })
  return new GatewayError('SOURCE_UNAVAILABLE', 'the store failed', { cause: error })
}
