/**
 * The one suite that every connector passes. The memory connector is the oracle: for random plans, over data chosen to break what is careless, a connector's
 * answer is its answer, byte for byte. `CONTRACT_RUNS` and `CONTRACT_SEED` ask for more, or for other plans; `CONTRACT_PATH` draws one
 * again, and `CONTRACT_SHRINK` looks for a smaller one that fails too.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { type Answer, type Capability, type Chunk, type Connector, type Values } from '../../src/connectors/connector.js'
import { textOf } from '../../src/connectors/texts.js'
import { MemoryConnector } from '../../src/connectors/memory/memory-connector.js'
import { CODES, GatewayError } from '../../src/errors.js'
import type { OwnerGrant } from '../../src/policy/authority.js'
import { restrict } from '../../src/policy/restrict.js'
import type { AuthorizedPlan, ListPlan, PageStart, Plan, ReadableView, RowSelection } from '../../src/query/plan.js'
import { planOver } from '../../src/query/plan.js'
import type { Operand, Predicate, Scalar } from '../../src/query/predicate.js'
import { ALL } from '../../src/query/predicate.js'
import type { ContractData } from './contract-data.js'
import { contractData, ORGANIZATION } from './contract-data.js'
import { Draw } from './contract-plans.js'

export interface ContractHarness {
  /** A connector to a store that holds the data. */
  readonly connector: Connector
  /** Like the other, but its store fails at every statement, with words that no client may see. */
  readonly broken: Connector
  /** A statement of the store that lasts for longer than anybody waits, so that it must be cancelled; null where the connector does not claim `cancel`. */
  readonly endless: Connector | null
  close(): Promise<void>
}

export type MakeHarness = (data: ContractData) => Promise<ContractHarness>

const RUNS = Number(process.env.CONTRACT_RUNS ?? 60)
const SEED = Number(process.env.CONTRACT_SEED ?? 20_261_123)
const CALLER = 'aurora'

/** More than any answer here has, and less than most. */
const AMPLE_BYTES = 64 * 1024 * 1024
const TINY_BYTES = 100

/** An answer that was read to its end. */
interface ReadAnswer {
  readonly totalCount: number | null
  readonly rows: readonly { readonly texts: readonly string[]; readonly keys: readonly (string | null)[] }[]
}

async function readAnswers(answers: readonly Answer[]): Promise<readonly ReadAnswer[]> {
  const read: ReadAnswer[] = []
  for (const { first, rest } of answers) {
    const chunks = [first]
    if (rest) for await (const chunk of rest) chunks.push(chunk)
    const totals = chunks.flatMap(({ totalCount }) => (totalCount === null ? [] : [totalCount]))
    expect(totals.length).toBeLessThanOrEqual(1)
    read.push({ totalCount: totals[0] ?? null, rows: chunks.flatMap(rowsOf) })
  }
  return read
}

function rowsOf({ count, texts, keys }: Chunk): ReadAnswer['rows'] {
  for (const column of texts) expect(column.count).toBe(count)
  for (const column of keys) expect(column).toHaveLength(count)
  return Array.from({ length: count }, (_, row) => ({
    texts: texts.map((column) => textOf(column.at(row))),
    keys: keys.map((column) => column[row] ?? null),
  }))
}

interface Asked {
  readonly plan: AuthorizedPlan
  readonly values: Values
}

