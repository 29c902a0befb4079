import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import pg from 'pg'
import { Pace } from '../../../src/connectors/postgres/pace.js'
import type { Answer, Chunk, ExecuteOptions, Statement } from '../../../src/connectors/connector.js'
import { textOf } from '../../../src/connectors/texts.js'
import { PostgresConnector, type PostgresNative, type PostgresOptions } from '../../../src/connectors/postgres/connector.js'
import { GatewayError } from '../../../src/errors.js'
import { eventually } from '../../support/eventually.js'
import type { TestDatabase, TestPostgres } from '../../support/postgres.js'
import { startTestPostgres, withClient } from '../../support/postgres.js'

let server: TestPostgres
let database: TestDatabase
const connectors: PostgresConnector[] = []
beforeAll(async () => {
  server = await startTestPostgres()
  database = await server.createDatabase()
}, 120_000)
afterEach(async () => {
  await Promise.all(connectors.splice(0).map((connector) => connector.close()))
})
afterAll(async () => {
  await server?.stop()
}, 60_000)

const POOL = { max: 2, waitingMax: 10, connectMs: 5_000, idleMs: 60_000 }

function connectorWith(options: Partial<PostgresOptions> = {}): PostgresConnector {
  const connection = { connectionString: database.url(), application_name: 'gateway' }
  const connector = new PostgresConnector({ store: 'main', connection, pool: POOL, named: true, preparedMax: 3, ...options })
  connectors.push(connector)
  return connector
}

/** A statement whose first columns are texts, and the others keys; values are texts. */
function asked(text: string, { texts = 1, values = [] as readonly string[] } = {}): Statement<PostgresNative> {
  const parameters = values.map((value) => ({ operand: { kind: 'constant', value }, encoding: { kind: 'text' }, cast: 'text' }) as const)
  const name = `q_${Buffer.from(text).toString('base64url').slice(0, 50)}`
  return {
    native: { kind: 'statement', text, name, parameters, texts, hasTotal: false, pace: Pace.unknown(), exact: null },
    values: { slots: [], claims: new Map() },
  }
}

function within(options: Partial<ExecuteOptions> = {}): ExecuteOptions {
  return { signal: new AbortController().signal, deadlineMs: 30_000, bufferBytes: 1_000, ...options }
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const outcome: unknown = await work.catch((error: unknown) => error)
  return outcome instanceof GatewayError ? outcome.code : outcome instanceof Error ? outcome.message : 'none'
}

/** Statements that the gateway has under way. */
async function underWay(): Promise<number> {
  return withClient(database.url(), async (client) => {
    const { rows } = await client.query("SELECT FROM pg_stat_activity WHERE application_name = 'gateway' AND state <> 'idle'")
    return rows.length
  })
}

async function connections(): Promise<number> {
  return withClient(database.url(), async (client) => (await client.query("SELECT FROM pg_stat_activity WHERE application_name = 'gateway'")).rows.length)
}

async function* chunksOf({ first, rest }: Answer): AsyncGenerator<Chunk> {
  yield first
  if (rest) yield* rest
}

