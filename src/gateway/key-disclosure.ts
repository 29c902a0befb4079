/** Keys that go to a foreign service are a disclosure by the owners of the rows: their ledgers have it before the keys leave. */
import { Contribution } from '../audit/contribution.js'
import { sha256 } from '../audit/digest.js'
import type { Ledger } from '../audit/ledger.js'
import { ownerTerms } from '../audit/owner-terms.js'
import { entriesOf, type OwnerDisclosure } from '../audit/record.js'
import { type Random, uuidV7 } from '../audit/uuid.js'
import { byteText } from '../connectors/texts.js'
import type { GrantSource } from '../policy/authority.js'

export interface KeyDisclosure {
  /** Who gets the keys. */
  readonly service: string
  readonly organization: string
  readonly purpose: string | null
  /** Policy epoch under which the keys may go. */
  readonly epoch: bigint
  readonly type: string
  readonly owners: readonly {
    readonly organization: string
    /** Global ids. Only their number and a salted digest are kept. */
    readonly keys: readonly string[]
    /** The rule; null where the owner runs the service itself. */
    readonly source: GrantSource | null
  }[]
  /** What the service is asked, without values; only a digest is kept. */
  readonly query: string
}

export interface KeyRecorderParts {
  readonly ledger: Pick<Ledger, 'append'>
  readonly entryParts: { readonly tokenKey: Uint8Array; readonly random: Random }
  /** Fields that make the key of a type. */
  readonly keyOf: (type: string) => readonly string[]
  readonly gatewayJurisdiction: string
  /** Where a service is. */
  readonly jurisdictionOf: (service: string) => string | null
  /** Unix milliseconds. */
  readonly now: () => number
}

/** Resolves once the entries are durable. @throws StaleEpoch, GatewayError AUDIT_UNAVAILABLE */
export type RecordKeys = (disclosure: KeyDisclosure) => Promise<void>

/** The recipient is the principal of the entries: its organization's ledger gets the whole, and each owner's its own part. */
export function keyRecorder(parts: KeyRecorderParts): RecordKeys {
  return async (disclosure) => {
    const owners = disclosure.owners.map((owner) => ownerDisclosure(owner, disclosure, parts))
    await parts.ledger.append({ epoch: Number(disclosure.epoch), entries: serviceEntries({ ...disclosure, owners }, parts) })
  }
}

/** What ledgers say of something that goes to a service, which is the principal of the entries. */
export function serviceEntries(
  {
    service,
    organization,
    purpose,
    query,
    owners,
  }: Pick<KeyDisclosure, 'service' | 'organization' | 'purpose' | 'query'> & { readonly owners: readonly OwnerDisclosure[] },
  { entryParts, now }: Pick<KeyRecorderParts, 'entryParts' | 'now'>,
): ReturnType<typeof entriesOf> {
  const time = now()
  return entriesOf(
    {
      requestId: uuidV7(time, entryParts.random), // one of its own: the caller's id stays in the caller's ledger
      time,
      principal: { subject: `service:${service}`, organization, issuer: 'concordat', roles: [], actors: [] },
      purpose,
      operationName: null,
      documentSha256: sha256(query),
      variablesText: '',
      outcome: 'answered',
      code: null,
      durationMs: 0,
      cost: 0,
      owners,
    },
    entryParts,
  )
}

function ownerDisclosure(owner: KeyDisclosure['owners'][number], { type, service }: KeyDisclosure, parts: KeyRecorderParts): OwnerDisclosure {
  const terms = ownerTerms({
    organization: owner.organization,
    source: owner.source ?? { kind: 'roles', roles: [], version: 0, digest: '' },
    types: [{ type, fields: parts.keyOf(type) }],
    stores: [],
    jurisdictions: { stored: [], gateway: parts.gatewayJurisdiction, grantee: parts.jurisdictionOf(service) },
    predicateText: null,
  })
  return { terms, rows: owner.keys.length, contribution: Contribution.of(owner.keys.map((key) => byteText(JSON.stringify(key)))) }
}
