import { createHash, createHmac, randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { canonical } from '../../src/audit/canonical-json.js'
import { Contribution } from '../../src/audit/contribution.js'
import { hmacSha256, hmacSha256Base64, sha256 } from '../../src/audit/digest.js'
import { leafHash } from '../../src/audit/merkle.js'
import { ownerTerms, type FieldDecision, type OwnerFacts } from '../../src/audit/owner-terms.js'
import { entriesOf, saltedDigest, seal, type Disclosure, type OwnerDisclosure, type SealedEntry } from '../../src/audit/record.js'

const parts = { tokenKey: Buffer.alloc(32, 7), random: randomBytes }

describe('entriesOf', () => {
  it("gives the principal's ledger all sections and each owner's ledger its own", () => {
    const entries = entriesOf(disclosure(), parts)
    expect([...entries.keys()].sort()).toEqual(['aurora', 'borealis', 'cascade'])
    const home = parsed(entries, 'aurora')
    expect(home).toMatchObject({
      v: 2,
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
      v: 2,
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
      owners: disclosure().owners.filter((owner) => owner.terms.organization !== 'cascade'),
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
    const rows = createHash('sha256').update('[{"a":"secret-row-1"},{"a":"secret-row-2"}]').digest()
    const expected = createHmac('sha256', borealis.salt).update('contribution\0').update(rows).digest('base64')
    expect(parsed(entries, 'borealis').sections[0].contribution).toBe(expected)
    expect(parsed(entries, 'borealis').sections[0].predicate).toBe(
      saltedDigest({ salt: borealis.salt, pinned: 'predicate', sha256: sha256('secret-predicate') }),
    )
    // The same rows have another digest in the principal's ledger, where the salt is another.
    expect(parsed(entries, 'aurora').sections[1].contribution).toBe(saltedDigest({ salt: home.salt, pinned: 'contribution', sha256: rows }))
    expect(parsed(entries, 'aurora').sections[1].contribution).not.toBe(expected)
  })

  it('makes equal token digests within a ledger and other ones elsewhere', () => {
    const first = parsed(entriesOf(disclosure(), parts), 'aurora').principal.token
    expect(parsed(entriesOf(disclosure(), parts), 'aurora').principal.token).toBe(first)
    const elsewhere = { ...disclosure(), principal: { ...disclosure().principal, organization: 'cascade' } }
    expect(parsed(entriesOf(elsewhere, parts), 'cascade').principal.token).not.toBe(first)
    expect(parsed(entriesOf(disclosure(), { ...parts, tokenKey: Buffer.alloc(32, 8) }), 'aurora').principal.token).not.toBe(first)
  })

  it('puts all sections of an owner with several agreements into its one entry', () => {
    const two = { ...disclosure(), owners: [owner('borealis'), owner('borealis', { types: [{ type: 'Workflow', fields: ['key'] }] })] }
    expect(parsed(entriesOf(two, parts), 'borealis').sections).toHaveLength(2)
  })

  it('records a refusal of a caller who got nothing', () => {
    const refused: Disclosure = { ...disclosure(), owners: [], outcome: 'refused', code: 'FIELD_NOT_USABLE' }
    const entries = entriesOf(refused, parts)
    expect([...entries.keys()]).toEqual(['aurora'])
    expect(parsed(entries, 'aurora')).toMatchObject({ outcome: 'refused', code: 'FIELD_NOT_USABLE', sections: [] })
  })

  it('leaves out whatever else the caller left in the objects', () => {
    const source = { ...facts('borealis').source, password: 'secret-extra' }
    const types = [{ type: 'Agent', fields: [], row: 'secret-extra' }]
    const jurisdictions = { ...facts('borealis').jurisdictions, host: 'secret-extra' }
    const actors = [{ issuer: 'https://id.example', subject: 'bot', token: 'secret-extra' }]
    const extra = {
      ...disclosure(),
      principal: { ...disclosure().principal, actors, token: 'secret-extra' },
      owners: [{ ...owner('borealis', { source, types, jurisdictions }), row: 'secret-extra' }],
    }
    for (const [, { text }] of entriesOf(extra, parts)) expect(text).not.toContain('secret-extra')
  })
})

describe('a leaf', () => {
  it('is the RFC 8785 form of its entry, whatever strings are in it, and hashes as RFC 6962 says', () => {
    fc.assert(
      fc.property(disclosures(), (of) => {
        for (const [ledger, sealed] of entriesOf(of, parts)) {
          const entry = JSON.parse(sealed.text)
          expect(sealed.text).toBe(canonical(entry))
          expect(seal(entry, sealed.salt)).toEqual(sealed)
          expect(sealed.leafHash).toEqual(leafHash(Buffer.from(sealed.text)))
          expect(entry.principal.subject).toBe(of.principal.subject)
          expect({ id: sealed.id, ledger: entry.ledger }).toEqual({ id: entry.id, ledger })
        }
      }),
    )
  })

  it('says what the request was, member for member', () => {
    fc.assert(
      fc.property(disclosures(), ownerFacts(), (of, about) => {
        const whole = { ...of, owners: [{ ...of.owners[0]!, terms: ownerTerms(about) }] }
        const sealed = entriesOf(whole, parts).get('aurora')!
        const entry = JSON.parse(sealed.text)
        expect(entry).toEqual(generic(whole, about, { ...entry, salt: sealed.salt }))
      }),
    )
  })

  it('keeps its format: these bytes are for ever', () => {
    const fixed = { tokenKey: Buffer.alloc(32, 7), random: (bytes: number) => Buffer.alloc(bytes, 1) }
    const sealed = entriesOf(disclosure(), fixed)
    expect(sealed.get('borealis')?.text).toBe(
      '{"id":"019cad8f-ac7b-7101-8101-010101010101","kind":"disclosure","ledger":"borealis","principal":{"organization":"aurora","subject":"ana"},"' +
        'purpose":"operations","requestId":"019cad8f-ac7b-7101-8101-010101010101","sections":[{"code":null,"contribution":"AysD5+i6vLtfFMQOGbBy1kjWDV' +
        'qLzDFKIx1OkmhDX6c=","cost":null,"durationMs":null,"jurisdictions":{"gateway":"DE","grantee":"DE","stored":["CA"]},"outcome":"answered","pred' +
        'icate":"hpgLoUCTt7wm/X3rwf7VzSQmvwjUv0mWlZbz+pmh4iQ=","rows":2,"source":{"agreement":"borealis-aurora-operations","digest":"sha256:agreement' +
        '","kind":"agreement","version":3},"stores":["main"],"types":[{"decisions":{"monthlyBudget":"mask"},"fields":["key","monthlyBudget","name"],"' +
        'masks":{"monthlyBudget":"generalize"},"type":"Agent"}]}],"time":"2026-03-02T08:00:00.123Z","v":2}',
    )
  })

  it('refuses a number that JSON cannot hold', () => {
    expect(() => entriesOf({ ...disclosure(), cost: Number.NaN }, parts)).toThrow()
  })
})

function facts(organization: string): OwnerFacts {
  return {
    organization,
    source:
      organization === 'aurora'
        ? { kind: 'roles', roles: ['analyst'], version: 7, digest: 'sha256:roles' }
        : { kind: 'agreement', agreement: `${organization}-aurora-operations`, version: 3, digest: 'sha256:agreement' },
    types: [{ type: 'Agent', fields: ['name', 'key', 'monthlyBudget'], decisions: { monthlyBudget: 'mask' }, masks: { monthlyBudget: 'generalize' } }],
    stores: ['main'],
    jurisdictions: { stored: ['CA'], gateway: 'DE', grantee: 'DE' },
    predicateText: 'secret-predicate',
  }
}

function owner(organization: string, other: Partial<OwnerFacts> = {}): OwnerDisclosure {
  const terms = ownerTerms({ ...facts(organization), ...other })
  return { terms, rows: 2, contribution: Contribution.of(['{"a":"secret-row-1"}', '{"a":"secret-row-2"}']) }
}

function disclosure(): Disclosure {
  return {
    requestId: '019cac3e-5d00-7c1e-8a55-6f0d2b9e4c11',
    time: Date.UTC(2026, 2, 2, 8, 0, 0, 123),
    principal: { subject: 'ana', organization: 'aurora', issuer: 'https://id.aurora.example', roles: ['analyst'], actors: [], tokenId: 'secret-token' },
    purpose: 'operations',
    operationName: 'Alike',
    documentSha256: sha256('secret-document'),
    variablesText: 'secret-variable',
    outcome: 'partial',
    code: 'SOURCE_TIMEOUT',
    durationMs: 12.5,
    cost: 42,
    owners: [owner('aurora'), owner('borealis'), { ...owner('cascade'), rows: 0, contribution: null, outcome: 'failed', code: 'SOURCE_TIMEOUT' }],
  }
}

const hostile = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('\ud800', 'a\udfffb', '\u2028', '"\\\u0000', '__proto__', '🜁', '\u007f\u0080'),
)
const numbers = fc.double({ noNaN: true, noDefaultInfinity: true })

function ownerFacts(): fc.Arbitrary<OwnerFacts> {
  const names = fc.array(hostile, { maxLength: 3 })
  const keys = hostile.filter((name) => name !== '__proto__')
  const source: fc.Arbitrary<OwnerFacts['source']> = fc.oneof(
    fc.record({ kind: fc.constant('roles' as const), roles: names, version: numbers, digest: hostile }),
    fc.record({ kind: fc.constant('agreement' as const), agreement: hostile, version: numbers, digest: hostile }),
  )
  const decisions = fc.dictionary(keys, fc.constantFrom<FieldDecision>('allow', 'mask', 'conditional', 'deny'), { noNullPrototype: true })
  const type = fc.record({ type: hostile, fields: names, decisions, masks: fc.dictionary(keys, hostile, { noNullPrototype: true }) })
  return fc.record({
    organization: fc.constantFrom('aurora', 'borealis', 'cascade'),
    source,
    types: fc.array(type, { maxLength: 2 }),
    stores: names,
    jurisdictions: fc.record({ stored: names, gateway: hostile, grantee: fc.option(hostile) }),
    predicateText: fc.option(hostile),
  })
}

function disclosures(): fc.Arbitrary<Disclosure> {
  const contribution = fc.option(fc.array(fc.json()).map((texts) => Contribution.of(texts)))
  const outcome = fc.constantFrom<Disclosure['outcome']>('answered', 'partial', 'refused', 'failed')
  const code = fc.option(fc.constantFrom('SOURCE_TIMEOUT' as const, 'FORBIDDEN' as const))
  const optional = fc.record({ outcome, code, durationMs: numbers, cost: numbers }, { requiredKeys: [] })
  const one = fc.tuple(ownerFacts().map(ownerTerms), fc.nat(), contribution, optional)
  const principal = fc.record({
    subject: hostile,
    organization: fc.constant('aurora'),
    issuer: hostile,
    roles: fc.array(hostile, { maxLength: 2 }),
    actors: fc.array(fc.record({ issuer: hostile, subject: hostile }), { maxLength: 2 }),
    tokenId: fc.option(hostile),
  })
  return fc.record({
    requestId: hostile,
    time: fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(8e12) }).map((date) => date.getTime()),
    principal,
    purpose: fc.option(hostile),
    operationName: fc.option(hostile),
    documentSha256: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    variablesText: hostile,
    outcome,
    code,
    durationMs: numbers,
    cost: numbers,
    owners: fc.array(
      one.map(([terms, rows, given, rest]): OwnerDisclosure => ({ terms, rows, contribution: given, ...rest })),
      { minLength: 1, maxLength: 4 },
    ),
  })
}

