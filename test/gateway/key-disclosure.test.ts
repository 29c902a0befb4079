import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { randomBytes } from 'node:crypto'
import type { DisclosureEntry, RequestEntry } from '../../src/audit/record.js'
import { type KeyDisclosure, keyRecorder, type RecordKeys } from '../../src/gateway/key-disclosure.js'
import { codeOf, ground, type Ground, open, type OpenAudit } from '../audit/fixture.js'
import { startTestPostgres, type TestPostgres, withClient } from '../support/postgres.js'

let postgres: TestPostgres
let on: Ground
let audit: OpenAudit
let record: RecordKeys
beforeAll(async () => {
  postgres = await startTestPostgres()
  on = await ground(postgres)
  audit = await open(on)
  record = keyRecorder({
    ledger: audit.ledger,
    entryParts: { tokenKey: Buffer.alloc(32, 7), random: randomBytes },
    keyOf: () => ['key'],
    gatewayJurisdiction: 'DE',
    jurisdictionOf: () => 'DE',
    now: Date.now,
  })
})
afterAll(async () => {
  await audit.end()
  await postgres.stop()
})

const KEYS = ['WyJBZ2VudCIsImJvcmVhbGlzIiwiMSJd', 'WyJBZ2VudCIsImJvcmVhbGlzIiwiMiJd']
const DISCLOSURE: KeyDisclosure = {
  service: 'ratings',
  organization: 'aurora',
  purpose: 'operations',
  epoch: 0n,
  type: 'Agent',
  owners: [
    { organization: 'aurora', keys: ['WyJBZ2VudCIsImF1cm9yYSIsIjEiXQ'], source: null },
    { organization: 'borealis', keys: KEYS, source: { kind: 'agreement', agreement: 'borealis-aurora-operations', version: 3, digest: 'd' } },
  ],
  query: 'query ($keys: [ID!]!) { agentRatings(ids: $keys) { key: id rating } }',
}

async function entries<Entry>(ledger: string): Promise<readonly Entry[]> {
  return withClient(on.url, async (client) => {
    const { rows } = await client.query<{ leaf: Buffer }>('SELECT leaf FROM concordat.ledger_entries WHERE ledger = $1 ORDER BY "index"', [ledger])
    return rows.map(({ leaf }) => JSON.parse(leaf.toString()) as Entry)
  })
}

describe('keys for a foreign service', () => {
  it('stand in the ledger of their owner, and of the organization that gets them, without the keys themselves', async () => {
    await record(DISCLOSURE)
    const [owner, ...others] = await entries<DisclosureEntry>('borealis')
    expect(others).toEqual([])
    expect(owner).toMatchObject({
      kind: 'disclosure',
      ledger: 'borealis',
      principal: { subject: 'service:ratings', organization: 'aurora' },
      purpose: 'operations',
      sections: [
        { types: [{ type: 'Agent', fields: ['key'] }], rows: 2, source: { agreement: 'borealis-aurora-operations', version: 3 }, outcome: 'answered' },
      ],
    })
    const [recipient] = await entries<RequestEntry>('aurora')
    expect(recipient).toMatchObject({ kind: 'request', principal: { subject: 'service:ratings', organization: 'aurora' } })
    expect(recipient?.sections.map(({ organization, rows }) => [organization, rows])).toEqual([
      ['aurora', 1],
      ['borealis', 2],
    ])
    expect(await entries('cascade')).toEqual([])
    for (const key of KEYS) expect(JSON.stringify([owner, recipient])).not.toContain(key)
  })

  it('are not recorded under policies that have changed, or where a ledger takes no entries', async () => {
    expect(await codeOf(record({ ...DISCLOSURE, epoch: 5n }))).toBe('POLICY_STALE')
    const unknown = { organization: 'nowhere', keys: KEYS, source: null }
    expect(await codeOf(record({ ...DISCLOSURE, owners: [unknown] }))).toBe('AUDIT_UNAVAILABLE')
    audit.ledger.refuse('borealis', 'its tree does not hold')
    expect(await codeOf(record(DISCLOSURE))).toBe('AUDIT_UNAVAILABLE')
    expect(await entries('aurora')).toHaveLength(1)
  })
})
