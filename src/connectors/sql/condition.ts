/** Conditions as SQL, in both logics: a caller's over the readable view, a policy's over the raw table. */
import { invariant } from '../../errors.js'
import type { ColumnBinding, RelationBinding, TableBinding } from '../../query/binding.js'
import type { BuiltinScalar, EntityType, ToManyField, ToOneField, ValueField } from '../../query/catalog.js'
import type { AuthorizedPlan, ReadableView } from '../../query/plan.js'
import type { CompareOp, Operand, Predicate } from '../../query/predicate.js'
import type { Expression } from './expression.js'
import { boundValue, constantValue, encodingOf, masked, SQL_TYPES } from './expression.js'
import type { Encoding, Fragment, SqlType } from './fragment.js'
import { constant, join, name, parameter, sql } from './fragment.js'

/** What a compilation carries along: of the plan what a compiler may ask, and a source of table aliases. */
export interface Compilation {
  readonly plan: Pick<AuthorizedPlan, 'organization' | 'views' | 'catalog' | 'binding' | 'starts'>
  /** A search may take what an index over all vectors finds; see `search.ts`. */
  readonly byIndex: boolean
  alias(): string
}

export function compilation(plan: AuthorizedPlan, byIndex: boolean): Compilation {
  let count = 0
  return { plan, byIndex, alias: () => `t${count++}` }
}

export const TRUE: Fragment = sql`TRUE`
export const FALSE: Fragment = sql`FALSE`

/** A table in FROM that is read as the caller's view, or raw for a policy condition. */
export type Scope =
  | { readonly kind: 'view'; readonly view: ReadableView; readonly table: TableBinding; readonly alias: string }
  | { readonly kind: 'raw'; readonly type: string; readonly table: TableBinding; readonly alias: string }

/** The view's table under a new alias; null for an empty view. */
export function openView(type: string, compiled: Compilation): Extract<Scope, { kind: 'view' }> | null {
  const view = compiled.plan.views.get(type)
  invariant(view, `view of \`${type}\``)
  return view.source === 'empty' ? null : { kind: 'view', view, table: view.source, alias: compiled.alias() }
}

export function fromTable(scope: Scope): Fragment {
  return sql`${name(scope.table.schema, scope.table.table)} AS ${name(scope.alias)}`
}

/** The view's own row condition; TRUE where it hides nothing. */
export function rowCondition(scope: Extract<Scope, { kind: 'view' }>, compiled: Compilation): Fragment {
  return condition(scope.view.rows, { kind: 'raw', type: scope.view.type, table: scope.table, alias: scope.alias }, compiled)
}

/** Row condition and the caller's, as one WHERE. */
export function where(scope: Extract<Scope, { kind: 'view' }>, terms: readonly Fragment[], compiled: Compilation): Fragment {
  return conjunction([rowCondition(scope, compiled), ...terms])
}

export function conjunction(terms: readonly Fragment[]): Fragment {
  const rest = terms.filter((term) => term !== TRUE)
  return rest.length === 0 ? TRUE : join(rest, ' AND ')
}

function entityOf(type: string, compiled: Compilation): EntityType {
  const entity = compiled.plan.catalog.entities.get(type)
  invariant(entity, `type \`${type}\``)
  return entity
}

function typeOf(scope: Scope): string {
  return scope.kind === 'view' ? scope.view.type : scope.type
}

/** A field's value as the scope shows it: masked, conditional, or bare. */
export function fieldValue(scope: Scope, fieldName: string, compiled: Compilation): Expression {
  const field = entityOf(typeOf(scope), compiled).fields.get(fieldName)
  invariant(field?.kind === 'value', `\`${typeOf(scope)}.${fieldName}\` is a value`)
  const raw = boundValue(scope.table, field, scope.alias) ?? constantValue(field, null)
  if (scope.kind === 'raw') return raw
  const shown = scope.view.fields.get(fieldName)
  invariant(shown, `view has \`${fieldName}\``)
  switch (shown.kind) {
    case 'plain':
      return raw
    case 'absent':
      return constantValue(field, null)
    case 'masked':
      return masked(raw, shown.mask, field)
    case 'cell': {
      const shows = condition(shown.condition, { kind: 'raw', type: typeOf(scope), table: scope.table, alias: scope.alias }, compiled)
      return { ...raw, sql: sql`(CASE WHEN ${shows} THEN ${raw.sql} END)`, nullable: true, stored: null }
    }
  }
}

