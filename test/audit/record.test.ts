import { createHash, createHmac, randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { leafHash } from '../../src/audit/merkle.js'
import { hmacSha256, sha256 } from '../../src/audit/digest.js'
import { Contribution, entriesOf, saltedDigest, seal, type Disclosure, type OwnerDisclosure, type SealedEntry } from '../../src/audit/record.js'

const parts = { tokenKey: Buffer.alloc(32, 7), random: randomBytes }

describe('entriesOf', () => {
  it("gives the principal's ledger all sections and each owner's ledger its own", () => {
    const entries = entriesOf(disclosure(), parts)
    expect([...entries.keys()].sort()).toEqual(['aurora', 'borealis', 'cascade'])
    const home = parsed(entries, 'aurora')
    expect(home).toMatchObject({
      v: 1,
      kind: 'request',
      ledger: 'aurora',
      requestId: '019cac3e-5d00-7c1e-8a55-6f0d2b9e4c11',
      time: '2026-03-02T08:00:00.123Z',
      principal: { subject: 'ana', organization: 'aurora', issuer: 'https://id.aurora.example', roles: ['analyst'] },
      purpose: 'operations',
      operation: 'Alike',
      outcome: 'partial',
      code: 'SOURCE_TIMEOUT',
      cost: 42,
    })
    expect(home.sections.map((section: { organization: string }) => section.organization)).toEqual(['aurora', 'borealis', 'cascade'])
    const borealis = parsed(entries, 'borealis')
    expect(borealis).toMatchObject({
      v: 1,
      kind: 'disclosure',
      ledger: 'borealis',
      principal: { subject: 'ana', organization: 'aurora' },
      purpose: 'operations',
      sections: [{ rows: 2, outcome: 'answered', code: null, source: { kind: 'agreement', agreement: 'borealis-aurora-operations', version: 3 } }],
    })
  })

  it("tells an owner nothing of the others, of the whole, or of the caller's token, roles and words", () => {
    const text = entriesOf(disclosure(), parts).get('borealis')?.text ?? ''
    for (const word of ['cascade', 'analyst', 'Alike', 'SOURCE_TIMEOUT', 'partial', 'id.aurora.example', '019cac3e-5d00-7c1e-8a55-6f0d2b9e4c11', '"cost":42']) {
      expect(text).not.toContain(word)
    }
    const without = {
      ...disclosure(),
      owners: disclosure().owners.filter((owner) => owner.organization !== 'cascade'),
      outcome: 'answered',
      code: null,
    } as const
    const fixed = { tokenKey: parts.tokenKey, random: (bytes: number) => Buffer.alloc(bytes, 1) }
    expect(entriesOf(disclosure(), fixed).get('borealis')?.text).toBe(entriesOf(without, fixed).get('borealis')?.text)
  })

  it("gives each ledger another request id, which only the principal's links", () => {
    const entries = entriesOf(disclosure(), parts)
    const home = parsed(entries, 'aurora')
    const ids = ['borealis', 'cascade'].map((organization) => parsed(entries, organization).requestId as string)
    expect(new Set([home.requestId, ...ids]).size).toBe(3)
    expect(home.sections.map((section: { requestId: string | null }) => section.requestId)).toEqual([null, ...ids])
  })

  it('keeps no text of document, variables, predicate, rows or token in any entry, nor the salt', () => {
    for (const [, { text, salt }] of entriesOf(disclosure(), parts)) {
      for (const secret of ['secret-document', 'secret-variable', 'secret-predicate', 'secret-row', 'secret-token', Buffer.from(salt).toString('base64')]) {
        expect(text).not.toContain(secret)
      }
    }
  })

  it('pins document, variables, predicate and rows by digests that text and salt reproduce, and another salt does not', () => {
    const entries = entriesOf(disclosure(), parts)
    const home = entries.get('aurora')
    const borealis = entries.get('borealis')
    if (home === undefined || borealis === undefined) throw new Error('two ledgers are concerned')
    expect(parsed(entries, 'aurora').document).toBe(saltedDigest({ salt: home.salt, pinned: 'document', sha256: sha256('secret-document') }))
    expect(parsed(entries, 'aurora').variables).toBe(saltedDigest({ salt: home.salt, pinned: 'variables', sha256: sha256('secret-variable') }))
    const rows = createHash('sha256').update('\u001e{"a":"secret-row-1"}\n\u001e{"a":"secret-row-2"}\n').digest()
    const expected = createHmac('sha256', borealis.salt).update('contribution\0').update(rows).digest('base64')
    expect(parsed(entries, 'borealis').sections[0].contribution).toBe(expected)
    expect(parsed(entries, 'borealis').sections[0].predicate).toBe(
      saltedDigest({ salt: borealis.salt, pinned: 'predicate', sha256: sha256('secret-predicate') }),
    )
    // The same rows have another digest in the principal's ledger, where the salt is another.
    expect(parsed(entries, 'aurora').sections[1].contribution).toBe(saltedDigest({ salt: home.salt, pinned: 'contribution', sha256: rows }))
    expect(parsed(entries, 'aurora').sections[1].contribution).not.toBe(expected)
  })

  it('reads a one-time iterable of row texts once, and gets the digest of the running hash', () => {
    function* texts(): Generator<string> {
      yield '{"a":1}'
      yield '{"a":2}'
    }
    const running = new Contribution()
    running.add('{"a":1}')
    running.add(Buffer.from('{"a":2}'))
    const fixed = { tokenKey: parts.tokenKey, random: (bytes: number) => Buffer.alloc(bytes, 1) }
    const of = (contribution: OwnerDisclosure['contribution']) =>
      [...entriesOf({ ...disclosure(), owners: [{ ...owner('borealis'), contribution }] }, fixed).values()].map(({ text }) => text)
    expect(of(texts())).toEqual(of(running))
    expect(of(texts())).toEqual(of(['{"a":1}', '{"a":2}']))
    expect(of(texts())).not.toEqual(of(['{"a":1}{"a":2}']))
  })

  it('makes equal token digests within a ledger and other ones elsewhere', () => {
    const first = parsed(entriesOf(disclosure(), parts), 'aurora').principal.token
    expect(parsed(entriesOf(disclosure(), parts), 'aurora').principal.token).toBe(first)
    const elsewhere = { ...disclosure(), principal: { ...disclosure().principal, organization: 'cascade' } }
    expect(parsed(entriesOf(elsewhere, parts), 'cascade').principal.token).not.toBe(first)
    expect(parsed(entriesOf(disclosure(), { ...parts, tokenKey: Buffer.alloc(32, 8) }), 'aurora').principal.token).not.toBe(first)
  })

  it('puts all sections of an owner with several agreements into its one entry', () => {
    const two = { ...disclosure(), owners: [owner('borealis'), { ...owner('borealis'), types: [{ type: 'Workflow', fields: ['key'] }] }] }
    expect(parsed(entriesOf(two, parts), 'borealis').sections).toHaveLength(2)
  })

  it('records a refusal of a caller who got nothing', () => {
    const refused: Disclosure = { ...disclosure(), owners: [], outcome: 'refused', code: 'FIELD_NOT_USABLE' }
    const entries = entriesOf(refused, parts)
    expect([...entries.keys()]).toEqual(['aurora'])
    expect(parsed(entries, 'aurora')).toMatchObject({ outcome: 'refused', code: 'FIELD_NOT_USABLE', sections: [] })
  })

  it('leaves out whatever else the caller left in the objects', () => {
    const source = { ...owner('borealis').source, password: 'secret-extra' }
    const actors = [{ issuer: 'https://id.example', subject: 'bot', token: 'secret-extra' }]
    const extra = {
      ...disclosure(),
      principal: { ...disclosure().principal, actors, token: 'secret-extra' },
      owners: [{ ...owner('borealis'), source, row: 'secret-extra' }],
    }
    for (const [, { text }] of entriesOf(extra, parts)) expect(text).not.toContain('secret-extra')
  })
})

describe('a leaf', () => {
  it('is the RFC 8785 form of its entry, whatever strings are in it, and hashes as RFC 6962 says', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.string({ unit: 'grapheme' }),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        (subject, purpose, cost) => {
          const entries = entriesOf({ ...disclosure(), principal: { ...disclosure().principal, subject }, purpose, cost }, parts)
          for (const sealed of entries.values()) {
            expect(seal(JSON.parse(sealed.text), sealed.salt).text).toBe(sealed.text)
            expect(JSON.parse(sealed.text).principal.subject).toBe(subject)
            expect(sealed.leafHash).toEqual(leafHash(Buffer.from(sealed.text)))
          }
        },
      ),
    )
  })

  it('keeps its format: these bytes are for ever', () => {
    const fixed = { tokenKey: Buffer.alloc(32, 7), random: (bytes: number) => Buffer.alloc(bytes, 1) }
    const sealed = entriesOf(disclosure(), fixed)
    expect(sealed.get('borealis')?.text).toBe(
      '{"id":"019cad8f-ac7b-7101-8101-010101010101","kind":"disclosure","ledger":"borealis","principal":{"organization":"aurora","subject":"ana"},"' +
        'purpose":"operations","requestId":"019cad8f-ac7b-7101-8101-010101010101","sections":[{"code":null,"contribution":"4TLwz+8gjxpR+MCwn/vDkohqNm' +
        'XXyo3YnEbdcGvn3PI=","cost":null,"durationMs":null,"jurisdictions":{"gateway":"DE","grantee":"DE","stored":["CA"]},"outcome":"answered","pred' +
        'icate":"hpgLoUCTt7wm/X3rwf7VzSQmvwjUv0mWlZbz+pmh4iQ=","rows":2,"source":{"agreement":"borealis-aurora-operations","digest":"sha256:agreement' +
        '","kind":"agreement","version":3},"stores":["main"],"types":[{"decisions":{"monthlyBudget":"mask"},"fields":["key","monthlyBudget","name"],"' +
        'masks":{"monthlyBudget":"generalize"},"type":"Agent"}]}],"time":"2026-03-02T08:00:00.123Z","v":1}',
    )
  })

  it('refuses a number that JSON cannot hold', () => {
    expect(() => entriesOf({ ...disclosure(), cost: Number.NaN }, parts)).toThrow()
  })
})

