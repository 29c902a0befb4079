/** Rows as JSON text that PostgreSQL writes: one format call a row, nested rows and lists as correlated subqueries. */
import { invariant } from '../../errors.js'
import type { ListPlan, OrderKey, PageInfoField, PageStart, RowField, RowSelection } from '../../query/plan.js'
import type { Operand } from '../../query/predicate.js'
import { aggregateJson } from './aggregate.js'
import type { Compilation, Scope } from './condition.js'
import { condition, conjunction, fieldValue, fromTable, openView, relationLink, relationOf, relationShown, TRUE, where } from './condition.js'
import type { Expression } from './expression.js'
import { encodingOf, jsonText, ordered, sortParameter, sortText } from './expression.js'
import type { Fragment } from './fragment.js'
import { constant, EMPTY, join, name, parameter, sql } from './fragment.js'

export type ViewScope = Extract<Scope, { kind: 'view' }>

/** PostgreSQL takes at most 100 arguments; a format of ours stays well below. */
const ARGUMENTS_MAX = 80

export function rowJson(row: RowSelection, scope: ViewScope, compiled: Compilation): Fragment {
  const members = row.fields.map((field): Member => ({ key: field.responseKey, value: memberValue(field, row, scope, compiled) }))
  return objectJson(members)
}

/** `value`: an expression of JSON text that is never NULL, or the text itself where it is the same for all rows. */
export interface Member {
  readonly key: string
  readonly value: Fragment | string
}

export function objectJson(members: readonly Member[]): Fragment {
  const pieces: Fragment[] = []
  for (let start = 0; start === 0 || start < members.length; start += ARGUMENTS_MAX) {
    const part = members.slice(start, start + ARGUMENTS_MAX)
    const opening = start === 0 ? '{' : ','
    const closing = start + ARGUMENTS_MAX >= members.length ? '}' : ''
    const text = part.map((member) => `"${member.key}":${typeof member.value === 'string' ? member.value.replaceAll('%', '%%') : '%s'}`).join(',')
    const values = part.flatMap((member) => (typeof member.value === 'string' ? [] : [member.value]))
    // format() is the cheapest way to build JSON here: 7.9 ms for 5,000 rows of 8 fields, against 8.9 by ||, 13.1 by json_build_object and 47 by jsonb_agg.
    pieces.push(sql`format(${join([constant(opening + text + closing), ...values], ', ')})`)
  }
  return pieces.length === 1 && pieces[0] ? pieces[0] : sql`(${join(pieces, ' || ')})`
}

function memberValue(field: RowField, row: RowSelection, scope: ViewScope, compiled: Compilation): Fragment | string {
  switch (field.kind) {
    case 'typename':
      return JSON.stringify(row.type)
    case 'organization':
      return JSON.stringify(compiled.plan.organization)
    case 'absent':
      return 'null'
    case 'id':
      return idJson(scope, compiled)
    case 'value':
      return scope.view.fields.get(field.field)?.kind === 'absent' ? 'null' : jsonText(fieldValue(scope, field.field, compiled))
    case 'toOne':
      return toOneJson(field, scope, compiled)
    case 'list':
      return nestedListJson(field, scope, compiled)
    case 'aggregate': {
      if (isAbsent(field.field, scope)) return 'null'
      const to = openView(relationOf(field.field, scope, compiled).target, compiled)
      const link = to ? relationLink(field.field, scope, to, compiled) : []
      return whereShown(field.field, scope, compiled, aggregateJson(field.aggregate, to, link, compiled))
    }
  }
}

function isAbsent(field: string, scope: ViewScope): boolean {
  return scope.view.fields.get(field)?.kind === 'absent'
}

/** A conditional relation is null where its condition fails. */
function whereShown(field: string, scope: ViewScope, compiled: Compilation, value: Fragment): Fragment {
  const shown = relationShown(field, scope, compiled)
  return shown === TRUE ? value : sql`(CASE WHEN ${shown} THEN ${value} ELSE 'null' END)`
}

function toOneJson(field: Extract<RowField, { kind: 'toOne' }>, scope: ViewScope, compiled: Compilation): Fragment | string {
  if (isAbsent(field.field, scope)) return 'null'
  const to = openView(field.row.type, compiled)
  if (!to) return 'null'
  const link = conjunction(relationLink(field.field, scope, to, compiled))
  return sql`coalesce((SELECT ${rowJson(field.row, to, compiled)} FROM ${fromTable(to)} WHERE ${link}), 'null')`
}

