import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { Values } from '../../../src/connectors/connector.js'
import { filled, name, printed } from '../../../src/connectors/neo4j/cypher.js'
import { compileStatement } from '../../../src/connectors/neo4j/statement.js'
import type { TypeGrant } from '../../../src/policy/authority.js'
import { restrict } from '../../../src/policy/restrict.js'
import type { AuthorizedPlan, ListPlan, Mask, RowField } from '../../../src/query/plan.js'
import { ALL, type Operand, type Predicate } from '../../../src/query/predicate.js'
import { graphData } from '../../engines/neo4j-store.js'
import { ORGANIZATION } from '../contract-data.js'

const { data, binding } = graphData()
const SLOT: Operand = { kind: 'slot', index: 0 }
const LIST: Operand = { kind: 'slot', index: 1 }
const CLAIM: Operand = { kind: 'claim', name: 'team' }
const OWN_TEAM: Predicate = { kind: 'compare', field: 'name', op: '=', operand: CLAIM }

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
    return [
      entity.name,
      { type: entity.name, rows: entity.name === 'Person' ? rows : ALL, fields: new Map(shown), source: { kind: 'roles', roles: [], version: 1, digest: '' } },
    ]
  })
  const nodes = [{ kind: 'nodes', responseKey: 'nodes', row: { type: 'Person', fields } }] as const
  const limit = { kind: 'constant', value: 10 } as const
  const list: ListPlan = { type: 'Person', where, order: [], search: null, limit, backward: false, cursor: null, fields: nodes, path: 'people' }
  return restrict(
    { kind: 'list', withKeys: true, list },
    { organization: ORGANIZATION, types: new Map(types) },
    { catalog: data.catalog, binding, caller: 'aurora', starts: new Map() },
  )
}

function statementOf(plan: AuthorizedPlan, values: Values): ReturnType<typeof filled> {
  const statement = compileStatement(plan)
  if (!statement) throw new Error('there are people')
  return filled(statement.cypher, values)
}

const HOSTILE = ["' OR true //", '`', '\\u0027', '$p0', '}) DETACH DELETE n //', "\\'", '*/', '.*', '\u{1f600}', '']

describe('a statement', () => {
  const walk = (depth: Operand): RowField => ({
    kind: 'traversal',
    responseKey: 'related',
    traversal: {
      ...{ type: 'Person', via: ['boss'], direction: 'both', depth, where: { kind: 'contains', field: 'name', operand: SLOT }, limit: LIMIT },
      fields: [{ kind: 'edges', responseKey: 'edges', fields: [{ kind: 'depth', responseKey: 'depth' }] }],
    },
  })
  const LIMIT = { kind: 'constant', value: 5 } as const

  it('is the same text whatever the values are, which are its parameters', () => {
    const conditions: readonly Predicate[] = [
      { kind: 'compare', field: 'name', op: '=', operand: SLOT },
      { kind: 'startsWith', field: 'name', operand: SLOT },
      { kind: 'contains', field: 'name', operand: SLOT },
      { kind: 'in', field: 'name', operand: LIST },
      { kind: 'not', term: { kind: 'related', field: 'boss', where: { kind: 'compare', field: 'name', op: '=', operand: SLOT } } },
    ]
    for (const where of conditions) {
      const plan = planOf({ where, rows: OWN_TEAM, fields: [walk({ kind: 'constant', value: 3 })] })
      const texts = HOSTILE.map((text) => {
        const { text: written, parameters } = statementOf(plan, { slots: [text, [text]], claims: new Map([['team', text]]) })
        expect(Object.values(parameters).flat()).toContain(text)
        return written
      })
      expect(new Set(texts).size).toBe(1)
    }
  })

  it('tells no value where it is explained', () => {
    const statement = compileStatement(
      planOf({ where: { kind: 'compare', field: 'name', op: '=', operand: { kind: 'constant', value: 'secret' } }, rows: OWN_TEAM }),
    )
    expect(printed(statement?.cypher ?? [])).toMatch(/<claim>/)
    expect(printed(statement?.cypher ?? [])).not.toContain('secret')
  })

  it('has policy before what the caller asks, and at every node of a walk', () => {
    const { text } = statementOf(planOf({ rows: OWN_TEAM, fields: [walk(SLOT)], where: { kind: 'isNull', field: 'team' } }), {
      slots: [4, []],
      claims: new Map([['team', 'x']]),
    })
    expect(text).toMatch(/ANY SHORTEST \(n0\)\(.*WHERE .* = \$p\d+.*\)\{1,4\}/)
    expect(text.indexOf('= $p0')).toBeLessThan(text.indexOf('`Team` END IS NULL'))
  })

  it.each<Mask>([
    { kind: 'pseudonym', domain: 'Person.name', grantee: 'aurora', revealNulls: false },
    { kind: 'generalize', step: '10', revealNulls: false },
  ])('is refused for a mask that the graph could not make: %j', (mask) => {
    const thing: RowField = { kind: 'list', responseKey: 'things', field: 'things', list: things }
    expect(() => compileStatement(planOf({ mask, fields: [thing] }))).toThrow(expect.objectContaining({ code: 'FIELD_NOT_USABLE' }))
  })

  const things: ListPlan = {
    ...{ type: 'Thing', where: ALL, order: [], search: null, limit: LIMIT, backward: false, cursor: null, path: 'people.things' },
    fields: [{ kind: 'nodes', responseKey: 'nodes', row: { type: 'Thing', fields: [{ kind: 'value', responseKey: 'code', field: 'code' }] } }],
  }
})

describe('a name', () => {
  it('is read as itself: what ends it stands twice, and no escape is left in it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), fc.constantFrom('', '`', '\\u0060', '\\', '``'), (text, more) => {
        const own = `${text.replaceAll('\0', '')}${more}x`
        const [quoted = ''] = name(own)
        if (typeof quoted !== 'string') throw new Error('a name is text')
        const unescaped = quoted.replaceAll(/\\u([0-9A-F]{4})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
        expect(quoted.slice(1, -1).replaceAll('``', '')).not.toContain('`')
        expect(quoted.replaceAll('\\u005C', '')).not.toContain('\\')
        expect(unescaped.slice(1, -1).replaceAll('``', '`')).toBe(own)
      }),
    )
  })

  it('is not empty, and has no U+0000', () => {
    expect(() => name('')).toThrow(/invariant/)
    expect(() => name('a\0')).toThrow(/invariant/)
  })
})
