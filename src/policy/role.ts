/**
 * Roles: what a principal may do inside its own organization, and for which purposes it may use partners' agreements. The rules of a role are CASL rules; CASL
 * says which of them speak about a field and which one goes first, and nothing else here knows CASL.
 *
 * `rulesToFields` of CASL is never called (CVE-2026-111172), and no name comes near CASL that is not a name of the contract.
 */
import { buildMongoQueryMatcher, createMongoAbility, type MongoAbility, type MongoQuery, type RawRuleOf } from '@casl/ability'
import {
  $and,
  $nor,
  $or,
  and as everyTerm,
  FieldCondition,
  nor as noTerm,
  or as someTerm,
  type FieldInstruction,
  type ObjectQueryFieldParsingContext,
} from '@ucast/mongo2js'
import type { EntityType, ValueField, ValueType } from '../query/catalog.js'
import { compareSortKeys } from '../query/order.js'
import { operandSortKey } from '../query/value.js'
import { ALL, and, NONE, type Operand, type Predicate, type Scalar } from '../query/predicate.js'
import { parseActors, type ActorRule } from './actor.js'
import { anyOf, falsity, parseCondition, predicateText, truth, type Condition, type Words } from './condition.js'
import { NAME, quoted, type Entries, type Path, type Reading } from './reading.js'

export interface RoleFile {
  readonly organization: string
  readonly version: number
  readonly roles: ReadonlyMap<string, Role>
}

export interface Role {
  readonly name: string
  /** By type. */
  readonly grants: ReadonlyMap<string, RoleGrant>
  /** In order of rising priority. */
  readonly rules: readonly Rule[]
  /** Purposes for which partners' agreements may be used. */
  readonly crossOrganization: ReadonlySet<string>
  /** The role holds for these purposes only. Null: for any, and without one. */
  readonly purposes: ReadonlySet<string> | null
  readonly actors: readonly ActorRule[]
  readonly audit: ReadonlySet<AuditRight>
  readonly explain: boolean
}

export type AuditRight = 'list' | 'export'

export interface RoleGrant {
  readonly type: string
  /** TRUE for the rows that the role shows: the condition that all `required` fields share. */
  readonly rows: Predicate
  /** By field that the role grants: TRUE where its value shows. `all` for fields that show in every row of `rows`. */
  readonly fields: ReadonlyMap<string, Predicate>
}

/** One CASL rule: `can read` or, inverted, `cannot read`. */
export interface Rule {
  readonly type: string
  /** Null: every field of the type. */
  readonly fields: readonly string[] | null
  /** Null: every row. */
  readonly condition: Condition | null
  readonly inverted: boolean
}

const FIELD_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** Reads the content of a roles file. Null: it has mistakes, which `reading` knows. */
export function parseRoleFile(content: unknown, words: Words, reading: Reading): RoleFile | null {
  const file = reading.object(content, [], { required: ['organization', 'version', 'roles'], optional: [] })
  if (!file) return null
  const organization = reading.text(file.get('organization'), ['organization'], NAME, 'the id of an organization')
  const version = reading.version(file.get('version'), ['version'])
  const named = reading.entries(file.get('roles'), ['roles'], 'roles by name')
  const roles = [...(named ?? [])].map(([name, value]) => parseRole(name, value, words, reading))
  if (organization === null || version === null || !named || !roles.every((role) => role !== null)) return null
  return { organization, version, roles: new Map(roles.map((role) => [role.name, role])) }
}

const ROLE_KEYS = ['read', 'deny', 'crossOrganization', 'purposes', 'actors', 'audit', 'explain'] as const

function parseRole(name: string, value: unknown, words: Words, reading: Reading): Role | null {
  const path = ['roles', name]
  if (!NAME.test(name)) return reading.mistake(path, 'is not a name of letters, digits, `.`, `_` and `-`')
  const entries = reading.object(value, path, { required: [], optional: ROLE_KEYS })
  if (!entries) return null
  // Prohibitions come last, and in CASL the last rule goes first.
  const read = parseRules(entries, 'read', path, words, reading)
  const deny = parseRules(entries, 'deny', path, words, reading)
  const rights = parseRights(entries, path, reading)
  if (!read || !deny || !rights) return null
  const rules = [...read, ...deny]
  const grants = grantsOf(rules, [...path, 'read'], words, reading)
  return grants && { name, rules, grants, ...rights }
}