/** The global id: base64url of the JSON list of type, organization and the key as the caller sees it. */
export function idJson(scope: ViewScope, compiled: Compilation): Fragment {
  // A pseudonym is NULL where the owner has no key for the grantee; what comes out then is no id of any row.
  const keys = keyValues(scope, compiled).map((value) => sql`coalesce(to_json(${sortText(value)})::text, 'null')`)
  const head = JSON.stringify([scope.view.type, compiled.plan.organization]).slice(0, -1).replaceAll('%', '%%')
  const list = sql`format(${join([constant(`${head}${',%s'.repeat(keys.length)}]`), ...keys], ', ')})`
  return sql`('"' || translate(encode(convert_to(${list}, 'UTF8'), 'base64'), E'+/=\\n', '-_') || '"')`
}

export function keyValues(scope: ViewScope, compiled: Compilation): readonly Expression[] {
  const entity = compiled.plan.catalog.entities.get(scope.view.type)
  invariant(entity, `type \`${scope.view.type}\``)
  return entity.key.map((field) => fieldValue(scope, field, compiled))
}

// --- order and pages -------------------------------------------------------------------------------------------------------------------------------------------

export interface SortTerm {
  readonly value: Expression
  readonly descending: boolean
  readonly nullsFirst: boolean
}

/** The caller's order, then the key: a total order of the owner's view. Backward pages read it from the end. */
export function sortTerms(list: ListPlan, scope: ViewScope, compiled: Compilation): { readonly order: readonly SortTerm[]; readonly key: readonly SortTerm[] } {
  const turn = (term: SortTerm): SortTerm => (list.backward ? { ...term, descending: !term.descending, nullsFirst: !term.nullsFirst } : term)
  const order = list.order.map((key) => turn({ value: orderValue(key, scope, compiled), descending: key.descending, nullsFirst: key.nulls === 'first' }))
  const key = keyValues(scope, compiled).map((value) => turn({ value, descending: false, nullsFirst: false }))
  return { order, key }
}

function orderValue(key: OrderKey, scope: ViewScope, compiled: Compilation): Expression {
  const [step, ...rest] = key.path
  if (step === undefined) {
    const value = fieldValue(scope, key.field, compiled)
    // An ID is a text, whatever holds it: owners are merged by its digits. (The key that closes the order is compared within its owner only.)
    return value.type.name === 'ID' && value.form === 'bigint' ? { ...value, form: 'text', sql: sql`(${value.sql})::text` } : value
  }
  const to = openView(relationOf(step, scope, compiled).target, compiled)
  if (!to || isAbsent(step, scope)) {
    const field = targetField(key, scope, compiled)
    return { sql: sql`NULL::text`, form: 'text', array: false, nullable: true, type: field, stored: null }
  }
  const inner = orderValue({ ...key, path: rest }, to, compiled)
  return {
    ...inner,
    nullable: true,
    stored: null,
    sql: sql`(SELECT ${inner.sql} FROM ${fromTable(to)} WHERE ${conjunction(relationLink(step, scope, to, compiled))})`,
  }
}

function targetField(key: OrderKey, scope: ViewScope, compiled: Compilation): Expression['type'] {
  let type = scope.view.type
  for (const step of key.path) {
    const relation = compiled.plan.catalog.entities.get(type)?.fields.get(step)
    invariant(relation && relation.kind !== 'value', 'a relation')
    type = relation.target
  }
  const field = compiled.plan.catalog.entities.get(type)?.fields.get(key.field)
  invariant(field?.kind === 'value', 'a value')
  return field.type
}

export function orderBy(terms: readonly SortTerm[]): Fragment {
  return join(
    terms.map((term) => {
      const direction = { parts: [{ kind: 'text' as const, text: `${term.descending ? ' DESC' : ' ASC'} NULLS ${term.nullsFirst ? 'FIRST' : 'LAST'}` }] }
      // A key is never null, and a plain index is built NULLS LAST ascending: say only what the index says.
      return term.value.nullable ? sql`${ordered(term.value)}${direction}` : sql`${ordered(term.value)}${term.descending ? sql` DESC` : EMPTY}`
    }),
    ', ',
  )
}

/**
 * Rows after the cursor's place in the order: lexicographic, term by term. Of the owners, those before the cursor's owner go strictly after its sort values, those
 * after it also take rows that equal them, and the cursor's own goes on by key. (Backward pages come with the order turned, sides included.)
 */
