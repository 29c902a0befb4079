import { describe, expect, it } from '@jest/globals'
import { GatewayError } from '../../src/errors.js'
import { contentDigest, parseAgreement } from '../../src/policy/agreement.js'
import type { Authority } from '../../src/policy/authority.js'
import { authorityOf, type AuthorityContext } from '../../src/policy/authority-of.js'
import type { PolicySet } from '../../src/policy/policy-set.js'
import type { Principal } from '../../src/policy/principal.js'
import { Reading } from '../../src/policy/reading.js'
import { parseRoleFile } from '../../src/policy/role.js'
import { catalog, words } from '../support/platform-contract.js'

const NOW = Date.UTC(2026, 5, 1)
const REQUIRED = ['key', 'name', 'status', 'createdAt']

const ROLES = {
  analyst: { read: { User: { fields: ['key', 'name'] }, Agent: { fields: 'all', rows: { status: { ne: 'ARCHIVED' } } } }, crossOrganization: ['operations'] },
  archivist: { read: { Agent: [{ fields: REQUIRED, rows: { status: { eq: 'ARCHIVED' } } }] } },
  reader: { read: { Agent: { fields: REQUIRED } } },
  teammate: { read: { Agent: [{ fields: REQUIRED }, { fields: ['description'], rows: { owner: { team: { eq: { claim: 'team' } } } } }] } },
  scientist: { read: { User: { fields: 'all' } }, purposes: ['research'], crossOrganization: ['research'] },
  auditor: { read: {}, audit: ['list', 'export'], explain: true },
  operator: {
    read: { User: { fields: 'all' } },
    crossOrganization: ['operations'],
    actors: [
      { issuer: 'https://agents.example', subject: 'robot-1' },
      { issuer: 'https://agents.example', class: 'crawler' },
    ],
  },
  lister: { read: { Agent: { fields: [...REQUIRED, 'executions'] }, WorkflowExecution: { fields: ['key', 'status', 'startedAt'] } } },
}

const TERMS = {
  agreement: 'borealis-aurora',
  version: 3,
  grantor: 'borealis',
  grantee: 'aurora',
  purposes: ['operations'],
  from: '2026-01-01T00:00:00Z',
  until: '2027-01-01T00:00:00Z',
  jurisdictions: { stored: ['CA'], gateway: ['DE'], grantee: ['DE'] },
  types: { User: { allow: ['key'], mask: { name: { pseudonym: {} } } } },
}

function policies(...agreements: object[]): PolicySet {
  const file = parseRoleFile({ organization: 'aurora', version: 7, roles: ROLES }, words, new Reading())
  if (!file) throw new Error('the roles of the test load')
  const parsed = agreements.map((changes) => {
    const content = { ...TERMS, ...changes }
    const reading = new Reading()
    const agreement = parseAgreement(content, words, reading)
    if (!agreement) throw new Error(JSON.stringify(reading.mistakes))
    return { ...agreement, digest: contentDigest(content) }
  })
  return { digest: 'set', roles: new Map([['aurora', { ...file, digest: 'roles' }]]), agreements: parsed }
}

const principal = (changes: Partial<Principal>): Principal => ({
  subject: 'ana',
  organization: 'aurora',
  issuer: 'https://id.aurora.example',
  roles: ['analyst'],
  purposes: ['operations'],
  actors: [],
  tokenId: null,
  proof: 'none',
  claims: new Map(),
  expiresMs: NOW + 60_000,
  ...changes,
})

const CONTEXT: AuthorityContext = {
  catalog,
  nowMs: NOW,
  gatewayJurisdiction: 'DE',
  organizations: [
    { id: 'aurora', jurisdiction: 'DE', storeJurisdictions: ['DE'] },
    { id: 'borealis', jurisdiction: 'CA', storeJurisdictions: ['CA'] },
    { id: 'cascade', jurisdiction: 'US', storeJurisdictions: ['US'] },
  ],
  epoch: 4n,
}

interface Case {
  readonly who?: Partial<Principal>
  readonly purpose?: string | null
  readonly agreements?: readonly object[]
  readonly context?: Partial<AuthorityContext>
}

function authority({ who = {}, purpose = null, agreements = [{}], context = {} }: Case): Authority {
  return authorityOf(principal(who), { purposeHeader: purpose }, policies(...agreements), { ...CONTEXT, ...context })
}

const owners = (given: Case) => [...authority(given).owners.keys()]

function code(given: Case): string {
  try {
    authority(given)
  } catch (error) {
    if (error instanceof GatewayError) return error.code
    throw error
  }
  return 'granted'
}