/**
 * A condition as a boolean that may be NULL. For a caller's condition NULL counts as false, and `not` closes it (IS NOT TRUE); for a policy's NULL is unknown and
 * goes on (NOT), until isTrue, isFalse or WHERE closes it.
 *
 * `negated` says that a policy's `not` or `isFalse` stands above: there FALSE and NULL differ, elsewhere whatever uses an index better may give either.
 */
export function condition(predicate: Predicate, scope: Scope, compiled: Compilation, negated = false): Fragment {
  switch (predicate.kind) {
    case 'all':
      return TRUE
    case 'none':
      return FALSE
    case 'and':
    case 'or': {
      const terms = predicate.terms.map((term) => condition(term, scope, compiled, negated))
      if (predicate.kind === 'and') return terms.every((term) => term === TRUE) ? TRUE : sql`(${conjunction(terms)})`
      return terms.length === 0 ? FALSE : sql`(${join(terms, ' OR ')})`
    }
    case 'not':
      return scope.kind === 'view'
        ? sql`((${condition(predicate.term, scope, compiled)}) IS NOT TRUE)`
        : sql`(NOT (${condition(predicate.term, scope, compiled, true)}))`
    case 'isTrue':
      return sql`((${condition(predicate.term, scope, compiled)}) IS TRUE)`
    case 'isFalse':
      return sql`((${condition(predicate.term, scope, compiled, true)}) IS FALSE)`
    case 'isNull':
      // A policy that asks for null means the owner's column: a binding that lost it must not make the answer true.
      if (scope.kind === 'raw' && !scope.table.columns.has(predicate.field)) return sql`NULL::boolean`
      return sql`(${fieldValue(scope, predicate.field, compiled).sql} IS NULL)`
    case 'compare':
      return comparison(fieldValue(scope, predicate.field, compiled), predicate.op, predicate.operand, negated)
    case 'in':
      return membership(fieldValue(scope, predicate.field, compiled), predicate.operand, negated)
    case 'like': {
      const value = sql`(${fieldValue(scope, predicate.field, compiled).sql} COLLATE "C")`
      const pattern = parameter(predicate.operand, { kind: 'text' }, 'text')
      return predicate.fold ? sql`(lower(${value}) LIKE lower(${pattern} COLLATE "C"))` : sql`(${value} LIKE ${pattern})`
    }
    case 'startsWith':
      return sql`((${fieldValue(scope, predicate.field, compiled).sql} COLLATE "C") ^@ ${parameter(predicate.operand, { kind: 'text' }, 'text')})`
    case 'contains':
      return sql`((${fieldValue(scope, predicate.field, compiled).sql} COLLATE "C") LIKE ${parameter(predicate.operand, { kind: 'substringPattern' }, 'text')})`
    case 'listContains': {
      const value = fieldValue(scope, predicate.field, compiled)
      const operand = parameter(predicate.operand, { kind: 'list', element: encodingOf(value.form, value.type) }, `${SQL_TYPES[value.form]}[]`)
      // The operator wants arrays of one type: varchar[] is none of text[], nor smallint[] of integer[].
      return sql`(${{ parts: [value.sql, { kind: 'text', text: `::${SQL_TYPES[value.form]}[]` }] }} @> ${operand})`
    }
    case 'jsonContains':
      return jsonContainment(fieldValue(scope, predicate.field, compiled), predicate.operand)
    case 'idIn':
      return idMembership(scope, predicate.operand, compiled)
    case 'related':
      return relatedExists(predicate.field, predicate.where, scope, compiled)
    case 'linked': {
      invariant(scope.kind === 'view', "a condition on what another store has is a caller's")
      const shown = predicate.field === null ? TRUE : relationShown(predicate.field, scope, compiled)
      return sql`(${conjunction([shown, keyMembership(joinKey(predicate.field, scope, compiled), predicate.keys)])})`
    }
  }
}

export function keyMembership(parts: readonly Expression[], keys: readonly Operand[]): Fragment {
  const lists = parts.map((part, index) => keyList(part, keys[index] ?? { kind: 'constant', value: [] }))
  const [onlyPart, ...otherParts] = parts
  const [onlyList] = lists
  invariant(onlyPart && onlyList, 'a key has parts')
  if (otherParts.length === 0) return sql`${onlyPart.sql} = ANY (${onlyList})`
  const row = join(
    parts.map((part) => part.sql),
    ', ',
  )
  return sql`(${row}) IN (SELECT * FROM unnest(${join(lists, ', ')}))`
}