/** `data`: what the store can hold of the suite's own, where that is not all; `deadlineMs`: of a statement that answers. */
export function connectorContract(
  name: string,
  makeHarness: MakeHarness,
  { data = contractData(), deadlineMs = 10_000 }: { readonly data?: ContractData; readonly deadlineMs?: number } = {},
): void {
  const list = (type: string, where: Predicate): Plan => listOf(data, type, where)
  describe(`the connector contract, kept by ${name}`, () => {
    let harness: ContractHarness
    let oracle: Connector

    beforeAll(async () => {
      oracle = memoryOf(data)
      harness = await makeHarness(data)
    }, 120_000)
    afterAll(async () => {
      await harness?.close()
    })

    const ask = async (connector: Connector, asked: readonly Asked[], bufferBytes = AMPLE_BYTES): Promise<readonly ReadAnswer[]> => {
      const statements = asked.map(({ plan, values }) => ({ native: connector.compile(connector === oracle ? plan : held(plan, data)).native, values }))
      return readAnswers(await connector.execute(statements, CALLER, { signal: new AbortController().signal, deadlineMs, bufferBytes }))
    }

    /** Whole, and in pieces. */
    const same = async (asked: readonly Asked[]): Promise<readonly ReadAnswer[]> => {
      const expected = await ask(oracle, asked)
      for (const bufferBytes of [AMPLE_BYTES, TINY_BYTES]) {
        const given = await ask(harness.connector, asked, bufferBytes).catch(async (error: unknown) => {
          // One of several: find it, so that the failure tells which.
          if (asked.length > 1) for (const one of asked) await same([one])
          throw new Error(`the store failed.\n${asked.map((one) => explained(harness.connector, one, data)).join('\n')}`, { cause: rootCause(error) })
        })
        for (const [index, one] of asked.entries())
          if (printed(given[index]) !== printed(expected[index])) fail(printed(given[index]), printed(expected[index]), explained(harness.connector, one, data))
      }
      return expected
    }

    describe('random plans', () => {
      for (const root of data.catalog.entities.keys()) {
        it(`give the same bytes as in memory, from \`${root}\``, async () => {
          console.info(`contract: seed ${SEED}, ${RUNS} runs from ${root}`)
          await holds(
            fc.asyncProperty(fc.gen(), async (g) => {
              const draw = new Draw(g, data, harness.connector.capabilities)
              const grant = draw.grant(root)
              const plan = draw.plan(root, grant)
              const claims = draw.claims()
              const read = async (list: Plan): Promise<readonly ReadAnswer[]> =>
                ask(oracle, [{ plan: authorized(list, grant, data), values: { slots: draw.slots, claims } }])
              const starts = await drawnStarts(plan, draw, read)
              await same([{ plan: authorized(plan, grant, data, starts), values: { slots: draw.slots, claims } }])
            }),
          )
        }, 600_000)
      }
    })

    describe('random traversals', () => {
      it('give the same bytes as in memory, whatever is hidden on the way', async () => {
        if (!harness.connector.capabilities.has('traverse')) return
        let walked = 0
        await holds(
          fc.asyncProperty(fc.gen(), async (g) => {
            const draw = new Draw(g, data, harness.connector.capabilities)
            const root = draw.pick(['Thing', 'Person', 'Place'])
            const grant = draw.grant(root)
            const plan = draw.traversals(root, grant)
            if (!plan) return
            const asked = { plan: authorized(plan, grant, data), values: { slots: draw.slots, claims: draw.claims() } }
            await same([asked])
            walked += 1
          }),
        )
        expect(walked).toBeGreaterThan(RUNS / 2)
      }, 600_000)
    })

    describe('values', () => {
      it('keep their meaning whatever text they are, as value of a parameter and in every answer', async () => {
        const texts = fc.string({ unit: 'binary' }).filter((text) => !text.includes('\0'))
        await fc.assert(
          fc.asyncProperty(texts, async (text) => {
            const slot: Operand = { kind: 'slot', index: 0 }
            const values: Values = { slots: [text, [text]], claims: new Map() }
            const predicates: Predicate[] = [
              ...(['=', '<=', '>'] as const).map((op): Predicate => ({ kind: 'compare', field: 'name', op, operand: slot })),
              { kind: 'in', field: 'code', operand: { kind: 'slot', index: 1 } },
              ...(['startsWith', 'contains'] as const)
                .filter(() => harness.connector.capabilities.has('filterText'))
                .map((kind): Predicate => ({ kind, field: 'name', operand: slot })),
              { kind: 'listContains', field: 'tags', operand: { kind: 'slot', index: 1 } },
            ]
            await same(predicates.map((where) => ({ plan: authorized(list('Thing', where), everything(data), data), values })))
          }),
          { seed: SEED, numRuns: Math.min(RUNS, 50) },
        )
      }, 600_000)

      it('match nothing when they are claims of another shape or type than the column', async () => {
        const shapes: (Scalar | readonly Scalar[])[] = [
          '041',
          41,
          41.5,
          true,
          ['41'],
          [41],
          [],
          'x\0',
          '\ud800',
          '2026-02-30T00:00:00Z',
          '1e400',
          Number.MAX_VALUE,
          -0,
          '٤١',
          'ACTIVE',
        ]
        const fields = [...(data.catalog.entities.get('Thing')?.fields.values() ?? [])].filter(
          (field) => field.kind === 'value' && !field.list && !field.vector && field.type.name !== 'JSON' && !data.apart?.fields.has(field.name),
        )
        const asked = shapes.flatMap((claim) =>
          fields.flatMap(({ name: field }) => {
            const operand: Operand = { kind: 'claim', name: 'claim' }
            const conditions: Predicate[] = [
              { kind: 'compare', field, op: '=', operand },
              { kind: 'not', term: { kind: 'in', field, operand } },
            ]
            return conditions.map((rows) => ({
              plan: authorized(list('Thing', ALL), limited(data, rows), data),
              values: { slots: [], claims: new Map([['claim', claim]]) },
            }))
          }),
        )
        // Where few plans are drawn, since the store is slow, few of these are asked.
        const some = RUNS < 100 ? asked.filter((_, index) => index % 7 === 0) : asked
        for (let start = 0; start < some.length; start += 50) await same(some.slice(start, start + 50))
      }, 600_000)

      it('match nothing when the token does not have the claim', async () => {
        const condition: Predicate = { kind: 'compare', field: 'name', op: '=', operand: { kind: 'claim', name: '__proto__' } }
        for (const rows of [condition, { kind: 'not', term: condition } as const]) {
          const [chunk] = await same([{ plan: authorized(list('Thing', ALL), limited(data, rows), data), values: { slots: [], claims: new Map() } }])
          expect(chunk?.rows).toEqual([])
        }
      })
    })

    describe('what is claimed', () => {
      it('is pushed down whole: nothing is left to do for the gateway', () => {
        const { connector } = harness
        expect(connector.compile(authorized(list('Thing', mixed(connector.capabilities)), everything(data), data)).residual).toEqual(ALL)
      })

      it('is all that is answered: a condition of another kind is refused', () => {
        const { connector } = harness
        for (const [capability, term] of MIXED) {
          if (connector.capabilities.has(capability) || !isKnown(data, term)) continue
          const refused = codeOf(() => connector.compile(authorized(list('Thing', term), everything(data), data)).residual)
          expect([capability, refused]).toEqual([capability, 'FIELD_NOT_USABLE'])
        }
      })

      it('shows in what the store is asked, with places for values and not the values', () => {
        const { connector } = harness
        const secret = 'a value that nobody may read in a log'
        const asked: Asked = {
          plan: authorized(list('Thing', mixed(connector.capabilities)), everything(data), data),
          values: { slots: [secret, [secret], '{}'], claims: new Map() },
        }
        expect(connector.describe(connector.compile(asked.plan).native)).not.toContain(secret)
        expect(connector.describe(connector.compile(asked.plan).native)).not.toBe('')
      })
    })

    describe('several statements', () => {
      it('are answered in their order, each as if it were alone', async () => {
        const plans = ['Thing', 'Ghost', 'Person', 'Ghost', 'Token'].map((type) => authorized(list(type, ALL), everything(data), data))
        const asked = plans.map((plan) => ({ plan, values: { slots: [], claims: new Map<string, Scalar>() } }))
        const together = await same(asked)
        for (const [index, one] of asked.entries()) expect((await same([one]))[0]).toEqual(together[index])
      })

      it('may be none', async () => {
        expect(await ask(harness.connector, [])).toEqual([])
      })
    })

    describe('requests at one time', () => {
      it('are answered each as if it were alone, lookups by key above all', async () => {
        for (const type of ['Thing', 'Person']) {
          const entity = data.catalog.entities.get(type)
          const where: Predicate = {
            kind: 'and',
            terms: (entity?.key ?? []).map((field, index) => ({ kind: 'compare', field, op: '=', operand: { kind: 'slot', index } })),
          }
          const one = list(type, where)
          if (one.kind !== 'list') throw new Error('a list was asked for')
          const fields = one.list.fields.filter(({ kind }) => kind === 'nodes')
          const plan = authorized({ ...one, list: { ...one.list, limit: { kind: 'constant', value: 1 }, fields } }, everything(data), data)
          const lookups = [...data.keys(type), ...data.keys(type)].map((key) => [{ plan, values: { slots: key, claims: NO_VALUES.claims } }])
          for (let start = 0; start < lookups.length; start += 60) {
            const asked = lookups.slice(start, start + 60)
            const given = await Promise.all(asked.map(async (lookup) => ask(harness.connector, lookup)))
            for (const [index, lookup] of asked.entries()) expect(printed(given[index]?.[0])).toBe(printed((await ask(oracle, lookup))[0]))
          }
        }
      }, 600_000)
    })

    describe('an end that comes early', () => {
      const plan = (): AuthorizedPlan => authorized(list('Thing', ALL), everything(data), data)

      it('is SOURCE_TIMEOUT when the signal was aborted before', async () => {
        const { connector } = harness
        const statement = { native: connector.compile(plan()).native, values: NO_VALUES }
        const execution = connector.execute([statement], CALLER, { signal: AbortSignal.abort(), deadlineMs: 10_000, bufferBytes: AMPLE_BYTES })
        await expect(execution).rejects.toMatchObject({ code: 'SOURCE_TIMEOUT' })
      })

      it('is the reason of the signal where that is one of ours', async () => {
        const { connector } = harness
        const statement = { native: connector.compile(plan()).native, values: NO_VALUES }
        const signal = AbortSignal.abort(new GatewayError('CANCELLED', 'the caller went away'))
        await expect(connector.execute([statement], CALLER, { signal, deadlineMs: 10_000, bufferBytes: AMPLE_BYTES })).rejects.toMatchObject({
          code: 'CANCELLED',
        })
      })

      it('reaches the store within 250 ms, and leaves the connector usable', async () => {
        const { endless, connector } = harness
        expect(endless !== null).toBe(connector.capabilities.has('cancel'))
        if (!endless) return
        const controller = new AbortController()
        const statement = { native: endless.compile(plan()).native, values: NO_VALUES }
        const execution = endless.execute([statement], CALLER, { signal: controller.signal, deadlineMs: 10_000, bufferBytes: AMPLE_BYTES })
        const settled = expect(execution).rejects.toMatchObject({ code: 'SOURCE_TIMEOUT' })
        await new Promise((resolve) => setTimeout(resolve, 200))
        const abortedAt = performance.now()
        controller.abort()
        await settled
        expect(performance.now() - abortedAt).toBeLessThan(250)
        await same([{ plan: plan(), values: NO_VALUES }])
      }, 30_000)
    })

    describe('a store that fails', () => {
      it('is SOURCE_UNAVAILABLE, and nothing of its words reaches the client', async () => {
        const { broken } = harness
        const statement = { native: broken.compile(authorized(list('Thing', ALL), everything(data), data)).native, values: NO_VALUES }
        const failure: unknown = await broken
          .execute([statement], CALLER, { signal: new AbortController().signal, deadlineMs: 10_000, bufferBytes: AMPLE_BYTES })
          .catch((error: unknown) => error)
        expect(failure).toBeInstanceOf(GatewayError)
        if (!(failure instanceof GatewayError)) return
        expect(failure.code).toBe('SOURCE_UNAVAILABLE')
        expect(failure.message).toBe(CODES.SOURCE_UNAVAILABLE.message)
        expect(JSON.stringify(failure)).not.toMatch(/secret|relation|postgres/i)
        expect(failure.detail).not.toMatch(/secret words/)
      })
    })
  })
}