describe('at home', () => {
  it('roles say which types, rows and fields there are', () => {
    const home = authority({}).owners.get('aurora')
    expect([...(home?.types.keys() ?? [])]).toEqual(['Agent', 'User'])
    expect([...(home?.types.get('User')?.fields ?? [])]).toEqual([
      ['key', { kind: 'plain' }],
      ['name', { kind: 'plain' }],
    ])
    expect(home?.types.get('Agent')?.source).toEqual({ kind: 'roles', roles: ['analyst'], version: 7, digest: 'roles' })
  })

  it('a role that nobody defined grants nothing', () => {
    expect(owners({ who: { roles: ['superuser', '__proto__', 'constructor'] } })).toEqual([])
    expect(authority({ who: { roles: ['superuser'] } }).refusals.get('aurora')).toBe('FORBIDDEN')
    expect(authority({ who: { roles: [] } }).refusals.get('aurora')).toBe('FORBIDDEN')
    expect(owners({ who: { roles: ['superuser', 'analyst'] } })).toEqual(['aurora', 'borealis'])
  })

  it('an organization without roles shows nothing', () => {
    expect(owners({ who: { organization: 'cascade' } })).toEqual([])
  })

  it('several roles are a union: each shows its fields in its own rows only', () => {
    const agent = authority({ who: { roles: ['archivist', 'analyst'] } })
      .owners.get('aurora')
      ?.types.get('Agent')
    const archived = { kind: 'compare', field: 'status', op: '=', operand: { kind: 'constant', value: 'ARCHIVED' } }
    expect(agent?.rows).toEqual({ kind: 'or', terms: [{ kind: 'not', term: archived }, archived] })
    expect(agent?.fields.get('name')).toEqual({ kind: 'plain' })
    expect(agent?.fields.get('description')).toEqual({ kind: 'cell', condition: { kind: 'not', term: archived } })
    expect(agent?.source).toMatchObject({ roles: ['analyst', 'archivist'] })
  })

  it('a role that shows every row makes narrower ones count no more', () => {
    const agent = authority({ who: { roles: ['reader', 'archivist'] } })
      .owners.get('aurora')
      ?.types.get('Agent')
    expect(agent?.rows).toEqual({ kind: 'all' })
    expect([...(agent?.fields.values() ?? [])]).toEqual(REQUIRED.map(() => ({ kind: 'plain' })))
  })

  it('a field under a condition of its own is a cell', () => {
    const agent = authority({ who: { roles: ['teammate'] } })
      .owners.get('aurora')
      ?.types.get('Agent')
    expect(agent?.fields.get('description')).toEqual({
      kind: 'cell',
      condition: { kind: 'related', field: 'owner', where: { kind: 'compare', field: 'team', op: '=', operand: { kind: 'claim', name: 'team' } } },
    })
  })

  it('a list is denied whose foreign key is', () => {
    const agent = authority({ who: { roles: ['lister'] } })
      .owners.get('aurora')
      ?.types.get('Agent')
    expect(agent?.fields.has('executions')).toBe(false)
  })

  it('rights on the ledger and to explanations come with roles', () => {
    expect(authority({}).may).toEqual({ explain: false, auditList: false, auditExport: false })
    expect(authority({ who: { roles: ['auditor'] } }).may).toEqual({ explain: true, auditList: true, auditExport: true })
  })
})

describe('a purpose', () => {
  it('is implied where the token has one', () => {
    expect(authority({}).purpose).toBe('operations')
  })

  it('is named by the header among several', () => {
    const who = { purposes: ['operations', 'research'] }
    expect(authority({ who, purpose: 'operations' }).purpose).toBe('operations')
    expect(owners({ who, purpose: 'operations' })).toEqual(['aurora', 'borealis'])
    expect(owners({ who, purpose: 'research' })).toEqual(['aurora'])
  })

  it('that the token does not carry is refused', () => {
    expect(code({ purpose: 'operations' })).toBe('granted')
    expect(code({ purpose: 'research' })).toBe('FORBIDDEN')
    expect(code({ purpose: '' })).toBe('FORBIDDEN')
    expect(code({ who: { purposes: [] }, purpose: 'operations' })).toBe('FORBIDDEN')
    expect(code({ purpose: 'Operations' })).toBe('FORBIDDEN')
  })

  it('that is not named leaves home, and says which owners wait for it', () => {
    const given = authority({
      who: { purposes: ['operations', 'research'] },
      agreements: [{}, { agreement: 'c', grantor: 'cascade', jurisdictions: { stored: ['US'], gateway: ['DE'], grantee: ['DE'] }, purposes: ['billing'] }],
    })
    expect(given.purpose).toBeNull()
    expect([...given.owners.keys()]).toEqual(['aurora'])
    expect([...given.refusals]).toEqual([['borealis', 'PURPOSE_REQUIRED']])
  })

  it('is needed at home only where the role says so', () => {
    expect(owners({ who: { purposes: [] } })).toEqual(['aurora'])
    expect(owners({ who: { roles: ['scientist'], purposes: ['research'] } })).toEqual(['aurora'])
    expect(owners({ who: { roles: ['scientist'], purposes: ['operations'] } })).toEqual([])
    expect(authority({ who: { roles: ['scientist'], purposes: ['operations'] } }).refusals.get('aurora')).toBe('FORBIDDEN')
    expect(code({ who: { roles: ['scientist'], purposes: ['operations', 'research'] } })).toBe('PURPOSE_REQUIRED')
    expect(code({ who: { roles: ['scientist'], purposes: [] } })).toBe('PURPOSE_REQUIRED')
  })

  it('opens partners only where a role names it', () => {
    expect(owners({ who: { roles: ['reader'] } })).toEqual(['aurora'])
    expect(owners({ who: { roles: ['reader', 'analyst'] } })).toEqual(['aurora', 'borealis'])
    expect(owners({ who: { roles: ['scientist'], purposes: ['research'] }, agreements: [{ purposes: ['research'] }] })).toEqual(['aurora', 'borealis'])
    expect(owners({ who: { roles: ['analyst'], purposes: ['research'] }, agreements: [{ purposes: ['research'] }] })).toEqual(['aurora'])
  })
})