/** The principal's entry as an object, member by member: what the leaf says must be equal to it. Of one owner, whose facts are given. */
function generic(
  of: Disclosure,
  about: OwnerFacts,
  drawn: { id: string; principal: { token: string | null }; sections: unknown[]; salt: Uint8Array },
): unknown {
  const { salt } = drawn
  const { subject, organization, issuer, roles, actors } = of.principal
  const [given] = of.owners
  if (given === undefined) throw new Error('one owner is concerned')
  const digest = (pinned: 'contribution' | 'predicate', hash: Uint8Array | undefined) =>
    hash === undefined ? null : saltedDigest({ salt, pinned, sha256: hash })
  const value = {
    v: 2,
    id: drawn.id,
    time: new Date(of.time).toISOString(),
    kind: 'request',
    ledger: organization,
    requestId: of.requestId,
    principal: { subject, organization, issuer, roles, actors, token: drawn.principal.token },
    purpose: of.purpose,
    operation: of.operationName,
    document: saltedDigest({ salt, pinned: 'document', sha256: of.documentSha256 }),
    variables: saltedDigest({ salt, pinned: 'variables', sha256: sha256(of.variablesText) }),
    cost: of.cost,
    outcome: of.outcome,
    code: of.code,
    durationMs: of.durationMs,
    sections: [
      {
        organization: about.organization,
        requestId: (drawn.sections[0] as { requestId: string | null }).requestId,
        source: about.source,
        types: about.types.map((type) => ({ ...type, fields: [...type.fields].sort() })),
        stores: about.stores,
        jurisdictions: about.jurisdictions,
        rows: given.rows,
        contribution: digest('contribution', given.contribution?.digest()),
        predicate: digest('predicate', about.predicateText === null ? undefined : sha256(about.predicateText)),
        cost: given.cost ?? null,
        outcome: given.outcome ?? (of.outcome === 'partial' ? 'answered' : of.outcome),
        code: given.code ?? null,
        durationMs: given.durationMs ?? null,
      },
    ],
  }
  // By way of JSON: a number's zero has no sign there, and texts come back as they would from the leaf.
  return JSON.parse(JSON.stringify(value))
}