async function textsOf(answer: Answer | undefined): Promise<string[]> {
  const texts: string[] = []
  if (answer) for await (const chunk of chunksOf(answer)) texts.push(...[...(chunk.texts[0] ?? [])].map(textOf))
  return texts
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const MANY = 200_000
const manyRows = (rows = MANY): Statement<PostgresNative> => asked(`SELECT i || repeat('x', 250), i FROM (SELECT generate_series(1, ${rows}) AS i) AS s`)

describe('an answer larger than its buffer', () => {
  it('comes whole and in order, in pieces of about the size of the buffer', async () => {
    const [answer] = await connectorWith().execute([manyRows(5_000)], 'aurora', within({ bufferBytes: 10_000 }))
    const keys: (string | null)[] = []
    for await (const { count, texts, keys: columns } of chunksOf(answer!)) {
      expect(texts[0]!.count).toBe(count)
      expect([...texts[0]!].join('').length).toBeLessThan(11_000)
      keys.push(...(columns[0] ?? []))
    }
    expect(keys).toEqual(Array.from({ length: 5_000 }, (_, index) => String(index + 1)))
  })

  it('takes no more memory for more rows, and the store waits for who reads slowly', async () => {
    const [answer] = await connectorWith().execute([manyRows()], 'aurora', within({ bufferBytes: 256 * 1024 }))
    const used = (): number => {
      const { heapUsed, external } = process.memoryUsage()
      return heapUsed + external
    }
    const before = used()
    let [rows, most] = [0, 0]
    for await (const { count } of chunksOf(answer!)) {
      rows += count
      if (rows % 40 === 0) await pause(1)
      most = Math.max(most, used() - before)
    }
    expect(rows).toBe(MANY)
    expect(most).toBeLessThan(48 * 1024 * 1024)
  }, 60_000)

  it('may have rows larger than the buffer, which come whole', async () => {
    const sizes = [3_000_000, 10, 70_000, 0, 65_531, 1]
    const text = `SELECT repeat('é', size / 2) || repeat('x', size % 2), size FROM unnest(ARRAY[${sizes}]) WITH ORDINALITY AS s(size, n) ORDER BY n`
    const [answer] = await connectorWith().execute([asked(text)], 'aurora', within({ bufferBytes: 100 }))
    expect((await textsOf(answer)).map((given) => Buffer.byteLength(given))).toEqual(sizes)
  })

  it('leaves the connection to others when it was read to its end', async () => {
    const connector = connectorWith({ pool: { ...POOL, max: 1 } })
    for (let turn = 0; turn < 3; turn += 1) {
      const [answer] = await connector.execute([manyRows(500)], 'aurora', within())
      expect(await textsOf(answer)).toHaveLength(500)
    }
    expect(await connections()).toBe(1)
  })

  it('is no burden to the store once its reader has left', async () => {
    const connector = connectorWith()
    const [answer] = await connector.execute([manyRows(50_000_000)], 'aurora', within())
    expect(await underWay()).toBe(1)
    for await (const _ of answer!.rest!) break
    await eventually(async () => expect(await underWay()).toBe(0), 1_000)
    expect(await codeOf(answer!.rest![Symbol.asyncIterator]().next())).toBe('CANCELLED')
    expect(await textsOf((await connector.execute([asked(`SELECT '1'`)], 'aurora', within()))[0])).toEqual(['1'])
  })

  it('is no burden to the store once the signal is aborted, though nobody reads', async () => {
    const controller = new AbortController()
    const [answer] = await connectorWith().execute([manyRows(50_000_000)], 'aurora', within({ signal: controller.signal }))
    await pause(300)
    expect(await underWay()).toBe(1)
    controller.abort(new GatewayError('CANCELLED', 'the caller went away'))
    await eventually(async () => expect(await underWay()).toBe(0), 1_000)
    expect(await codeOf(textsOf(answer))).toBe('CANCELLED')
  })

  it('that waits for rows ends with the signal', async () => {
    const controller = new AbortController()
    const text = `SELECT repeat('x', 2000), pg_sleep(CASE WHEN i > 50 THEN 60 ELSE 0 END)::text FROM generate_series(1, 100) AS i`
    const [answer] = await connectorWith().execute([asked(text)], 'aurora', within({ signal: controller.signal }))
    const reading = codeOf(textsOf(answer))
    await pause(200)
    controller.abort()
    expect(await reading).toBe('SOURCE_TIMEOUT')
    await eventually(async () => expect(await underWay()).toBe(0), 1_000)
  })

  it('that fails midway says so to its reader, in our words', async () => {
    const [answer] = await connectorWith().execute([asked(`SELECT (100000 / (9000 - i))::text FROM generate_series(1, 10000) AS i`)], 'aurora', within())
    const failure: unknown = await textsOf(answer).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'SOURCE_UNAVAILABLE', cause: { code: '22012', severity: 'ERROR', name: 'error' } })
    expect((failure as GatewayError).cause).toBeInstanceOf(pg.DatabaseError)
  })

  it('is lost with its connection', async () => {
    const [answer] = await connectorWith().execute([manyRows(50_000_000)], 'aurora', within())
    await withClient(database.url(), (client) => client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gateway'"))
    expect(await codeOf(textsOf(answer))).toBe('SOURCE_UNAVAILABLE')
  })

  it('ends at the time that the store may work, when nobody is there to cancel it', async () => {
    const connector = connectorWith()
    const started = performance.now()
    expect(await codeOf(connector.execute([asked('SELECT pg_sleep(60)::text')], 'aurora', within({ deadlineMs: 100 })))).toBe('SOURCE_UNAVAILABLE')
    expect(performance.now() - started).toBeLessThan(5_000) // 1.1 s, and a connection
  })
})

