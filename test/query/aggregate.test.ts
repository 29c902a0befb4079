import { describe, expect, it } from '@jest/globals'

import type { Group } from '../../src/query/aggregate.js'
import { aggregateJson, combineGroups, groupsOfNobody, groupTexts, matchesHaving, readGroup, releasedGroups } from '../../src/query/aggregate.js'
import type { BuiltinScalar, EntityType, ValueField } from '../../src/query/catalog.js'
import type { AggregatePlan, Having } from '../../src/query/plan.js'
import type { Operand, Scalar } from '../../src/query/predicate.js'

const value = (name: string, type: BuiltinScalar): [string, ValueField] => [
  name,
  { kind: 'value', name, description: null, type: { kind: 'builtin', name: type }, list: false, required: false, vector: null },
]
const entity: EntityType = {
  name: 'Agent',
  description: null,
  key: ['key'],
  singular: 'agent',
  plural: 'agents',
  fields: new Map([
    value('key', 'ID'),
    value('runs', 'Int'),
    value('budget', 'Decimal'),
    value('load', 'Float'),
    value('startedAt', 'DateTime'),
    value('name', 'String'),
  ]),
  seriesTime: null,
}
const constant = (of: Scalar | readonly Scalar[]): Operand => ({ kind: 'constant', value: of })
const valueOf = (operand: Operand): Scalar | readonly Scalar[] | null => (operand.kind === 'constant' ? operand.value : null)
const plan = (part: Partial<AggregatePlan>): AggregatePlan => ({
  type: 'Agent',
  where: { kind: 'all' },
  groupBy: [{ field: 'runs', unit: null, timezone: null }],
  measures: [],
  having: { kind: 'all' },
  order: [],
  limit: constant(50),
  fields: [],
  ...part,
})
const groups = (of: AggregatePlan, rows: Readonly<Record<string, readonly (readonly (string | null)[])[]>>): Group[] =>
  combineGroups(
    of,
    entity,
    Object.entries(rows).flatMap(([organization, texts]) => texts.map((keys) => readGroup(of, keys, organization))),
  )

describe('groups of several owners', () => {
  const measured = plan({
    measures: [
      { fn: 'sum', field: 'budget' },
      { fn: 'avg', field: 'runs' },
      { fn: 'avg', field: 'load' },
      { fn: 'min', field: 'startedAt' },
      { fn: 'max', field: 'name' },
    ],
    fields: [
      { kind: 'typename', responseKey: 't' },
      {
        kind: 'groups',
        responseKey: 'groups',
        fields: [
          {
            kind: 'keys',
            responseKey: 'keys',
            fields: [
              { responseKey: 'runs', key: 'runs' },
              { responseKey: 'name', key: 'name' },
              { responseKey: 't', key: '__typename' },
            ],
          },
          { kind: 'count', responseKey: 'count' },
          {
            kind: 'sum',
            responseKey: 'sum',
            fields: [
              { responseKey: 'b', field: 'budget' },
              { responseKey: 't', field: '__typename' },
            ],
          },
          {
            kind: 'avg',
            responseKey: 'avg',
            fields: [
              { responseKey: 'runs', field: 'runs' },
              { responseKey: 'load', field: 'load' },
            ],
          },
          { kind: 'min', responseKey: 'min', fields: [{ responseKey: 'startedAt', field: 'startedAt' }] },
          { kind: 'max', responseKey: 'max', fields: [{ responseKey: 'name', field: 'name' }] },
          { kind: 'typename', responseKey: 't' },
        ],
      },
    ],
  })

  it('are combined without loss: sums at the largest scale, averages from sums and counts, extremes by type', () => {
    const combined = groups(measured, {
      aurora: [['3', '2', '0.10', '3', '1', '0.3', '1', '0044-03-15T00:00:00 BC', '\u{fffd}']],
      borealis: [['3', '1', '12345678901234567890.2', '4', '2', '1e+20', '2', '2026-03-01T00:00:00', '😀']],
    })
    expect(aggregateJson(measured, entity, combined)).toBe(
      '{"t":"AgentAggregate","groups":[{"keys":{"runs":3,"name":null,"t":"AgentGroupKeys"},"count":"3","sum":{"b":"12345678901234567890.30","t":"AgentSum"},' +
        '"avg":{"runs":"2.3333333333333333","load":3.333333333333333e+19},"min":{"startedAt":null},"max":{"name":"😀"},"t":"AgentGroup"}]}',
    )
    expect(groupTexts(measured, combined[0] as Group)).toEqual([
      '3',
      '3',
      '12345678901234567890.30',
      '7',
      '3',
      '100000000000000000000.3',
      '3',
      '0044-03-15T00:00:00 BC',
      '😀',
    ])
  })

  it('have null for measures over no values', () => {
    const combined = groups(measured, {
      aurora: [['null', '2', null, null, '0', null, '0', null, null]],
      borealis: [['null', '1', null, null, '0', 'NaN', '1', null, 'x']],
    })
    expect(aggregateJson(measured, entity, combined)).toContain(
      '"count":"3","sum":{"b":null,"t":"AgentSum"},"avg":{"runs":null,"load":null},"min":{"startedAt":null},"max":{"name":"x"}',
    )
  })

  it('are one group over no rows without keys, and none with keys', () => {
    expect(groups(plan({ groupBy: [] }), { aurora: [['0']], borealis: [['0']] })).toEqual([{ keys: [], count: 0n, measures: [] }])
    expect(groups(plan({ groupBy: [{ field: 'organization', unit: null, timezone: null }] }), { aurora: [['0']], borealis: [['2']] })).toEqual([
      { keys: ['"borealis"'], count: 2n, measures: [] },
    ])
  })

  it('are one group over no rows as well where nobody takes part', () => {
    const of = plan({ groupBy: [], measures: measured.measures, fields: measured.fields })
    const none = groupsOfNobody(of)
    expect(none).toEqual(groups(of, { aurora: [['0', null, null, '0', null, '0', null, null]] }))
    expect(aggregateJson(of, entity, none)).toContain('"count":"0"')
  })

  it('never add distinct counts of two owners', () => {
    const distinct = plan({ measures: [{ fn: 'countDistinct', field: 'name' }] })
    expect(() => groups(distinct, { aurora: [['1', '1', '1']], borealis: [['1', '1', '1']] })).toThrow('invariant')
  })

  it('are refused when a store gives too few or too many parts', () => {
    expect(() => readGroup(measured, ['3', '2'], 'aurora')).toThrow('invariant')
    expect(() => readGroup(plan({}), ['3', '2', '1'], 'aurora')).toThrow('invariant')
  })
})

