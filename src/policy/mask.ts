/**
 * Masks of agreements, typed: what a mask gives fits the field's type, or the agreement does not load. A null is masked like any other value unless the
 * agreement says `nulls: reveal`: `generalize` then gives the grid's value of zero, or of 1970-01-01T00:00:00Z.
 */
import type { EntityType, Field, ValueField } from '../query/catalog.js'
import { isFiniteDecimal, parseDecimal } from '../query/decimal.js'
import type { Mask, TimeUnit } from '../query/plan.js'
import { parseConstant, type Words } from './condition.js'
import { quoted, type Entries, type Path, type Reading } from './reading.js'

export interface MaskPlace {
  readonly type: EntityType
  readonly field: Field
  readonly path: Path
  /** Who sees the mask: pseudonyms of two grantees cannot be joined. */
  readonly grantee: string
}

const KINDS = ['null', 'constant', 'redact', 'pseudonym', 'generalize'] as const
type Kind = (typeof KINDS)[number]

/** Reads `null`, or a mapping with the mask's name as its only key. Null: it has mistakes, which `reading` knows. */
export function parseMask(value: unknown, at: MaskPlace, words: Words, reading: Reading): Mask | null {
  const { field } = at
  if (field.kind !== 'value') return reading.mistake(at.path, 'is a relation, which is allowed or not, never masked')
  const given = value === null ? new Map<string, unknown>([['null', {}]]) : reading.object(value, at.path, { required: [], optional: KINDS })
  if (!given) return null
  const [entry] = given
  const kind = KINDS.find((known) => known === entry?.[0])
  if (!entry || !kind || given.size !== 1) return reading.mistake(at.path, `expects one of ${quoted(KINDS)}`)
  if (at.type.key.includes(field.name) && kind !== 'pseudonym') return reading.mistake(at.path, 'is a key of its type: it is allowed, or masked by `pseudonym`')
  if (!fits(kind, field)) return reading.mistake([...at.path, kind], `does not give a value that fits \`${at.type.name}.${field.name}\``)
  return parseKind(kind, entry[1], { ...at, field, path: [...at.path, kind] }, words, reading)
}

/** Whether a mask of this kind can give values of the field's type. */
function fits(kind: Kind, field: ValueField): boolean {
  if (kind === 'null') return !field.required
  if (field.list) return false
  const name = field.type.kind === 'enum' ? 'enum' : field.type.name
  switch (kind) {
    case 'constant':
      return name !== 'JSON' && name !== 'Vector'
    case 'redact':
    case 'pseudonym':
      return name === 'String' || name === 'ID'
    case 'generalize':
      return isNumber(name) || isTime(name)
  }
}

function isNumber(name: string): boolean {
  return name === 'Int' || name === 'BigInt' || name === 'Float' || name === 'Decimal'
}

function isTime(name: string): boolean {
  return name === 'DateTime' || name === 'LocalDateTime' || name === 'Date'
}

interface FieldPlace extends MaskPlace {
  readonly field: ValueField
}

function parseKind(kind: Kind, value: unknown, at: FieldPlace, words: Words, reading: Reading): Mask | null {
  switch (kind) {
    case 'null':
      return reading.object(value ?? {}, at.path, { required: [], optional: [] }) && { kind }
    case 'constant': {
      const constant = parseConstant(value, at.field.type, at.path, words, reading)
      return constant === null ? null : { kind, value: constant }
    }
    case 'redact':
      return parseRedact(value, at, reading)
    case 'pseudonym':
      return parsePseudonym(value, at, reading)
    case 'generalize':
      return parseGeneralize(value, at, reading)
  }
}

function parseRedact(value: unknown, at: FieldPlace, reading: Reading): Mask | null {
  const options = reading.object(value, at.path, { required: ['keepLast'], optional: ['nulls'] })
  const revealNulls = options && parseNulls(options, at.path, reading)
  if (!options || revealNulls === null) return null
  const keepLast = options.get('keepLast')
  if (typeof keepLast !== 'number' || !Number.isInteger(keepLast) || keepLast < 0 || keepLast > 16) {
    return reading.mistake([...at.path, 'keepLast'], 'expects how many characters at the end stay: a whole number from 0 to 16')
  }
  return { kind: 'redact', keepLast, revealNulls }
}

const DOMAIN = /^[A-Za-z][A-Za-z0-9._-]{0,63}$/

function parsePseudonym(value: unknown, at: FieldPlace, reading: Reading): Mask | null {
  const options = reading.object(value, at.path, { required: [], optional: ['domain', 'nulls'] })
  const revealNulls = options && parseNulls(options, at.path, reading)
  if (!options || revealNulls === null) return null
  const domain = options.has('domain')
    ? reading.text(options.get('domain'), [...at.path, 'domain'], DOMAIN, 'a name of letters, digits, `.`, `_` and `-`')
    : defaultDomain(at)
  return domain === null ? null : { kind: 'pseudonym', domain, grantee: at.grantee, revealNulls }
}

/** A key's domain is its type, so that whoever names the key gives the same pseudonym; any other field has one of its own. */
function defaultDomain({ type, field }: FieldPlace): string {
  return type.key.length === 1 && type.key[0] === field.name ? type.name : `${type.name}.${field.name}`
}

const UNITS: readonly TimeUnit[] = ['HOUR', 'DAY', 'WEEK', 'MONTH', 'QUARTER', 'YEAR']

function parseGeneralize(value: unknown, at: FieldPlace, reading: Reading): Mask | null {
  const name = at.field.type.kind === 'builtin' ? at.field.type.name : ''
  const parameter = isTime(name) ? 'unit' : 'step'
  const options = reading.object(value, at.path, { required: [parameter], optional: ['nulls'] })
  const revealNulls = options && parseNulls(options, at.path, reading)
  if (!options || revealNulls === null) return null
  return parameter === 'unit'
    ? parseUnit(options.get('unit'), { name, path: at.path, revealNulls }, reading)
    : parseStep(options.get('step'), { name, path: at.path, revealNulls }, reading)
}

interface GridPlace {
  readonly name: string
  readonly path: Path
  readonly revealNulls: boolean
}

function parseUnit(value: unknown, { name, path, revealNulls }: GridPlace, reading: Reading): Mask | null {
  const units = name === 'Date' ? UNITS.filter((unit) => unit !== 'HOUR') : UNITS
  const unit = units.find((known) => known === value)
  return unit ? { kind: 'generalizeTime', unit, revealNulls } : reading.mistake([...path, 'unit'], `expects one of ${quoted(units)}`)
}

function parseStep(value: unknown, { name, path, revealNulls }: GridPlace, reading: Reading): Mask | null {
  const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value
  const whole = name === 'Int' || name === 'BigInt'
  const pattern = whole ? /^[1-9]\d{0,17}$/ : /^\d{1,18}(\.\d{1,18})?$/
  if (typeof text !== 'string' || !pattern.test(text) || !isFiniteDecimal(text)) {
    return reading.mistake([...path, 'step'], whole ? 'expects a whole number above 0' : 'expects a number above 0, in quotes where it has a fraction')
  }
  const step = parseDecimal(text)
  return step.kind === 'finite' && step.units > 0n ? { kind: 'generalize', step: text, revealNulls } : reading.mistake([...path, 'step'], 'must be above 0')
}

/** Null: a mistake. */
function parseNulls(options: Entries, path: Path, reading: Reading): boolean | null {
  if (!options.has('nulls')) return false
  return options.get('nulls') === 'reveal' ? true : reading.mistake([...path, 'nulls'], 'expects `reveal`, or leave it out and nulls are masked too')
}
