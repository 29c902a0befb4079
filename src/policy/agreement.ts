/**
 * Agreements: an owner (grantor) lets another organization (grantee) use data on written terms. What an agreement does not name is denied. It counts only with
 * the grantor's signature over its canonical JSON (RFC 8785), so layout and comments are free.
 */
import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { flattenedVerify, importJWK, type JWK, type JWSHeaderParameters } from 'jose'
import type { EntityType } from '../query/catalog.js'
import type { ViewField } from '../query/plan.js'
import { ALL, type Predicate } from '../query/predicate.js'
import { parseActors, type ActorRule } from './actor.js'
import { parseCondition, truth, type Words } from './condition.js'
import { parseMask } from './mask.js'
import { NAME, quoted, type Entries, type Path, type Reading } from './reading.js'
import { areFields, requiredFields } from './role.js'

// The package is CommonJS, and its own types describe a default export that Node does not make of it.
const canonicalJson = canonicalize as unknown as (value: unknown) => string | undefined

export interface Agreement {
  readonly id: string
  readonly version: number
  readonly grantor: string
  readonly grantee: string
  readonly purposes: ReadonlySet<string>
  /** Unix milliseconds: in force from `fromMs` on, and until just before `untilMs`. */
  readonly fromMs: number
  readonly untilMs: number
  readonly jurisdictions: Jurisdictions
  /** A proof of possession of one of these kinds is needed. Null: none is. */
  readonly require: ReadonlySet<ProofKind> | null
  readonly actors: readonly ActorRule[]
  /** By type. */
  readonly types: ReadonlyMap<string, AgreedType>
}

export type ProofKind = 'dpop' | 'mtls'

/** Where the parts of a request may be: each list names what is fine. */
export interface Jurisdictions {
  /** Of the grantor's stores, all of them. */
  readonly stored: ReadonlySet<string>
  readonly gateway: ReadonlySet<string>
  readonly grantee: ReadonlySet<string>
}

export interface AgreedType {
  readonly type: string
  readonly rows: Predicate
  readonly fields: ReadonlyMap<string, AgreedField>
}

export type AgreedField = Extract<ViewField, { kind: 'plain' | 'masked' }>

const KEYS = {
  required: ['agreement', 'version', 'grantor', 'grantee', 'purposes', 'from', 'until', 'jurisdictions', 'types'],
  optional: ['require', 'actors'],
} as const

/** Reads the content of an agreement file; its signature is `verifySignature`'s business. Null: it has mistakes, which `reading` knows. */
export function parseAgreement(content: unknown, words: Words, reading: Reading): Agreement | null {
  const file = reading.object(content, [], KEYS)
  if (!file) return null
  const name = (key: string, expects: string) => reading.text(file.get(key), [key], NAME, expects)
  const id = name('agreement', 'the name of the agreement')
  const grantor = name('grantor', 'the id of the organization that owns the data')
  const grantee = name('grantee', 'the id of the organization that may use them')
  if (grantor !== null && grantor === grantee) reading.mistake(['grantee'], 'is the grantor; an organization needs no agreement with itself')
  const terms = parseTerms(file, words, reading)
  const types = grantee === null ? null : parseTypes(file.get('types'), grantee, words, reading)
  if (id === null || grantor === null || grantee === null || !terms || !types || reading.mistakes.length > 0) return null
  return { id, grantor, grantee, types, ...terms }
}

