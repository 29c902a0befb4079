import { describe, expect, it } from '@jest/globals'
import { compileStatement } from '../../../src/connectors/sql/statement.js'
import { restrict } from '../../../src/policy/restrict.js'
import type { ConnectionField, ListPlan, RowSelection } from '../../../src/query/plan.js'
import { ALL } from '../../../src/query/predicate.js'
import { contractData, ORGANIZATION } from '../contract-data.js'

const { catalog, binding } = contractData()

/** The SQL of a list of readings, all of which are seen. */
function textOf(fields: readonly ConnectionField[], { withKeys }: { readonly withKeys: boolean }): string {
  const types = [...catalog.entities.values()].map((entity) => {
    const shown = new Map([...entity.fields.keys()].map((field) => [field, { kind: 'plain' } as const]))
    const source = { kind: 'roles', roles: [], version: 1, digest: '' } as const
    return [entity.name, { type: entity.name, rows: ALL, fields: shown, source }] as const
  })
  const grant = { organization: ORGANIZATION, types: new Map(types) }
  const plan = restrict({ kind: 'list', list: listOf('Reading', fields), withKeys }, grant, { catalog, binding, caller: 'aurora', starts: new Map() })
  const statement = compileStatement(plan)
  return statement.kind === 'statement' ? statement.text : statement.kind
}

function listOf(type: string, fields: readonly ConnectionField[]): ListPlan {
  return { type, where: ALL, order: [], search: null, limit: { kind: 'constant', value: 10 }, backward: false, cursor: null, fields, path: 'list' }
}

const row: RowSelection = { type: 'Reading', fields: [{ kind: 'typename', responseKey: '__typename' }] }
const NODES: ConnectionField = { kind: 'nodes', responseKey: 'nodes', row }
const TOTAL: ConnectionField = { kind: 'totalCount', responseKey: 'totalCount' }

describe('the statement of a list', () => {
  it('selects sort values and key where the plan asks for them, and nothing but rows where it does not', () => {
    expect(textOf([NODES], { withKeys: true })).toMatch(/^SELECT format\('\{"__typename":"Reading"\}'\), .+ FROM/)
    expect(textOf([NODES], { withKeys: false })).toMatch(/^SELECT format\('\{"__typename":"Reading"\}'\) FROM/)
  })

  it('counts without keys and without rows', () => {
    expect(textOf([TOTAL], { withKeys: false })).toContain(`LEFT JOIN (SELECT '1' AS present FROM`)
  })
})
