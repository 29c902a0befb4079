/**
 * What a ledger says about one request, and the bytes that its leaf holds.
 *
 * A leaf is the UTF-8 of the entry as canonical JSON (RFC 8785). Its format is for ever: what changes gets another `v`. An entry never holds a row value or a
 * secret. Where it must pin text that it may not show, it holds an HMAC-SHA256 with a random salt of its own, and the salt is kept beside the entry, not in it:
 * who has text and salt can check the digest, who has the digest alone cannot guess the text.
 */
import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { invariant, type Code } from '../errors.js'
import { hmacSha256, sha256 } from './digest.js'
import { leafHash } from './merkle.js'
import { uuidV7, type Random } from './uuid.js'

// The package is CommonJS whose types are written as a module's: what is imported is the function itself.
const canonicalJson = canonicalize as unknown as (value: unknown) => string | undefined

/** Bytes of an entry's salt. */
export const SALT_BYTES = 32

/** `partial`: some owners' rows are missing. `failed`: nothing was sent, for a reason that is not the caller's. */
export type Outcome = 'answered' | 'partial' | 'refused' | 'failed'

/** What an owner let the caller use, and under which rule. */
export type Source =
  | { readonly kind: 'roles'; readonly roles: readonly string[]; readonly version: number; readonly digest: string }
  | { readonly kind: 'agreement'; readonly agreement: string; readonly version: number; readonly digest: string }

export type FieldDecision = 'allow' | 'mask' | 'conditional' | 'deny'

/** One type of one owner, as the request used it. */
export interface TypeDisclosure {
  readonly type: string
  /** Every field that the request names, in any clause. */
  readonly fields: readonly string[]
  /** A field that is not here was allowed. */
  readonly decisions?: Readonly<Record<string, FieldDecision>>
  /** Kind of mask by field, such as `pseudonym`. */
  readonly masks?: Readonly<Record<string, string>>
}

/** What one owner's stores gave under one source. An owner with several agreements in one request has several of these. */
export interface OwnerDisclosure {
  readonly organization: string
  readonly source: Source
  readonly types: readonly TypeDisclosure[]
  /** Names of the stores that were asked. */
  readonly stores: readonly string[]
  readonly jurisdictions: { readonly stored: readonly string[]; readonly gateway: string; readonly grantee: string | null }
  /** Rows of this owner in the answer. */
  readonly rows: number
  /** This owner's row texts in answer order: the running hash that was fed while they were assembled, or the texts. Null when nothing was given. */
  readonly contribution: Contribution | Iterable<string> | null
  /** The owner's compiled predicate; only its digest is kept. */
  readonly predicateText?: string
  /** This owner's part of the cost. */
  readonly cost?: number
  /** How it went with this owner, when that differs from the whole. What the whole says of others never reaches this owner's ledger. */
  readonly outcome?: Outcome
  readonly code?: Code | null
  /** How long this owner's stores took. */
  readonly durationMs?: number
}

export interface Actor {
  readonly issuer: string
  readonly subject: string
}

/** One request as the gateway saw it end: the input of `entriesOf`. */
export interface Disclosure {
  /** The id that the caller got; it stands in the principal's ledger only. */
  readonly requestId: string
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  readonly principal: {
    readonly subject: string
    readonly organization: string
    readonly issuer: string
    readonly roles: readonly string[]
    /** Outermost first. */
    readonly actors: readonly Actor[]
    /** The token's `jti`; only a keyed digest is kept. */
    readonly tokenId?: string | null
  }
  readonly purpose: string | null
  readonly operationName: string | null
  readonly documentText: string
  readonly variablesText: string
  readonly outcome: Outcome
  readonly code: Code | null
  readonly durationMs: number
  readonly cost: number
  /** The owners concerned: those whose stores were asked, and of a refusal the one whose policy refused. */
  readonly owners: readonly OwnerDisclosure[]
}

/** Base64 of 32 bytes. */
export type Digest = string

export interface Section {
  readonly source: Source
  readonly types: readonly {
    readonly type: string
    readonly fields: readonly string[]
    readonly decisions: Readonly<Record<string, FieldDecision>>
    readonly masks: Readonly<Record<string, string>>
  }[]
  readonly stores: readonly string[]
  readonly jurisdictions: OwnerDisclosure['jurisdictions']
  readonly rows: number
  readonly contribution: Digest | null
  readonly predicate: Digest | null
  readonly cost: number | null
  readonly outcome: Outcome
  readonly code: Code | null
  readonly durationMs: number | null
}

interface EntryHead {
  readonly v: 1
  /** UUIDv7. */
  readonly id: string
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string
  /** The organization whose ledger this is. */
  readonly ledger: string
  readonly requestId: string
}

/** In the ledger of the principal's organization: the whole. */
export interface RequestEntry extends EntryHead {
  readonly kind: 'request'
  readonly principal: {
    readonly subject: string
    readonly organization: string
    readonly issuer: string
    readonly roles: readonly string[]
    readonly actors: readonly Actor[]
    readonly token: Digest | null
  }
  readonly purpose: string | null
  readonly operation: string | null
  readonly document: Digest
  readonly variables: Digest
  readonly cost: number
  readonly outcome: Outcome
  readonly code: Code | null
  readonly durationMs: number
  /** `requestId` is the one in that owner's ledger; null for the principal's own organization. */
  readonly sections: readonly (Section & { readonly organization: string; readonly requestId: string | null })[]
}