function parseRights(entries: Entries, path: Path, reading: Reading): Omit<Role, 'name' | 'rules' | 'grants'> | null {
  const names = (key: string, min: 0 | 1) =>
    entries.has(key) ? reading.names(entries.get(key), [...path, key], { pattern: NAME, expects: 'purposes', min }) : ([] as readonly string[])
  const crossOrganization = names('crossOrganization', 0)
  // An empty list could mean "for none" or "for any".
  const purposes = names('purposes', 1)
  const actors = entries.has('actors') ? parseActors(entries.get('actors'), [...path, 'actors'], reading) : []
  const audit = parseAudit(entries.get('audit') ?? [], [...path, 'audit'], reading)
  const explain = entries.get('explain') ?? false
  if (typeof explain !== 'boolean') return reading.mistake([...path, 'explain'], 'expects true or false')
  if (!crossOrganization || !purposes || !actors || !audit) return null
  return { crossOrganization: new Set(crossOrganization), purposes: entries.has('purposes') ? new Set(purposes) : null, actors, audit, explain }
}

function parseAudit(value: unknown, path: Path, reading: Reading): ReadonlySet<AuditRight> | null {
  const rights = reading.names(value, path, { pattern: /^(list|export)$/, expects: '`list` and `export`', min: 0 })
  // The pattern has checked that they are rights.
  return rights && new Set(rights as readonly AuditRight[])
}

function parseRules(entries: Entries, key: 'read' | 'deny', path: Path, words: Words, reading: Reading): readonly Rule[] | null {
  if (!entries.has(key)) return []
  const byType = reading.entries(entries.get(key), [...path, key], 'grants by type, such as `{ Agent: { fields: all } }`')
  if (!byType) return null
  const rules = [...byType].flatMap(([name, value]) => {
    const at = [...path, key, name]
    const type = words.catalog.entities.get(name)
    if (!type) return reading.mistake(at, 'is not a type of the contract')
    if (!Array.isArray(value)) return parseRule(value, { type, path: at, inverted: key === 'deny' }, words, reading)
    if (value.length === 0 || value.length > 100) return reading.mistake(at, 'expects a grant, or a list of them')
    return value.map((item: unknown, index) => parseRule(item, { type, path: [...at, index], inverted: key === 'deny' }, words, reading))
  })
  return rules.every((rule) => rule !== null) ? rules : null
}

function parseRule(
  value: unknown,
  at: { readonly type: EntityType; readonly path: Path; readonly inverted: boolean },
  words: Words,
  reading: Reading,
): Rule | null {
  const entries = reading.object(value, at.path, { required: ['fields'], optional: ['rows'] })
  if (!entries) return null
  const fields = parseFields(entries.get('fields'), at.type, [...at.path, 'fields'], reading)
  const condition = entries.has('rows') ? parseCondition(entries.get('rows'), { type: at.type, path: [...at.path, 'rows'] }, words, reading) : null
  if (!fields || (entries.has('rows') && !condition)) return null
  return { type: at.type.name, fields: fields === 'all' ? null : fields, condition, inverted: at.inverted }
}

function parseFields(value: unknown, type: EntityType, path: Path, reading: Reading): readonly string[] | 'all' | null {
  if (value === 'all') return 'all'
  const names = reading.names(value, path, { pattern: FIELD_NAME, expects: 'fields, or `all` in place of the list', min: 1 })
  return names && areFields(names, type, path, reading) ? names : null
}

/** Whether all names are fields of the type; a mistake for each that is not. */
export function areFields(names: readonly string[], type: EntityType, path: Path, reading: Reading): boolean {
  const unknown = names.filter((name) => !type.fields.has(name))
  for (const name of unknown) reading.mistake([...path, names.indexOf(name)], `\`${type.name}\` has no field \`${name}\``)
  return unknown.length === 0
}

type ReadAbility = MongoAbility<[string, string | Readonly<Record<string, unknown>>]>
type ReadRule = RawRuleOf<ReadAbility>

/** The claims of a principal. */
export type Claims = ReadonlyMap<string, Scalar | readonly Scalar[]>

/**
 * The role as a CASL ability for somebody with these claims: `can('read', subject(type, abilitySubject(...)), field)`. A claim enters as the text of a scalar, never
 * as an object; a missing one fits nothing.
 */
export function abilityOf(role: Pick<Role, 'rules'>, claims: Claims): ReadAbility {
  return casl(role.rules.map((rule) => rawRule(rule, claims)))
}

// Names that no type and no action of ours can have, so that none of them means "any".
const CASL_OPTIONS = { anyAction: '*', anySubjectType: '*' } as const

