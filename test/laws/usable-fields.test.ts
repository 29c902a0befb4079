import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { TestGateway } from '../support/gateway.js'
import { startTestGateway } from '../support/gateway.js'
import type { Use } from './documents.js'
import { FIELDS, ROOTS } from './documents.js'
import { isUsable } from './usable.js'
import type { TypeName, Viewer } from './world.js'
import { lawsWorld, VIEWERS } from './world.js'

/** An operand of each scalar. */
const OPERANDS: Readonly<Record<string, string>> = {
  ID: '"1"',
  String: '"a"',
  Int: '1',
  Float: '0.5',
  BigInt: '"1"',
  Decimal: '"1.5"',
  Boolean: 'true',
  DateTime: '"2026-01-01T00:00:00Z"',
  LocalDateTime: '"2026-01-01T00:00:00"',
  Date: '"2026-01-01"',
  UUID: '"00000000-0000-4000-8000-000000000001"',
  TaskStatus: 'OPEN',
}
const ORDERED = new Set(['String', 'Int', 'Float', 'BigInt', 'Decimal', 'DateTime', 'LocalDateTime', 'Date', 'UUID'])
const GROUPED = new Set(['TaskStatus', 'Int', 'Boolean', 'String', 'Date', 'DateTime', 'LocalDateTime'])
const SUMMED = new Set(['Int', 'Float', 'BigInt', 'Decimal'])
const EXTREMES = new Set([...SUMMED, 'String', 'Date', 'DateTime', 'LocalDateTime'])
const DISTINCT = new Set(['TaskStatus', 'String', 'Int', 'BigInt', 'UUID', 'Date'])

interface Asked {
  readonly use: Use
  /** A root field without its organizations. */
  readonly root: string
  readonly given: string
  readonly selection: string
}

/** Every clause in which a field of the type can stand. */
function everyUse(type: TypeName): readonly Asked[] {
  const { many } = ROOTS[type]
  const screaming = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
  return Object.entries(FIELDS[type]).flatMap(([field, definition]): Asked[] => {
    const where = (how: Use['how'], condition: string): Asked => ({
      use: { type, field, how },
      root: many,
      given: `where: { not: { ${field}: ${condition} } }`,
      selection: 'totalCount',
    })
    const groups = (how: Use['how'], given: string, selection: string): Asked => ({
      use: { type, field, how },
      root: `${many}Aggregate`,
      given,
      selection: `groups { count ${selection} }`,
    })
    const range = 'range: { from: "2026-01-01T00:00:00Z", to: "2027-01-01T00:00:00Z" }, bucket: "P1M"'
    // Whoever sees tasks may use `createdAt` as a time.
    const series = (how: Use['how'], measure: string): readonly Asked[] =>
      type === 'Task' ? [{ use: { type, field, how }, root: 'taskSeries', given: range, selection: `buckets { ${measure} }` }] : []
    if (definition.kind === 'many') return ['some', 'every', 'none'].map((quantifier) => where('related', `{ ${quantifier}: {} }`))
    if (definition.kind === 'one') return [where('related', '{}'), groups('countDistinct', '', `countDistinct { ${field} }`)]
    const { scalar, list } = definition
    const isNullable = scalar !== 'ID'
    if (list) return [where('text', '{ contains: [] }'), where('null', '{ isNull: true }')]
    if (scalar === 'JSON') return [where('text', '{ contains: {} }'), where('null', '{ isNull: true }')]
    const operand = OPERANDS[scalar] ?? ''
    const isKey = field === 'key'
    return [
      where('equal', `{ eq: ${operand} }`),
      ...(scalar === 'Boolean' ? [] : [where('equal', `{ notIn: [${operand}] }`)]),
      ...(isNullable ? [where('null', '{ isNull: false }')] : []),
      ...(ORDERED.has(scalar) ? [where('range', `{ lt: ${operand} }`)] : []),
      ...(scalar === 'String' ? [where('text', '{ ilike: "%" }'), where('text', '{ startsWith: "a" }'), where('text', '{ contains: "" }')] : []),
      ...(isKey ? [] : [{ use: { type, field, how: 'order' as const }, root: many, given: `orderBy: [{ ${field}: DESC }]`, selection: 'totalCount' }]),
      ...(GROUPED.has(scalar) ? [groups('group', `groupBy: [{ field: ${screaming(field)} }]`, `keys { ${field} }`)] : []),
      ...(SUMMED.has(scalar)
        ? [
            groups('measure', '', `sum { ${field} }`),
            groups('measure', `having: { avg: { ${field}: { isNull: true } } }`, ''),
            groups('measure', `orderBy: [{ sum: { ${field}: ASC } }]`, ''),
            ...series('measure', `percentile(p: 0.5) { ${field} }`),
            ...series('measure', `rate { ${field} }`),
          ]
        : []),
      ...(EXTREMES.has(scalar) ? [groups('measure', '', `min { ${field} }`), ...series('measure', `first { ${field} }`)] : []),
      ...(DISTINCT.has(scalar) ? [groups('countDistinct', '', `countDistinct { ${field} }`)] : []),
    ]
  })
}

describe('every field in every clause', () => {
  let gateway: TestGateway

  beforeAll(async () => {
    gateway = await startTestGateway({ world: lawsWorld(), gateway: { limits: { concurrentPerPrincipal: 500, deadline: '20s' }, audit: { timeout: '20s' } } })
  }, 60_000)
  afterAll(() => gateway.stop())

  const granted = VIEWERS.flatMap((viewer) =>
    Object.entries(viewer.decisions).flatMap(([organization, types]) =>
      Object.keys(types).map((type) => [viewer.name, organization, type as TypeName, viewer] as const),
    ),
  )

  it.each(granted)('can be used by the %s at %s in %s exactly as its decision says', async (_name, organization, type, viewer: Viewer) => {
    const wrong: string[] = []
    const answers = await Promise.all(
      everyUse(type).map(async ({ use, root, given, selection }) => {
        const document = `{ ${root}(organizations: ["${organization}"]${given === '' ? '' : `, ${given}`}) { ${selection} } }`
        const { status, json } = await gateway.ask(viewer.claims, document)
        const codes = (json.errors ?? []).map(({ extensions }) => extensions.code).join()
        const expected = isUsable(viewer, organization, use) ? '200 ' : '403 FIELD_NOT_USABLE'
        return { document, expected, found: `${status} ${codes}` }
      }),
    )
    for (const { document, expected, found } of answers) if (found !== expected) wrong.push(`${document}: ${found}, not ${expected}`)
    expect(wrong).toEqual([])
  })
})
