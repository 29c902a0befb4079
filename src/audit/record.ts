/**
 * What a ledger says about one request, and the bytes that its leaf holds.
 *
 * A leaf is the UTF-8 of the entry as canonical JSON (RFC 8785). Its format is for ever: what changes gets another `v`. An entry never holds a row value or a
 * secret. Where it must pin text that it may not show, it holds an HMAC-SHA256 with a random salt of its own, and the salt is kept beside the entry, not in it:
 * who has text and salt can check the digest, who has the digest alone cannot guess the text.
 */
import type { Code } from '../errors.js'
import { canonical, numberText, stringText } from './canonical-json.js'
import type { Contribution } from './contribution.js'
import { hmacSha256, hmacSha256Base64, sha256 } from './digest.js'
import { leafOf } from './merkle.js'
import type { FieldDecision, Jurisdictions, OwnerTerms, Source } from './owner-terms.js'
import { uuidV7, type Random } from './uuid.js'

/** Bytes of an entry's salt. */
export const SALT_BYTES = 32

/**
 * `partial`: some owners' rows are missing. `failed`: nothing was sent, for a reason that is not the caller's. `truncated`: the answer broke off midway. `unknown`: the
 * process that streamed it is gone.
 */
export type Outcome = 'answered' | 'partial' | 'refused' | 'failed' | 'truncated' | 'unknown'

/** What one owner's stores gave under one source. An owner with several agreements in one request has several of these. */
export interface OwnerDisclosure {
  /** All that is the same for every request of one decision: to be made once, and passed again and again. */
  readonly terms: OwnerTerms
  /** Rows of this owner in the answer. */
  readonly rows: number
  /** This owner's row texts in answer order. Null when nothing was given. */
  readonly contribution: Contribution | null
  /** How it went with this owner, when that differs from the whole. What the whole says of others never reaches this owner's ledger. */
  readonly outcome?: Outcome
  readonly code?: Code | null
  /** How long this owner's stores took. */
  readonly durationMs?: number
  /** This owner's part of the cost. */
  readonly cost?: number
}

export interface Actor {
  readonly issuer: string
  readonly subject: string
}

/** Who asked. What entries say of it is kept with the object itself, so one object a token serves all of its requests. */
export interface RecordedPrincipal {
  readonly subject: string
  readonly organization: string
  readonly issuer: string
  readonly roles: readonly string[]
  /** Outermost first. */
  readonly actors: readonly Actor[]
  /** The token's `jti`; only a keyed digest is kept. */
  readonly tokenId?: string | null
}

/** One request as the gateway saw it end: the input of `entriesOf`. */
export interface Disclosure {
  /** The id that the caller got; it stands in the principal's ledger only. */
  readonly requestId: string
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  readonly principal: RecordedPrincipal
  readonly purpose: string | null
  readonly operationName: string | null
  /** SHA-256 of the document's text: 32 bytes. */
  readonly documentSha256: Uint8Array
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
  readonly jurisdictions: Jurisdictions
  readonly rows: number
  readonly contribution: Digest | null
  readonly predicate: Digest | null
  readonly cost: number | null
  readonly outcome: Outcome
  readonly code: Code | null
  readonly durationMs: number | null
}

