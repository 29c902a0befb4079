/**
 * A store in memory: the meaning of plans, written for clarity. It shares nothing with the compilers of other stores, so that the contract suite can hold their
 * answers against this one's, byte for byte.
 */
import type { Signal } from '../../abort.js'
import { GatewayError, invariant } from '../../errors.js'
import type { AuthorizedPlan } from '../../query/plan.js'
import type { Predicate } from '../../query/predicate.js'
import { ALL } from '../../query/predicate.js'
import type { Answer, Capability, Connector, ExecuteOptions, Statement } from '../connector.js'
import { endedBy } from '../in-turn.js'
import { answer } from './answer.js'
import { handedOver } from './pieces.js'
import { Reading } from './row.js'
import type { MemoryTable } from './stored.js'

export interface MemoryParts {
  readonly store: string
  readonly tables: readonly MemoryTable[]
  /** The owner's HMAC key for a grantee's pseudonyms. */
  readonly pseudonymKey: (grantee: string) => Buffer
}

export class MemoryConnector implements Connector<AuthorizedPlan> {
  readonly capabilities: ReadonlySet<Capability> = new Set<Capability>([
    'filter',
    'filterText',
    'filterJson',
    'filterRelation',
    'order',
    'limit',
    'nested',
    'aggregate',
    'series',
    'traverse',
    'search',
    'masks',
    'orderRelation',
    'countRelation',
  ])
  private isClosed = false

  constructor(private readonly parts: MemoryParts) {}

  get store(): string {
    return this.parts.store
  }

  compile(plan: AuthorizedPlan): { readonly native: AuthorizedPlan; readonly residual: Predicate } {
    return { native: plan, residual: ALL }
  }

  /** @throws GatewayError SOURCE_UNAVAILABLE once closed; for an aborted signal its reason, or SOURCE_TIMEOUT. It answers at once, so that nothing can be cancelled. */
  async execute(statements: readonly Statement<AuthorizedPlan>[], caller: string, options: ExecuteOptions): Promise<readonly Answer[]> {
    if (this.isClosed) throw new GatewayError('SOURCE_UNAVAILABLE', 'the store is closed')
    endIfAborted(options.signal)
    const chunks = statements.map(({ native, values }) => {
      invariant(native.caller === caller, 'a plan runs for the caller that it was made for')
      return answer(new Reading(native, values, this.parts.tables, this.parts.pseudonymKey))
    })
    return Promise.resolve(handedOver(chunks, options.bufferBytes, () => endIfAborted(options.signal)))
  }

  describe(native: AuthorizedPlan): string {
    return JSON.stringify(native.plan)
  }

  async close(): Promise<void> {
    this.isClosed = true
    return Promise.resolve()
  }
}

function endIfAborted(signal: Signal): void {
  if (signal.aborted) throw endedBy(signal)
}