function parsed(entries: ReadonlyMap<string, SealedEntry>, organization: string) {
  return JSON.parse(entries.get(organization)?.text ?? 'null')
}

describe('a contribution', () => {
  const texts = fc.array(
    fc.json().map((text) => Buffer.from(text).toString('latin1')),
    { minLength: 1 },
  )

  it('is the SHA-256 of the JSON list as it was sent, whichever way the rows came', () => {
    fc.assert(
      fc.property(texts, fc.nat(), (rows, cut) => {
        const expected = sha256(Buffer.from(`[${rows.join(',')}]`, 'latin1'))
        expect(Contribution.of(rows).digest()).toEqual(expected)
        const running = new Contribution()
        const at = cut % rows.length
        for (const row of rows.slice(0, at)) running.add(row)
        running.addJoined(rows.slice(at).join(','))
        expect(running.digest()).toEqual(expected)
      }),
    )
  })

  it('is the same for answers of any size, and for none', () => {
    const rows = Array.from({ length: 5_000 }, (_, at) => `{"at":${at},"name":"${Buffer.from('é'.repeat(at % 90)).toString('latin1')}"}`)
    const list = Buffer.from(`[${rows.join(',')}]`, 'latin1')
    expect(JSON.parse(list.toString())).toHaveLength(5_000)
    const running = new Contribution()
    running.add(rows[0]!)
    running.addJoined(rows.slice(1, 4_000).join(','))
    running.add(rows[4_000]!)
    running.addJoined(rows.slice(4_001).join(','))
    expect(running.digest()).toEqual(sha256(list))
    expect(Contribution.of(rows).digest()).toEqual(sha256(list))
    expect(Contribution.of([]).digest()).toEqual(sha256('[]'))
  })

  it('takes nothing more once its digest is taken', () => {
    const taken = Contribution.of(['1'])
    taken.digest()
    expect(() => taken.add('2')).toThrow()
    expect(() => new Contribution().add('')).toThrow()
  })
})

describe('the HMAC', () => {
  it('is that of the platform, for every key of up to a block', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.uint8Array({ maxLength: 300 }), (key, message) => {
        const expected = createHmac('sha256', key).update(message).digest()
        expect(hmacSha256(key, message)).toEqual(expected)
        expect(hmacSha256Base64(key, message.subarray(0, 9), message.subarray(9))).toBe(expected.toString('base64'))
      }),
    )
    expect(() => hmacSha256(Buffer.alloc(65), Buffer.alloc(0))).toThrow(RangeError)
  })
})