/** One part of keys from another store; what the part's own type cannot hold is NULL, which equals nothing. */
export function keyList(part: Expression, operand: Operand): Fragment {
  return parameter(operand, { kind: 'list', element: encodingOf(part.form, part.type) }, `${SQL_TYPES[part.form]}[]`)
}

/** The raw key that joins a row over a relation: the target's, which the row holds, or its own where the other side does (or where no relation is meant). */
export function joinKey(fieldName: string | null, scope: Scope, compiled: Compilation): readonly Expression[] {
  const relation = entityOf(typeOf(scope), compiled).fields.get(fieldName ?? '')
  if (relation?.kind !== 'toOne') return keyFields(typeOf(scope), compiled).map((field) => rawValue(scope.table, field, scope.alias))
  const columns = scope.table.relations.get(relation.name)?.columns ?? []
  return keyFields(relation.target, compiled).map((field, index) => {
    const held = columns[index]
    invariant(held, `\`${relation.name}\` is bound`)
    return rawValue({ ...scope.table, columns: new Map([[field.name, plainColumn(held)]]) }, field, scope.alias)
  })
}

export function plainColumn({ column, native, nullable }: RelationBinding['columns'][number]): ColumnBinding {
  return { kind: 'column', column, native, nullable, array: false, values: null, multiply: null }
}

export function keyFields(type: string, compiled: Compilation): readonly ValueField[] {
  const { key, fields } = entityOf(type, compiled)
  return key.flatMap((name) => {
    const field = fields.get(name)
    return field?.kind === 'value' ? [field] : []
  })
}

function rawValue(table: TableBinding, field: ValueField, alias: string): Expression {
  const value = boundValue(table, field, alias)
  invariant(value, `key \`${field.name}\` is bound`)
  return value
}

function comparison(value: Expression, op: CompareOp, operand: Operand, negated: boolean): Fragment {
  if (op === '=') {
    if (value.stored) return storedMembership(value, value.stored, operand, { negated, many: false })
    return sql`(${value.sql} = ${operandOf(value, operand)})`
  }
  // Over integers a bound beyond the type's range still means what it says: clamped, never an overflow.
  if (value.form === 'bigint' && value.type.name === 'BigInt') {
    const [side, clamp] = INTEGER_BOUNDS[op]
    return side === '<=' ? sql`(${value.sql} <= ${parameter(operand, clamp, 'bigint')})` : sql`(${value.sql} >= ${parameter(operand, clamp, 'bigint')})`
  }
  const left = value.form === 'text' ? sql`(${value.sql} COLLATE "C")` : value.sql
  return sql`(${left} ${OPERATORS[op]} ${operandOf(value, operand)})`
}

const OPERATORS: Readonly<Record<CompareOp, Fragment>> = { '=': sql`=`, '<': sql`<`, '<=': sql`<=`, '>': sql`>`, '>=': sql`>=` }

const INTEGER_BOUNDS: Readonly<Record<Exclude<CompareOp, '='>, readonly ['<=' | '>=', Encoding]>> = {
  '<': ['<=', { kind: 'atMost', by: -1 }],
  '<=': ['<=', { kind: 'atMost', by: 0 }],
  '>': ['>=', { kind: 'atLeast', by: 1 }],
  '>=': ['>=', { kind: 'atLeast', by: 0 }],
}

function operandOf(value: Expression, operand: Operand): Fragment {
  return parameter(operand, encodingOf(value.form, value.type), SQL_TYPES[value.form])
}

/** The stored values stand in the binding and were checked against the column's type, so this cast cannot fail. */
function storedValues(stored: NonNullable<Expression['stored']>, operand: Operand, many: boolean): Fragment {
  const encoding: Encoding = { kind: 'stored', names: stored.names, values: stored.values, many }
  return parameter(operand, encoding, STORED_TYPES.get(stored.native) ?? 'text[]')
}

const STORED_TYPES: ReadonlyMap<string, 'integer[]' | 'bigint[]' | 'text[]'> = new Map([
  ['smallint', 'integer[]'],
  ['integer', 'integer[]'],
  ['bigint', 'bigint[]'],
  ['text', 'text[]'],
  ['character varying', 'text[]'],
])

