import { subject } from '@casl/ability'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { falsity, parseCondition, truth } from '../../src/policy/condition.js'
import { printPath, Reading } from '../../src/policy/reading.js'
import { abilityOf, abilitySubject, parseRoleFile, type Role, type SubjectRow } from '../../src/policy/role.js'
import type { EntityType } from '../../src/query/catalog.js'
import { truthOf, type FieldRow } from '../../src/query/evaluate.js'
import { ALL, type Predicate, type Scalar } from '../../src/query/predicate.js'
import { entity, words } from '../support/platform-contract.js'

function load(role: unknown): { readonly role: Role | undefined; readonly mistakes: readonly string[]; readonly paths: readonly string[] } {
  const reading = new Reading()
  const file = parseRoleFile({ organization: 'aurora', version: 7, roles: { analyst: role } }, words, reading)
  const paths = reading.mistakes.map(({ path }) => printPath(path))
  return { role: file?.roles.get('analyst'), paths, mistakes: reading.mistakes.map(({ problem }, index) => `${paths[index] ?? ''} ${problem}`) }
}

function roleOf(value: unknown): Role {
  const { role, mistakes } = load(value)
  if (!role) throw new Error(mistakes.join('; '))
  return role
}

const is = (field: string, value: Scalar): Predicate => ({ kind: 'compare', field, op: '=', operand: { kind: 'constant', value } })
const isNot = (field: string, value: Scalar): Predicate => ({ kind: 'not', term: is(field, value) })
const REQUIRED = ['key', 'name', 'status', 'createdAt']