export function afterStart(start: PageStart, terms: { readonly order: readonly SortTerm[]; readonly key: readonly SortTerm[] }): Fragment {
  const steps = [
    ...terms.order.map((term, index) => ({ term, operand: start.values[index], isNull: start.nulls[index] ?? false })),
    ...(start.side === 'same' ? terms.key.map((term, index) => ({ term, operand: start.key[index], isNull: false })) : []),
  ]
  let condition: Fragment = start.side === 'after' ? sql`TRUE` : sql`FALSE`
  for (const { term, operand, isNull } of steps.reverse()) {
    const { value } = term
    if (isNull) {
      const beyond = term.nullsFirst ? sql`${value.sql} IS NOT NULL` : sql`FALSE`
      condition = sql`(${beyond} OR (${value.sql} IS NULL AND ${condition}))`
      continue
    }
    invariant(operand, 'a cursor has a value for each term')
    const { beyond, same } = placeOf(term, operand)
    const orNull = value.nullable && !term.nullsFirst ? sql` OR ${value.sql} IS NULL` : EMPTY
    condition = sql`(${beyond}${orNull} OR (${same} AND ${condition}))`
  }
  return condition
}

/** Whether a row's value comes after the cursor's in the order of the term, and whether it is the same. */
function placeOf({ value, descending }: SortTerm, operand: Operand): { readonly beyond: Fragment; readonly same: Fragment } {
  if (value.form === 'bigint' && value.type.name === 'BigInt') {
    // The cursor's row may be another owner's, and its value one that no bigint holds.
    const same = sql`${value.sql} = ${parameter(operand, encodingOf(value.form, value.type), 'bigint')}`
    if (descending) return { beyond: sql`${value.sql} <= ${parameter(operand, { kind: 'atMost', by: -1 }, 'bigint')}`, same }
    return { beyond: sql`${value.sql} >= ${parameter(operand, { kind: 'atLeast', by: 1 }, 'bigint')}`, same }
  }
  const place = sortParameter(value, operand)
  const left = ordered(value)
  return { beyond: descending ? sql`${left} < ${place}` : sql`${left} > ${place}`, same: sql`${value.sql} = ${place}` }
}

/** `fromTable`, WHERE, ORDER BY and LIMIT of a page. `plus` rows more than the page tell whether there are more. */
export function pageOf(
  list: ListPlan,
  scope: ViewScope,
  links: readonly Fragment[],
  plus: number,
  compiled: Compilation,
): { readonly tail: Fragment; readonly filter: Fragment } {
  const terms = sortTerms(list, scope, compiled)
  const start = compiled.plan.starts.get(list.path)
  const filter = where(scope, [...links, condition(list.where, scope, compiled)], compiled)
  const from = start ? conjunction([filter, afterStart(start, terms)]) : filter
  const limit = parameter(list.limit, { kind: 'limit', plus }, 'bigint')
  return { tail: sql` FROM ${fromTable(scope)} WHERE ${from} ORDER BY ${orderBy([...terms.order, ...terms.key])} LIMIT ${limit}`, filter }
}

// --- nested lists ----------------------------------------------------------------------------------------------------------------------------------------------

function nestedListJson(field: Extract<RowField, { kind: 'list' }>, scope: ViewScope, compiled: Compilation): Fragment | string {
  if (isAbsent(field.field, scope)) return 'null'
  const { list } = field
  const to = openView(list.type, compiled)
  const links = to ? relationLink(field.field, scope, to, compiled) : []
  return whereShown(field.field, scope, compiled, connectionJson(list, to, links, compiled))
}

