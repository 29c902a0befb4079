/**
 * The `rows` language of roles and agreements: the API's `where`, with `{ claim: name }` in the place of an operand. Conditions are three-valued (Kleene): a
 * comparison with a null, or with a claim that the token does not have, is unknown, and so is all that depends on it.
 *
 * A relation to one that leads nowhere is unknown too, unless the question is only whether it leads somewhere (`owner: {}`). `some`, `every` and `none` are
 * unknown where the unknown rows could turn the answer.
 */
import type { BuiltinScalar, Catalog, EntityType, ToManyField, ToOneField, ValueField, ValueType } from '../query/catalog.js'
import { ALL, and, not, or, type CompareOp, type Operand, type Predicate, type Scalar } from '../query/predicate.js'
import { isPrototypeName, quoted, type Entries, type Path, type Reading } from './reading.js'

/** A condition whose names and types fit the contract. */
export type Condition =
  | { readonly kind: 'compare'; readonly field: ValueField; readonly op: CompareOp; readonly operand: Operand }
  | { readonly kind: 'in'; readonly field: ValueField; readonly operand: Operand }
  | { readonly kind: 'isNull'; readonly field: ValueField }
  | { readonly kind: 'and' | 'or'; readonly terms: readonly Condition[] }
  | { readonly kind: 'not'; readonly term: Condition }
  /** The relation leads to a row. */
  | { readonly kind: 'exists'; readonly field: ToOneField | ToManyField }
  /** The row that the relation leads to fits. */
  | { readonly kind: 'one'; readonly field: ToOneField; readonly where: Condition }
  /** At least one related row fits. */
  | { readonly kind: 'some'; readonly field: ToManyField; readonly where: Condition }

/** What reading a policy needs to know of the contract. */
export interface Words {
  readonly catalog: Catalog
  /** The canonical form of a value (see `query/predicate.ts`). Throws an Error whose message says what is accepted. */
  readonly parseScalar: (scalar: BuiltinScalar, value: unknown) => Scalar
}

/** Levels of a condition, and elements of a list in it. */
const DEPTH_MAX = 16
const LIST_MAX = 1_000

interface Place {
  readonly type: EntityType
  readonly path: Path
  readonly depth: number
}

/** Reads a `rows` value. Null: it has mistakes, which `reading` knows. */
export function parseCondition(value: unknown, at: { readonly type: EntityType; readonly path: Path }, words: Words, reading: Reading): Condition | null {
  return new Parser(words, reading).where(value, { ...at, depth: 0 })
}

class Parser {
  constructor(
    private readonly words: Words,
    private readonly reading: Reading,
  ) {}

  /** Keys beside each other are a conjunction. An empty one would let everything through unsaid. */
  where(value: unknown, at: Place): Condition | null {
    if (at.depth > DEPTH_MAX) return this.reading.mistake(at.path, `is nested deeper than ${DEPTH_MAX} levels`)
    const entries = this.reading.entries(value, at.path, 'a condition such as `{ status: { eq: ACTIVE } }`')
    if (!entries) return null
    if (entries.size === 0) return this.reading.mistake(at.path, 'is empty; leave the condition out where every row is meant')
    return this.all([...entries].map(([name, item]) => this.key(name, item, { ...at, path: [...at.path, name], depth: at.depth + 1 })))
  }

  private all(terms: readonly (Condition | null)[]): Condition | null {
    return terms.every((term) => term !== null) ? conjunction(terms) : null
  }

  private key(name: string, value: unknown, at: Place): Condition | null {
    const field = at.type.fields.get(name)
    if (field?.kind === 'value') return this.operators(value, field, at)
    if (field?.kind === 'toOne') return this.toOne(value, field, at)
    if (field?.kind === 'toMany') return this.toMany(value, field, at)
    if (name === 'and' || name === 'or') return this.junction(name, value, at)
    if (name === 'not') return negation(this.where(value, at))
    return this.reading.mistake(at.path, `\`${at.type.name}\` has no field \`${name.slice(0, 60)}\` that a condition can use`)
  }

  private junction(kind: 'and' | 'or', value: unknown, at: Place): Condition | null {
    if (!Array.isArray(value) || value.length === 0 || value.length > LIST_MAX)
      return this.reading.mistake(at.path, 'expects a list of conditions, at least one')
    const terms = value.map((item: unknown, index) => this.where(item, { ...at, path: [...at.path, index] }))
    if (!terms.every((term) => term !== null)) return null
    return kind === 'and' ? conjunction(terms) : { kind, terms }
  }