describe('an agreement', () => {
  it('gives what it says, with its name and version', () => {
    const user = authority({}).owners.get('borealis')?.types.get('User')
    expect([...(user?.fields ?? [])]).toEqual([
      ['key', { kind: 'plain' }],
      ['name', { kind: 'masked', mask: { kind: 'pseudonym', domain: 'User.name', grantee: 'aurora', revealNulls: false } }],
    ])
    expect(user?.source).toEqual({ kind: 'agreement', agreement: 'borealis-aurora', version: 3, digest: contentDigest(TERMS) })
  })

  it('is for its grantee alone', () => {
    expect(owners({ agreements: [{ grantee: 'cascade' }] })).toEqual(['aurora'])
    expect(owners({ agreements: [{ grantor: 'aurora', grantee: 'borealis' }] })).toEqual(['aurora'])
  })

  it('is for its purposes alone', () => {
    expect(owners({ agreements: [{ purposes: ['research', 'operations'] }] })).toEqual(['aurora', 'borealis'])
    expect(owners({ agreements: [{ purposes: ['research'] }] })).toEqual(['aurora'])
  })

  it('holds from its first millisecond until just before its end', () => {
    const at = (nowMs: number) => owners({ context: { nowMs } })
    expect(at(Date.UTC(2026, 0, 1))).toEqual(['aurora', 'borealis'])
    expect(at(Date.UTC(2026, 0, 1) - 1)).toEqual(['aurora'])
    expect(at(Date.UTC(2027, 0, 1) - 1)).toEqual(['aurora', 'borealis'])
    expect(at(Date.UTC(2027, 0, 1))).toEqual(['aurora'])
  })

  it('says until when an authority can be kept', () => {
    expect(authority({}).validUntilMs).toBe(Date.UTC(2027, 0, 1))
    expect(authority({ context: { nowMs: Date.UTC(2025, 0, 1) } }).validUntilMs).toBe(Date.UTC(2026, 0, 1))
    expect(authority({ context: { nowMs: Date.UTC(2028, 0, 1) } }).validUntilMs).toBe(Number.MAX_SAFE_INTEGER)
    expect(authority({ agreements: [{}, { agreement: 'b', grantee: 'cascade', until: '2026-07-01T00:00:00Z' }] }).validUntilMs).toBe(Date.UTC(2027, 0, 1))
    expect(authority({ agreements: [{}, { agreement: 'b', purposes: ['research'], until: '2026-07-01T00:00:00Z' }] }).validUntilMs).toBe(Date.UTC(2026, 6, 1))
  })

  it('holds only where store, gateway and grantee are where it says', () => {
    expect(owners({ context: { gatewayJurisdiction: 'US' } })).toEqual(['aurora'])
    const organizations = (changes: object) =>
      CONTEXT.organizations.map((organization) =>
        organization.id in changes ? { ...organization, ...(changes as Record<string, object>)[organization.id] } : organization,
      )
    const at = (changes: object) => owners({ context: { organizations: organizations(changes) } })
    expect(at({ borealis: { storeJurisdictions: ['CA'] } })).toEqual(['aurora', 'borealis'])
    expect(at({ borealis: { storeJurisdictions: ['CA', 'US'] } })).toEqual(['aurora'])
    expect(at({ borealis: { storeJurisdictions: [] } })).toEqual(['aurora'])
    expect(at({ aurora: { jurisdiction: 'FR' } })).toEqual(['aurora'])
    expect(owners({ context: { organizations: [] } })).toEqual(['aurora'])
  })

  it('can ask for a proof of possession', () => {
    const agreements = [{ require: ['dpop'] }]
    expect(owners({ agreements })).toEqual(['aurora'])
    expect(owners({ agreements, who: { proof: 'dpop' } })).toEqual(['aurora', 'borealis'])
    expect(owners({ agreements, who: { proof: 'mtls' } })).toEqual(['aurora'])
    expect(owners({ agreements: [{ require: ['dpop', 'mtls'] }], who: { proof: 'mtls' } })).toEqual(['aurora', 'borealis'])
  })

  it('of one owner can be several, each for other types', () => {
    const second = { agreement: 'b', types: { Agent: { allow: REQUIRED }, WorkflowExecution: { allow: ['key', 'status', 'startedAt'] } } }
    const types = authority({ agreements: [{}, second] }).owners.get('borealis')?.types
    expect([...(types ?? [])].map(([name, { source }]) => [name, source.kind === 'agreement' && source.agreement])).toEqual([
      ['User', 'borealis-aurora'],
      ['Agent', 'b'],
      ['WorkflowExecution', 'b'],
    ])
  })

  it('gives no list whose foreign key another agreement denies', () => {
    const agents = { agreement: 'a', types: { Agent: { allow: [...REQUIRED, 'executions'] } } }
    const executions = (allow: string[]) => ({ agreement: 'b', types: { WorkflowExecution: { allow } } })
    const has = (...agreements: object[]) => authority({ agreements }).owners.get('borealis')?.types.get('Agent')?.fields.has('executions')
    expect(has(agents, executions(['key', 'status', 'startedAt', 'agent']))).toBe(true)
    expect(has(agents, executions(['key', 'status', 'startedAt']))).toBe(false)
  })

  it('is listed by owners in code point order', () => {
    const cascade = { agreement: 'c', grantor: 'cascade', jurisdictions: { stored: ['US'], gateway: ['DE'], grantee: ['DE'] } }
    expect(owners({ agreements: [cascade, {}] })).toEqual(['aurora', 'borealis', 'cascade'])
  })
})

