/**
 * The two entries of an answer that streams: an intent, durable before the first byte leaves, and an outcome, which refers to it. The intent says all but what is not known
 * yet: numbers of rows, their digests, how it went.
 */
import type { Code } from '../errors.js'
import type { Contribution } from './contribution.js'
import { sha256 } from './digest.js'
import type { OwnerTerms } from './owner-terms.js'
import {
  principalFacts,
  SALT_BYTES,
  saltedDigest,
  seal,
  type Disclosure,
  type DisclosureIntentEntry,
  type DisclosureOutcomeEntry,
  type EntryParts,
  type IntentSection,
  type Outcome,
  type OutcomeSection,
  type RequestIntentEntry,
  type RequestOutcomeEntry,
  type SealedEntry,
} from './record.js'
import { uuidV7, type Random } from './uuid.js'

/** A request whose answer is about to stream. */
export interface IntentDisclosure extends Omit<Disclosure, 'outcome' | 'code' | 'durationMs' | 'owners'> {
  readonly owners: readonly { readonly terms: OwnerTerms; readonly cost?: number }[]
}

/** How a stream ended. */
export interface Ending {
  /** Milliseconds since the Unix epoch. */
  readonly time: number
  readonly outcome: 'answered' | 'partial' | 'truncated' | 'failed'
  readonly code: Code | null
  readonly durationMs: number
  /** In the order of the intent's owners. */
  readonly owners: readonly GivenRows[]
}

/** What one owner's stores gave, under one source. */
export interface GivenRows {
  readonly rows: number
  readonly contribution: Contribution | null
  /** As in `OwnerDisclosure`. */
  readonly outcome?: Outcome
  readonly code?: Code | null
  readonly durationMs?: number
}

/** An intent with one entry for each ledger concerned, and what its outcome will need. */
export interface SealedIntent {
  readonly intent: IntentDisclosure
  readonly entries: ReadonlyMap<string, SealedEntry>
  /** By ledger; the caller's in the principal's. */
  readonly requestIds: ReadonlyMap<string, string>
}

/** @param parts `lease`: UUID of the process that will end it. */
export function sealedIntent(intent: IntentDisclosure, parts: EntryParts & { readonly lease: string }): SealedIntent {
  const { random, lease } = parts
  const home = intent.principal.organization
  const requestIds = new Map<string, string>()
  for (const { terms } of intent.owners) {
    if (terms.organization !== home && !requestIds.has(terms.organization)) requestIds.set(terms.organization, uuidV7(intent.time, random))
  }
  requestIds.set(home, intent.requestId)
  const entries = new Map<string, SealedEntry>()
  for (const [ledger, requestId] of requestIds) {
    const salt = random(SALT_BYTES)
    const facts = principalFacts(intent.principal, parts.tokenKey)
    const head = { v: 2, id: uuidV7(intent.time, random), time: timeText(intent.time), ledger, requestId, lease, purpose: intent.purpose } as const
    const sections = intent.owners.filter(({ terms }) => ledger === home || terms.organization === ledger)
    const entry: RequestIntentEntry | DisclosureIntentEntry =
      ledger === home
        ? {
            ...head,
            kind: 'request-intent',
            principal: facts.home,
            operation: intent.operationName,
            document: saltedDigest({ salt, pinned: 'document', sha256: intent.documentSha256 }),
            variables: saltedDigest({ salt, pinned: 'variables', sha256: sha256(intent.variablesText) }),
            cost: intent.cost,
            sections: sections.map((owner) => ({ ...homePart(owner.terms, { home, requestIds }), ...sectionOf(owner, salt) })),
          }
        : { ...head, kind: 'disclosure-intent', principal: facts.owner, sections: sections.map((owner) => sectionOf(owner, salt)) }
    entries.set(ledger, seal(entry, salt))
  }
  return { intent, entries, requestIds }
}