/** In the ledger of another owner: who, for what, and its own section. Nothing tells of the other owners. */
export interface DisclosureEntry extends EntryHead {
  readonly kind: 'disclosure'
  readonly principal: { readonly subject: string; readonly organization: string }
  readonly purpose: string | null
  readonly sections: readonly Section[]
}

/** Which entries an export holds. An absent bound does not narrow. */
export interface ExportFilter {
  /** RFC 3339, inclusive. */
  readonly from?: string
  /** RFC 3339, exclusive. */
  readonly to?: string
  readonly subject?: string
  readonly purpose?: string
}

/** In the exported ledger itself: what left, so that a line taken out of the bundle afterwards is missed. */
export interface ExportEntry extends EntryHead {
  readonly kind: 'audit-export'
  readonly principal: { readonly subject: string; readonly organization: string }
  readonly purpose: null
  readonly export: {
    readonly filter: ExportFilter
    /** The ledger's size when the entries were chosen: the export covers the indices below it. */
    readonly size: number
    readonly count: number
    /** RFC 6962 root over the leaf hashes of the exported entries, in order. */
    readonly root: Digest
  }
}

export type Entry = RequestEntry | DisclosureEntry | ExportEntry

/** An entry ready for its ledger. */
export interface SealedEntry {
  readonly entry: Entry
  /** The leaf: canonical JSON. */
  readonly text: string
  readonly leafHash: Buffer
  readonly salt: Uint8Array
}

/**
 * One entry for each ledger concerned: the principal's with all sections, and each other owner's with its own.
 *
 * @param parts `tokenKey`: the gateway's secret for token ids, at most 64 bytes; each ledger gets another key derived from it.
 */
export function entriesOf(disclosure: Disclosure, parts: { readonly tokenKey: Uint8Array; readonly random: Random }): Map<string, SealedEntry> {
  const home = disclosure.principal.organization
  const owners = disclosure.owners.map((owner): HashedOwner => ({ owner, contribution: contributionHash(owner.contribution) }))
  const entries = new Map<string, SealedEntry>()
  const requestIds = new Map<string, string>()
  for (const [organization, sections] of byOrganization(owners)) {
    if (organization === home) continue
    const requestId = uuidV7(disclosure.time, parts.random)
    requestIds.set(organization, requestId)
    const salt = parts.random(SALT_BYTES)
    entries.set(organization, seal(disclosureEntry(disclosure, { organization, sections, requestId, salt, random: parts.random }), salt))
  }
  const salt = parts.random(SALT_BYTES)
  entries.set(home, seal(requestEntry(disclosure, { owners, requestIds, salt, ...parts }), salt))
  return entries
}

/**
 * The leaf of an entry and its hash.
 *
 * @throws Error when a number in it is not finite.
 */
export function seal(entry: Entry, salt: Uint8Array): SealedEntry {
  const text = canonical(entry)
  return { entry, text, leafHash: leafHash(Buffer.from(text)), salt }
}

/**
 * Canonical JSON (RFC 8785).
 *
 * @throws Error when a number in it is not finite.
 */
export function canonical(value: object): string {
  const text = canonicalJson(value)
  invariant(text !== undefined, 'an object has a canonical form')
  return text
}

/** Running SHA-256 over the texts of one owner's rows, in answer order, framed as JSON text sequences (RFC 7464: RS, text, LF), so that no two lists look alike. */
export class Contribution {
  private readonly hash = createHash('sha256')
  private done: Buffer | undefined

  /** Adds the JSON text of one row. JSON cannot hold a raw RS, so rows cannot run together. */
  add(text: string | Uint8Array): void {
    if (typeof text === 'string') this.hash.update(`\u001e${text}\n`)
    else this.hash.update(RECORD_SEPARATOR).update(text).update(LINE_FEED)
  }

  /** SHA-256 of all rows. The first call ends the adding. */
  digest(): Buffer {
    return (this.done ??= this.hash.digest())
  }
}

const RECORD_SEPARATOR = Buffer.from([0x1e])
const LINE_FEED = Buffer.from([0x0a])

/** What a salted digest pins. The word goes into it, so that a digest of one thing never passes for that of another. */
export type Pinned = 'document' | 'variables' | 'predicate' | 'contribution'

/** HMAC-SHA256 under the entry's salt over the word, a zero byte and the SHA-256 of the text. With the salt anybody can recompute it. */
export function saltedDigest(of: { readonly salt: Uint8Array; readonly pinned: Pinned; readonly sha256: Uint8Array }): Digest {
  return hmacSha256(of.salt, PINNED[of.pinned], of.sha256).toString('base64')
}

const PINNED: Readonly<Record<Pinned, Buffer>> = {
  document: Buffer.from('document\0'),
  variables: Buffer.from('variables\0'),
  predicate: Buffer.from('predicate\0'),
  contribution: Buffer.from('contribution\0'),
}