function parseTerms(file: Entries, words: Words, reading: Reading): Omit<Agreement, 'id' | 'grantor' | 'grantee' | 'types'> | null {
  const version = reading.version(file.get('version'), ['version'])
  const purposes = reading.names(file.get('purposes'), ['purposes'], { pattern: NAME, expects: 'purposes', min: 1 })
  const fromMs = parseTime(file.get('from'), ['from'], words, reading)
  const untilMs = parseTime(file.get('until'), ['until'], words, reading)
  if (fromMs !== null && untilMs !== null && untilMs <= fromMs) reading.mistake(['until'], 'is not after `from`')
  const jurisdictions = parseJurisdictions(file.get('jurisdictions'), reading)
  const proofs = file.has('require') ? reading.names(file.get('require'), ['require'], { pattern: /^(dpop|mtls)$/, expects: '`dpop` and `mtls`', min: 1 }) : []
  const actors = file.has('actors') ? parseActors(file.get('actors'), ['actors'], reading) : []
  if (version === null || !purposes || fromMs === null || untilMs === null || !jurisdictions || !proofs || !actors) return null
  // The pattern has checked that they are kinds of proof.
  const require = proofs.length === 0 ? null : new Set(proofs as readonly ProofKind[])
  return { version, purposes: new Set(purposes), fromMs, untilMs, jurisdictions, require, actors }
}

function parseTime(value: unknown, path: Path, words: Words, reading: Reading): number | null {
  const message = 'expects a time with its offset, such as 2026-01-01T00:00:00Z'
  if (typeof value !== 'string') return reading.mistake(path, message)
  try {
    const ms = Date.parse(String(words.parseScalar('DateTime', value)))
    return Number.isFinite(ms) ? ms : reading.mistake(path, message)
  } catch {
    return reading.mistake(path, message)
  }
}

function parseJurisdictions(value: unknown, reading: Reading): Jurisdictions | null {
  const entries = reading.object(value, ['jurisdictions'], { required: ['stored', 'gateway', 'grantee'], optional: [] })
  if (!entries) return null
  const list = (key: string) =>
    reading.names(entries.get(key), ['jurisdictions', key], {
      pattern: /^[A-Z]{2}(-[A-Z0-9]{1,3})?$/,
      expects: 'countries such as `DE`, or parts of one such as `CA-QC` (ISO 3166)',
      min: 1,
    })
  const [stored, gateway, grantee] = [list('stored'), list('gateway'), list('grantee')]
  return stored && gateway && grantee ? { stored: new Set(stored), gateway: new Set(gateway), grantee: new Set(grantee) } : null
}

function parseTypes(value: unknown, grantee: string, words: Words, reading: Reading): ReadonlyMap<string, AgreedType> | null {
  const byName = reading.entries(value, ['types'], 'terms by type')
  if (!byName) return null
  if (byName.size === 0) return reading.mistake(['types'], 'names no type')
  const types = [...byName].map(([name, terms]) => {
    const type = words.catalog.entities.get(name)
    return type ? parseType(terms, { type, path: ['types', name], grantee }, words, reading) : reading.mistake(['types', name], 'is not a type of the contract')
  })
  if (!types.every((type) => type !== null)) return null
  const agreed = new Map(types.map((type) => [type.type, type]))
  for (const type of types) refuseHiddenInverses(type, agreed, words, reading)
  return agreed
}

interface TypePlace {
  readonly type: EntityType
  readonly path: Path
  readonly grantee: string
}

function parseType(value: unknown, at: TypePlace, words: Words, reading: Reading): AgreedType | null {
  if (typeof value === 'object' && value !== null && Object.hasOwn(value, 'aggregateOnly')) {
    return reading.mistake([...at.path, 'aggregateOnly'], 'is not available yet: this version gives rows under `allow` and `mask`, or nothing')
  }
  const entries = reading.object(value, at.path, { required: [], optional: ['allow', 'mask', 'rows'] })
  if (!entries) return null
  const rows = entries.has('rows') ? parseCondition(entries.get('rows'), { type: at.type, path: [...at.path, 'rows'] }, words, reading) : null
  const allowed = parseAllowed(entries, at, reading)
  const masked = parseMasks(entries, at, words, reading)
  if (!allowed || !masked || (entries.has('rows') && !rows)) return null
  for (const name of allowed) if (masked.has(name)) reading.mistake([...at.path, 'mask', name], 'stands under `allow` too')
  const fields = new Map<string, AgreedField>([...allowed.map((name): [string, AgreedField] => [name, { kind: 'plain' }]), ...masked])
  const missing = requiredFields(at.type).filter(({ name }) => !fields.has(name))
  if (missing.length > 0)
    return reading.mistake(at.path, `must allow or mask every required field of \`${at.type.name}\`; it lacks ${quoted(missing.map(({ name }) => name))}`)
  return { type: at.type.name, rows: rows ? truth(rows) : ALL, fields }
}

