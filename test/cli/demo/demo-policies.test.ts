import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { signAgreement } from '../../../src/cli/agreement.js'
import { DEMO_ORGANIZATIONS } from '../../../src/cli/demo/platform-data.js'
import type { DemoPrincipal } from '../../../src/cli/demo/principals.js'
import { DEMO_GATEWAY_JURISDICTION, DEMO_PARTIES, DEMO_PRINCIPALS, subjectOf } from '../../../src/cli/demo/principals.js'
import { generateKeyPair } from '../../../src/cli/token.js'
import { parseContract } from '../../../src/gateway/contract.js'
import type { Policies } from '../../../src/gateway/policies.js'
import { openPolicies } from '../../../src/gateway/policies.js'
import { parseInput } from '../../../src/gateway/scalars.js'
import { authorityOf } from '../../../src/policy/authority-of.js'
import type { Authority } from '../../../src/policy/authority.js'

const schemaFolder = new URL('../../../schema/', import.meta.url)
const catalog = parseContract([{ name: 'contract.graphql', text: readFileSync(new URL('contract.graphql', schemaFolder), 'utf8') }])
let folder = ''
let policies: Policies

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
  mkdirSync(join(folder, 'keys'))
  for (const part of ['roles', 'agreements']) cpSync(new URL(`demo/${part}`, schemaFolder), join(folder, part), { recursive: true })
  for (const organization of DEMO_ORGANIZATIONS) {
    const { publicJwk, privateJwk } = await generateKeyPair('EdDSA')
    writeFileSync(join(folder, 'keys', organization), JSON.stringify(publicJwk))
    const granted = readdirSync(join(folder, 'agreements')).filter((name) => name.startsWith(`${organization}-`) && name.endsWith('.yaml'))
    for (const name of granted) expect((await signAgreement(join(folder, 'agreements', name), privateJwk)).kind).toBe('signed')
  }
  policies = await openPolicies({
    directory: folder,
    words: { catalog, parseScalar: parseInput },
    organizations: DEMO_ORGANIZATIONS.map((id) => ({ id, verifyKeyFile: join(folder, 'keys', id) })),
    pollMs: 60_000,
    onRefused: () => undefined,
  })
})

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
  policies.close()
})

function principal(name: string): DemoPrincipal {
  const found = DEMO_PRINCIPALS.find((each) => each.name === name)
  if (!found) throw new Error(`no principal is called ${name}`)
  return found
}

function authority(person: DemoPrincipal): Authority {
  return authorityOf(
    {
      subject: subjectOf(person),
      organization: person.organization,
      issuer: DEMO_PARTIES[person.organization].issuer,
      roles: person.roles,
      purposes: person.purposes,
      actors: [],
      tokenId: null,
      proof: 'none',
      claims: new Map(Object.entries(person.claims)),
      expiresMs: Number.MAX_SAFE_INTEGER,
    },
    { purposeHeader: person.purposes[0] ?? null },
    policies.current(),
    {
      catalog,
      nowMs: Date.UTC(2026, 10, 23),
      gatewayJurisdiction: DEMO_GATEWAY_JURISDICTION,
      organizations: DEMO_ORGANIZATIONS.map((id) => ({ id, jurisdiction: DEMO_PARTIES[id].jurisdiction, storeJurisdictions: [DEMO_PARTIES[id].jurisdiction] })),
      epoch: 1n,
    },
  )
}

describe('the policies of the demo', () => {
  it('load whole, and every agreement is signed by its grantor', () => {
    expect([...policies.current().roles.keys()]).toEqual([...DEMO_ORGANIZATIONS])
    expect(policies.current().agreements.map(({ id }) => id)).toEqual([
      'aurora-borealis-reporting',
      'aurora-cascade-operations',
      'borealis-aurora-operations',
      'cascade-aurora-operations',
      'cascade-borealis-reporting',
    ])
  })

  it.each([
    ['ana', ['aurora', 'borealis', 'cascade']],
    ['noah', ['aurora', 'borealis', 'cascade']],
    // Borealis has no agreement with Cascade.
    ['maya', ['aurora', 'cascade']],
    ['clara', []],
    ['priya', ['borealis']],
  ])('let %s query %j', (name, owners) => {
    expect([...authority(principal(name)).owners.keys()]).toEqual(owners)
  })

  it('give each organization somebody who may read its ledger, and nobody else a look', () => {
    for (const organization of DEMO_ORGANIZATIONS) {
      const auditors = DEMO_PRINCIPALS.filter((person) => person.organization === organization && authority(person).may.auditExport)
      expect(auditors.map(({ roles }) => roles)).toEqual([['auditor']])
    }
  })

  it('show masks, withheld fields and conditional cells', () => {
    const partner = authority(principal('ana')).owners.get('borealis')?.types
    expect(partner?.get('Agent')?.fields.get('monthlyBudget')).toMatchObject({ kind: 'masked', mask: { kind: 'generalize', step: '1000' } })
    expect(partner?.get('User')?.fields.get('name')).toMatchObject({ kind: 'masked', mask: { kind: 'pseudonym' } })
    expect(partner?.get('Agent')?.fields.has('configuration')).toBe(false)
    expect(partner?.get('WorkflowExecution')?.fields.has('error')).toBe(false)
    const home = authority(principal('noah')).owners.get('borealis')?.types
    expect(home?.get('Agent')?.fields.get('configuration')).toMatchObject({ kind: 'cell' })
  })

  it('know principals whose names are unique, with roles that exist and two or more at each organization', () => {
    expect(new Set(DEMO_PRINCIPALS.map(({ name }) => name)).size).toBe(DEMO_PRINCIPALS.length)
    for (const organization of DEMO_ORGANIZATIONS) {
      const own = DEMO_PRINCIPALS.filter((person) => person.organization === organization)
      expect(own.length).toBeGreaterThanOrEqual(2)
      for (const { roles } of own) for (const role of roles) expect([...(policies.current().roles.get(organization)?.roles.keys() ?? [])]).toContain(role)
    }
  })
})