function casl(rules: ReadRule[]): ReadAbility {
  const conditionsMatcher = buildMongoQueryMatcher(
    { $and, $or, $nor, $elemMatch: elementMatches },
    { and: everyTerm, or: someTerm, nor: noTerm },
    { compare: compareTagged },
  )
  return createMongoAbility<ReadAbility>(rules, { ...CASL_OPTIONS, conditionsMatcher })
}

function rawRule(rule: Rule, claims: Claims): ReadRule {
  return {
    action: 'read',
    subject: rule.type,
    inverted: rule.inverted,
    ...(rule.fields && { fields: [...rule.fields] }),
    ...(rule.condition && { conditions: mongoQuery(rule.condition, { path: '', holds: true, claims }) }),
  }
}

/**
 * The conditions under which each field of each type shows. CASL lists the rules for a field from the highest priority down: a prohibition takes away what it may
 * concern, a grant adds what it surely covers, and one without a condition ends the list.
 */
function grantsOf(rules: readonly Rule[], path: Path, words: Words, reading: Reading): ReadonlyMap<string, RoleGrant> | null {
  const raw = rules.map((rule) => ({ rule, raw: rawRule(rule, new Map()) }))
  const conditions = new Map<object, Condition | null>(raw.map(({ rule, raw: origin }) => [origin, rule.condition]))
  const ability = casl(raw.map((pair) => pair.raw))
  const types = [...new Set(rules.filter((rule) => !rule.inverted).map((rule) => rule.type))]
  const grants = types.map((name) => {
    const type = words.catalog.entities.get(name)
    if (!type) throw new Error('invariant: a rule speaks of a type that the contract lacks')
    const fold = (field: string) =>
      ability.rulesFor('read', name, field).reduceRight<Predicate>((rest, { origin, inverted }) => {
        const condition = conditions.get(origin) ?? null
        if (inverted) return condition ? and([falsity(condition), rest]) : NONE
        return condition ? anyOf([truth(condition), rest]) : ALL
      }, NONE)
    return grantOf(type, new Map([...type.fields.keys()].map((field) => [field, fold(field)])), [...path, name], reading)
  })
  const whole = grants.filter((grant) => grant !== null)
  return whole.length === grants.length ? new Map(whole.filter(({ fields }) => fields.size > 0).map((grant) => [grant.type, grant])) : null
}

/** A grant without fields grants nothing. Null: the required fields do not share one condition. */
function grantOf(type: EntityType, conditions: ReadonlyMap<string, Predicate>, path: Path, reading: Reading): RoleGrant | null {
  const shown = [...conditions].filter(([, condition]) => condition.kind !== 'none')
  if (shown.length === 0) return { type: type.name, rows: NONE, fields: new Map() }
  const required = requiredFields(type)
  const texts = new Set(required.map(({ name }) => predicateText(conditions.get(name) ?? NONE)))
  const rows = conditions.get(required[0]?.name ?? '') ?? NONE
  if (texts.size !== 1 || rows.kind === 'none') {
    return reading.mistake(
      path,
      `must grant the required fields of \`${type.name}\` (${quoted(required.map(({ name }) => name))}) under one and the same condition`,
    )
  }
  return { type: type.name, rows, fields: new Map(shown.map(([name, condition]) => [name, coversRows(condition, rows) ? ALL : condition])) }
}

export function requiredFields(type: EntityType): readonly ValueField[] {
  return [...type.fields.values()].filter((field): field is ValueField => field.kind === 'value' && field.required)
}

/** Whether `condition` is plainly TRUE wherever `rows` is: it is `all`, or a disjunction that has every term of `rows`. */
export function coversRows(condition: Predicate, rows: Predicate): boolean {
  if (condition.kind === 'all') return true
  const terms = new Set(disjuncts(condition).map(predicateText))
  return disjuncts(rows).every((term) => terms.has(predicateText(term)))
}

function disjuncts(predicate: Predicate): readonly Predicate[] {
  return predicate.kind === 'or' ? predicate.terms : [predicate]
}

interface MongoPlace {
  /** To-one relations from the row on, each with a dot after it. */
  readonly path: string
  /** Whether the query is to match where the condition is TRUE, or where it is FALSE. */
  readonly holds: boolean
  readonly claims: Claims
}

/**
 * A MongoDB-style query that matches where the condition is TRUE (or FALSE) and does not where it is FALSE (or TRUE); where it is unknown, it may do either.
 * Negations are pushed down to the operators, since CASL's are two-valued.
 */