/** Random plans are long lists of numbers to fast-check, so the failure tells the plan itself, and the seed and path that draw it again. */
async function holds(property: fc.IAsyncProperty<[fc.GeneratorValue]>): Promise<void> {
  const path = process.env.CONTRACT_PATH
  const isShrunk = process.env.CONTRACT_SHRINK !== undefined
  const details = await fc.check(property, { seed: SEED, numRuns: RUNS, unbiased: true, endOnFailure: !isShrunk, ...(path === undefined ? {} : { path }) })
  if (details.failed) throw new Error(`a random plan failed; seed ${SEED}, path ${details.counterexamplePath}`, { cause: details.errorInstance })
}

const NO_VALUES: Values = { slots: [], claims: new Map() }

export function memoryOf(data: ContractData): MemoryConnector {
  return new MemoryConnector({
    store: 'memory',
    tables: data.tables,
    pseudonymKey: (grantee) => {
      const key = data.pseudonymKeys.get(grantee)
      if (!key) throw new Error('no key for this grantee')
      return key
    },
  })
}

function authorized(plan: Plan, grant: OwnerGrant, { catalog, binding }: ContractData, starts: ReadonlyMap<string, PageStart> = new Map()): AuthorizedPlan {
  return restrict(plan, grant, { catalog, binding, caller: CALLER, starts })
}

