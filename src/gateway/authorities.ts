/** What principals may see under the policies in force: the files of this process, as long as they are those that the ledger's epoch stands for. */
import type { Ledger } from '../audit/ledger.js'
import { GatewayError } from '../errors.js'
import type { Authority } from '../policy/authority.js'
import { authorityOf, type AuthorityContext } from '../policy/authority-of.js'
import type { PolicySet } from '../policy/policy-set.js'
import type { Principal } from '../policy/principal.js'
import type { Authorities } from './answer.js'
import type { Policies } from './policies.js'

export interface AuthoritiesParts {
  readonly policies: Policies
  readonly ledger: Pick<Ledger, 'adoptEpoch' | 'currentEpoch'>
  readonly context: Omit<AuthorityContext, 'nowMs' | 'epoch'>
  /** Unix milliseconds. */
  readonly now: () => number
  /** Between two tries to put the policies in force, while the ledger cannot be reached. */
  readonly retryMs: number
  readonly onAdopted: (set: PolicySet, epoch: bigint) => void
  readonly onUnavailable: (cause: unknown) => void
}

/** Policies and the epoch that they have in the ledger. */
interface InForce {
  readonly set: PolicySet
  readonly epoch: bigint
  /** By principal and purpose; what an authority depends on besides them does not change while this is in force. */
  readonly known: WeakMap<Principal, Map<string | null, Authority>>
}

export class CurrentAuthorities implements Authorities {
  #inForce: InForce | null = null
  #adopting: Promise<void> | null = null
  #retry: NodeJS.Timeout | null = null
  #closed = false
  readonly #unsubscribe: () => void

  constructor(private readonly parts: AuthoritiesParts) {
    // Until the epoch of the new policies is known, the old ones are no longer answered for.
    this.#unsubscribe = parts.policies.onChange(() => {
      this.#inForce = null
      void this.adopt()
    })
  }

  /** Whether requests can be authorized now. */
  get isReady(): boolean {
    return this.#inForce !== null
  }

  /** Puts the policies of this process in force, for all processes; tries again until it succeeds. Resolves after the first try. */
  async adopt(): Promise<void> {
    while (this.#adopting) await this.#adopting
    this.#adopting = this.#adopt()
    try {
      await this.#adopting
    } finally {
      this.#adopting = null
    }
  }

  of(principal: Principal, purposeHeader: string | null): Authority {
    const inForce = this.#inForce
    if (inForce === null) throw new GatewayError('POLICY_STALE', 'the policies of this process are not in force')
    const nowMs = this.parts.now()
    const known = inForce.known.get(principal)
    const kept = known?.get(purposeHeader)
    if (kept && nowMs < kept.validUntilMs) return kept
    const authority = authorityOf(principal, { purposeHeader }, inForce.set, { ...this.parts.context, nowMs, epoch: inForce.epoch })
    if (known) known.set(purposeHeader, authority)
    else inForce.known.set(principal, new Map([[purposeHeader, authority]]))
    return authority
  }

  /**
   * The ledger has seen another epoch. Where its policies are those here, or those in the files by now, they go on in that epoch; where they are not, another
   * process has newer files, and this one waits for them.
   */
  async renew(): Promise<void> {
    const { epoch, digest } = await this.parts.ledger.currentEpoch()
    if (this.parts.policies.current().digest !== digest) await this.parts.policies.reload()
    const set = this.parts.policies.current()
    if (set.digest !== digest) {
      this.#inForce = null
      this.#again()
      throw new GatewayError('POLICY_STALE', 'other policies are in force than those of this process')
    }
    this.#enter(set, BigInt(epoch))
  }

  close(): void {
    this.#closed = true
    this.#unsubscribe()
    if (this.#retry) clearTimeout(this.#retry)
  }

  async #adopt(): Promise<void> {
    const set = this.parts.policies.current()
    try {
      const { epoch } = await this.parts.ledger.adoptEpoch(set.digest)
      // Policies that were loaded meanwhile are adopted next: their own change has called for it.
      if (set === this.parts.policies.current()) this.#enter(set, BigInt(epoch))
    } catch (cause) {
      this.parts.onUnavailable(cause)
      this.#later(() => this.adopt())
    }
  }

  #enter(set: PolicySet, epoch: bigint): void {
    if (this.#inForce?.set === set && this.#inForce.epoch === epoch) return
    this.#inForce = { set, epoch, known: new WeakMap() }
    this.parts.onAdopted(set, epoch)
  }

  /** While other policies are in force, it is seen again whether they are those of this process by now. */
  #again(): void {
    this.#later(() => this.renew().catch(() => undefined))
  }

  #later(work: () => Promise<void>): void {
    if (this.#closed) return
    if (this.#retry) clearTimeout(this.#retry)
    this.#retry = setTimeout(() => void work(), this.parts.retryMs).unref()
  }
}
