import { describe, expect, it } from '@jest/globals'
import { GatewayError, invariant } from '../src/errors.js'
import { describeCause, observer, type Observation } from '../src/observe.js'

function lines(observations: readonly Observation[], level: 'info' | 'debug' | 'error' | 'silent' = 'debug'): Record<string, unknown>[] {
  const written: string[] = []
  const observe = observer({ level, write: (line) => written.push(line) })
  observations.forEach(observe)
  return written.map((line) => JSON.parse(line) as Record<string, unknown>)
}

function thrown(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

const answered: Observation = { kind: 'answered', requestId: 'r', route: '/graphql', status: 200, code: null, bytes: 10, durationMs: 1.5 }

describe('the log', () => {
  it('is a JSON object a line, with time, level, event and request id', () => {
    expect(lines([answered])).toEqual([
      { level: 'info', time: expect.any(String), event: 'answered', requestId: 'r', route: '/graphql', status: 200, code: null, bytes: 10, durationMs: 1.5 },
    ])
  })

  it('weighs an answer by whose fault it is', () => {
    const levels = (observations: Observation[]) => lines(observations).map(({ level }) => level)
    expect(
      levels([
        answered,
        { ...answered, code: 'FORBIDDEN' },
        { ...answered, code: 'SOURCE_TIMEOUT' },
        { ...answered, code: 'INTERNAL' },
        { ...answered, route: '/healthz' },
      ]),
    ).toEqual(['info', 'info', 'warn', 'error', 'debug'])
    expect(lines([answered], 'error')).toEqual([])
    expect(lines([{ kind: 'failed', requestId: 'r', cause: null }], 'silent')).toEqual([])
  })

  it('holds no text of a library’s error: those quote values', () => {
    const secret = 'hunter2'
    const causes = [
      thrown(() => JSON.parse(`{"password": ${secret}}`)),
      Object.assign(new Error(`invalid input syntax for type integer: "${secret}"`), { code: '22P02', detail: secret, where: secret }),
      Object.assign(new Error(`multi\n    at ${secret} (x.js:1:1)\n    at ${secret}:1:2`), { name: `Name ${secret}`, code: `not a code ${secret}` }),
      new GatewayError('SOURCE_UNAVAILABLE', 'the store `main` does not answer', { cause: new Error(secret) }),
      secret,
    ]
    const text = JSON.stringify(lines(causes.map((cause): Observation => ({ kind: 'failed', requestId: 'r', cause }))))
    expect(text).not.toContain(secret)
    expect(text).toContain('22P02')
    expect(text).toContain('the store `main` does not answer')
  })

  it('says where a failure was thrown, and why where the reason is our own', () => {
    const cause = thrown(() => invariant(false, 'rows are counted'))
    expect(describeCause(cause)).toMatchObject({
      name: 'Error',
      detail: 'invariant: rows are counted',
      stack: expect.arrayContaining([expect.stringContaining('observe.test')]),
    })
    const loop = new Error('a')
    loop.cause = loop
    expect(JSON.stringify(describeCause(loop)).length).toBeLessThan(20_000)
  })
})
