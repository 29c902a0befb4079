/** Rows that are some steps away, as a recursive query in the statement: each step is a join of readable views. */
import { invariant } from '../../errors.js'
import type { RowSelection, Traversal } from '../../query/plan.js'
import type { Compilation } from './condition.js'
import { condition, conjunction, fromTable, joinKey, openView, relationLink, relationOf, rowCondition, where } from './condition.js'
import type { Fragment } from './fragment.js'
import { join, name, parameter, sql } from './fragment.js'
import { asked, formatted, type Json, type Member, objectJson } from './object-json.js'
import { keyValues, orderBy, type ViewScope } from './page.js'

/** @param rowJson of a row that was reached. */
export function traversalJson(
  traversal: Traversal,
  scope: ViewScope,
  rowJson: (row: RowSelection, scope: ViewScope, compiled: Compilation) => Json,
  compiled: Compilation,
): Json {
  if (isHidden(traversal, scope, compiled)) return ['null']
  const steps = stepsOf(traversal, compiled)
  const to = openView(traversal.type, compiled)
  const columns: Fragment[] = []
  const members = traversal.fields.map((field): Member => {
    if (field.kind === 'typename') return { key: field.responseKey, value: [JSON.stringify(`${traversal.type}Related`)] }
    if (!steps || !to) return { key: field.responseKey, value: ['[]'] }
    const edge = field.fields.map((member): Member => {
      switch (member.kind) {
        case 'typename':
          return { key: member.responseKey, value: [JSON.stringify(`${traversal.type}RelatedEdge`)] }
        case 'depth':
          return { key: member.responseKey, value: [name('r', 'depth')] }
        case 'node':
          return { key: member.responseKey, value: rowJson(member.row, to, compiled) }
      }
    })
    const column = name(`j${columns.length}`)
    columns.push(sql`${formatted(objectJson(edge))} AS ${column}`)
    return { key: field.responseKey, value: ['[', sql`string_agg(p.${column}, ',')`, ']'] }
  })
  if (!steps || !to || columns.length === 0) return objectJson(members)
  const reached = joinKey(null, to, compiled).map((part, index) => sql`${part.sql} = ${name('r', keyColumn(index))}`)
  const filter = where(to, [...reached, condition(traversal.where, to, compiled)], compiled)
  const key = keyValues(to, compiled).map((value) => ({ value, descending: false, nullsFirst: false }))
  const limit = parameter(traversal.limit, { kind: 'limit', plus: 0 }, 'bigint')
  const rows = sql`SELECT ${join(columns, ', ')} FROM (${walk(traversal, steps, scope, compiled)}) AS r, ${fromTable(to)} WHERE ${filter}`
  const page = sql`${rows} ORDER BY r.depth, ${orderBy(key)} LIMIT ${limit}`
  return asked(objectJson(members), (value) => sql`(SELECT ${value} FROM (${page}) AS p)`)
}

/** Keys and the least number of steps to them. The start, at no step, is left out. */
function walk({ depth }: Traversal, steps: Fragment, scope: ViewScope, compiled: Compilation): Fragment {
  const start = joinKey(null, scope, compiled)
  const columns = (alias: string): readonly Fragment[] => start.map((_, index) => name(alias, keyColumn(index)))
  const names = start.map((_, index) => name(keyColumn(index)))
  const first = start.map((part, index) => sql`${part.sql} AS ${name(keyColumn(index))}`)
  const next = sql`SELECT ${join(columns('s'), ', ')}, w.depth + 1 FROM w, LATERAL (${steps}) AS s WHERE w.depth < ${parameter(depth, { kind: 'limit', plus: 0 }, 'bigint')}`
  const walked = sql`WITH RECURSIVE w(${join([...names, name('depth')], ', ')}) AS (SELECT ${join(first, ', ')}, 0 UNION ${next})`
  return sql`${walked} SELECT ${join(names, ', ')}, min(depth) AS depth FROM w GROUP BY ${join(names, ', ')} HAVING min(depth) > 0`
}

/** One step from the key in `w`; null where no row can be between. */
function stepsOf(traversal: Traversal, compiled: Compilation): Fragment | null {
  const out = traversal.direction === 'in' ? null : stepOf(traversal, 'out', compiled)
  const back = traversal.direction === 'out' ? null : stepOf(traversal, 'in', compiled)
  return out && back ? sql`${out} UNION ALL ${back}` : (out ?? back)
}

/** The rows of a step in the order of its relations, of which one end is known by key. */
function stepOf({ type, via }: Traversal, direction: 'out' | 'in', compiled: Compilation): Fragment | null {
  const first = openView(type, compiled)
  if (!first) return null
  const scopes = [first]
  const links: Fragment[] = []
  for (const field of via) {
    const from = scopes.at(-1) ?? first
    const to = openView(relationOf(field, from, compiled).target, compiled)
    if (!to) return null
    links.push(...relationLink(field, from, to, compiled))
    scopes.push(to)
  }
  const [known, found] = direction === 'out' ? [first, scopes.at(-1)] : [scopes.at(-1), first]
  invariant(known && found, 'a step has two ends')
  const from = joinKey(null, known, compiled).map((part, index) => sql`${part.sql} = ${name('w', keyColumn(index))}`)
  const readable = scopes.filter((scope) => scope !== known).map((scope) => rowCondition(scope, compiled))
  const key = joinKey(null, found, compiled).map((part, index) => sql`${part.sql} AS ${name(keyColumn(index))}`)
  return sql`SELECT ${join(key, ', ')} FROM ${join(scopes.map(fromTable), ', ')} WHERE ${conjunction([...from, ...links, ...readable])}`
}

function isHidden({ via }: Traversal, scope: ViewScope, compiled: Compilation): boolean {
  let view: ViewScope['view'] | undefined = scope.view
  for (const field of via) {
    const relation = view && compiled.plan.catalog.entities.get(view.type)?.fields.get(field)
    if (!relation || relation.kind === 'value' || (view?.fields.get(field)?.kind ?? 'absent') === 'absent') return true
    view = compiled.plan.views.get(relation.target)
  }
  return false
}

function keyColumn(index: number): string {
  return `k${index}`
}