describe('a role', () => {
  it('shows rows under the condition that the required fields share', () => {
    const role = roleOf({ read: { User: { fields: ['key', 'name', 'team'] }, Agent: { fields: 'all', rows: { status: { ne: 'ARCHIVED' } } } } })
    expect(role.grants.get('User')?.rows).toEqual(ALL)
    expect([...(role.grants.get('User')?.fields ?? [])]).toEqual([
      ['key', ALL],
      ['name', ALL],
      ['team', ALL],
    ])
    expect(role.grants.get('Agent')?.rows).toEqual(isNot('status', 'ARCHIVED'))
    expect([...(role.grants.get('Agent')?.fields.keys() ?? [])]).toEqual([...entity('Agent').fields.keys()])
    expect([...(role.grants.get('Agent')?.fields.values() ?? [])].every((condition) => condition.kind === 'all')).toBe(true)
  })

  it('gives a field under a narrower condition as a cell, and adds up what several grants give', () => {
    const role = roleOf({
      read: {
        Agent: [
          { fields: REQUIRED, rows: { status: { ne: 'ARCHIVED' } } },
          { fields: ['description'], rows: { owner: { team: { eq: { claim: 'team' } } } } },
          { fields: ['description', 'owner'], rows: { status: { eq: 'ACTIVE' } } },
        ],
      },
    })
    const grant = role.grants.get('Agent')
    const team: Predicate = { kind: 'related', field: 'owner', where: { kind: 'compare', field: 'team', op: '=', operand: { kind: 'claim', name: 'team' } } }
    expect(grant?.fields.get('description')).toEqual({ kind: 'or', terms: [is('status', 'ACTIVE'), team] })
    expect(grant?.fields.get('owner')).toEqual(is('status', 'ACTIVE'))
    expect(grant?.fields.has('configuration')).toBe(false)
  })

  it('lets a prohibition win over every grant', () => {
    const role = roleOf({
      read: { Agent: { fields: 'all' } },
      deny: { Agent: [{ fields: ['configuration'] }, { fields: ['description'], rows: { status: { eq: 'ARCHIVED' } } }] },
    })
    const grant = role.grants.get('Agent')
    expect(grant?.fields.has('configuration')).toBe(false)
    expect(grant?.fields.get('description')).toEqual(isNot('status', 'ARCHIVED'))
    expect(grant?.rows).toEqual(ALL)
  })

  it('takes rows away by a prohibition on all fields', () => {
    const role = roleOf({ read: { Agent: { fields: 'all' } }, deny: { Agent: { fields: 'all', rows: { name: { eq: 'secret' } } } } })
    expect(role.grants.get('Agent')?.rows).toEqual(isNot('name', 'secret'))
    expect(role.grants.get('Agent')?.fields.get('description')).toEqual(ALL)
  })

  it('does not grant a type that it denies whole', () => {
    expect(roleOf({ read: { Agent: { fields: 'all' } }, deny: { Agent: { fields: 'all' } } }).grants.size).toBe(0)
  })

  it('grants nothing where it says nothing', () => {
    const role = roleOf({ audit: ['list', 'export'] })
    expect(role.grants.size).toBe(0)
    expect([...role.audit]).toEqual(['list', 'export'])
    expect(role.explain).toBe(false)
    expect(role.purposes).toBeNull()
    expect(role.crossOrganization.size).toBe(0)
  })

  it.each<[string, unknown, string]>([
    ['required fields that are missing', { read: { Agent: { fields: ['key', 'name'] } } }, 'roles.analyst.read.Agent'],
    ['only fields that are not required', { read: { Agent: { fields: ['description'] } } }, 'roles.analyst.read.Agent'],
    [
      'required fields under two conditions',
      { read: { User: [{ fields: ['key'] }, { fields: ['name'], rows: { team: { eq: 'x' } } }] } },
      'roles.analyst.read.User',
    ],
    [
      'a prohibition on a required field in some rows',
      { read: { User: { fields: 'all' } }, deny: { User: { fields: ['name'], rows: { team: { eq: 'x' } } } } },
      'roles.analyst.read.User',
    ],
    ['a type that the contract lacks', { read: { Agents: { fields: 'all' } } }, 'roles.analyst.read.Agents'],
    ['the word for every type', { read: { all: { fields: 'all' } } }, 'roles.analyst.read.all'],
    ['a field that the contract lacks', { read: { User: { fields: ['key', 'name', 'salary'] } } }, 'roles.analyst.read.User.fields[2]'],
    ['a pattern of fields', { read: { User: { fields: ['key', 'name', 'te*'] } } }, 'roles.analyst.read.User.fields[2]'],
    ['a path of fields', { read: { User: { fields: ['key', 'name', 'toString.call'] } } }, 'roles.analyst.read.User.fields[2]'],
    ['a name of JavaScript as field', { read: { User: { fields: ['key', 'name', 'constructor'] } } }, 'roles.analyst.read.User.fields[2]'],
    ['a name of JavaScript as type', { read: JSON.parse('{ "__proto__": { "fields": "all" } }') as unknown }, 'roles.analyst.read.__proto__'],
    ['no fields', { read: { User: { fields: [] } } }, 'roles.analyst.read.User.fields'],
    ['a grant without fields', { read: { User: { rows: { team: { eq: 'x' } } } } }, 'roles.analyst.read.User'],
    ['rows that are null', { read: { User: { fields: 'all', rows: null } } }, 'roles.analyst.read.User.rows'],
    ['an empty list of grants', { read: { User: [] } }, 'roles.analyst.read.User'],
    ['a key that is unknown', { read: {}, write: {} }, 'roles.analyst.write'],
    ['an empty list of purposes', { read: {}, purposes: [] }, 'roles.analyst.purposes'],
    ['a right on the ledger that is none', { audit: ['list', 'delete'] }, 'roles.analyst.audit[1]'],
    ['a text for a yes', { explain: 'true' }, 'roles.analyst.explain'],
    ['an actor without a subject', { actors: [{ issuer: 'https://id.example' }] }, 'roles.analyst.actors[0]'],
    ['a subject and a class', { actors: [{ issuer: 'https://id.example', subject: 'a', class: 'b' }] }, 'roles.analyst.actors[0]'],
  ])('does not load with %s', (_, role, path) => {
    const loaded = load(role)
    expect(loaded.role).toBeUndefined()
    expect(loaded.paths).toContain(path)
  })
})