function mongoQuery(condition: Condition, place: MongoPlace): MongoQuery {
  const { path, holds } = place
  switch (condition.kind) {
    case 'compare': {
      const value = tagged(condition.field.type, condition.operand, place.claims)
      return { [path + condition.field.name]: value.length === 1 ? { [(holds ? HOLDS : FAILS)[condition.op]]: value[0] } : { $in: [] } }
    }
    case 'in':
      return { [path + condition.field.name]: { [holds ? '$in' : '$nin']: tagged(condition.field.type, condition.operand, place.claims) } }
    case 'isNull':
      return { [path + condition.field.name]: { $exists: !holds } }
    case 'and':
    case 'or':
      return { [(condition.kind === 'and') === holds ? '$and' : '$or']: condition.terms.map((term) => mongoQuery(term, place)) }
    case 'not':
      return mongoQuery(condition.term, { ...place, holds: !holds })
    case 'exists':
      if (condition.field.kind === 'toOne') return { [path + condition.field.name]: { $exists: holds } }
      return someElement(path + condition.field.name, {}, holds)
    case 'one':
      return mongoQuery(condition.where, { ...place, path: `${path}${condition.field.name}.` })
    case 'some':
      return someElement(path + condition.field.name, mongoQuery(condition.where, { ...place, path: '', holds: true }), holds)
  }
}

function someElement(path: string, query: MongoQuery, holds: boolean): MongoQuery {
  const some = { [path]: { $elemMatch: query } }
  return holds ? some : { $nor: [some] }
}

const HOLDS = { '=': '$eq', '<': '$lt', '<=': '$lte', '>': '$gt', '>=': '$gte' } as const
const FAILS = { '=': '$ne', '<': '$gte', '<=': '$gt', '>': '$lte', '>=': '$lt' } as const

/** The operand's values with their type; none for a claim that is missing, is no scalar or list of them, or does not fit the type. */
function tagged(type: ValueType, operand: Operand, claims: Claims): readonly string[] {
  const value: unknown = operand.kind === 'constant' ? operand.value : operand.kind === 'claim' ? claims.get(operand.name) : undefined
  return (Array.isArray(value) ? value : [value]).flatMap((item: unknown) => tag(type, item) ?? [])
}

/** CASL compares JavaScript values, in which `'10' < '9'`: so each value travels as a text that names its type, and `compareTagged` compares as the stores do. */
function tag(type: ValueType, value: unknown): string | null {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return null
  const sortKey = operandSortKey(type, null, value)
  return sortKey === null ? null : `${type.kind === 'enum' ? 'String' : type.name}|${sortKey}`
}

/** A missing value is unequal to any other. */
function compareTagged(a: unknown, b: unknown): 0 | 1 | -1 {
  if (typeof a !== 'string' || typeof b !== 'string') return a === b ? 0 : 1
  const name = TAGS.find((known) => a.startsWith(`${known}|`) && b.startsWith(`${known}|`))
  if (name === undefined) return 1
  const order = compareSortKeys({ kind: 'builtin', name }, a.slice(name.length + 1), b.slice(name.length + 1))
  return order === 0 ? 0 : order < 0 ? -1 : 1
}

const TAGS = ['ID', 'String', 'Int', 'Float', 'Boolean', 'BigInt', 'Decimal', 'DateTime', 'LocalDateTime', 'Date', 'UUID', 'JSON'] as const

/** Like CASL's own `$elemMatch`, but the query is always one about the element's fields, also where it begins with `$and` or `$or`. */
const elementMatches: FieldInstruction<unknown, ObjectQueryFieldParsingContext> = {
  type: 'field',
  parse: (instruction, query, context) => new FieldCondition(instruction.name, context.field, context.parse(query)),
}

/** A row as CASL sees it: values by field in their canonical form, a related row, or related rows. Nulls are left out. */
export interface SubjectRow {
  readonly [field: string]: Scalar | readonly Scalar[] | SubjectRow | readonly SubjectRow[] | null
}

/** The row in the form that the conditions of `abilityOf` compare with. */
export function abilitySubject(type: EntityType, row: SubjectRow, words: Words): Record<string, unknown> {
  const entries = [...type.fields.values()].flatMap((field): [string, unknown][] => {
    const value = row[field.name]
    if (value === null || value === undefined) return []
    if (field.kind === 'value') return [[field.name, Array.isArray(value) ? [] : tag(field.type, value)]]
    const target = words.catalog.entities.get(field.target)
    if (!target) return []
    // The contract says which of the two a relation is.
    if (field.kind === 'toOne') return [[field.name, abilitySubject(target, value as SubjectRow, words)]]
    return [[field.name, (value as readonly SubjectRow[]).map((item) => abilitySubject(target, item, words))]]
  })
  return Object.fromEntries(entries)
}
