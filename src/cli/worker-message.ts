/** What the processes of one `concordat serve --workers N` say to each other, as JSON over the channel that Node.js opens between parent and child. */
import type { LogLevel } from '../config.js'
import type { Spending } from '../gateway/proof-memory.js'

export type ToSupervisor =
  /** The first word of a worker: it listens to the channel now. */
  | { readonly kind: 'hello' }
  /** It takes connections. */
  | { readonly kind: 'serving'; readonly logLevel: LogLevel }
  /** A proof of possession to use up: a hash, and Unix milliseconds. */
  | { readonly kind: 'spend'; readonly id: number; readonly key: string; readonly untilMs: number }

export type ToWorker =
  /** The answer to `hello`: which of how many it is, from 1, and 32 bytes in base64 that only these processes know. */
  | { readonly kind: 'begin'; readonly worker: number; readonly workers: number; readonly secret: string }
  /** Lets requests under way finish, and refuses new ones. */
  | { readonly kind: 'drain' }
  /** Ends at once. */
  | { readonly kind: 'cut' }
  | { readonly kind: 'spent'; readonly id: number; readonly spending: Spending }

/** Both ends run the same program: a message with a kind is one of ours, and what Node.js itself sends does not come here. */
export function isMessage(value: unknown): value is { readonly kind: string } {
  return typeof value === 'object' && value !== null && 'kind' in value && typeof value.kind === 'string'
}