/** A whole connection as one JSON text; a null scope is an empty view. */
function connectionJson(list: ListPlan, scope: ViewScope | null, links: readonly Fragment[], compiled: Compilation): Fragment {
  const wantsMore = list.fields.some(
    (field) => field.kind === 'pageInfo' && field.fields.some((info) => info.kind === (list.backward ? 'hasPreviousPage' : 'hasNextPage')),
  )
  const wantsCursor = list.fields.some(
    (field) =>
      (field.kind === 'edges' && field.fields.some((edge) => edge.kind === 'cursor')) ||
      (field.kind === 'pageInfo' && field.fields.some((info) => info.kind === 'startCursor' || info.kind === 'endCursor')),
  )
  const limit = parameter(list.limit, { kind: 'limit', plus: 0 }, 'bigint')
  const numbered = wantsMore || wantsCursor || list.backward
  const columns: Fragment[] = []
  const members: Member[] = []
  let count: Fragment | null = null
  const inPage = wantsMore ? sql` FILTER (WHERE p.n <= ${limit})` : EMPTY
  // Said wherever rows are numbered: another aggregate with an order of its own (a cursor's) would otherwise lend it to this one.
  const inOrder = numbered ? (list.backward ? sql` ORDER BY p.n DESC` : sql` ORDER BY p.n`) : EMPTY
  const all = (column: Fragment): Fragment => sql`coalesce(string_agg(${column}, ','${inOrder})${inPage}, '')`
  for (const field of list.fields) {
    if (field.kind === 'typename') members.push({ key: field.responseKey, value: JSON.stringify(`${list.type}Connection`) })
    else if (field.kind === 'totalCount') {
      if (scope) count ??= sql`(SELECT count(*) FROM ${fromTable(scope)} WHERE ${pageOf(list, scope, links, 0, compiled).filter})::text`
      members.push({ key: field.responseKey, value: count ?? '0' })
    } else if (field.kind === 'nodes' || field.kind === 'edges') {
      const column = name('p', `j${columns.length}`)
      if (!scope) members.push({ key: field.responseKey, value: '[]' })
      else {
        columns.push(field.kind === 'nodes' ? rowJson(field.row, scope, compiled) : edgeJson(field.fields, list, scope, compiled))
        members.push({ key: field.responseKey, value: sql`('[' || ${all(column)} || ']')` })
      }
    } else members.push({ key: field.responseKey, value: pageInfoJson(field.fields, list, scope !== null, limit, compiled) })
  }
  // Without a column of rows there is no row to tell of, and no page to read.
  if (!scope || (columns.length === 0 && !wantsMore && !wantsCursor)) return objectJson(members)
  const cursor = wantsCursor ? [sql`${cursorText(list, scope, compiled)} AS c`] : []
  const selected = [...columns.map((column, index) => sql`${column} AS ${name(`j${index}`)}`), ...cursor]
  const { tail } = pageOf(list, scope, links, wantsMore ? 1 : 0, compiled)
  const rows = sql`SELECT ${selected.length === 0 ? sql`1 AS one` : join(selected, ', ')}${tail}`
  const page = numbered ? sql`SELECT q.*, row_number() OVER () AS n FROM (${rows}) AS q` : rows
  return sql`(SELECT ${objectJson(members)} FROM (${page}) AS p)`
}

function edgeJson(fields: Extract<ListPlan['fields'][number], { kind: 'edges' }>['fields'], list: ListPlan, scope: ViewScope, compiled: Compilation): Fragment {
  return objectJson(
    fields.map((field): Member => {
      if (field.kind === 'typename') return { key: field.responseKey, value: JSON.stringify(`${list.type}Edge`) }
      if (field.kind === 'cursor') return { key: field.responseKey, value: cursorText(list, scope, compiled) }
      return { key: field.responseKey, value: rowJson(field.row, scope, compiled) }
    }),
  )
}

/** The place of a nested cursor, for the gateway to seal: U+0001, the list's path, sort and key texts as a JSON list, U+0002. */
function cursorText(list: ListPlan, scope: ViewScope, compiled: Compilation): Fragment {
  const terms = sortTerms(list, scope, compiled)
  const texts = [...terms.order, ...terms.key].map((term) => sortText(term.value))
  return sql`(chr(1) || to_json(ARRAY[${join([sql`${constant(list.path)}::text`, ...texts], ', ')}])::text || chr(2))`
}

function pageInfoJson(fields: readonly PageInfoField[], list: ListPlan, hasRows: boolean, limit: Fragment, compiled: Compilation): Fragment {
  const given = compiled.plan.starts.has(list.path) ? 'true' : 'false'
  const more: Fragment | string = hasRows ? sql`(CASE WHEN count(*) > ${limit} THEN 'true' ELSE 'false' END)` : 'false'
  return objectJson(
    fields.map((field): Member => {
      switch (field.kind) {
        case 'typename':
          return { key: field.responseKey, value: '"PageInfo"' }
        case 'hasNextPage':
          return { key: field.responseKey, value: list.backward ? given : more }
        case 'hasPreviousPage':
          return { key: field.responseKey, value: list.backward ? more : given }
        case 'startCursor':
        case 'endCursor': {
          if (!hasRows) return { key: field.responseKey, value: 'null' }
          // The first row read is the page's first one, unless the page is read from its end.
          const isFirst = (field.kind === 'startCursor') !== list.backward
          const direction = isFirst ? sql`p.n` : sql`p.n DESC`
          return { key: field.responseKey, value: sql`coalesce((array_agg(p.c ORDER BY ${direction}) FILTER (WHERE p.n <= ${limit}))[1], 'null')` }
        }
      }
    }),
  )
}