// Rows and conditions over few values, so that conditions are often true, and often not.
const TEXTS = ['a', 'b', 'ab', 'é', '\u{10000}', '\uffff'] as const
const DECIMALS = ['-1', '0', '9', '10', '10.5'] as const
const TIMES = ['2026-01-01T00:00:00Z', '2026-01-01T00:00:00.5Z', '2027-01-01T00:00:00Z'] as const

type Nullable = <T>(value: fc.Arbitrary<T>) => fc.Arbitrary<T | null>

function rows(nullable: Nullable): fc.Arbitrary<SubjectRow> {
  const text = nullable(fc.constantFrom(...TEXTS))
  const user = fc.record({ key: fc.constant('u'), name: fc.constantFrom(...TEXTS), team: text })
  const execution = fc.record({ key: fc.constant('e'), status: fc.constantFrom('FAILED', 'QUEUED'), startedAt: fc.constantFrom(...TIMES), error: text })
  return fc.record({
    key: fc.constantFrom('1', '2'),
    name: fc.constantFrom(...TEXTS),
    status: fc.constantFrom('ACTIVE', 'PAUSED', 'ARCHIVED'),
    createdAt: fc.constantFrom(...TIMES),
    description: text,
    monthlyBudget: nullable(fc.constantFrom(...DECIMALS)),
    maxConcurrency: nullable(fc.constantFrom(-1, 9, 10)),
    active: nullable(fc.boolean()),
    owner: nullable(user),
    executions: fc.array(execution, { maxLength: 3 }),
  })
}

/** A `where` over one type. Claims: `team` and `budget` are there, `absent` may not be. */
function conditions(type: 'Agent' | 'User' | 'WorkflowExecution', claims: readonly string[], depth: number): fc.Arbitrary<unknown> {
  const claim = (name: string) => (claims.includes(name) ? [fc.constant({ claim: name })] : [])
  const equal = <T>(values: fc.Arbitrary<T>, extra: fc.Arbitrary<unknown>[] = []) =>
    fc.oneof(
      fc.tuple(fc.constantFrom('eq', 'ne'), fc.oneof(values, ...extra)).map(([op, value]) => ({ [op]: value })),
      fc.tuple(fc.constantFrom('in', 'notIn'), fc.uniqueArray(values, { minLength: 1, maxLength: 2 })).map(([op, list]) => ({ [op]: list })),
      fc.boolean().map((isNull) => ({ isNull })),
    )
  const ordered = <T>(values: fc.Arbitrary<T>, extra: fc.Arbitrary<unknown>[] = []) =>
    fc.oneof(
      equal(values, extra),
      fc.tuple(fc.constantFrom('lt', 'lte', 'gt', 'gte'), fc.oneof(values, ...extra)).map(([op, value]) => ({ [op]: value })),
    )
  const texts = ordered(fc.constantFrom(...TEXTS), [...claim('team'), ...claim('absent')])
  const leaves = {
    User: [texts.map((team) => ({ team })), texts.map((name) => ({ name }))],
    WorkflowExecution: [texts.map((error) => ({ error })), equal(fc.constantFrom('FAILED', 'QUEUED')).map((status) => ({ status }))],
    Agent: [
      texts.map((description) => ({ description })),
      equal(fc.constantFrom('ACTIVE', 'ARCHIVED')).map((status) => ({ status })),
      ordered(fc.constantFrom(...DECIMALS), claim('budget')).map((monthlyBudget) => ({ monthlyBudget })),
      ordered(fc.constantFrom(-1, 9, 10)).map((maxConcurrency) => ({ maxConcurrency })),
      ordered(fc.constantFrom(...TIMES)).map((createdAt) => ({ createdAt })),
      equal(fc.boolean()).map((active) => ({ active })),
    ],
  }[type]
  if (depth === 0) return fc.oneof(...leaves)
  const inner = conditions(type, claims, depth - 1)
  const junctions = [
    fc.tuple(fc.constantFrom('and', 'or'), fc.array(inner, { minLength: 1, maxLength: 2 })).map(([op, list]) => ({ [op]: list })),
    inner.map((term) => ({ not: term })),
  ]
  const relations =
    type === 'Agent'
      ? [
          fc.oneof(conditions('User', claims, depth - 1), fc.constant({})).map((owner) => ({ owner })),
          fc
            .tuple(fc.constantFrom('some', 'none', 'every'), conditions('WorkflowExecution', claims, depth - 1))
            .map(([op, where]) => ({ executions: { [op]: where } })),
          fc.constantFrom('some', 'none').map((op) => ({ executions: { [op]: {} } })),
        ]
      : []
  return fc.oneof(...leaves, ...junctions, ...relations)
}