interface EntryHead {
  /** 1: a contribution was a JSON text sequence (RFC 7464) of the row texts. 2: it is their JSON list. All else is alike. */
  readonly v: 1 | 2
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

/** What an intent says of an owner. */
export type IntentSection = Pick<Section, 'source' | 'types' | 'stores' | 'jurisdictions' | 'predicate' | 'cost'>

/** What an outcome says of an owner; of an unknown one there is nothing to say. */
export interface OutcomeSection extends Pick<Section, 'contribution' | 'outcome' | 'code' | 'durationMs'> {
  readonly rows: number | null
}

interface IntentHead extends EntryHead {
  /** The process whose lease keeps it open. */
  readonly lease: string
  readonly purpose: string | null
}

/** In the principal's ledger, before an answer streams. */
export interface RequestIntentEntry extends IntentHead, Pick<RequestEntry, 'principal' | 'operation' | 'document' | 'variables' | 'cost'> {
  readonly kind: 'request-intent'
  readonly sections: readonly (IntentSection & { readonly organization: string; readonly requestId: string | null })[]
}

/** In another owner's. */
export interface DisclosureIntentEntry extends IntentHead {
  readonly kind: 'disclosure-intent'
  readonly principal: DisclosureEntry['principal']
  readonly sections: readonly IntentSection[]
}

/** `requestId` is that of the intent; so is the order of sections. */
interface OutcomeHead extends EntryHead {
  /** Id of the intent's entry, in the same ledger. */
  readonly intent: string
  readonly principal: DisclosureEntry['principal']
  readonly purpose: string | null
}

export interface RequestOutcomeEntry extends OutcomeHead {
  readonly kind: 'request-outcome'
  readonly outcome: Outcome
  readonly code: Code | null
  readonly durationMs: number | null
  readonly sections: readonly (OutcomeSection & { readonly organization: string; readonly requestId: string | null })[]
}

export interface DisclosureOutcomeEntry extends OutcomeHead {
  readonly kind: 'disclosure-outcome'
  readonly sections: readonly OutcomeSection[]
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

export type Entry = RequestEntry | DisclosureEntry | RequestIntentEntry | DisclosureIntentEntry | RequestOutcomeEntry | DisclosureOutcomeEntry | ExportEntry

/** An entry ready for its ledger: what the store searches by, and the leaf. */
export interface SealedEntry {
  /** UUIDv7. */
  readonly id: string
  /** Milliseconds since the Unix epoch. */
  readonly timeMs: number
  readonly kind: Entry['kind']
  readonly subject: string
  readonly purpose: string | null
  /** The leaf: canonical JSON. */
  readonly text: string
  /** Its UTF-8. */
  readonly leaf: Uint8Array
  readonly leafHash: Buffer
  readonly salt: Uint8Array
}

/** `tokenKey`: the gateway's secret for token ids, at most 64 bytes; each ledger gets another key derived from it. */
export interface EntryParts {
  readonly tokenKey: Uint8Array
  readonly random: Random
}

/**
 * One entry for each ledger concerned: the principal's with all sections, and each other owner's with its own.
 *
 * Leaves are written as canonical JSON at once, from texts that are kept: 23 us for one owner and 80 us for three, where objects and a generic
 * serializer took 107 us and 354 us.
 *
 * @throws Error when a number is not finite.
 */
export function entriesOf(disclosure: Disclosure, { tokenKey, random }: EntryParts): Map<string, SealedEntry> {
  const home = disclosure.principal.organization
  const entries = new Map<string, SealedEntry>()
  const requestIds = new Map<string, string>()
  const time = timeText(disclosure.time)
  for (const { terms } of disclosure.owners) {
    const { organization } = terms
    if (organization === home || requestIds.has(organization)) continue
    const requestId = uuidV7(disclosure.time, random)
    requestIds.set(organization, requestId)
    entries.set(organization, disclosureEntry(disclosure, { organization, requestId, time, tokenKey, random }))
  }
  entries.set(home, requestEntry(disclosure, { requestIds, time, tokenKey, random }))
  return entries
}

/**
 * The leaf of an entry and its hash.
 *
 * @throws Error when a number in it is not finite.
 */
export function seal(entry: Entry, salt: Uint8Array): SealedEntry {
  const { id, time, kind, principal, purpose } = entry
  return sealed(canonical(entry), { id, timeMs: Date.parse(time), kind, subject: principal.subject, purpose, salt })
}

/** What a salted digest pins. The word goes into it, so that a digest of one thing never passes for that of another. */
export type Pinned = 'document' | 'variables' | 'predicate' | 'contribution'

/** HMAC-SHA256 under the entry's salt over the word, a zero byte and the SHA-256 of the text. With the salt anybody can recompute it. */
export function saltedDigest(of: { readonly salt: Uint8Array; readonly pinned: Pinned; readonly sha256: Uint8Array }): Digest {
  return hmacSha256Base64(of.salt, PINNED[of.pinned], of.sha256)
}

const PINNED: Readonly<Record<Pinned, Buffer>> = {
  document: Buffer.from('document\0'),
  variables: Buffer.from('variables\0'),
  predicate: Buffer.from('predicate\0'),
  contribution: Buffer.from('contribution\0'),
}

/** Members stand in the order of their names: that is the canonical one. So in all texts below. */
function requestEntry(disclosure: Disclosure, parts: EntryParts & { readonly requestIds: ReadonlyMap<string, string>; readonly time: string }): SealedEntry {
  const { principal, purpose, outcome } = disclosure
  const salt = parts.random(SALT_BYTES)
  const id = uuidV7(disclosure.time, parts.random)
  const texts = principalTexts(principal, parts.tokenKey)
  let sections = ''
  for (const owner of disclosure.owners) {
    const { organization, middle } = owner.terms
    const head = sectionHead(owner, { salt, whole: outcome, middle: middle.home })
    const requestId = parts.requestIds.get(organization)
    sections += `${sections === '' ? '' : ','}${head},"requestId":${requestId === undefined ? 'null' : `"${requestId}"`},"rows":${numberText(owner.rows)},${owner.terms.tail}`
  }
  const text =
    `{"code":${codeText(disclosure.code)},"cost":${numberText(disclosure.cost)}` +
    `,"document":"${saltedDigest({ salt, pinned: 'document', sha256: disclosure.documentSha256 })}","durationMs":${numberText(disclosure.durationMs)}` +
    `,"id":"${id}","kind":"request","ledger":${texts.organization},"operation":${stringText(disclosure.operationName)},"outcome":"${outcome}"` +
    `,"principal":${texts.home},"purpose":${stringText(purpose)},"requestId":${stringText(disclosure.requestId)},"sections":[${sections}]` +
    `,"time":"${parts.time}","v":2,"variables":"${saltedDigest({ salt, pinned: 'variables', sha256: sha256(disclosure.variablesText) })}"}`
  return sealed(text, { id, timeMs: disclosure.time, kind: 'request', subject: principal.subject, purpose, salt })
}

function disclosureEntry(
  disclosure: Disclosure,
  parts: EntryParts & { readonly organization: string; readonly requestId: string; readonly time: string },
): SealedEntry {
  const { principal, purpose, outcome } = disclosure
  const salt = parts.random(SALT_BYTES)
  const id = uuidV7(disclosure.time, parts.random)
  let sections = ''
  for (const owner of disclosure.owners) {
    const { organization, middle, tail } = owner.terms
    if (organization !== parts.organization) continue
    sections += `${sections === '' ? '' : ','}${sectionHead(owner, { salt, whole: outcome, middle: middle.own })},"rows":${numberText(owner.rows)},${tail}`
  }
  const text =
    `{"id":"${id}","kind":"disclosure","ledger":${stringText(parts.organization)},"principal":${principalTexts(principal, parts.tokenKey).owner}` +
    `,"purpose":${stringText(purpose)},"requestId":"${parts.requestId}","sections":[${sections}],"time":"${parts.time}","v":2}`
  return sealed(text, { id, timeMs: disclosure.time, kind: 'disclosure', subject: principal.subject, purpose, salt })
}

/** A section from its beginning to `predicate`. */
function sectionHead(owner: OwnerDisclosure, entry: { readonly salt: Uint8Array; readonly whole: Outcome; readonly middle: string }): string {
  const { contribution, terms } = owner
  const { salt, whole, middle } = entry
  // `partial` says that another owner is missing, so an owner that answered reads `answered`.
  const outcome = owner.outcome ?? (whole === 'partial' ? 'answered' : whole)
  return (
    `{"code":${codeText(owner.code ?? null)},"contribution":${digestText(salt, 'contribution', contribution === null ? null : contribution.digest())}` +
    `,"cost":${numberText(owner.cost ?? null)},"durationMs":${numberText(owner.durationMs ?? null)},${middle}"${outcome}"` +
    `,"predicate":${digestText(salt, 'predicate', terms.predicateSha256)}`
  )
}

function digestText(salt: Uint8Array, pinned: Pinned, hash: Uint8Array | null): string {
  return hash === null ? 'null' : `"${saltedDigest({ salt, pinned, sha256: hash })}"`
}

/** Codes are names without anything to escape. */
function codeText(code: Code | null): string {
  return code === null ? 'null' : `"${code}"`
}

/** Written out: an object that another is spread into takes as long as its hash. */
function sealed(text: string, { id, timeMs, kind, subject, purpose, salt }: Omit<SealedEntry, 'text' | 'leaf' | 'leafHash'>): SealedEntry {
  const { bytes, hash } = leafOf(text)
  return { id, timeMs, kind, subject, purpose, text, leaf: bytes, leafHash: hash, salt }
}

/** What entries say of a principal, as canonical JSON. */
interface PrincipalTexts {
  /** Of the token's digest in `home`. */
  readonly tokenKey: Uint8Array
  readonly organization: string
  /** In its own ledger. */
  readonly home: string
  /** In the ledger of another owner. */
  readonly owner: string
}

/** What entries say of a principal, in its own ledger and in another owner's. */
export function principalFacts(
  principal: RecordedPrincipal,
  tokenKey: Uint8Array,
): { readonly home: RequestEntry['principal']; readonly owner: DisclosureEntry['principal'] } {
  const { home, owner } = principalTexts(principal, tokenKey)
  // Texts that were made here, of these very shapes.
  return { home: JSON.parse(home) as RequestEntry['principal'], owner: JSON.parse(owner) as DisclosureEntry['principal'] }
}

function principalTexts(principal: RecordedPrincipal, tokenKey: Uint8Array): PrincipalTexts {
  const kept = PRINCIPALS.get(principal)
  if (kept?.tokenKey === tokenKey) return kept
  const { subject, organization, issuer, roles } = principal
  const actors = principal.actors.map((actor) => ({ issuer: actor.issuer, subject: actor.subject }))
  const token = tokenDigest({ key: tokenKey, ledger: organization, tokenId: principal.tokenId ?? null })
  const texts: PrincipalTexts = {
    tokenKey,
    organization: stringText(organization),
    home: canonical({ subject, organization, issuer, roles, actors, token }),
    owner: canonical({ subject, organization }),
  }
  PRINCIPALS.set(principal, texts)
  return texts
}

/** A principal is a value: the same object always says the same. Saves 25 us a request. */
const PRINCIPALS = new WeakMap<RecordedPrincipal, PrincipalTexts>()

/** Equal for one token within one ledger, and unlinkable between ledgers. */
function tokenDigest(of: { readonly key: Uint8Array; readonly ledger: string; readonly tokenId: string | null }): Digest | null {
  if (of.tokenId === null) return null
  return hmacSha256Base64(hmacSha256(of.key, Buffer.from(`token\0${of.ledger}`)), NOTHING, sha256(of.tokenId))
}

const NOTHING = Buffer.alloc(0)

/** RFC 3339, UTC, milliseconds. Many entries are of one millisecond. */
function timeText(timeMs: number): string {
  if (timeMs !== lastTimeMs) [lastTimeMs, lastTimeText] = [timeMs, new Date(timeMs).toISOString()]
  return lastTimeText
}

let lastTimeMs = Number.NaN
let lastTimeText = ''