/** As the store under test holds it. */
function held(plan: AuthorizedPlan, { apart }: ContractData): AuthorizedPlan {
  if (!apart) return plan
  const views = [...plan.views].map(([type, view]): [string, ReadableView] => {
    const bound = apart.binding.types.get(type)
    return [type, bound?.kind === 'table' ? { ...view, source: bound } : view]
  })
  return { ...planOver(plan, plan.plan), binding: apart.binding, views: new Map(views) }
}

/** Every value field of a type, in one page that holds all rows. */
function listOf({ catalog }: ContractData, type: string, where: Predicate): Plan {
  const names = [...(catalog.entities.get(type)?.fields.values() ?? [])].flatMap((field) => (field.kind === 'value' ? [field.name] : []))
  const row: RowSelection = {
    type,
    fields: [{ kind: 'id', responseKey: 'id' }, ...names.map((field) => ({ kind: 'value', responseKey: field, field }) as const)],
  }
  const fields: ListPlan['fields'] = [
    { kind: 'nodes', responseKey: 'nodes', row },
    { kind: 'totalCount', responseKey: 'totalCount' },
  ]
  return {
    kind: 'list',
    withKeys: true,
    list: { type, where, order: [], search: null, limit: { kind: 'constant', value: 1_000 }, backward: false, cursor: null, fields, path: 'root' },
  }
}