function requestEntry(
  disclosure: Disclosure,
  parts: {
    readonly owners: readonly HashedOwner[]
    readonly requestIds: ReadonlyMap<string, string>
    readonly salt: Uint8Array
    readonly tokenKey: Uint8Array
    readonly random: Random
  },
): RequestEntry {
  const { principal } = disclosure
  const { salt } = parts
  return {
    v: 1,
    id: uuidV7(disclosure.time, parts.random),
    time: new Date(disclosure.time).toISOString(),
    kind: 'request',
    ledger: principal.organization,
    requestId: disclosure.requestId,
    principal: {
      subject: principal.subject,
      organization: principal.organization,
      issuer: principal.issuer,
      roles: principal.roles,
      actors: principal.actors.map(({ issuer, subject }) => ({ issuer, subject })),
      token: tokenDigest({ key: parts.tokenKey, ledger: principal.organization, tokenId: principal.tokenId ?? null }),
    },
    purpose: disclosure.purpose,
    operation: disclosure.operationName,
    document: saltedDigest({ salt, pinned: 'document', sha256: sha256(disclosure.documentText) }),
    variables: saltedDigest({ salt, pinned: 'variables', sha256: sha256(disclosure.variablesText) }),
    cost: disclosure.cost,
    outcome: disclosure.outcome,
    code: disclosure.code,
    durationMs: disclosure.durationMs,
    sections: parts.owners.map((hashed) => ({
      organization: hashed.owner.organization,
      requestId: parts.requestIds.get(hashed.owner.organization) ?? null,
      ...sectionOf(hashed, { salt, whole: disclosure.outcome }),
    })),
  }
}

function disclosureEntry(
  disclosure: Disclosure,
  parts: {
    readonly organization: string
    readonly sections: readonly HashedOwner[]
    readonly requestId: string
    readonly salt: Uint8Array
    readonly random: Random
  },
): DisclosureEntry {
  return {
    v: 1,
    id: uuidV7(disclosure.time, parts.random),
    time: new Date(disclosure.time).toISOString(),
    kind: 'disclosure',
    ledger: parts.organization,
    requestId: parts.requestId,
    principal: { subject: disclosure.principal.subject, organization: disclosure.principal.organization },
    purpose: disclosure.purpose,
    sections: parts.sections.map((hashed) => sectionOf(hashed, { salt: parts.salt, whole: disclosure.outcome })),
  }
}

function sectionOf({ owner, contribution }: HashedOwner, { salt, whole }: { readonly salt: Uint8Array; readonly whole: Outcome }): Section {
  return {
    source: sourceOf(owner.source),
    types: owner.types.map(({ type, fields, decisions, masks }) => ({ type, fields: [...fields].sort(), decisions: decisions ?? {}, masks: masks ?? {} })),
    stores: owner.stores,
    jurisdictions: { stored: owner.jurisdictions.stored, gateway: owner.jurisdictions.gateway, grantee: owner.jurisdictions.grantee },
    rows: owner.rows,
    contribution: contribution === null ? null : saltedDigest({ salt, pinned: 'contribution', sha256: contribution }),
    predicate: owner.predicateText === undefined ? null : saltedDigest({ salt, pinned: 'predicate', sha256: sha256(owner.predicateText) }),
    cost: owner.cost ?? null,
    // `partial` says that another owner is missing, so an owner that answered reads `answered`.
    outcome: owner.outcome ?? (whole === 'partial' ? 'answered' : whole),
    code: owner.code ?? null,
    durationMs: owner.durationMs ?? null,
  }
}

/** Only what the format names: a caller's object may hold more. */
function sourceOf(source: Source): Source {
  switch (source.kind) {
    case 'roles':
      return { kind: 'roles', roles: source.roles, version: source.version, digest: source.digest }
    case 'agreement':
      return { kind: 'agreement', agreement: source.agreement, version: source.version, digest: source.digest }
  }
}

/** The rows are hashed once for all entries of a request; each entry's salt comes after that. */
interface HashedOwner {
  readonly owner: OwnerDisclosure
  readonly contribution: Buffer | null
}

function contributionHash(contribution: OwnerDisclosure['contribution']): Buffer | null {
  if (contribution === null) return null
  if (contribution instanceof Contribution) return contribution.digest()
  const hash = new Contribution()
  for (const text of contribution) hash.add(text)
  return hash.digest()
}

/** Equal for one token within one ledger, and unlinkable between ledgers. */
function tokenDigest(of: { readonly key: Uint8Array; readonly ledger: string; readonly tokenId: string | null }): Digest | null {
  if (of.tokenId === null) return null
  return hmacSha256(hmacSha256(of.key, Buffer.from(`token\0${of.ledger}`)), sha256(of.tokenId)).toString('base64')
}

function byOrganization(owners: readonly HashedOwner[]): Map<string, HashedOwner[]> {
  const groups = new Map<string, HashedOwner[]>()
  for (const hashed of owners) {
    const group = groups.get(hashed.owner.organization)
    if (group === undefined) groups.set(hashed.owner.organization, [hashed])
    else group.push(hashed)
  }
  return groups
}
