import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { Values } from '../../../src/connectors/connector.js'
import { compilePipeline } from '../../../src/connectors/mongodb/pipeline.js'
import { filled } from '../../../src/connectors/mongodb/template.js'
import type { TypeGrant } from '../../../src/policy/authority.js'
import { restrict } from '../../../src/policy/restrict.js'
import type { AuthorizedPlan, ListPlan, Mask, RowField } from '../../../src/query/plan.js'
import { ALL, type Operand, type Predicate } from '../../../src/query/predicate.js'
import { documentData } from '../../engines/mongodb-store.js'
import { ORGANIZATION } from '../contract-data.js'

const { data, binding } = documentData()
const SLOT: Operand = { kind: 'slot', index: 0 }
const LIST: Operand = { kind: 'slot', index: 1 }
const CLAIM: Operand = { kind: 'claim', name: 'team' }
const OWN_TEAM: Predicate = { kind: 'compare', field: 'name', op: '=', operand: CLAIM }

const HOSTILE = ['$where', '$ne', '$$ROOT', '$$REMOVE', '$name', 'a.b', '__proto__', 'constructor', '{"$gt":""}', '$literal', '.', '']

interface Asked {
  readonly where?: Predicate
  readonly rows?: Predicate
  readonly fields?: readonly RowField[]
  readonly mask?: Mask
}

function planOf({ where = ALL, rows = ALL, fields = [{ kind: 'value', responseKey: 'name', field: 'name' }], mask }: Asked): AuthorizedPlan {
  const types = [...data.catalog.entities.values()].map((entity): [string, TypeGrant] => {
    const shown = [...entity.fields.keys()].map(
      (field) => [field, mask && field === 'code' ? ({ kind: 'masked', mask } as const) : ({ kind: 'plain' } as const)] as const,
    )
    const isLimited = entity.name === 'Thing'
    return [
      entity.name,
      { type: entity.name, rows: isLimited ? rows : ALL, fields: new Map(shown), source: { kind: 'roles', roles: [], version: 1, digest: '' } },
    ]
  })
  const list = listOf('Thing', where, fields)
  return restrict(
    { kind: 'list', withKeys: true, list },
    { organization: ORGANIZATION, types: new Map(types) },
    { catalog: data.catalog, binding, caller: 'aurora', starts: new Map() },
  )
}

function listOf(type: string, where: Predicate, fields: readonly RowField[]): ListPlan {
  const nodes = [{ kind: 'nodes', responseKey: 'nodes', row: { type, fields } }] as const
  return { type, where, order: [], search: null, limit: { kind: 'constant', value: 10 }, backward: false, cursor: null, fields: nodes, path: type }
}

function stagesOf(plan: AuthorizedPlan, values: Values): readonly unknown[] {
  return filled(compilePipeline(plan)?.stages, values) as unknown[] // a list of stages stays one
}

/** Texts that the server would read: member names, and texts that do not stand under `$literal`. */
function read(stage: unknown): readonly string[] {
  if (typeof stage === 'string') return [stage]
  if (Array.isArray(stage)) return stage.flatMap(read)
  if (typeof stage !== 'object' || stage === null || Object.getPrototypeOf(stage) !== Object.prototype) return []
  return Object.entries(stage).flatMap(([name, inner]) => [name, ...(name === '$literal' ? [] : read(inner))])
}

const EVERY_USE: Predicate = {
  kind: 'or',
  terms: [
    { kind: 'compare', field: 'name', op: '=', operand: SLOT },
    { kind: 'compare', field: 'name', op: '<', operand: SLOT },
    { kind: 'in', field: 'code', operand: LIST },
    { kind: 'like', field: 'name', operand: SLOT, fold: true },
    { kind: 'startsWith', field: 'name', operand: SLOT },
    { kind: 'contains', field: 'name', operand: SLOT },
    { kind: 'listContains', field: 'tags', operand: LIST },
    { kind: 'related', field: 'owner', where: { kind: 'compare', field: 'name', op: '=', operand: SLOT } },
    { kind: 'compare', field: 'name', op: '=', operand: CLAIM },
  ],
}

