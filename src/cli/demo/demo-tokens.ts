import type { DemoPrincipal } from '../../gateway/server.js'
import { issueToken } from '../token.js'
import type { DemoKeys } from './demo-keys.js'
import { DEMO_PARTIES, DEMO_PRINCIPALS, subjectOf, type DemoPrincipal as Person } from './principals.js'

/** `aud` of demo tokens, whatever the port; `concordat introspect` writes the same one, so that they can serve a first gateway of one's own. */
export const DEMO_AUDIENCE = 'http://127.0.0.1:4000/graphql'
export const DEMO_TOKEN_DAYS = 30

export interface TokenVariation {
  readonly audience?: string
  readonly roles?: readonly string[]
  readonly purposes?: readonly string[]
  readonly lifetimeSeconds?: number
}

export function demoPerson(name: string): Person | null {
  return DEMO_PRINCIPALS.find((person) => person.name === name) ?? null
}

/** @param nowMs Unix milliseconds. */
export function demoToken(person: Person, keys: DemoKeys, nowMs: number, variation: TokenVariation = {}): Promise<string> {
  return issueToken({
    privateJwk: keys[person.organization].issuer,
    issuer: DEMO_PARTIES[person.organization].issuer,
    audience: variation.audience ?? DEMO_AUDIENCE,
    subject: subjectOf(person),
    roles: variation.roles ?? person.roles,
    purposes: variation.purposes ?? person.purposes,
    claims: person.claims,
    lifetimeSeconds: variation.lifetimeSeconds ?? DEMO_TOKEN_DAYS * 86_400,
    nowMs,
  })
}

/** Everybody, with a token each. */
export function demoPrincipals(keys: DemoKeys, nowMs: number): Promise<DemoPrincipal[]> {
  return Promise.all(
    DEMO_PRINCIPALS.map(async (person) => {
      const { name, organization, roles, purposes } = person
      return { name, organization, roles, purposes, token: await demoToken(person, keys, nowMs) }
    }),
  )
}