describe('several answers of one request', () => {
  const three = [asked(`SELECT 'a'`), manyRows(2_000), asked(`SELECT repeat('b', 5000) FROM generate_series(1, 20)`)]

  it('are given one after the other', async () => {
    const [first, second, third] = await connectorWith().execute(three, 'aurora', within())
    expect(first).toMatchObject({ first: { count: 1, keys: [], totalCount: null }, rest: null })
    expect(await textsOf(first)).toEqual(['a'])
    expect(third!.first.count).toBe(0)
    expect(await textsOf(second)).toHaveLength(2_000)
    expect((await textsOf(third)).join('')).toBe('b'.repeat(100_000))
  })

  it('are kept for a while, for one who reads a later one first', async () => {
    const [, second, third] = await connectorWith().execute(three, 'aurora', within({ bufferBytes: 450_000 }))
    expect(await textsOf(third)).toHaveLength(20)
    expect(await textsOf(second)).toHaveLength(2_000)
  })

  it('are refused to one who reads a later one first when there is no room for those before it', async () => {
    const [, second, third] = await connectorWith().execute(three, 'aurora', within())
    expect(await codeOf(textsOf(third))).toMatch(/^invariant/)
    expect(await codeOf(textsOf(second))).toMatch(/^invariant/)
    await eventually(async () => expect(await underWay()).toBe(0), 1_000)
  })

  it('may be read at the same time', async () => {
    const [, second, third] = await connectorWith().execute(three, 'aurora', within())
    const slowly = (async () => {
      let rows = 0
      for await (const { count } of chunksOf(second!)) {
        rows += count
        if (rows > second!.first.count) await pause(1)
      }
      return rows
    })()
    expect(await textsOf(third)).toHaveLength(20)
    expect(await slowly).toBe(2_000)
  })
})

