/**
 * All roles and agreements in force, as one immutable set. It is built whole, or not at all: then with every mistake of every file, so that one pass mends them.
 */
import type { JWK } from 'jose'
import { compareText } from '../query/order.js'
import { contentDigest, parseAgreement, verifySignature, type Agreement } from './agreement.js'
import type { Words } from './condition.js'
import { Reading, type Path } from './reading.js'
import { parseRoleFile, type RoleFile } from './role.js'

/** A policy file whose syntax has been read. */
export interface PolicyFile {
  /** As messages name it. */
  readonly file: string
  readonly kind: 'roles' | 'agreement'
  /** JSON values only. */
  readonly content: unknown
  /** The compact JWS beside an agreement; null where there is none. */
  readonly signature: string | null
}

/** An organization that takes part, with the public keys that its agreements are signed with; none: it can grant nothing. */
export interface Party {
  readonly id: string
  readonly verifyKeys: readonly JWK[]
}

export interface FileMistake {
  readonly file: string
  readonly path: Path
  readonly problem: string
}

export interface PolicySet {
  /** SHA-256 over the canonical content of all files, base64url; whatever their names, order, layout and comments. */
  readonly digest: string
  /** By organization. */
  readonly roles: ReadonlyMap<string, Versioned<RoleFile>>
  /** In code point order of their ids. */
  readonly agreements: readonly Versioned<Agreement>[]
}

/** With the digest of the file's canonical content. */
export type Versioned<T> = T & { readonly digest: string }

export type PolicyOutcome = { readonly kind: 'loaded'; readonly set: PolicySet } | { readonly kind: 'refused'; readonly mistakes: readonly FileMistake[] }

export async function policySetOf(files: readonly PolicyFile[], parties: readonly Party[], words: Words): Promise<PolicyOutcome> {
  const roles: Loaded<RoleFile>[] = []
  const agreements: Loaded<Agreement>[] = []
  const mistakes: FileMistake[] = []
  for (const file of files) {
    const reading = new Reading()
    if (file.kind === 'roles') addLoaded(roles, file, parseRoleFile(file.content, words, reading))
    else addLoaded(agreements, file, await signedAgreement(file, parties, words, reading))
    mistakes.push(...reading.mistakes.map((mistake) => ({ file: file.file, ...mistake })))
  }
  mistakes.push(...misplacedRoles(roles, parties), ...strangers(agreements, parties), ...conflicts(agreements))
  if (mistakes.length > 0) return { kind: 'refused', mistakes }
  return {
    kind: 'loaded',
    set: setOf(
      roles.map(({ value }) => value),
      agreements.map(({ value }) => value),
    ),
  }
}

interface Loaded<T> {
  readonly file: string
  readonly value: Versioned<T>
}

function addLoaded<T>(loaded: Loaded<T>[], file: PolicyFile, value: T | null): void {
  if (value !== null) loaded.push({ file: file.file, value: { ...value, digest: contentDigest(file.content) } })
}

async function signedAgreement(file: PolicyFile, parties: readonly Party[], words: Words, reading: Reading): Promise<Agreement | null> {
  const agreement = parseAgreement(file.content, words, reading)
  if (!agreement) return null
  const grantor = parties.find((party) => party.id === agreement.grantor)
  if (!grantor) return agreement
  if (file.signature === null) reading.mistake([], `is not signed: a JWS by \`${grantor.id}\` belongs beside it, under the same name with \`.jws\``)
  else if (grantor.verifyKeys.length === 0) reading.mistake(['grantor'], 'has no key for signatures in the configuration')
  else if (!(await verifySignature(file.content, file.signature, grantor.verifyKeys)))
    reading.mistake([], `has a signature that is not one by \`${grantor.id}\` over this content`)
  return agreement
}

function misplacedRoles(roles: readonly Loaded<RoleFile>[], parties: readonly Party[]): FileMistake[] {
  return roles.flatMap(({ file, value }, index) => {
    if (!parties.some((party) => party.id === value.organization))
      return [{ file, path: ['organization'], problem: 'is not an organization of the configuration' }]
    const first = roles.findIndex((other) => other.value.organization === value.organization)
    return first === index
      ? []
      : [{ file, path: ['organization'], problem: `has its roles in \`${roles[first]?.file ?? ''}\` already; one file holds all of them` }]
  })
}

function strangers(agreements: readonly Loaded<Agreement>[], parties: readonly Party[]): FileMistake[] {
  return agreements.flatMap(({ file, value }) =>
    (['grantor', 'grantee'] as const)
      .filter((key) => !parties.some((party) => party.id === value[key]))
      .map((key) => ({ file, path: [key], problem: 'is not an organization of the configuration' })),
  )
}

/** At no time may two agreements of one grantor speak about the same type to the same grantee for the same purpose: one would loosen what the other binds. */
function conflicts(agreements: readonly Loaded<Agreement>[]): FileMistake[] {
  const first = new Map<string, Loaded<Agreement>[]>()
  const mistakes: FileMistake[] = []
  for (const loaded of agreements) {
    const { file, value } = loaded
    const twin = agreements.find((other) => other.value.id === value.id)
    if (twin && twin !== loaded) mistakes.push({ file, path: ['agreement'], problem: `is the name of the agreement in \`${twin.file}\` too` })
    for (const purpose of value.purposes) {
      for (const type of value.types.keys()) {
        const key = JSON.stringify([value.grantor, value.grantee, purpose, type])
        const rivals = first.get(key) ?? []
        const rival = rivals.find((other) => other.value.fromMs < value.untilMs && value.fromMs < other.value.untilMs)
        if (rival)
          mistakes.push({ file, path: ['types', type], problem: `is in force for the purpose \`${purpose}\` at the same time as in \`${rival.file}\`` })
        first.set(key, [...rivals, loaded])
      }
    }
  }
  return mistakes
}

function setOf(roles: readonly Versioned<RoleFile>[], agreements: readonly Versioned<Agreement>[]): PolicySet {
  const sortedRoles = [...roles].sort((a, b) => compareText(a.organization, b.organization))
  const sortedAgreements = [...agreements].sort((a, b) => compareText(a.id, b.id))
  const digest = contentDigest({ roles: sortedRoles.map((file) => file.digest), agreements: sortedAgreements.map((agreement) => agreement.digest) })
  return Object.freeze({ digest, roles: new Map(sortedRoles.map((file) => [file.organization, file])), agreements: Object.freeze(sortedAgreements) })
}
