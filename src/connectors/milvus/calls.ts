/** Calls of Milvus' service over gRPC: each under a deadline, and cancelled at the server when its signal is aborted. */
import type { MilvusClient } from '@zilliz/milvus2-sdk-node'
import type { Signal } from '../../abort.js'
import { endedBy } from '../in-turn.js'
import { nonsense, RefusedError } from './driver-error.js'

export interface CallOptions {
  readonly signal: Signal
  /** By the process' monotonic clock. */
  readonly untilMs: number
}

export type Method = 'Query' | 'Search' | 'ShowCollections' | 'DescribeCollection' | 'DescribeIndex'
/** What a message holds, before it has been looked at. */
export type Message = Readonly<Record<string, unknown>>

/** A method of the driver's own gRPC client, whose service it reads from Milvus' definitions. */
type Unary = (request: Message, options: { readonly deadline: Date }, done: (error: Error | null, answer: unknown) => void) => { cancel(): void }

/** @throws Error of gRPC, RefusedError, or the reason of the signal. */
export async function call(client: MilvusClient, method: Method, request: Message, { signal, untilMs }: CallOptions): Promise<Message> {
  const channel = await client.channelPool.acquire()
  try {
    const answer = await new Promise<unknown>((resolve, reject) => {
      if (signal.aborted) return reject(endedBy(signal))
      const unary = (channel as unknown as Readonly<Record<Method, Unary>>)[method].bind(channel) // as the service is defined
      const deadline = new Date(Date.now() + Math.max(1, untilMs - performance.now()))
      const running = unary(request, { deadline }, (error, message) => {
        signal.removeEventListener('abort', onAbort)
        if (error) reject(error)
        else resolve(message)
      })
      const onAbort = (): void => {
        running.cancel()
        reject(endedBy(signal))
      }
      signal.addEventListener('abort', onAbort, { once: true })
    })
    const message = messageOf(answer)
    refuseFailure(messageOf(message.status))
    return message
  } finally {
    await client.channelPool.release(channel)
  }
}

function refuseFailure({ error_code: kind, code, reason }: Message): void {
  if (kind !== 'Success' || (code !== 0 && code !== undefined)) throw new RefusedError(String(reason), String(kind))
}

export function messageOf(value: unknown): Message {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw nonsense('what is no message')
  return value as Message // checked just now
}

export function messagesOf(value: unknown): readonly Message[] {
  if (!Array.isArray(value)) throw nonsense('what is no list')
  return value.map(messageOf)
}

/** The pairs of key and value that Milvus has for settings. */
export function pairs(settings: Readonly<Record<string, string | number>>): readonly Message[] {
  return Object.entries(settings).map(([key, value]) => ({ key, value: String(value) }))
}

export function pairsOf(value: unknown): ReadonlyMap<string, string> {
  return new Map(messagesOf(value).map((pair) => [String(pair.key), String(pair.value)]))
}