/** A stored value that the binding does not list reads as null, so that where it matters the comparison is unknown (and false with an empty list). */
function storedMembership(
  value: Expression,
  stored: NonNullable<Expression['stored']>,
  operand: Operand,
  { negated, many }: { readonly negated: boolean; readonly many: boolean },
): Fragment {
  // Enum types and others are compared as text.
  const column = STORED_TYPES.has(stored.native) ? stored.sql : sql`${stored.sql}::text`
  const isMember = sql`${column} = ANY (${storedValues(stored, operand, many)})`
  if (!negated) return sql`(${isMember})`
  const ofNull = many ? sql`NULL::text = ANY (${parameter(operand, { kind: 'list', element: encodingOf(value.form, value.type) }, 'text[]')})` : sql`NULL`
  return sql`(CASE WHEN ${value.sql} IS NOT NULL THEN ${isMember} ELSE ${ofNull} END)`
}

function membership(value: Expression, operand: Operand, negated: boolean): Fragment {
  if (value.stored) return storedMembership(value, value.stored, operand, { negated, many: true })
  const list = parameter(operand, { kind: 'list', element: encodingOf(value.form, value.type) }, `${SQL_TYPES[value.form]}[]`)
  return sql`(${value.sql} = ANY (${list}))`
}

/** `json` columns can hold text that jsonb refuses: such a value fits nothing. */
function jsonContainment(value: Expression, operand: Operand): Fragment {
  const given = parameter(operand, encodingOf(value.form, value.type), 'jsonb')
  if (value.form === 'jsonb') return sql`(${value.sql} @> ${given})`
  return sql`(CASE WHEN (${value.sql})::text !~* ${BEYOND_JSONB} THEN (${value.sql})::text::jsonb @> ${given} END)`
}

/** Escapes of U+0000 and of lone surrogates, and numbers of so many digits that numeric could not hold them. */
const BEYOND_JSONB = constant(String.raw`\\u0000|\\ud[89ab]..(?!\\ud[c-f])|(?<!\\ud[89ab]..)\\ud[c-f]|e[+-]?[0-9]{4}|([0-9]{250}){4}`)

/** The parts of an id are texts; where a column is no text, only those that it prints. */
const ID_NATIVES: ReadonlyMap<Expression['form'], 'integer' | 'bigint' | 'uuid'> = new Map([
  ['int', 'integer'],
  ['bigint', 'bigint'],
  ['uuid', 'uuid'],
])

function idMembership(scope: Scope, operand: Operand, compiled: Compilation): Fragment {
  const entity = entityOf(typeOf(scope), compiled)
  const keys = entity.key.map((field) => fieldValue(scope, field, compiled))
  const parts = keys.map(idPart)
  const lists = parts.map(({ element, cast }, part) => {
    const encoding: Encoding = { kind: 'globalId', type: entity.name, organization: compiled.plan.organization, part, parts: keys.length, element }
    return parameter(operand, encoding, `${cast}[]`)
  })
  const [onlyPart, ...otherParts] = parts
  const [onlyList] = lists
  invariant(onlyPart && onlyList, 'an entity has a key')
  if (otherParts.length === 0) return sql`(${onlyPart.sql} = ANY (${onlyList}))`
  const row = join(
    parts.map((part) => part.sql),
    ', ',
  )
  return sql`((${row}) IN (SELECT * FROM unnest(${join(lists, ', ')})))`
}

interface IdPart {
  readonly sql: Fragment
  readonly element: Encoding
  readonly cast: SqlType
}

/** A key's value, and how its text in an id is read: the text of a sort key, which no session setting changes. Any other text is no id. */
function idPart(value: Expression): IdPart {
  const read = (name: BuiltinScalar, native: 'integer' | 'bigint' | 'uuid' | null = null): Encoding => ({
    kind: 'value',
    type: { kind: 'builtin', name },
    native,
  })
  const cast = SQL_TYPES[value.form]
  switch (value.form) {
    case 'timestamptz':
      return { sql: sql`(${value.sql} AT TIME ZONE 'UTC')`, element: read('LocalDateTime'), cast: 'timestamp' }
    case 'timestamp':
      return { sql: value.sql, element: read('LocalDateTime'), cast }
    case 'date':
      return { sql: value.sql, element: read('Date'), cast }
    case 'numeric':
      // 1.5 and 1.50 are equal, but not as ids.
      return value.type.name === 'BigInt'
        ? { sql: value.sql, element: read('BigInt'), cast }
        : { sql: sql`(${value.sql})::text`, element: read('ID'), cast: 'text' }
    default:
      return { sql: value.sql, element: read('ID', ID_NATIVES.get(value.form) ?? null), cast }
  }
}