const FIELD_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

function parseAllowed(entries: Entries, at: TypePlace, reading: Reading): readonly string[] | null {
  const path = [...at.path, 'allow']
  const value = entries.get('allow') ?? []
  if (value === 'all')
    return reading.mistake(path, 'cannot be `all`: an agreement names each field, and a field new in the contract is denied until it is signed again')
  const names = reading.names(value, path, { pattern: FIELD_NAME, expects: 'fields', min: 0 })
  return names && areFields(names, at.type, path, reading) ? names : null
}

function parseMasks(entries: Entries, at: TypePlace, words: Words, reading: Reading): ReadonlyMap<string, AgreedField> | null {
  const path = [...at.path, 'mask']
  const byField = reading.entries(entries.get('mask') ?? {}, path, 'masks by field')
  if (!byField) return null
  const masks = [...byField].map(([name, value]): [string, AgreedField] | null => {
    const field = at.type.fields.get(name)
    if (!field) return reading.mistake([...path, name], `\`${at.type.name}\` has no field \`${name.slice(0, 60)}\``)
    const mask = parseMask(value, { type: at.type, field, path: [...path, name], grantee: at.grantee }, words, reading)
    return mask && [name, { kind: 'masked', mask }]
  })
  return masks.every((mask) => mask !== null) ? new Map(masks) : null
}

/** A list of related rows tells who they belong to: it needs the relation from their side, which is the foreign key. */
function refuseHiddenInverses(agreed: AgreedType, types: ReadonlyMap<string, AgreedType>, words: Words, reading: Reading): void {
  for (const field of words.catalog.entities.get(agreed.type)?.fields.values() ?? []) {
    if (field.kind !== 'toMany' || !agreed.fields.has(field.name)) continue
    const target = types.get(field.target)
    if (target && !target.fields.has(field.inverse)) {
      reading.mistake(['types', agreed.type, 'allow'], `grants \`${field.name}\` while \`${field.target}.${field.inverse}\`, which tells the same, is denied`)
    }
  }
}

/** The canonical JSON of a policy file's content (RFC 8785). Content comes from a reader that lets no other values than those of JSON through. */
export function canonicalText(content: unknown): string {
  const text = canonicalJson(content)
  if (text === undefined) throw new Error('invariant: the content of a policy file has a canonical form')
  return text
}

/** SHA-256 of the canonical JSON, base64url. */
export function contentDigest(content: unknown): string {
  return createHash('sha256').update(canonicalText(content)).digest('base64url')
}

export const SIGNATURE_ALGORITHMS = ['EdDSA', 'ES256'] as const

/**
 * Whether `signature` is a compact JWS by one of the keys over the content's canonical JSON: detached (RFC 7515, appendix F), or with exactly that payload. Only
 * EdDSA and ES256, no critical header parameters, and no keys but those given.
 */
export async function verifySignature(content: unknown, signature: string, keys: readonly JWK[]): Promise<boolean> {
  const expected = Buffer.from(canonicalText(content)).toString('base64url')
  const [header, payload, value, ...more] = signature.trim().split('.')
  if (!header || payload === undefined || !value || more.length > 0 || (payload !== '' && payload !== expected)) return false
  for (const key of keys) if (await verifies({ protected: header, payload: expected, signature: value }, key)) return true
  return false
}

/** The key is given, so what the signature calls it does not matter. */
async function verifies(jws: { readonly protected: string; readonly payload: string; readonly signature: string }, key: JWK): Promise<boolean> {
  try {
    const { protectedHeader } = await flattenedVerify(jws, (header: JWSHeaderParameters) => importJWK(key, header.alg), {
      algorithms: [...SIGNATURE_ALGORITHMS],
    })
    return protectedHeader?.crit === undefined
  } catch {
    return false
  }
}
