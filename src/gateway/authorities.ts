/** What principals may see under the policies in force: kept until policies, purposes or the clock say otherwise. */
import type { Ledger } from '../audit/ledger.js'
import { GatewayError } from '../errors.js'
import type { Authority } from '../policy/authority.js'
import { type AuthorityContext, authorityOf } from '../policy/authority-of.js'
import type { PolicySet } from '../policy/policy-set.js'
import type { Principal } from '../policy/principal.js'
import type { Authorities } from './answer.js'
import type { Policies } from './policies.js'

export interface AuthoritiesParts {
  readonly policies: Policies
  readonly ledger: Pick<Ledger, 'adoptEpoch' | 'currentEpoch'>
  readonly context: Omit<AuthorityContext, 'nowMs' | 'epoch'>
  readonly now: () => number
  /** Authorities that are kept. */
  readonly keptMax: number
  /** Called each time a set is in force. */
  readonly onAdopted: (set: PolicySet, epoch: bigint) => void
}

interface KeptAuthority {
  readonly inForce: InForce
  readonly purposeHeader: string | null
  readonly authority: Authority
}

interface InForce {
  readonly set: PolicySet
  readonly epoch: bigint
}

/**
 * A set is in force once the ledger has its epoch: from then on it refuses what other processes authorized before. While that is under way requests wait, so that
 * nobody is answered under a set that is about to end.
 */
export class PolicyAuthorities implements Authorities {
  private inForce: Promise<InForce>
  /** Of `inForce`, once it is. */
  private settled: InForce | null = null
  private readonly ofPrincipals = new WeakMap<Principal, KeptAuthority>()
  private readonly kept = new Map<string, Authority>()
  private readonly forget: () => void

  constructor(private readonly parts: AuthoritiesParts) {
    this.inForce = this.settling(this.adopt(parts.policies.current()))
    // One after the other: of two adoptions at once the older set could come last in the ledger, and would stay in force there.
    this.forget = parts.policies.onChange((set) => {
      const before = this.inForce
      this.put(before.catch(() => undefined).then(() => this.adopt(set)))
    })
  }

  of(principal: Principal, purposeHeader: string | null): Authority | Promise<Authority> {
    // A verified token's principal is one object for as long as it is kept.
    const known = this.ofPrincipals.get(principal)
    if (known && known.inForce === this.settled && known.purposeHeader === purposeHeader && known.authority.validUntilMs > this.parts.now())
      return known.authority
    return this.found(principal, purposeHeader)
  }

  private async found(principal: Principal, purposeHeader: string | null): Promise<Authority> {
    const inForce = await this.current()
    const authority = this.authorityOf(principal, purposeHeader, inForce)
    this.ofPrincipals.set(principal, { inForce, purposeHeader, authority })
    return authority
  }

  private authorityOf(principal: Principal, purposeHeader: string | null, { set, epoch }: InForce): Authority {
    const now = this.parts.now()
    const { organization, roles, purposes, actors, proof, issuer } = principal
    const key = JSON.stringify([set.digest, String(epoch), organization, issuer, roles, purposes, actors, proof, purposeHeader])
    const known = this.kept.get(key)
    if (known && known.validUntilMs > now) return known
    const authority = authorityOf(principal, { purposeHeader }, set, { ...this.parts.context, nowMs: now, epoch })
    this.kept.delete(key)
    this.kept.set(key, authority)
    if (this.kept.size > this.parts.keptMax) {
      const [oldest] = this.kept.keys()
      if (oldest !== undefined) this.kept.delete(oldest)
    }
    return authority
  }

  async renew(): Promise<void> {
    await this.parts.policies.reload()
    const { epoch, digest } = await this.parts.ledger.currentEpoch()
    // Files that do not load leave the set before them: it counts as long as the epoch is of that one.
    const set = this.parts.policies.current()
    if (set.digest !== digest) throw new GatewayError('POLICY_STALE', 'other processes have policies that are not here')
    this.put(Promise.resolve({ set, epoch: BigInt(epoch) }))
    await this.inForce
  }

  /** Whether a set is in force, for readiness. */
  async isReady(): Promise<boolean> {
    return this.inForce.then(
      () => true,
      () => false,
    )
  }

  close(): void {
    this.forget()
  }

  /** A set that could not be put in force is tried again by the next request. */
  private async current(): Promise<InForce> {
    const asked = this.inForce
    try {
      return await asked
    } catch {
      if (this.inForce === asked) this.put(this.adopt(this.parts.policies.current()))
      return this.inForce
    }
  }

  private put(inForce: Promise<InForce>): void {
    this.inForce = this.settling(inForce)
    this.kept.clear()
  }

  private settling(inForce: Promise<InForce>): Promise<InForce> {
    this.settled = null
    inForce.then(
      (settled) => {
        if (this.inForce === inForce) this.settled = settled
      },
      () => undefined, // who asks for it sees the failure
    )
    return inForce
  }

  private async adopt(set: PolicySet): Promise<InForce> {
    const { epoch } = await this.parts.ledger.adoptEpoch(set.digest)
    this.parts.onAdopted(set, BigInt(epoch))
    return { set, epoch: BigInt(epoch) }
  }
}