describe('a pipeline', () => {
  it('reads the same whatever texts a caller sends: no operator, no path, no variable is made of one', () => {
    const plan = planOf({ where: EVERY_USE, rows: OWN_TEAM })
    const valuesOf = (text: string): Values => ({ slots: [text, [text]], claims: new Map([['team', text]]) })
    const expected = read(stagesOf(plan, valuesOf('plain')))
    const texts = fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'binary' }))
    const isWhole = (text: string): boolean => !/\0|\p{Surrogate}|\\/u.test(text) // these match nothing, and are asked otherwise
    fc.assert(fc.property(texts.filter(isWhole), (text) => expect(read(stagesOf(plan, valuesOf(text)))).toEqual(expected)))
  })

  it('asks nothing of a text that no store can hold', () => {
    const [stages, none] = ['x\0$where', 'y\0'].map((text) =>
      JSON.stringify(stagesOf(planOf({ where: EVERY_USE }), { slots: [text, [text]], claims: new Map() })),
    )
    expect(stages).toBe(none)
    expect(stages).not.toContain('$where')
  })

  it('spells JSON out as literals, names of members too', () => {
    const plan = planOf({ where: { kind: 'jsonContains', field: 'data', operand: SLOT } })
    const stages = stagesOf(plan, { slots: ['{"$where":{"$$ROOT":["$name",{"a.b":"$code"}]}}'], claims: new Map() })
    for (const text of ['$where', '$$ROOT.', '$name', 'a.b', '$code']) expect(read(stages)).not.toContain(text)
  })

  it('lets policy stand before what the caller asks, at the root and in every lookup', () => {
    const children: RowField = { kind: 'list', responseKey: 'c', field: 'children', list: listOf('Thing', EVERY_USE, [{ kind: 'id', responseKey: 'id' }]) }
    const parent: RowField = {
      kind: 'toOne',
      responseKey: 'p',
      field: 'parent',
      row: { type: 'Thing', fields: [{ kind: 'value', responseKey: 'n', field: 'name' }] },
    }
    const where: Predicate = { kind: 'related', field: 'parent', where: { kind: 'compare', field: 'name', op: '=', operand: SLOT } }
    const stages = stagesOf(planOf({ where, rows: OWN_TEAM, fields: [children, parent] }), {
      slots: ['asked', ['asked']],
      claims: new Map([['team', 'policy']]),
    })
    const ofThings = [stages, ...lookups(stages)]
    expect(ofThings.length).toBeGreaterThanOrEqual(4)
    for (const pipeline of ofThings) {
      const texts = pipeline.map((stage) => JSON.stringify(stage))
      const policy = texts.findIndex((text) => text.includes('"$match"') && text.includes('{"$literal":"policy"}'))
      const asked = texts.findIndex((text) => text.includes('"$v.') && text.includes('{"$literal":"asked"}'))
      expect(policy).toBeGreaterThanOrEqual(0)
      if (asked >= 0) expect(policy).toBeLessThan(asked)
    }
  })

  it('is not made where a mask cannot be applied in the store, nor for groups', () => {
    const field: RowField = { kind: 'value', responseKey: 'code', field: 'code' }
    const mask: Mask = { kind: 'pseudonym', domain: 'd', grantee: 'aurora', revealNulls: false }
    expect(() => compilePipeline(planOf({ fields: [field], mask }))).toThrow(expect.objectContaining({ code: 'FIELD_NOT_USABLE' }))
    const groups: RowField = {
      kind: 'aggregate',
      responseKey: 'a',
      field: 'children',
      aggregate: {
        type: 'Thing',
        where: ALL,
        groupBy: [],
        measures: [],
        having: { kind: 'all' },
        order: [],
        limit: { kind: 'constant', value: 1 },
        fields: [],
      },
    }
    expect(() => compilePipeline(planOf({ fields: [groups] }))).toThrow(expect.objectContaining({ code: 'FIELD_NOT_USABLE' }))
  })
})

/** The pipelines of all lookups of Things, however deep. */
function lookups(stages: readonly unknown[]): readonly (readonly unknown[])[] {
  return stages.flatMap((stage) => {
    const lookup = (stage as { readonly $lookup?: { readonly from: string; readonly pipeline: readonly unknown[] } }).$lookup
    if (!lookup) return []
    return [...(lookup.from.startsWith('Thing') ? [lookup.pipeline] : []), ...lookups(lookup.pipeline)]
  })
}