/** Something for each capability of filtering. */
const FIRST: Operand = { kind: 'slot', index: 0 }
const MIXED: readonly (readonly [Capability, Predicate])[] = [
  ['filter', { kind: 'compare', field: 'name', op: '=', operand: FIRST }],
  ['filterText', { kind: 'contains', field: 'name', operand: FIRST }],
  ['filterText', { kind: 'startsWith', field: 'name', operand: FIRST }],
  ['filterText', { kind: 'like', field: 'name', operand: FIRST, fold: true }],
  ['filter', { kind: 'in', field: 'code', operand: { kind: 'slot', index: 1 } }],
  ['filterJson', { kind: 'jsonContains', field: 'data', operand: { kind: 'slot', index: 2 } }],
  ['filterRelation', { kind: 'related', field: 'owner', where: { kind: 'compare', field: 'name', op: '=', operand: FIRST } }],
]

function mixed(capabilities: ReadonlySet<Capability>): Predicate {
  return { kind: 'and', terms: MIXED.flatMap(([capability, term]) => (capabilities.has(capability) ? [term] : [])) }
}

/** Whether the data have the field that a condition speaks of. */
function isKnown({ catalog }: ContractData, term: Predicate): boolean {
  return 'field' in term && term.field !== null && catalog.entities.get('Thing')?.fields.has(term.field) === true
}

/** The code that it is refused with; else what it gives. */
function codeOf(run: () => unknown): unknown {
  try {
    return run()
  } catch (error) {
    return error instanceof GatewayError ? error.code : error
  }
}

function everything({ catalog }: ContractData): OwnerGrant {
  const types = [...catalog.entities.values()].map((entity) => {
    const fields = new Map([...entity.fields.keys()].map((field) => [field, { kind: 'plain' } as const]))
    return [entity.name, { type: entity.name, rows: ALL, fields, source: { kind: 'roles', roles: [], version: 1, digest: '' } }] as const
  })
  return { organization: ORGANIZATION, types: new Map(types) }
}