/** The ON of a relation: this scope's row and the target's, over raw columns (masks keep equal keys equal, so the join is the view's). */
export function joinCondition(fieldName: string, from: Scope, to: Scope, compiled: Compilation): Fragment {
  const field = relationOf(fieldName, from, compiled)
  return field.kind === 'toOne' ? keysMatch(field.name, from, to, compiled) : keysMatch(field.inverse, to, from, compiled)
}

/** `holder` has the to-one relation `fieldName` to `target`. */
function keysMatch(fieldName: string, holder: Scope, target: Scope, compiled: Compilation): Fragment {
  const relation = holder.table.relations.get(fieldName)
  invariant(relation, `\`${typeOf(holder)}.${fieldName}\` is bound`)
  const key = entityOf(typeOf(target), compiled).key
  const pairs = relation.columns.map((column, index) => {
    const bound = target.table.columns.get(key[index] ?? '')
    invariant(bound?.kind === 'column', `key of \`${typeOf(target)}\` is a column`)
    return sql`${name(target.alias, bound.column)} = ${name(holder.alias, column.column)}`
  })
  return conjunction(pairs)
}

export function relationOf(fieldName: string, scope: Scope, compiled: Compilation): ToOneField | ToManyField {
  const field = entityOf(typeOf(scope), compiled).fields.get(fieldName)
  invariant(field && field.kind !== 'value', `\`${typeOf(scope)}.${fieldName}\` is a relation`)
  return field
}

/** Where the relation itself may be seen only in some rows (a cell): that condition, on the side that has it. */
export function relationShown(fieldName: string, scope: Scope, compiled: Compilation): Fragment {
  if (scope.kind === 'raw') return TRUE
  const shown = scope.view.fields.get(fieldName)
  if (shown?.kind === 'cell') return condition(shown.condition, { kind: 'raw', type: scope.view.type, table: scope.table, alias: scope.alias }, compiled)
  return shown && shown.kind !== 'absent' ? TRUE : FALSE
}

/** What links a row to its related rows, in the caller's view: join, and the relation's own condition on either side. The target's own rows are for `where`. */
export function relationLink(
  fieldName: string,
  from: Extract<Scope, { kind: 'view' }>,
  to: Extract<Scope, { kind: 'view' }>,
  compiled: Compilation,
): readonly Fragment[] {
  const field = relationOf(fieldName, from, compiled)
  const inverse = field.kind === 'toMany' ? inverseShown(field.inverse, to, compiled) : TRUE
  return [joinCondition(fieldName, from, to, compiled), relationShown(fieldName, from, compiled), inverse]
}

/** A list shows a row only where that row's own relation may be seen; an inverse that is simply not granted leaves the list's own decision to stand. */
export function inverseShown(fieldName: string, to: Extract<Scope, { kind: 'view' }>, compiled: Compilation): Fragment {
  return to.view.fields.get(fieldName)?.kind === 'cell' ? relationShown(fieldName, to, compiled) : TRUE
}

/** Of a relation that the binding does not give, or that leads into another store, nothing is known: it grants nothing, also where it is negated. */
const UNKNOWN: Fragment = sql`NULL::boolean`

function reaches(fieldName: string, from: TableBinding, to: TableBinding, compiled: Compilation): boolean {
  const field = entityOf(from.type, compiled).fields.get(fieldName)
  return from.store === to.store && (field?.kind === 'toMany' ? to.relations.has(field.inverse) : from.relations.has(fieldName))
}

function relatedExists(fieldName: string, inner: Predicate, scope: Scope, compiled: Compilation): Fragment {
  const target = relationOf(fieldName, scope, compiled).target
  if (scope.kind === 'view') {
    const to = openView(target, compiled)
    if (!to) return FALSE
    return sql`EXISTS (SELECT 1 FROM ${fromTable(to)} WHERE ${where(to, [...relationLink(fieldName, scope, to, compiled), condition(inner, to, compiled)], compiled)})`
  }
  const bound = compiled.plan.binding.types.get(target)
  if (bound?.kind === 'none') return FALSE
  if (!bound || !reaches(fieldName, scope.table, bound, compiled)) return UNKNOWN
  const to: Scope = { kind: 'raw', type: target, table: bound, alias: compiled.alias() }
  return sql`EXISTS (SELECT 1 FROM ${fromTable(to)} WHERE ${conjunction([joinCondition(fieldName, scope, to, compiled), condition(inner, to, compiled)])})`
}