/** One outcome for each entry of the intent. @throws RangeError when the owners are not those of the intent. */
export function outcomesOf({ intent, entries, requestIds }: SealedIntent, ending: Ending, random: Random): Map<string, SealedEntry> {
  if (ending.owners.length !== intent.owners.length) throw new RangeError('an ending speaks of the owners of its intent')
  const { subject, organization: home } = intent.principal
  const outcomes = new Map<string, SealedEntry>()
  for (const [ledger, { id }] of entries) {
    const salt = random(SALT_BYTES)
    const given = intent.owners.flatMap(({ terms }, at) => {
      const rows = ending.owners[at]
      return rows !== undefined && (ledger === home || terms.organization === ledger) ? [{ terms, rows }] : []
    })
    const head = {
      v: 2,
      id: uuidV7(ending.time, random),
      time: timeText(ending.time),
      ledger,
      requestId: requestIds.get(ledger) ?? '',
      intent: id,
      principal: { subject, organization: home },
      purpose: intent.purpose,
    } as const
    const entry: RequestOutcomeEntry | DisclosureOutcomeEntry =
      ledger === home
        ? {
            ...head,
            kind: 'request-outcome',
            outcome: ending.outcome,
            code: ending.code,
            durationMs: ending.durationMs,
            sections: given.map(({ terms, rows }) => ({ ...homePart(terms, { home, requestIds }), ...outcomeSection(rows, { salt, whole: ending.outcome }) })),
          }
        : { ...head, kind: 'disclosure-outcome', sections: given.map(({ rows }) => outcomeSection(rows, { salt, whole: ending.outcome })) }
    outcomes.set(ledger, seal(entry, salt))
  }
  return outcomes
}

/**
 * The outcome of an intent whose process is gone: nobody knows what left.
 *
 * @param leaf the intent's, as the ledger holds it. @returns null when it is not an intent: somebody has changed it, and verification will find it.
 */
export function unknownOutcome(leaf: string, parts: { readonly timeMs: number; readonly random: Random }): SealedEntry | null {
  const found = parsedIntent(leaf)
  if (found === null) return null
  const { subject, organization } = found.principal
  const head = {
    v: 2,
    id: uuidV7(parts.timeMs, parts.random),
    time: timeText(parts.timeMs),
    ledger: found.ledger,
    requestId: found.requestId,
    intent: found.id,
    principal: { subject, organization },
    purpose: found.purpose,
  } as const
  const salt = parts.random(SALT_BYTES)
  if (found.kind === 'disclosure-intent') return seal({ ...head, kind: 'disclosure-outcome', sections: found.sections.map(() => UNKNOWN) }, salt)
  const sections = found.sections.map((section) => ({ organization: section.organization, requestId: section.requestId, ...UNKNOWN }))
  return seal({ ...head, kind: 'request-outcome', outcome: 'unknown', code: null, durationMs: null, sections }, salt)
}

const UNKNOWN: OutcomeSection = { rows: null, contribution: null, outcome: 'unknown', code: null, durationMs: null }

function parsedIntent(leaf: string): RequestIntentEntry | DisclosureIntentEntry | null {
  try {
    const entry = JSON.parse(leaf) as RequestIntentEntry | DisclosureIntentEntry
    // What this file wrote. A leaf that was changed may lack anything; then there is nothing to refer to.
    const isIntent = (entry.kind === 'request-intent' || entry.kind === 'disclosure-intent') && Array.isArray(entry.sections)
    return isIntent && typeof entry.id === 'string' && typeof entry.principal.subject === 'string' ? entry : null
  } catch {
    return null
  }
}

function sectionOf({ terms, cost }: IntentDisclosure['owners'][number], salt: Uint8Array): IntentSection {
  // The terms are texts, for entries that are written in great number; this one is made seldom.
  const { outcome: _, ...facts } = JSON.parse(`{${terms.middle.own}null,${terms.tail}`) as Omit<IntentSection, 'cost' | 'predicate'> & {
    readonly outcome: null
  }
  const predicate = terms.predicateSha256 === null ? null : saltedDigest({ salt, pinned: 'predicate', sha256: terms.predicateSha256 })
  return { ...facts, cost: cost ?? null, predicate }
}

function outcomeSection(given: GivenRows, { salt, whole }: { readonly salt: Uint8Array; readonly whole: Outcome }): OutcomeSection {
  const { rows, contribution } = given
  return {
    rows,
    contribution: contribution === null ? null : saltedDigest({ salt, pinned: 'contribution', sha256: contribution.digest() }),
    outcome: given.outcome ?? (whole === 'partial' ? 'answered' : whole),
    code: given.code ?? null,
    durationMs: given.durationMs ?? null,
  }
}

function homePart(
  { organization }: OwnerTerms,
  { home, requestIds }: { readonly home: string; readonly requestIds: ReadonlyMap<string, string> },
): { readonly organization: string; readonly requestId: string | null } {
  return { organization, requestId: organization === home ? null : (requestIds.get(organization) ?? null) }
}

/** RFC 3339, UTC, milliseconds. */
function timeText(timeMs: number): string {
  return new Date(timeMs).toISOString()
}
