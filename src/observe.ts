/**
 * What the process tells its operator: one union of observations, written as a JSON object a line. Never a token, a value of a row, a variable, a parameter of a
 * statement, or a text that could hold one: errors of libraries are reduced to their names and codes.
 */
import pino from 'pino'
import type { LogLevel } from './config.js'
import { CODES, GatewayError, type Code } from './errors.js'

export type Observation =
  | { readonly kind: 'listening'; readonly url: string }
  | { readonly kind: 'draining'; readonly underWay: number; readonly drainMs: number }
  | { readonly kind: 'stopped'; readonly cut: number }
  /** A request that was answered, one way or another; `code` null where it was answered whole. */
  | {
      readonly kind: 'answered'
      readonly requestId: string
      readonly route: string
      readonly status: number
      readonly code: Code | null
      readonly bytes: number
      readonly durationMs: number
    }
  /** The caller was gone before the answer. */
  | { readonly kind: 'abandoned'; readonly requestId: string; readonly route: string; readonly durationMs: number }
  /** Why a request failed, where the caller learns a code only. */
  | { readonly kind: 'failed'; readonly requestId: string; readonly cause: unknown }
  | { readonly kind: 'store-unavailable'; readonly organization: string; readonly store: string; readonly cause: unknown }
  | { readonly kind: 'store-available'; readonly organization: string; readonly store: string }
  /** A foreign service; the answer went on without its fields. */
  | { readonly kind: 'service-failed'; readonly service: string; readonly cause: unknown }
  | { readonly kind: 'database-unavailable'; readonly cause: unknown }
  | { readonly kind: 'database-available' }
  | { readonly kind: 'binding-mistake'; readonly organization: string; readonly place: string; readonly problem: string }
  | { readonly kind: 'policies-loaded'; readonly epoch: string; readonly roles: number; readonly agreements: number }
  /** The set that was in force stays in force. */
  | { readonly kind: 'policies-refused'; readonly mistakes: readonly string[] }
  | { readonly kind: 'keys-unavailable'; readonly issuer: string; readonly reason: string }
  | { readonly kind: 'ledger-admitted' | 'ledger-adopted'; readonly ledger: string; readonly size: number }
  | { readonly kind: 'ledger-refused'; readonly ledger: string; readonly reason: string }
  | { readonly kind: 'checkpoint-delayed'; readonly ledger: string; readonly cause: unknown }
  | { readonly kind: 'cursor-key-made' }
  /** Of several processes; `worker` counts from 1. */
  | { readonly kind: 'worker-started'; readonly worker: number; readonly pid: number }
  /** `how`: an exit code, or the signal that ended it. `againMs`: when it is started again; null: the whole is stopping. */
  | { readonly kind: 'worker-ended'; readonly worker: number; readonly pid: number; readonly how: number | string; readonly againMs: number | null }

export type Observe = (observation: Observation) => void

type Severity = Exclude<LogLevel, 'silent'>

const SEVERITY: Readonly<Record<Exclude<Observation['kind'], 'answered'>, Severity>> = {
  listening: 'info',
  draining: 'info',
  stopped: 'info',
  abandoned: 'info',
  failed: 'error',
  'store-unavailable': 'error',
  'store-available': 'info',
  'service-failed': 'warn',
  'database-unavailable': 'error',
  'database-available': 'info',
  'binding-mistake': 'warn',
  'policies-loaded': 'info',
  'policies-refused': 'error',
  'keys-unavailable': 'error',
  'ledger-admitted': 'info',
  'ledger-adopted': 'warn',
  'ledger-refused': 'fatal',
  'checkpoint-delayed': 'warn',
  'cursor-key-made': 'info',
  'worker-started': 'info',
  'worker-ended': 'warn',
}

/** Writes observations to standard output, or where `write` says. `worker`, of several processes that write to one log, stands in each line. */
export function observer(options: { readonly level: LogLevel; readonly write?: (line: string) => void; readonly worker?: number }): Observe {
  const destination = options.write === undefined ? standardOutput() : { write: options.write }
  const logger = pino(
    {
      level: options.level,
      base: options.worker === undefined ? null : { worker: options.worker },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  )
  return (observation) => {
    const severity = observation.kind === 'answered' ? severityOf(observation) : SEVERITY[observation.kind]
    if (!logger.isLevelEnabled(severity)) return
    const { kind, ...rest } = observation
    logger[severity]({ event: kind, ...('cause' in rest ? { ...rest, cause: describeCause(rest.cause) } : rest) })
  }
}

function standardOutput(): pino.DestinationStream {
  const destination = pino.destination({ dest: 1, sync: true })
  // Nobody reads the log any more: requests are answered all the same.
  destination.on('error', () => undefined)
  return destination
}

function severityOf({ code, route }: Extract<Observation, { kind: 'answered' }>): Severity {
  if (code === 'INTERNAL') return 'error'
  if (code !== null && CODES[code].blame !== 'caller') return 'warn'
  return route === '/graphql' || route === '/explain' ? 'info' : 'debug'
}

export interface DescribedCause {
  readonly name: string
  /** A code of ours, an SQLSTATE, or one of Node. */
  readonly code?: string
  /** Only of our own errors: the messages of others can hold values. */
  readonly detail?: string
  /** Where it was thrown: file, line and function, without the message. */
  readonly stack?: readonly string[]
  readonly cause?: DescribedCause
}

/** What may be logged of whatever was thrown. */
export function describeCause(thrown: unknown, depth = 0): DescribedCause {
  if (!(thrown instanceof Error)) return { name: typeof thrown }
  const code = 'code' in thrown && typeof thrown.code === 'string' && /^[A-Za-z0-9_]{1,60}$/.test(thrown.code) ? thrown.code : undefined
  const own = thrown instanceof GatewayError ? thrown.detail : thrown.message.startsWith('invariant: ') ? thrown.message : undefined
  // The stack begins with the message, which may have several lines: only lines of the form "at place" are taken.
  const stack = (thrown.stack ?? '').split('\n').filter((line) => /^ {4}at [^\s].*:\d+:\d+\)?$/.test(line) && !thrown.message.includes(line.trim()))
  return {
    name: /^\w{1,60}$/.test(thrown.name) ? thrown.name : 'Error',
    ...(code !== undefined && { code }),
    ...(own !== undefined && { detail: own }),
    ...(!(thrown instanceof GatewayError) && { stack: stack.slice(0, STACK_LINES).map((line) => line.trim()) }),
    ...(thrown.cause !== undefined && thrown.cause !== null && depth < CAUSES && { cause: describeCause(thrown.cause, depth + 1) }),
  }
}

const STACK_LINES = 12
const CAUSES = 4
