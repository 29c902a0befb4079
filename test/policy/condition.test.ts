import { describe, expect, it } from '@jest/globals'
import { falsity, parseCondition, truth } from '../../src/policy/condition.js'
import { printPath, Reading } from '../../src/policy/reading.js'
import type { Predicate } from '../../src/query/predicate.js'
import { entity, words } from '../support/platform-contract.js'

function read(where: unknown, type = 'Agent') {
  const reading = new Reading()
  const condition = parseCondition(where, { type: entity(type), path: ['rows'] }, words, reading)
  return {
    condition,
    mistakes: reading.mistakes.map(({ path, problem }) => `${printPath(path)} ${problem}`),
    paths: reading.mistakes.map(({ path }) => printPath(path)),
  }
}

function granted(where: unknown, type?: string): Predicate {
  const { condition, mistakes } = read(where, type)
  if (!condition) throw new Error(mistakes.join('; '))
  return truth(condition)
}

function notForbidden(where: unknown): Predicate {
  const { condition, mistakes } = read(where)
  if (!condition) throw new Error(mistakes.join('; '))
  return falsity(condition)
}

const is = (field: string, value: string | number | boolean): Predicate => ({ kind: 'compare', field, op: '=', operand: { kind: 'constant', value } })

describe('a condition of a policy', () => {
  it('takes the operators of the API with constants in their canonical form', () => {
    expect(granted({ status: { eq: 'ACTIVE' } })).toEqual(is('status', 'ACTIVE'))
    expect(granted({ status: { ne: 'ARCHIVED' } })).toEqual({ kind: 'not', term: is('status', 'ARCHIVED') })
    expect(granted({ monthlyBudget: { gte: '010.50' } })).toEqual({
      kind: 'compare',
      field: 'monthlyBudget',
      op: '>=',
      operand: { kind: 'constant', value: '10.5' },
    })
    expect(granted({ quota: { lt: 5 } })).toEqual({ kind: 'compare', field: 'quota', op: '<', operand: { kind: 'constant', value: '5' } })
    expect(granted({ createdAt: { gt: '2026-01-01T01:00:00+01:00' } })).toEqual({
      kind: 'compare',
      field: 'createdAt',
      op: '>',
      operand: { kind: 'constant', value: '2026-01-01T00:00:00Z' },
    })
    expect(granted({ key: { in: ['a', 'b'] } })).toEqual({ kind: 'in', field: 'key', operand: { kind: 'constant', value: ['a', 'b'] } })
    expect(granted({ name: { notIn: ['a'] } })).toEqual({ kind: 'not', term: { kind: 'in', field: 'name', operand: { kind: 'constant', value: ['a'] } } })
    expect(granted({ tags: { isNull: false } })).toEqual({ kind: 'not', term: { kind: 'isNull', field: 'tags' } })
    expect(granted({ maxConcurrency: { gt: 1, lte: 4 } })).toEqual({
      kind: 'and',
      terms: [
        { kind: 'compare', field: 'maxConcurrency', op: '>', operand: { kind: 'constant', value: 1 } },
        { kind: 'compare', field: 'maxConcurrency', op: '<=', operand: { kind: 'constant', value: 4 } },
      ],
    })
  })

  it('takes claims as operands, through relations too', () => {
    expect(granted({ agent: { owner: { team: { eq: { claim: 'team' } } } } }, 'WorkflowExecution')).toEqual({
      kind: 'related',
      field: 'agent',
      where: { kind: 'related', field: 'owner', where: { kind: 'compare', field: 'team', op: '=', operand: { kind: 'claim', name: 'team' } } },
    })
    expect(granted({ name: { in: { claim: 'https://id.example/teams' } } })).toEqual({
      kind: 'in',
      field: 'name',
      operand: { kind: 'claim', name: 'https://id.example/teams' },
    })
  })

  it('says in a prohibition what is not known, where a relation could hide it', () => {
    const failed = { executions: { some: { error: { eq: 'x' } } } }
    expect(granted(failed)).toEqual({ kind: 'related', field: 'executions', where: is('error', 'x') })
    expect(notForbidden(failed)).toEqual({
      kind: 'not',
      term: { kind: 'related', field: 'executions', where: { kind: 'not', term: { kind: 'isTrue', term: { kind: 'not', term: is('error', 'x') } } } },
    })
    expect(granted({ executions: { none: { error: { eq: 'x' } } } })).toEqual(notForbidden(failed))
    expect(granted({ executions: { every: { error: { eq: 'x' } } } })).toEqual({
      kind: 'not',
      term: { kind: 'related', field: 'executions', where: { kind: 'not', term: { kind: 'isTrue', term: is('error', 'x') } } },
    })
    expect(notForbidden({ owner: { team: { eq: 'x' } } })).toEqual({ kind: 'related', field: 'owner', where: { kind: 'not', term: is('team', 'x') } })
    expect(notForbidden({ owner: {} })).toEqual({ kind: 'not', term: { kind: 'related', field: 'owner', where: { kind: 'all' } } })
  })

  it('pushes negations down, so that each part is true exactly where it should be', () => {
    const where = { not: { or: [{ name: { eq: 'a' } }, { and: [{ status: { eq: 'ACTIVE' } }, { not: { key: { eq: '1' } } }] }] } }
    expect(granted(where)).toEqual({
      kind: 'and',
      terms: [
        { kind: 'not', term: is('name', 'a') },
        { kind: 'or', terms: [{ kind: 'not', term: is('status', 'ACTIVE') }, is('key', '1')] },
      ],
    })
  })

  it.each<[string, unknown, string]>([
    ['a null operand', { name: { eq: null } }, 'rows.name.eq'],
    ['a null in a list', { name: { in: ['a', null] } }, 'rows.name.in[1]'],
    ['an empty operator object', { name: {} }, 'rows.name'],
    ['an empty condition', {}, 'rows'],
    ['an empty condition further in', { and: [{}] }, 'rows.and[0]'],
    ['an empty negation', { not: {} }, 'rows.not'],
    ['an empty conjunction', { and: [] }, 'rows.and'],
    ['an empty disjunction', { or: [] }, 'rows.or'],
    ['an empty list', { name: { notIn: [] } }, 'rows.name.notIn'],
    ['`every` of nothing', { executions: { every: {} } }, 'rows.executions.every'],
    ['a quantifier that is missing', { executions: {} }, 'rows.executions'],
    ['a list relation without its quantifier', { executions: { status: { eq: 'FAILED' } } }, 'rows.executions.status'],
    ['a field that the contract lacks', { nam: { eq: 'x' } }, 'rows.nam'],
    ['the global id', { id: { eq: 'x' } }, 'rows.id'],
    ['the owner', { organization: { eq: 'aurora' } }, 'rows.organization'],
    ['an enum value that the contract lacks', { status: { eq: 'active' } }, 'rows.status.eq'],
    ['a text for a number', { maxConcurrency: { eq: '5' } }, 'rows.maxConcurrency.eq'],
    ['a fraction for an integer', { maxConcurrency: { eq: 5.5 } }, 'rows.maxConcurrency.eq'],
    ['a number beyond 32 bits', { maxConcurrency: { eq: 2147483648 } }, 'rows.maxConcurrency.eq'],
    ['a float for a decimal', { monthlyBudget: { eq: 0.1 } }, 'rows.monthlyBudget.eq'],
    ['a time without its offset', { createdAt: { gt: '2026-01-01T00:00:00' } }, 'rows.createdAt.gt'],
    ['an order on an enum', { status: { lt: 'ACTIVE' } }, 'rows.status.lt'],
    ['an order on a key', { key: { gt: '1' } }, 'rows.key.gt'],
    ['an order on a boolean', { active: { lt: true } }, 'rows.active.lt'],
    ['a pattern', { name: { like: 'a%' } }, 'rows.name.like'],
    ['a prefix', { name: { startsWith: 'a' } }, 'rows.name.startsWith'],
    ['a regular expression', { name: { regex: '^a' } }, 'rows.name.regex'],
    ['JSON containment', { configuration: { contains: {} } }, 'rows.configuration.contains'],
    ['a comparison of a list', { tags: { eq: 'a' } }, 'rows.tags.eq'],
    ['a claim as null test', { name: { isNull: { claim: 'x' } } }, 'rows.name.isNull'],
    ['a claim with something beside it', { name: { eq: { claim: 'team', or: 'x' } } }, 'rows.name.eq'],
    ['a claim that is no name', { name: { eq: { claim: { $ne: null } } } }, 'rows.name.eq'],
    ['a claim by a name of JavaScript', { name: { eq: { claim: '__proto__' } } }, 'rows.name.eq'],
    ['a claim within a list', { name: { in: [{ claim: 'team' }] } }, 'rows.name.in[0]'],
    ['an operator of MongoDB', { name: { $ne: 'x' } }, 'rows.name["$ne"]'],
    ['an operator object of MongoDB as value', { name: { eq: { $ne: null } } }, 'rows.name.eq'],
    ['a path with dots', { 'owner.team': { eq: 'x' } }, 'rows["owner.team"]'],
    ['a name of JavaScript', { constructor: { eq: 'x' } }, 'rows.constructor'],
    ['the prototype', JSON.parse('{ "__proto__": { "eq": "x" } }') as unknown, 'rows.__proto__'],
    ['the prototype as operator', { name: JSON.parse('{ "__proto__": "x" }') as unknown }, 'rows.name.__proto__'],
    ['a builtin with dots', { 'toString.call': { eq: 'x' } }, 'rows["toString.call"]'],
    ['a list in place of a condition', [{ name: { eq: 'x' } }], 'rows'],
    ['a text in place of operators', { name: 'x' }, 'rows.name'],
    ['nothing', null, 'rows'],
  ])('refuses %s, and says where', (_, where, path) => {
    const { condition, paths } = read(where)
    expect(condition).toBeNull()
    expect(paths).toContain(path)
  })

  it('names every mistake in one go', () => {
    expect(read({ nam: { eq: 'x' }, status: { eq: 'GONE' }, owner: { tea: { eq: 'x' } } }).paths).toEqual(['rows.nam', 'rows.status.eq', 'rows.owner.tea'])
  })

  it('ends with 16 levels', () => {
    const nested = (levels: number): unknown => (levels === 0 ? { name: { eq: 'x' } } : { not: nested(levels - 1) })
    expect(read(nested(15)).condition).not.toBeNull()
    expect(read(nested(17)).condition).toBeNull()
    expect(read(nested(2_000)).condition).toBeNull()
  })
})