function roles(claims: readonly string[]): fc.Arbitrary<Role> {
  const where = fc.option(conditions('Agent', claims, 2), { nil: undefined })
  const withRows = (fields: unknown, condition: unknown) => (condition === undefined ? { fields } : { fields, rows: condition })
  const whole = where.map((condition) => withRows('all', condition))
  const partial = fc
    .tuple(fc.subarray(['description', 'configuration', 'owner'], { minLength: 1 }), where)
    .map(([fields, condition]) => withRows(fields, condition))
  const required = where.map((condition) => withRows(REQUIRED, condition))
  const read = fc.tuple(fc.array(fc.oneof(whole, required), { minLength: 1, maxLength: 2 }), fc.array(partial, { maxLength: 2 })).map(([a, b]) => [...b, ...a])
  const deny = fc.array(fc.oneof(partial, whole), { maxLength: 2 })
  return fc
    .tuple(read, deny)
    .map(([grants, prohibitions]) => load({ read: { Agent: grants }, ...(prohibitions.length > 0 && { deny: { Agent: prohibitions } }) }).role)
    .filter((role) => role !== undefined)
}

function fieldRow(type: EntityType, row: SubjectRow): FieldRow {
  return {
    entity: type,
    id: '',
    native: () => null,
    value: (name) => {
      const value = row[name]
      return value === null || value === undefined ? null : String(value).replace(/^(\d{4}-\d\d-\d\dT.*)Z$/, '$1')
    },
    related: (name) => {
      const field = type.fields.get(name)
      const value = row[name]
      if (!field || field.kind === 'value' || value === null || value === undefined) return []
      return (Array.isArray(value) ? value : [value]).map((item) => fieldRow(entity(field.target), item as SubjectRow))
    },
  }
}

const CLAIMS: ReadonlyMap<string, Scalar> = new Map([
  ['team', 'a'],
  ['budget', '10'],
])
const FIELDS = ['name', 'description', 'configuration', 'owner', 'monthlyBudget']

/** Whether we show the cell, and whether CASL does: both where the row shows and its field does. */
function cell(role: Role, row: SubjectRow, field: string): { readonly ours: boolean; readonly theirs: boolean } {
  const holds = (condition: Predicate | undefined) =>
    condition !== undefined && truthOf(condition, fieldRow(entity('Agent'), row), { slots: [], claims: CLAIMS }) === true
  const grant = role.grants.get('Agent')
  const ability = abilityOf(role, CLAIMS)
  const can = (name: string) => ability.can('read', subject('Agent', abilitySubject(entity('Agent'), row, words)), name)
  return { ours: holds(grant?.rows) && holds(grant?.fields.get(field)), theirs: can('key') && can(field) }
}

