import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { loadConfig } from '../../src/config.js'
import type { RunningGateway } from '../../src/main.js'
import { startGateway } from '../../src/main.js'
import { AGREEMENTS, ALPHA_ROLES, lawsWorld } from '../laws/world.js'
import type { Asking, TestAgreement, TestAnswer, TestClaims, TestGateway } from '../support/gateway.js'
import { asking, startTestGateway } from '../support/gateway.js'

const chief: TestClaims = { organization: 'alpha', roles: ['chief'] }
const ALL = '{ tasks(first: 200) { nodes { organization } } }'

function agreement(name: string): TestAgreement {
  const found = AGREEMENTS.find((each) => each.agreement === name)
  if (!found) throw new Error(`there is no agreement ${name}`)
  return found
}

function ownersIn({ json }: TestAnswer): readonly string[] {
  return [...new Set((json.data.tasks.nodes as { organization: string }[]).map(({ organization }) => organization))].sort()
}

describe('a change of policies', () => {
  let gateway: TestGateway
  let other: RunningGateway
  let there: Asking

  beforeAll(async () => {
    gateway = await startTestGateway({ world: lawsWorld() })
    other = await startGateway({ config: loadConfig(gateway.config, {}), demo: null, writeLog: () => undefined })
    there = asking(other.url, gateway)
  }, 60_000)
  afterAll(async () => {
    await other.stop()
    await gateway.stop()
  })

  const count = (event: string): number => gateway.log.filter((line) => line['event'] === event).length

  /** Does it, and waits until the gateway has seen it. */
  async function change(event: 'policies-loaded' | 'policies-refused', work: () => Promise<void> | void): Promise<void> {
    const before = count(event)
    await work()
    for (let waited = 0; count(event) === before; waited += 10) {
      if (waited > 5_000) throw new Error(`no ${event}`)
      await delay(10)
    }
  }

  beforeEach(async () => {
    if (ownersIn(await gateway.ask(chief, ALL)).length === 3) return
    await change('policies-loaded', async () => {
      for (const each of AGREEMENTS) await gateway.writeAgreement(each)
      gateway.writeRoles('alpha', ALPHA_ROLES)
    })
    expect(ownersIn(await gateway.ask(chief, ALL))).toEqual(['alpha', 'beta', 'gamma'])
  })

  it('takes an agreement away from the next operation on, in every process', async () => {
    expect(ownersIn(await there.ask(chief, ALL))).toEqual(['alpha', 'beta', 'gamma'])
    await change('policies-loaded', () => gateway.removeAgreement('beta-alpha-testing'))
    expect(ownersIn(await there.ask(chief, ALL))).toEqual(['alpha', 'gamma'])
    expect(ownersIn(await gateway.ask(chief, ALL))).toEqual(['alpha', 'gamma'])
    for (const each of [gateway, there]) {
      const named = await each.ask(chief, '{ tasks(organizations: ["beta"]) { totalCount } }')
      expect(named.json.errors?.map(({ extensions }) => extensions.code)).toEqual(['NO_AGREEMENT'])
      expect((await each.ask(chief, '{ organizations { id } }')).json.data.organizations).toEqual([{ id: 'alpha' }, { id: 'gamma' }])
    }
  })

  it('gives nothing of what was taken away while the request was under way', async () => {
    const blocker = await gateway.ownerClient('gamma')
    await blocker.query('BEGIN; LOCK TABLE task IN ACCESS EXCLUSIVE MODE')
    const asked = gateway.ask(chief, ALL)
    await delay(200)
    await change('policies-loaded', () => gateway.removeAgreement('beta-alpha-testing'))
    await blocker.query('ROLLBACK')
    const answer = await asked
    expect(ownersIn(answer)).toEqual(['alpha', 'gamma'])
    expect(answer.json.extensions.sovereignty.served.map(({ organization }) => organization)).toEqual(['alpha', 'gamma'])
  })

  it('narrows and widens rows, fields and masks for documents that are known already', async () => {
    const document = '{ tasks(organizations: ["beta"], first: 200) { totalCount nodes { title note } } }'
    const before = await gateway.ask(chief, document)
    const agreed = agreement('beta-alpha-testing')
    const types = agreed['types'] as { Task: { allow: string[]; mask: Record<string, unknown> } }
    await change('policies-loaded', () =>
      gateway.writeAgreement({
        ...agreed,
        version: 2,
        types: {
          ...types,
          Task: {
            rows: { status: { eq: 'OPEN' } },
            allow: types.Task.allow.filter((field) => field !== 'title'),
            mask: { title: { constant: 'masked' }, note: { redact: { keepLast: 0 } } },
          },
        },
      }),
    )
    const after = await gateway.ask(chief, document)
    expect(after.json.errors).toBeUndefined()
    expect(after.json.data.tasks.totalCount).toBeLessThan(before.json.data.tasks.totalCount as number)
    for (const node of after.json.data.tasks.nodes as unknown[]) expect(node).toEqual({ title: 'masked', note: '***' })
    expect(after.json.extensions.sovereignty.served).toEqual([{ organization: 'beta', agreement: 'beta-alpha-testing', version: 2 }])
    await change('policies-loaded', () => gateway.writeAgreement(agreed))
    expect((await gateway.ask(chief, document)).json.data).toEqual(before.json.data)
  })

  it('that does not load leaves the old set in force, and says so', async () => {
    const bad: readonly (readonly [what: string, make: () => void | Promise<void>, mend: () => void | Promise<void>])[] = [
      [
        'an agreement that is no YAML',
        () => writeFileSync(join(gateway.policies, 'agreements', 'x.yaml'), '{ agreement: ['),
        () => rmSync(join(gateway.policies, 'agreements', 'x.yaml')),
      ],
      [
        'an agreement that was changed after it was signed',
        () => writeFileSync(join(gateway.policies, 'agreements', 'gamma-alpha.yaml'), JSON.stringify({ ...agreement('gamma-alpha'), version: 9 })),
        () => gateway.writeAgreement(agreement('gamma-alpha')),
      ],
      [
        'an agreement without its signature',
        () => rmSync(join(gateway.policies, 'agreements', 'gamma-alpha.jws')),
        () => gateway.writeAgreement(agreement('gamma-alpha')),
      ],
      ['two agreements for one thing', () => gateway.writeAgreement({ ...agreement('gamma-alpha'), agreement: 'twin' }), () => gateway.removeAgreement('twin')],
      [
        'a role with an unknown field',
        () => gateway.writeRoles('alpha', { chief: { read: { Task: { fields: ['key', 'nothing'] } } } }),
        () => gateway.writeRoles('alpha', ALPHA_ROLES),
      ],
      [
        'a role with half of the required fields',
        () => gateway.writeRoles('alpha', { chief: { read: { Task: { fields: ['key'] } } } }),
        () => gateway.writeRoles('alpha', ALPHA_ROLES),
      ],
    ]
    for (const [, make, mend] of bad) {
      const before = await gateway.ask(chief, ALL)
      await change('policies-refused', make)
      const during = await gateway.ask(chief, ALL)
      expect(during.json.data).toEqual(before.json.data)
      expect(during.json.extensions.sovereignty.served).toEqual(before.json.extensions.sovereignty.served)
      const said = gateway.log.filter((line) => line['event'] === 'policies-refused').at(-1)
      expect(said?.['mistakes']).toEqual(expect.arrayContaining([expect.stringMatching(/\.(yaml|jws):\d+ /)]))
      await mend()
    }
  })

  it('needs no file where an agreement begins or ends', async () => {
    const soon = (ms: number): string => new Date(Date.now() + ms).toISOString()
    await change('policies-loaded', async () => {
      await gateway.writeAgreement({ ...agreement('beta-alpha-testing'), version: 3, until: soon(1_500) })
      await gateway.writeAgreement({ ...agreement('gamma-alpha'), version: 3, from: soon(1_500) })
    })
    expect(ownersIn(await gateway.ask(chief, ALL))).toEqual(['alpha', 'beta'])
    await delay(1_600)
    expect(ownersIn(await gateway.ask(chief, ALL))).toEqual(['alpha', 'gamma'])
    expect(ownersIn(await there.ask(chief, ALL))).toEqual(['alpha', 'gamma'])
  })
})