  private toOne(value: unknown, field: ToOneField, at: Place): Condition | null {
    if (isEmpty(value)) return { kind: 'exists', field }
    const where = this.where(value, this.target(field, at))
    return where && { kind: 'one', field, where }
  }

  private toMany(value: unknown, field: ToManyField, at: Place): Condition | null {
    const entries = this.reading.object(value, at.path, { required: [], optional: ['some', 'every', 'none'] })
    if (!entries) return null
    if (entries.size === 0) return this.reading.mistake(at.path, 'is empty; write `some`, `every` or `none`')
    return this.all([...entries].map(([name, item]) => this.quantifier(name, item, field, { ...at, path: [...at.path, name] })))
  }

  private quantifier(name: string, value: unknown, field: ToManyField, at: Place): Condition | null {
    // `every: {}` is always true: an empty mapping is no condition here.
    const where = isEmpty(value) && name !== 'every' ? ('any' as const) : this.where(value, this.target(field, at))
    if (where === null) return null
    if (where === 'any') return name === 'some' ? { kind: 'exists', field } : { kind: 'not', term: { kind: 'exists', field } }
    if (name === 'every') return { kind: 'not', term: { kind: 'some', field, where: { kind: 'not', term: where } } }
    return name === 'some' ? { kind: 'some', field, where } : { kind: 'not', term: { kind: 'some', field, where } }
  }

  private target(field: ToOneField | ToManyField, at: Place): Place {
    const type = this.words.catalog.entities.get(field.target)
    if (!type) throw new Error(`invariant: the contract lacks the type of \`${field.name}\``)
    return { ...at, type }
  }

  private operators(value: unknown, field: ValueField, at: Place): Condition | null {
    const operators = operatorsOf(field)
    const entries = this.reading.entries(value, at.path, `operators such as \`{ ${operators[0] ?? ''}: … }\``)
    if (!entries) return null
    if (entries.size === 0) return this.reading.mistake(at.path, `is empty; write one of ${quoted(operators)}`)
    return this.all([...entries].map(([name, operand]) => this.operator(name, operand, field, { ...at, path: [...at.path, name] })))
  }

  private operator(name: string, value: unknown, field: ValueField, at: Place): Condition | null {
    const operators = operatorsOf(field)
    if (!operators.some((known) => known === name))
      return this.reading.mistake(at.path, `is not an operator for \`${field.name}\`; those are ${quoted(operators)}`)
    if (name === 'isNull') return this.nullTest(value, field, at)
    if (name === 'in' || name === 'notIn') {
      const operand = this.listOperand(value, field, at)
      if (!operand) return null
      return name === 'in' ? { kind: 'in', field, operand } : { kind: 'not', term: { kind: 'in', field, operand } }
    }
    const operand = this.operand(value, field, at)
    if (!operand) return null
    if (name === 'ne') return { kind: 'not', term: { kind: 'compare', field, op: '=', operand } }
    const op = COMPARISONS.get(name)
    return op ? { kind: 'compare', field, op, operand } : null
  }

  private nullTest(value: unknown, field: ValueField, at: Place): Condition | null {
    if (typeof value !== 'boolean') return this.reading.mistake(at.path, 'expects true or false')
    return value ? { kind: 'isNull', field } : { kind: 'not', term: { kind: 'isNull', field } }
  }

  private operand(value: unknown, field: ValueField, at: Place): Operand | null {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return this.claim(value, at)
    const constant = parseConstant(value, field.type, at.path, this.words, this.reading)
    return constant === null ? null : { kind: 'constant', value: constant }
  }

  private listOperand(value: unknown, field: ValueField, at: Place): Operand | null {
    if (!Array.isArray(value)) return this.claim(value, at)
    if (value.length === 0 || value.length > LIST_MAX) return this.reading.mistake(at.path, `expects at least one value, and at most ${LIST_MAX}`)
    const constants = value.map((item: unknown, index) => parseConstant(item, field.type, [...at.path, index], this.words, this.reading))
    return constants.every((constant) => constant !== null) ? { kind: 'constant', value: constants } : null
  }

  private claim(value: unknown, at: Place): Operand | null {
    const entries: Entries | null = this.reading.entries(value, at.path, 'a value, or `{ claim: name }`')
    if (!entries) return null
    const name = entries.get('claim')
    if (entries.size !== 1 || typeof name !== 'string' || !isClaimName(name))
      return this.reading.mistake(at.path, 'expects `{ claim: name }` and nothing beside it')
    return { kind: 'claim', name }
  }
}