describe('having', () => {
  const of = plan({ measures: [{ fn: 'sum', field: 'load' }] })
  const [group] = groups(of, { aurora: [['1', '2', '0.30']] })
  const [empty] = groups(of, { aurora: [['1', '2', null]] })
  const sum = { fn: 'sum', field: 'load' } as const
  const matches = (candidate: Group | undefined, having: Having): boolean => matchesHaving(of, entity, candidate as Group, valueOf, having)

  it('compares what is released', () => {
    expect(matches(group, { kind: 'compare', of: sum, op: '=', operand: constant(0.3) })).toBe(true)
    expect(matches(group, { kind: 'compare', of: 'count', op: '>', operand: constant('1') })).toBe(true)
    expect(matches(group, { kind: 'in', of: 'count', operand: constant(['1', '2']) })).toBe(true)
    expect(matches(group, { kind: 'in', of: 'count', operand: constant([]) })).toBe(false)
  })

  it('takes null as fitting nothing but isNull, and not as an exact complement', () => {
    const term: Having = { kind: 'compare', of: sum, op: '>=', operand: constant(-1e300) }
    expect([matches(empty, term), matches(empty, { kind: 'not', term }), matches(empty, { kind: 'isNull', of: sum })]).toEqual([false, true, true])
  })
})

describe('released groups', () => {
  it('are ordered as the plan says, then by the texts of their keys, and cut to the limit', () => {
    const of = plan({ order: [{ by: { kind: 'count' }, descending: true, nulls: 'last' }], limit: constant(3) })
    const all = groups(of, {
      aurora: [
        ['10', '1'],
        ['9', '1'],
        ['null', '5'],
        ['2', '1'],
      ],
    })
    expect(releasedGroups(of, entity, all, valueOf).map(({ keys }) => keys[0])).toEqual(['null', '10', '2'])
  })

  it('are ordered by key as its type says', () => {
    const of = plan({ order: [{ by: { kind: 'key', field: 'runs' }, descending: false, nulls: 'first' }] })
    const all = groups(of, {
      aurora: [
        ['10', '1'],
        ['9', '1'],
        ['null', '5'],
        ['-2', '1'],
      ],
    })
    expect(releasedGroups(of, entity, all, valueOf).map(({ keys }) => keys[0])).toEqual(['null', '-2', '9', '10'])
  })
})