/** The row with `fallback`'s values where it has nulls; its related rows too. */
function completed(row: SubjectRow, fallback: SubjectRow): SubjectRow {
  const merged = (value: SubjectRow[string] | undefined, other: SubjectRow[string] | undefined): SubjectRow[string] => {
    if (value === null || value === undefined) return other ?? null
    if (Array.isArray(value))
      return value.map((item) => (typeof item === 'object' ? completed(item as SubjectRow, { error: 'a' }) : item)) as SubjectRow[string]
    return typeof value === 'object' && typeof other === 'object' && other !== null ? completed(value as SubjectRow, other as SubjectRow) : value
  }
  return Object.fromEntries([...new Set([...Object.keys(row), ...Object.keys(fallback)])].map((name) => [name, merged(row[name], fallback[name])]))
}

describe('the truth of a condition', () => {
  it('stays what it is, whatever stands where the nulls are', () => {
    const known = conditions('Agent', ['team', 'budget'], 3).filter((where) => !/isNull|"owner":{}/.test(JSON.stringify(where)))
    let decided = 0
    fc.assert(
      fc.property(
        known,
        rows((value) => fc.option(value)),
        rows((value) => value),
        (where, row, fallback) => {
          const condition = parseCondition(where, { type: entity('Agent'), path: [] }, words, new Reading())
          if (!condition) throw new Error('the condition is well-formed')
          const holds = (predicate: Predicate, of: SubjectRow) => truthOf(predicate, fieldRow(entity('Agent'), of), { slots: [], claims: CLAIMS }) === true
          const [isTrue, isFalse, whole] = [holds(truth(condition), row), holds(falsity(condition), row), completed(row, fallback)]
          decided += isTrue || isFalse ? 1 : 0
          expect(isTrue && isFalse).toBe(false)
          if (isTrue) expect(holds(truth(condition), whole)).toBe(true)
          if (isFalse) expect(holds(falsity(condition), whole)).toBe(true)
          // Without nulls there is nothing unknown.
          expect(holds(truth(condition), whole)).toBe(!holds(falsity(condition), whole))
        },
      ),
      { numRuns: 2_000 },
    )
    expect(decided).toBeGreaterThan(500)
  })
})

describe('a role and its CASL ability', () => {
  it('agree, cell by cell, where no value is null', () => {
    fc.assert(
      fc.property(
        roles(['team', 'budget']),
        rows((value) => value),
        fc.constantFrom(...FIELDS),
        (role, row, field) => {
          const { ours, theirs } = cell(role, row, field)
          expect(ours).toBe(theirs)
        },
      ),
      { numRuns: 2_000 },
    )
  })

  it('show a part of what CASL shows where values are null or claims are missing', () => {
    let [shown, hidden] = [0, 0]
    fc.assert(
      fc.property(
        roles(['team', 'budget', 'absent']),
        rows((value) => fc.option(value)),
        fc.constantFrom(...FIELDS),
        (role, row, field) => {
          const { ours, theirs } = cell(role, row, field)
          shown += ours ? 1 : 0
          hidden += !ours && theirs ? 1 : 0
          expect(ours && !theirs).toBe(false)
        },
      ),
      { numRuns: 2_000 },
    )
    expect(shown).toBeGreaterThan(100)
    expect(hidden).toBeGreaterThan(10)
  })

  it('let a claim be nothing but a text: an operator object fits nobody', () => {
    const role = roleOf({ read: { Agent: { fields: 'all', rows: { owner: { team: { eq: { claim: 'team' } } } } } } })
    const row = { key: '1', name: 'a', status: 'ACTIVE', createdAt: '2026-01-01T00:00:00Z', owner: { key: 'u', name: 'u', team: 'red' } }
    const hostile = new Map([['team', { $ne: null } as unknown as Scalar]])
    expect(abilityOf(role, hostile).can('read', subject('Agent', abilitySubject(entity('Agent'), row, words)), 'name')).toBe(false)
    expect(abilityOf(role, new Map([['team', 'red']])).can('read', subject('Agent', abilitySubject(entity('Agent'), row, words)), 'name')).toBe(true)
  })
})
