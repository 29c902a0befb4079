/** A worker's side of `concordat serve --workers N`: what it learns from its supervisor, and asks of it. */
import type { LogLevel } from '../config.js'
import type { SpendProof, Spending } from '../gateway/proof-memory.js'
import { isMessage, type ToSupervisor, type ToWorker } from './worker-message.js'

export interface WorkerPost {
  /** From 1. */
  readonly worker: number
  readonly workers: number
  /** 32 bytes that all workers of this supervisor have, and their successors. */
  readonly secret: Uint8Array
  /** By the supervisor, so that no worker accepts what another has. */
  readonly spendProof: SpendProof
  /** To be called once the gateway takes connections. */
  readonly serving: (logLevel: LogLevel) => void
  /** The first `drain` or `cut`, also when it came before this was called. */
  readonly drained: Promise<void>
  readonly cut: Promise<void>
}

/** How long the supervisor, which does little else, may take to answer. */
const ANSWER_MS = 2_000

/** @throws Error where this process has no supervisor, or it says nothing. */
export async function joinSupervisor(): Promise<WorkerPost> {
  const send = (message: ToSupervisor): void => {
    // A supervisor that is gone has ended this process; what could not be sent is refused when its time is over.
    if (process.connected) process.send?.(message)
  }
  const [begun, drained, cut] = [signal<Extract<ToWorker, { kind: 'begin' }>>(), signal(), signal()]
  const waiting = new Map<number, (spending: Spending) => void>()
  process.on('message', (message: unknown) => {
    if (!isMessage(message)) return
    const order = message as ToWorker // Only our supervisor has the other end.
    switch (order.kind) {
      case 'begin':
        return begun.give(order)
      case 'drain':
        return drained.give()
      case 'cut':
        drained.give()
        return cut.give()
      case 'spent':
        return waiting.get(order.id)?.(order.spending)
    }
  })
  send({ kind: 'hello' })
  const late = setTimeout(() => begun.fail(new Error('the supervisor does not answer')), ANSWER_MS)
  const { worker, workers, secret } = await begun.promise.finally(() => clearTimeout(late))
  let asked = 0
  return {
    worker,
    workers,
    secret: Buffer.from(secret, 'base64'),
    serving: (logLevel) => send({ kind: 'serving', logLevel }),
    drained: drained.promise,
    cut: cut.promise,
    spendProof: (key, untilMs) =>
      new Promise((resolve) => {
        const id = (asked += 1)
        const answered = (spending: Spending): void => {
          clearTimeout(timer)
          waiting.delete(id)
          resolve(spending)
        }
        const timer = setTimeout(() => answered('refused'), ANSWER_MS)
        waiting.set(id, answered)
        send({ kind: 'spend', id, key, untilMs })
      }),
  }
}

interface Signal<T> {
  readonly promise: Promise<T>
  readonly give: (value: T) => void
  readonly fail: (error: Error) => void
}

function signal<T = void>(): Signal<T> {
  let [give, fail]: [Signal<T>['give'], Signal<T>['fail']] = [() => undefined, () => undefined]
  const promise = new Promise<T>((resolve, reject) => ([give, fail] = [resolve, reject]))
  return { promise, give, fail }
}
