/** Requests to a store that answers one statement after the other: as many at once as its pool takes, each ended by its signal. */
import type { Signal } from '../abort.js'
import { GatewayError } from '../errors.js'

export class InTurn {
  private underWay = 0

  constructor(
    private readonly pool: { readonly max: number; readonly waitingMax: number },
    /** What is thrown on the way, as a code. */
    private readonly coded: (error: unknown, signal: Signal) => GatewayError,
  ) {}

  /** @throws GatewayError SOURCE_BUSY where too many wait; see `endedBy`. */
  async run<Asked, Given>(asked: readonly Asked[], signal: Signal, answer: (one: Asked) => Promise<Given>): Promise<readonly Given[]> {
    if (signal.aborted) throw endedBy(signal)
    if (this.underWay >= this.pool.max + this.pool.waitingMax) throw new GatewayError('SOURCE_BUSY', 'too many requests wait for a connection')
    this.underWay += 1
    try {
      const given: Given[] = []
      for (const one of asked) given.push(await answer(one))
      return given
    } catch (error) {
      throw this.coded(error, signal)
    } finally {
      this.underWay -= 1
    }
  }
}

/** The reason of the signal where that is one of ours. */
export function endedBy({ reason }: Signal): GatewayError {
  return reason instanceof GatewayError ? reason : new GatewayError('SOURCE_TIMEOUT', 'the request is over', { cause: reason })
}