describe('an actor', () => {
  const robot = (subject: string, issuer = 'https://agents.example') => [{ issuer, subject }]
  const agreements = [{ actors: [{ issuer: 'https://agents.example', class: 'crawler' }] }]

  it('acts with roles that name it, by subject or class, and with no others', () => {
    expect(owners({ who: { roles: ['operator'], actors: robot('robot-1') } })).toEqual(['aurora'])
    expect(owners({ who: { roles: ['operator'], actors: robot('crawler:9') } })).toEqual(['aurora'])
    expect(owners({ who: { roles: ['operator'], actors: robot('robot-2') } })).toEqual([])
    expect(owners({ who: { roles: ['operator'], actors: robot('crawler') } })).toEqual([])
    expect(owners({ who: { roles: ['operator'], actors: robot('crawlers:9') } })).toEqual([])
    expect(owners({ who: { roles: ['operator'], actors: robot('robot-1', 'https://other.example') } })).toEqual([])
    expect(owners({ who: { roles: ['analyst'], actors: robot('robot-1') } })).toEqual([])
  })

  it('needs the agreement to name it too', () => {
    expect(owners({ who: { roles: ['operator'], actors: robot('crawler:9') }, agreements })).toEqual(['aurora', 'borealis'])
    expect(owners({ who: { roles: ['operator'], actors: robot('robot-1') }, agreements })).toEqual(['aurora'])
    expect(owners({ who: { roles: ['operator'] }, agreements })).toEqual(['aurora', 'borealis'])
  })

  it('counts when it is the outermost; those further in are recorded only', () => {
    const inner = { issuer: 'https://other.example', subject: 'x' }
    expect(owners({ who: { roles: ['operator'], actors: [...robot('robot-1'), inner] } })).toEqual(['aurora'])
    expect(owners({ who: { roles: ['operator'], actors: [inner, ...robot('robot-1')] } })).toEqual([])
  })
})

describe('the shape of an authority', () => {
  it('is one for all whose rules are the same, whatever their claims', () => {
    const shape = authority({}).shape
    expect(authority({ who: { subject: 'ben', claims: new Map([['team', 'secret-team']]), roles: ['analyst', 'unknown'] } }).shape).toBe(shape)
    expect(shape).toMatch(/^[\w-]{43}$/)
  })

  it('is another where a rule is another', () => {
    const shapes = [{}, { who: { roles: ['reader'] } }, { who: { roles: ['analyst', 'reader'] } }, { agreements: [] }, { agreements: [{ version: 4 }] }].map(
      (given) => authority(given).shape,
    )
    expect(new Set(shapes).size).toBe(shapes.length)
  })

  it('carries the policy epoch beside it', () => {
    expect(authority({}).epoch).toBe(4n)
  })
})
