import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { Abort, type Signal } from '../src/abort.js'

/** What is done to a signal. Listeners are told by number; some remove others when they are called. */
type Step =
  { readonly kind: 'add' | 'remove' | 'removes'; readonly listener: number; readonly other: number } | { readonly kind: 'abort'; readonly reason: string }

/** Calls of listeners, in order, and what the signal says after each step. */
function played(steps: readonly Step[], signal: Signal, abort: (reason: string) => void): readonly unknown[] {
  const told: unknown[] = []
  const does = new Map<number, () => void>()
  const listeners = [0, 1, 2, 3].map((listener) => (): void => {
    told.push(listener, signal.aborted, signal.reason)
    does.get(listener)?.()
  })
  const add = (listener: number): void => signal.addEventListener('abort', listeners[listener]!, { once: true })
  const remove = (listener: number): void => signal.removeEventListener('abort', listeners[listener]!)
  for (const step of steps) {
    switch (step.kind) {
      case 'add':
        add(step.listener)
        break
      case 'remove':
        remove(step.listener)
        break
      case 'removes':
        does.set(step.listener, () => remove(step.other))
        break
      case 'abort':
        abort(step.reason)
    }
    told.push(`${step.kind}: ${signal.aborted}`)
    if (signal.aborted) told.push(signal.reason)
  }
  return told
}

const listener = fc.nat(3)
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('add', 'add', 'remove', 'removes'), listener, other: listener }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('abort' as const), reason: fc.constantFrom('first', 'second') }) },
  ) as fc.Arbitrary<Step>,
  { maxLength: 20 },
)

describe('giving up', () => {
  it('is told as an AbortSignal tells it, whatever listeners come and go, before and meanwhile', () => {
    fc.assert(
      fc.property(steps, (given) => {
        const abort = new Abort()
        const controller = new AbortController()
        const own = played(given, abort.signal, (reason) => abort.abort(reason))
        expect(own).toEqual(
          played(given, controller.signal, (reason) => {
            controller.abort(reason)
          }),
        )
      }),
      { numRuns: 500 },
    )
  })

  it('has the reason of the first call, and tells each listener once', () => {
    const abort = new Abort()
    const reasons: unknown[] = []
    const listen = (): void => void reasons.push(abort.reason)
    abort.addEventListener('abort', listen)
    abort.addEventListener('abort', listen)
    const [first, second] = [new Error('first'), new Error('second')]
    abort.abort(first)
    abort.abort(second)
    expect([abort.aborted, abort.reason, reasons]).toEqual([true, first, [first]])
  })

  it('may have no reason at all, and is given up all the same', () => {
    const abort = new Abort()
    abort.abort(null)
    expect([abort.aborted, abort.reason]).toEqual([true, null])
  })
})