/** Things under a row condition; all else is seen. */
function limited(data: ContractData, rows: Predicate): OwnerGrant {
  const grant = everything(data)
  const things = grant.types.get('Thing')
  if (!things) throw new Error('things are granted')
  return { ...grant, types: new Map([...grant.types, ['Thing', { ...things, rows }]]) }
}

/** Cursors for some of a plan's lists, each at a row that the list has: slots for them come after those of the request. */
async function drawnStarts(plan: Plan, draw: Draw, read: (list: Plan) => Promise<readonly ReadAnswer[]>): Promise<ReadonlyMap<string, PageStart>> {
  const starts = new Map<string, PageStart>()
  if (plan.kind !== 'list') return starts
  for (const one of listsOf(plan.list)) {
    if (!draw.chance(30)) continue
    const whole: Plan = { kind: 'list', withKeys: true, list: { ...one, fields: [], limit: { kind: 'constant', value: 1_000 } } }
    // A list under a type that is not granted is null, and has no rows to start from.
    const [chunk] = await read(whole).catch(() => [])
    if (!chunk || chunk.rows.length === 0) continue
    const { keys } = draw.pick(chunk.rows)
    const values = keys.slice(0, one.order.length)
    const slot = (text: string | null): Operand => ({ kind: 'slot', index: draw.slots.push(text) - 1 })
    starts.set(one.path, {
      side: one === plan.list ? draw.pick(['before', 'same', 'after'] as const) : 'same',
      nulls: values.map((value) => value === null),
      values: values.map(slot),
      key: keys.slice(one.order.length).map(slot),
    })
  }
  return starts
}

function listsOf(list: ListPlan): ListPlan[] {
  const rows = list.fields.flatMap((field) => {
    if (field.kind === 'nodes') return [field.row]
    return field.kind === 'edges' ? field.fields.flatMap((edge) => (edge.kind === 'node' ? [edge.row] : [])) : []
  })
  return [list, ...rows.flatMap(nestedLists)]
}

function nestedLists(row: RowSelection): ListPlan[] {
  return row.fields.flatMap((field) => (field.kind === 'list' ? listsOf(field.list) : field.kind === 'toOne' ? nestedLists(field.row) : []))
}

// --- what to read when it fails ----------------------------------------------------------------------------------------------------------------------------------

function explained(connector: Connector, { plan, values }: Asked, data: ContractData): string {
  const print = (value: unknown): string =>
    JSON.stringify(value, (_, inner: unknown) => (inner instanceof Map ? Object.fromEntries(inner as Map<string, unknown>) : inner))
  const views = [...plan.views.values()].map(({ type, rows, fields }) => {
    const hidden = [...fields].filter(([, shown]) => shown.kind !== 'plain')
    return `view ${type}: rows ${print(rows)} fields ${print(Object.fromEntries(hidden))}`
  })
  return [
    `plan: ${print(plan.plan)}`,
    ...views,
    `starts: ${print(plan.starts)}`,
    `values: ${print(values)}`,
    `asked: ${connector.describe(connector.compile(held(plan, data)).native)}`,
  ].join('\n')
}

function printed(answer: ReadAnswer | undefined): string {
  return answer ? JSON.stringify([answer.totalCount, answer.rows.map(({ texts, keys }) => [texts, keys])]) : 'nothing'
}

function fail(a: string, b: string, explanation: string): never {
  const at = [...a].findIndex((_, index) => a[index] !== b[index])
  const around = (text: string): string =>
    text.slice(Math.max(0, (at < 0 ? Math.min(a.length, b.length) : at) - 120), (at < 0 ? Math.min(a.length, b.length) : at) + 200)
  throw new Error(`answers differ.\n  store:  …${around(a)}…\n  memory: …${around(b)}…\n${explanation}`)
}

function rootCause(error: unknown): unknown {
  return error instanceof Error && error.cause !== undefined ? rootCause(error.cause) : error
}
