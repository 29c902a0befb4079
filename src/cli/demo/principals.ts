import type { DemoOrganization } from './platform-data.js'

/** Somebody whom the demo makes a token for. */
export interface DemoPrincipal {
  /** As `concordat token --demo NAME` has it; also the local part of the subject. */
  readonly name: string
  readonly organization: DemoOrganization
  /** What the person does, for the list that the demo prints. */
  readonly title: string
  /** In `schema/demo/roles/<organization>.yaml`. */
  readonly roles: readonly string[]
  /** With several, a request names one in the header `x-purpose`. */
  readonly purposes: readonly string[]
  /** Further claims of the token, which conditions of roles refer to. */
  readonly claims: Readonly<Record<string, string>>
}

/** Each organization has somebody with a narrow view, somebody with a wide one, and an auditor, who sees its ledger. */
export const DEMO_PRINCIPALS: readonly DemoPrincipal[] = [
  { name: 'ana', organization: 'aurora', title: 'analyst of operations', roles: ['analyst'], purposes: ['operations'], claims: { team: 'operations' } },
  { name: 'emre', organization: 'aurora', title: 'analyst of research', roles: ['analyst'], purposes: ['operations'], claims: { team: 'research' } },
  { name: 'jonas', organization: 'aurora', title: 'operator', roles: ['operator'], purposes: ['operations', 'maintenance'], claims: { team: 'operations' } },
  { name: 'clara', organization: 'aurora', title: 'compliance officer', roles: ['auditor'], purposes: ['compliance'], claims: {} },
  { name: 'noah', organization: 'borealis', title: 'analyst of finance', roles: ['analyst'], purposes: ['reporting'], claims: { team: 'finance' } },
  { name: 'olivia', organization: 'borealis', title: 'operator', roles: ['operator'], purposes: ['reporting'], claims: { team: 'operations' } },
  { name: 'priya', organization: 'borealis', title: 'compliance officer', roles: ['auditor'], purposes: ['compliance'], claims: {} },
  { name: 'maya', organization: 'cascade', title: 'dispatcher of operations', roles: ['dispatcher'], purposes: ['operations'], claims: { team: 'operations' } },
  { name: 'diego', organization: 'cascade', title: 'operator', roles: ['operator'], purposes: ['operations'], claims: { team: 'support' } },
  { name: 'ruth', organization: 'cascade', title: 'compliance officer', roles: ['auditor'], purposes: ['compliance'], claims: {} },
]

/** What the configuration of the demo says of each organization. */
export interface DemoParty {
  readonly name: string
  readonly jurisdiction: string
  /** `iss` of its tokens. */
  readonly issuer: string
  readonly algorithm: 'ES256' | 'EdDSA' | 'PS256'
}

export const DEMO_PARTIES: Readonly<Record<DemoOrganization, DemoParty>> = {
  aurora: { name: 'Aurora Robotics', jurisdiction: 'DE', issuer: 'https://id.aurora.example', algorithm: 'ES256' },
  borealis: { name: 'Borealis Finance', jurisdiction: 'CA', issuer: 'https://login.borealis.example', algorithm: 'EdDSA' },
  cascade: { name: 'Cascade Logistics', jurisdiction: 'US', issuer: 'https://auth.cascade.example', algorithm: 'PS256' },
}

/** Where the demo's gateway runs, for the jurisdictions of agreements. */
export const DEMO_GATEWAY_JURISDICTION = 'DE'

/** `sub` of a principal's token. */
export function subjectOf({ name, organization }: DemoPrincipal): string {
  return `${name}@${organization}.example`
}