function owner(organization: string): OwnerDisclosure {
  return {
    organization,
    source:
      organization === 'aurora'
        ? { kind: 'roles', roles: ['analyst'], version: 7, digest: 'sha256:roles' }
        : { kind: 'agreement', agreement: `${organization}-aurora-operations`, version: 3, digest: 'sha256:agreement' },
    types: [{ type: 'Agent', fields: ['name', 'key', 'monthlyBudget'], decisions: { monthlyBudget: 'mask' }, masks: { monthlyBudget: 'generalize' } }],
    stores: ['main'],
    jurisdictions: { stored: ['CA'], gateway: 'DE', grantee: 'DE' },
    rows: 2,
    contribution: ['{"a":"secret-row-1"}', '{"a":"secret-row-2"}'],
    predicateText: 'secret-predicate',
  }
}

function disclosure(): Disclosure {
  return {
    requestId: '019cac3e-5d00-7c1e-8a55-6f0d2b9e4c11',
    time: Date.UTC(2026, 2, 2, 8, 0, 0, 123),
    principal: { subject: 'ana', organization: 'aurora', issuer: 'https://id.aurora.example', roles: ['analyst'], actors: [], tokenId: 'secret-token' },
    purpose: 'operations',
    operationName: 'Alike',
    documentText: 'secret-document',
    variablesText: 'secret-variable',
    outcome: 'partial',
    code: 'SOURCE_TIMEOUT',
    durationMs: 12.5,
    cost: 42,
    owners: [owner('aurora'), owner('borealis'), { ...owner('cascade'), rows: 0, contribution: null, outcome: 'failed', code: 'SOURCE_TIMEOUT' }],
  }
}

function parsed(entries: ReadonlyMap<string, SealedEntry>, organization: string) {
  return JSON.parse(entries.get(organization)?.text ?? 'null')
}

describe('the HMAC', () => {
  it('is that of the platform, for every key of up to a block', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.uint8Array({ maxLength: 300 }), (key, message) => {
        expect(hmacSha256(key, message)).toEqual(createHmac('sha256', key).update(message).digest())
      }),
    )
    expect(() => hmacSha256(Buffer.alloc(65), Buffer.alloc(0))).toThrow(RangeError)
  })
})
