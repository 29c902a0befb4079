import { describe, expect, it } from '@jest/globals'
import type { PolicyEpoch } from '../../src/audit/ledger-store.js'
import { PolicyAuthorities } from '../../src/gateway/authorities.js'
import { chooseOwners } from '../../src/gateway/owners.js'
import type { Policies } from '../../src/gateway/policies.js'
import type { Authority } from '../../src/policy/authority.js'
import type { PolicySet } from '../../src/policy/policy-set.js'
import { catalog } from '../support/platform-contract.js'

const setOf = (digest: string): PolicySet => ({ digest, roles: new Map(), agreements: [] })

describe('policies that change twice at once', () => {
  it('leave the newer set in force in the ledger, however long each adoption takes', async () => {
    const listeners: ((set: PolicySet) => void)[] = []
    const policies: Policies = {
      current: () => setOf('first'),
      onChange: (listener) => {
        listeners.push(listener)
        return () => undefined
      },
      reload: () => Promise.resolve({ kind: 'loaded', set: setOf('third') }),
      close: () => undefined,
    }
    let inForce: PolicyEpoch = { epoch: 0, digest: '' }
    // The first connection is slow to come: what is asked for later is done sooner.
    const delays = new Map([['second', 60]])
    const adoptEpoch = async (digest: string): Promise<PolicyEpoch> => {
      await new Promise((resolve) => setTimeout(resolve, delays.get(digest) ?? 1))
      return (inForce = { epoch: inForce.epoch + 1, digest })
    }
    const authorities = new PolicyAuthorities({
      policies,
      ledger: { adoptEpoch, currentEpoch: () => Promise.resolve(inForce) },
      context: { catalog, gatewayJurisdiction: 'DE', organizations: [] },
      now: () => 0,
      keptMax: 10,
      onAdopted: () => undefined,
    })
    expect(await authorities.isReady()).toBe(true)
    for (const digest of ['second', 'third']) for (const listener of listeners) listener(setOf(digest))
    expect(await authorities.isReady()).toBe(true)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(inForce).toEqual({ epoch: 3, digest: 'third' })
  })
})

describe('an owner one of whose stores was never reached', () => {
  it('is asked nothing of the type that was there, and refuses no operation for its columns', () => {
    const grant = {
      organization: 'borealis',
      types: new Map([['User', { type: 'User', rows: { kind: 'all' as const }, fields: new Map([['name', { kind: 'plain' as const }]]), source: SOURCE }]]),
    }
    const authority: Authority = {
      owners: new Map([['borealis', grant]]),
      refusals: new Map(),
      purpose: null,
      may: { explain: false, auditList: false, auditExport: false },
      shape: '',
      epoch: 1n,
      validUntilMs: 1,
    }
    const bindingOf = (organization: string) => (organization === 'borealis' ? { organization, types: new Map() } : null)
    const context = { authority, home: 'aurora', catalog, bindingOf, onForbidden: 'REFUSE' as const, within: null }
    const { chosen, leftOut } = chooseOwners('User', [{ type: 'User', field: 'name', how: 'equal', place: null }], null, context)
    expect([chosen.map(({ organization }) => organization), leftOut]).toEqual([['borealis'], []])
  })
})

const SOURCE = { kind: 'agreement', agreement: 'a', version: 1, digest: '' } as const