/** Claims are read as own properties by exact name; URLs are common as names. */
function isClaimName(name: string): boolean {
  return /^[\x21-\x7e]{1,200}$/.test(name) && !isPrototypeName(name)
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0
}

function conjunction(terms: readonly Condition[]): Condition {
  const [only] = terms
  return terms.length === 1 && only ? only : { kind: 'and', terms }
}

function negation(term: Condition | null): Condition | null {
  return term && { kind: 'not', term }
}

const COMPARISONS: ReadonlyMap<string, CompareOp> = new Map([
  ['eq', '='],
  ['lt', '<'],
  ['lte', '<='],
  ['gt', '>'],
  ['gte', '>='],
])
const EQUALITY = ['eq', 'ne', 'in', 'notIn', 'isNull'] as const
const ORDERED = [...EQUALITY, 'lt', 'lte', 'gt', 'gte'] as const

/** Operators whose meaning every store shares. Patterns are left out: they are not exact over stores, and no index serves them under row-level security. */
function operatorsOf(field: ValueField): readonly string[] {
  if (field.list) return ['isNull']
  if (field.type.kind === 'enum') return EQUALITY
  switch (field.type.name) {
    case 'JSON':
    case 'Vector':
      return ['isNull']
    case 'ID':
    case 'Boolean':
      return EQUALITY
    case 'String':
    case 'Int':
    case 'Float':
    case 'BigInt':
    case 'Decimal':
    case 'DateTime':
    case 'LocalDateTime':
    case 'Date':
    case 'UUID':
      return ORDERED
  }
}

/** The canonical form of a value of this type that stands in a policy. Null: a mistake. */
export function parseConstant(value: unknown, type: ValueType, path: Path, words: Words, reading: Reading): Scalar | null {
  if (value === null || value === undefined) return reading.mistake(path, 'must not be null; `isNull` asks for null')
  if (type.kind === 'enum') {
    return typeof value === 'string' && type.values.includes(value) ? value : reading.mistake(path, `expects one of ${quoted(type.values)}`)
  }
  try {
    return words.parseScalar(type.name, value)
  } catch (error) {
    return reading.mistake(path, error instanceof Error ? error.message : 'does not fit the field')
  }
}

/** TRUE exactly where the condition is TRUE; elsewhere FALSE or unknown. A grant applies there. */
export function truth(condition: Condition): Predicate {
  switch (condition.kind) {
    case 'compare':
      return { kind: 'compare', field: condition.field.name, op: condition.op, operand: condition.operand }
    case 'in':
      return { kind: 'in', field: condition.field.name, operand: condition.operand }
    case 'isNull':
      return { kind: 'isNull', field: condition.field.name }
    case 'and':
      return and(condition.terms.map(truth))
    case 'or':
      return or(condition.terms.map(truth))
    case 'not':
      return falsity(condition.term)
    case 'exists':
      return { kind: 'related', field: condition.field.name, where: ALL }
    case 'one':
    case 'some':
      return { kind: 'related', field: condition.field.name, where: truth(condition.where) }
  }
}

/** TRUE exactly where the condition is FALSE; elsewhere FALSE or unknown. A prohibition does not apply there. */
export function falsity(condition: Condition): Predicate {
  switch (condition.kind) {
    case 'compare':
    case 'in':
    case 'isNull':
    case 'exists':
      return not(truth(condition))
    case 'and':
      return or(condition.terms.map(falsity))
    case 'or':
      return and(condition.terms.map(falsity))
    case 'not':
      return truth(condition.term)
    case 'one':
      return { kind: 'related', field: condition.field.name, where: falsity(condition.where) }
    case 'some':
      // No related row for which the condition is TRUE or unknown: `related` is two-valued, so the unknown has to be said.
      return not({ kind: 'related', field: condition.field.name, where: notFalse(condition.where) })
  }
}

function notFalse(condition: Condition): Predicate {
  const isFalse = falsity(condition)
  return isFalse.kind === 'all' || isFalse.kind === 'none' ? not(isFalse) : { kind: 'not', term: { kind: 'isTrue', term: isFalse } }
}

/** Equal conditions give equal texts. */
export function predicateText(predicate: Predicate): string {
  return JSON.stringify(predicate)
}

/** The disjunction without terms that stand in it twice. */
export function anyOf(predicates: readonly Predicate[]): Predicate {
  const terms = predicates.flatMap((predicate) => (predicate.kind === 'or' ? predicate.terms : [predicate]))
  return or([...new Map(terms.map((term) => [predicateText(term), term])).values()])
}