describe('connections', () => {
  const one = asked(`SELECT '1'`)
  const sleep = (seconds: number): Statement<PostgresNative> => asked(`SELECT pg_sleep(${seconds})::text`)

  it('are no more than the pool has, and as many requests wait as may', async () => {
    const connector = connectorWith({ pool: { ...POOL, waitingMax: 3 } })
    const codes = await Promise.all(Array.from({ length: 6 }, () => codeOf(connector.execute([sleep(0.3)], 'aurora', within()))))
    expect(codes).toEqual(['none', 'none', 'none', 'none', 'none', 'SOURCE_BUSY'])
    expect(await connections()).toBe(2)
  })

  it('are not waited for by one who has gone', async () => {
    const connector = connectorWith({ pool: { ...POOL, max: 1, waitingMax: 1 } })
    const running = connector.execute([sleep(0.5)], 'aurora', within())
    const controller = new AbortController()
    const gone = codeOf(connector.execute([one], 'aurora', within({ signal: controller.signal })))
    controller.abort(new GatewayError('CANCELLED', 'the caller went away'))
    expect(await gone).toBe('CANCELLED')
    expect(await codeOf(connector.execute([one], 'aurora', within()))).toBe('none') // there is room in the queue again
    await running
  })

  it('that nobody uses are closed, and the last used is used first', async () => {
    const connector = connectorWith({ pool: { ...POOL, idleMs: 400 } })
    await Promise.all([connector.execute([sleep(0.1)], 'aurora', within()), connector.execute([sleep(0.1)], 'aurora', within())])
    expect(await connections()).toBe(2)
    for (let turn = 0; turn < 12; turn += 1) {
      await connector.execute([one], 'aurora', within())
      await pause(60)
    }
    expect(await connections()).toBe(1)
    await eventually(async () => expect(await connections()).toBe(0), 2_000)
  })

  it('that the server has closed are replaced unseen', async () => {
    const connector = connectorWith()
    await connector.execute([one], 'aurora', within())
    await withClient(database.url(), (client) => client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gateway'"))
    await eventually(() => expect(connector['pool'].size).toBe(0), 1_000)
    expect(await codeOf(connector.execute([one], 'aurora', within()))).toBe('none')
  })

  it('that cannot be opened fail each who waits for one', async () => {
    const connection = { connectionString: server.url('nowhere') }
    const connector = connectorWith({ connection })
    const codes = await Promise.all(Array.from({ length: 5 }, () => codeOf(connector.execute([one], 'aurora', within()))))
    expect(codes).toEqual(Array.from({ length: 5 }, () => 'SOURCE_UNAVAILABLE'))
  })

  it('are closed when their requests have ended, and given to nobody any more', async () => {
    const connector = connectorWith({ pool: { ...POOL, max: 1 } })
    const running = codeOf(connector.execute([sleep(0.3)], 'aurora', within()))
    const waiting = codeOf(connector.execute([one], 'aurora', within()))
    await pause(100)
    await connector.close()
    expect(await running).toBe('none')
    expect(await waiting).toBe('SOURCE_UNAVAILABLE')
    expect(await connections()).toBe(0)
    expect(await codeOf(connector.execute([one], 'aurora', within()))).toBe('SOURCE_UNAVAILABLE')
  })

  it.each([true, false])('prepare statements, or do not (%p), and keep no more than they may', async (named) => {
    const connector = connectorWith({ named, pool: { ...POOL, max: 1 } })
    for (let turn = 0; turn < 2; turn += 1) {
      for (const value of ['a', 'é😀', `'; --`, '', 'x'.repeat(100_000), '5', '6']) {
        const [answer] = await connector.execute([asked(`SELECT $1::text, '${value.length}'`, { values: [value] })], 'aurora', within())
        expect(await textsOf(answer)).toEqual([value])
      }
    }
    const [kept] = await connector.execute([asked('SELECT count(*)::text FROM pg_prepared_statements')], 'aurora', within())
    expect(await textsOf(kept)).toEqual([named ? '3' : '0'])
  })
})

describe('lookups that come at one time', () => {
  /** `$1` names what to do. */
  function lookup(value: string, what = `$1::text || current_setting('concordat.caller')`): Statement<PostgresNative> {
    const { native, values } = asked(`SELECT ${what}`, { values: [value] })
    if (native.kind === 'empty') throw new Error('a statement was asked')
    return { native: { ...native, pace: Pace.ofLookup() }, values }
  }
  const one = async (connector: PostgresConnector, statement: Statement<PostgresNative>, caller = 'aurora', signal = new AbortController().signal) =>
    textsOf((await connector.execute([statement], caller, within({ signal })))[0])
  const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => `${index}`)

  it.each([true, false])('get each its own row, and each caller is told to the store as it is (prepared: %p)', async (named) => {
    const connector = connectorWith({ named })
    for (let turn = 0; turn < 3; turn += 1) {
      const asking = numbers(100).map(async (value) => one(connector, lookup(value), `caller ${Number(value) % 3}`))
      expect((await Promise.all(asking)).flat()).toEqual(numbers(100).map((value) => `${value}caller ${Number(value) % 3}`))
    }
  })

  it('run in one transaction, and in no more connections than they need', async () => {
    const connector = connectorWith({ pool: { ...POOL, max: 3, waitingMax: 0 } })
    const asking = numbers(18).map(async (value) => one(connector, lookup(value, `txid_current()::text || left($1::text, 0)`)))
    expect(new Set((await Promise.all(asking)).flat()).size).toBe(3)
  })

  it('do not fail with one that fails', async () => {
    const connector = connectorWith()
    const asking = numbers(40).map(async (value) => codeOf(one(connector, lookup(value, `(1 / ($1::int - 20))::text`))))
    const codes = await Promise.all(asking)
    expect(codes.map((code, index) => (code === 'none' ? -1 : index)).filter((index) => index >= 0)).toEqual([20])
    expect(codes[20]).toBe('SOURCE_UNAVAILABLE')
  })

  it('do not end with one that leaves, which has its answer at once', async () => {
    const connector = connectorWith()
    const controllers = numbers(30).map(() => new AbortController())
    const asking = numbers(30).map(async (value, index) =>
      codeOf(one(connector, lookup(value, `pg_sleep(0.01)::text || $1::text`), 'aurora', controllers[index]!.signal)),
    )
    await pause(30)
    for (const controller of controllers.slice(10, 20)) controller.abort(new GatewayError('CANCELLED', 'the caller went away'))
    const codes = await Promise.all(asking)
    expect(new Set([...codes.slice(0, 10), ...codes.slice(20)])).toEqual(new Set(['none']))
    expect(codes[15]).toBe('CANCELLED')
  })

  it('are cancelled at the store once all have left', async () => {
    const connector = connectorWith()
    const controller = new AbortController()
    const asking = numbers(20).map(async (value) => codeOf(one(connector, lookup(value, `pg_sleep(60)::text || $1::text`), 'aurora', controller.signal)))
    await eventually(async () => expect(await underWay()).toBe(2), 2_000)
    controller.abort()
    expect(new Set(await Promise.all(asking))).toEqual(new Set(['SOURCE_TIMEOUT']))
    await eventually(async () => expect(await underWay()).toBe(0), 1_000)
    expect(await one(connector, lookup('x'))).toEqual(['xaurora'])
  })

  it('get what the values and claims of their own request say, though all are one statement', async () => {
    const connector = connectorWith()
    const text = { encoding: { kind: 'text' }, cast: 'text' } as const
    const parameters = [
      { ...text, operand: { kind: 'slot', index: 0 } },
      { ...text, operand: { kind: 'claim', name: 'team' } },
    ] as const
    const { native } = asked(`SELECT $1::text || ' of ' || coalesce($2::text, 'nobody')`)
    if (native.kind === 'empty') throw new Error('a statement was asked')
    const one = { ...native, parameters, pace: Pace.ofLookup() }
    const asking = numbers(60).map(async (value, index) => {
      const values = { slots: [value], claims: new Map(index % 3 === 0 ? [] : [['team', `team ${index}`]]) }
      return textsOf((await connector.execute([{ native: one, values }], 'aurora', within()))[0])
    })
    expect((await Promise.all(asking)).flat()).toEqual(numbers(60).map((value, index) => `${value} of ${index % 3 === 0 ? 'nobody' : `team ${index}`}`))
  })

  it('come whole where one of them is larger than what is held', async () => {
    const connector = connectorWith()
    const asking = numbers(40).map(async (value) => {
      const statement = lookup(value, `repeat($1::text, CASE WHEN $1 = '20' THEN 20000 ELSE 1 END)`)
      const [answer] = await connector.execute([statement], 'aurora', within())
      // It is read as fast as its reader takes it.
      expect([value, answer?.rest === null]).toEqual([value, value !== '20'])
      return textsOf(answer)
    })
    expect((await Promise.all(asking)).flat()).toEqual(numbers(40).map((value) => (value === '20' ? value.repeat(20_000) : value)))
    expect(await one(connector, lookup('x'))).toEqual(['xaurora'])
  })

  it('go on alone when one of them is held up, and it has its time', async () => {
    const connector = connectorWith({ pool: { ...POOL, waitingMax: 100 } })
    const since = performance.now()
    const took = await Promise.all(
      numbers(40).map(async (value) => {
        const rows = await one(connector, lookup(value, `pg_sleep(CASE WHEN $1 = '20' THEN 3 ELSE 0 END)::text || $1::text`))
        return [rows, performance.now() - since] as const
      }),
    )
    expect(took.flatMap(([rows]) => rows)).toEqual(numbers(40))
    const others = took.filter((_each, index) => index !== 20).map(([, ms]) => ms)
    expect(Math.max(...others)).toBeLessThan(2_500)
    expect(took[20]?.[1]).toBeGreaterThan(3_000)
  })

  it('are not joined by one that was cut off until it has been quick again', async () => {
    const connector = connectorWith({ pool: { ...POOL, max: 3 } })
    const { native, values } = lookup('x', `pg_sleep(60)::text || $1::text`)
    if (native.kind === 'empty') throw new Error('a statement was asked')
    const controller = new AbortController()
    const cut = codeOf(one(connector, { native, values }, 'aurora', controller.signal))
    await pause(200)
    controller.abort()
    await cut
    expect(native.pace.isQuick).toBe(false)
  })

  it('have each as much time as the one that may take the longest', async () => {
    const connector = connectorWith()
    const asking = numbers(16).map(async (value, index) => {
      const options = within({ deadlineMs: index === 10 ? 30_000 : 5_000 })
      return textsOf((await connector.execute([lookup(value, `current_setting('statement_timeout') || left($1::text, 0)`)], 'aurora', options))[0])
    })
    // The first two find nobody else busy, and go alone.
    expect((await Promise.all(asking)).flat()).toEqual(numbers(16).map((_value, index) => (index < 2 ? '6s' : '31s')))
  })

  it.each([
    ['at most sixteen', 1, 16],
    ['fewer where they are slower', 8, 3],
  ])('share a transaction with others, %s', async (_what, ms, most) => {
    const connector = connectorWith({ pool: { ...POOL, waitingMax: 100 } })
    const asking = numbers(80).map(async (value) => {
      const { native, values } = lookup(value, `txid_current()::text || left($1::text, 0)`)
      if (native.kind === 'empty') throw new Error('a statement was asked')
      native.pace.note({ ms: 2 * ms - 1, busy: 1, bytes: 10 }) // half of the way from one millisecond
      return one(connector, { native, values })
    })
    const transactions = (await Promise.all(asking)).flat()
    const together = [...new Set(transactions)].map((each) => transactions.filter((other) => other === each).length)
    expect(Math.max(...together)).toBe(most)
  })

  it('are cancelled at the store once all who share a flush have left', async () => {
    const connector = connectorWith({ pool: { ...POOL, max: 3 } })
    const controller = new AbortController()
    const asking = numbers(10).map(async (value) => codeOf(one(connector, lookup(value, `pg_sleep(60)::text || $1::text`), 'aurora', controller.signal)))
    await eventually(async () => expect(await underWay()).toBe(3), 2_000)
    controller.abort()
    expect(new Set(await Promise.all(asking))).toEqual(new Set(['SOURCE_TIMEOUT']))
    await eventually(async () => expect(await underWay()).toBe(0), 1_500)
  })

  it('are asked once each, one that fails and its company again, alone', async () => {
    await withClient(database.url(), (client) => client.query('CREATE SEQUENCE IF NOT EXISTS asked'))
    const connector = connectorWith()
    const asking = numbers(12).map(async (value) => codeOf(one(connector, lookup(value, `(nextval('asked') / ($1::int - 8))::text`))))
    expect(await Promise.all(asking)).toEqual(numbers(12).map((value) => (value === '8' ? 'SOURCE_UNAVAILABLE' : 'none')))
    const rows = await withClient(database.url(), async (client) => (await client.query<{ last: string }>('SELECT last_value AS last FROM asked')).rows)
    // Twelve of which two go alone; in company those before the one that fails have their answer, and it and those behind it go once more.
    expect(Number(rows[0]?.last)).toBe(2 + 7 + 4)
  })

  it('are refused when the store cannot be reached, or when too many wait', async () => {
    const unreachable = connectorWith({ connection: { connectionString: server.url('nowhere') } })
    const codes = await Promise.all(numbers(40).map(async (value) => codeOf(one(unreachable, lookup(value)))))
    expect(new Set(codes)).toEqual(new Set(['SOURCE_UNAVAILABLE']))
    const small = connectorWith({ pool: { ...POOL, waitingMax: 0 } })
    const sleeping = [0, 1].map(async () => small.execute([asked('SELECT pg_sleep(0.3)::text')], 'aurora', within()))
    await pause(100)
    expect(await codeOf(one(small, lookup('x')))).toBe('SOURCE_BUSY')
    await Promise.all(sleeping)
  })
})
