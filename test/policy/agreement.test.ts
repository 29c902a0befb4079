import { describe, expect, it } from '@jest/globals'
import { CompactSign, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose'
import { canonicalText, parseAgreement, verifySignature, type Agreement } from '../../src/policy/agreement.js'
import { printPath, Reading } from '../../src/policy/reading.js'
import { words } from '../support/platform-contract.js'

const TERMS = {
  agreement: 'borealis-aurora-operations',
  version: 3,
  grantor: 'borealis',
  grantee: 'aurora',
  purposes: ['operations'],
  from: '2026-01-01T00:00:00Z',
  until: '2027-01-01T00:00:00Z',
  jurisdictions: { stored: ['CA'], gateway: ['CA', 'DE'], grantee: ['DE'] },
  require: ['dpop'],
  types: {
    User: { allow: ['key'], mask: { name: { pseudonym: {} } } },
    Agent: {
      rows: { status: { ne: 'ARCHIVED' } },
      allow: ['key', 'name', 'status', 'owner', 'createdAt', 'executions'],
      mask: { monthlyBudget: { generalize: { step: 1000 } } },
    },
    WorkflowExecution: { allow: ['key', 'status', 'startedAt', 'agent'] },
  },
}

function load(content: unknown): { readonly agreement: Agreement | null; readonly paths: readonly string[]; readonly problems: readonly string[] } {
  const reading = new Reading()
  const agreement = parseAgreement(content, words, reading)
  return { agreement, paths: reading.mistakes.map(({ path }) => printPath(path)), problems: reading.mistakes.map(({ problem }) => problem) }
}

/** The agreement with one mask on `Agent`, and that mask as read. */
function mask(field: string, value: unknown) {
  const allow = ['key', 'name', 'status', 'createdAt'].filter((name) => name !== field)
  const { agreement, paths } = load({ ...TERMS, types: { Agent: { allow, mask: { [field]: value } } } })
  return { mask: agreement?.types.get('Agent')?.fields.get(field), paths }
}

describe('an agreement', () => {
  it('gives what it names, and nothing else', () => {
    const { agreement, problems } = load(TERMS)
    expect(problems).toEqual([])
    expect(agreement).toMatchObject({ id: 'borealis-aurora-operations', version: 3, grantor: 'borealis', grantee: 'aurora', actors: [] })
    expect(agreement?.fromMs).toBe(Date.UTC(2026, 0, 1))
    expect(agreement?.untilMs).toBe(Date.UTC(2027, 0, 1))
    expect([...(agreement?.require ?? [])]).toEqual(['dpop'])
    expect([...(agreement?.types.get('Agent')?.fields ?? [])]).toEqual([
      ['key', { kind: 'plain' }],
      ['name', { kind: 'plain' }],
      ['status', { kind: 'plain' }],
      ['owner', { kind: 'plain' }],
      ['createdAt', { kind: 'plain' }],
      ['executions', { kind: 'plain' }],
      ['monthlyBudget', { kind: 'masked', mask: { kind: 'generalize', step: '1000', revealNulls: false } }],
    ])
    expect(agreement?.types.get('Agent')?.rows).toEqual({
      kind: 'not',
      term: { kind: 'compare', field: 'status', op: '=', operand: { kind: 'constant', value: 'ARCHIVED' } },
    })
    expect(agreement?.types.get('User')?.fields.get('name')).toEqual({
      kind: 'masked',
      mask: { kind: 'pseudonym', domain: 'User.name', grantee: 'aurora', revealNulls: false },
    })
  })

  it('needs no proof of possession where it asks for none', () => {
    const { require: _, ...bearer } = TERMS
    expect(load(bearer).agreement?.require).toBeNull()
  })

  const types = (value: unknown) => ({ ...TERMS, types: value })
  const agent = (value: Record<string, unknown>) => types({ Agent: { allow: ['key', 'name', 'status', 'createdAt'], ...value } })
  it.each<[string, unknown, string]>([
    ['a key that is unknown', { ...TERMS, note: 'x' }, 'note'],
    ['a part that is missing', { ...TERMS, jurisdictions: undefined }, ''],
    ['a grantee that is the grantor', { ...TERMS, grantee: 'borealis' }, 'grantee'],
    ['no purposes', { ...TERMS, purposes: [] }, 'purposes'],
    ['a purpose that stands twice', { ...TERMS, purposes: ['a', 'a'] }, 'purposes[1]'],
    ['an end that is its start', { ...TERMS, until: TERMS.from }, 'until'],
    ['a time without its offset', { ...TERMS, from: '2026-01-01T00:00:00' }, 'from'],
    ['a day that does not exist', { ...TERMS, from: '2026-02-30T00:00:00Z' }, 'from'],
    ['an empty list of jurisdictions', { ...TERMS, jurisdictions: { ...TERMS.jurisdictions, stored: [] } }, 'jurisdictions.stored'],
    ['a jurisdiction that is missing', { ...TERMS, jurisdictions: { stored: ['CA'], gateway: ['CA'] } }, 'jurisdictions'],
    ['a proof that is none', { ...TERMS, require: ['password'] }, 'require[0]'],
    ['an empty list of proofs', { ...TERMS, require: [] }, 'require'],
    ['no types', types({}), 'types'],
    ['a type that the contract lacks', types({ Agents: { allow: [] } }), 'types.Agents'],
    ['the word `all` for types', types({ all: { allow: ['key'] } }), 'types.all'],
    ['the word `all` for fields', types({ User: { allow: 'all' } }), 'types.User.allow'],
    ['a required field that is missing', types({ User: { allow: ['key'] } }), 'types.User'],
    ['a field that the contract lacks', types({ User: { allow: ['key', 'name', 'salary'] } }), 'types.User.allow[2]'],
    ['a name of JavaScript as field', types({ User: { allow: ['key', 'name', '__proto__'] } }), 'types.User.allow[2]'],
    ['a field that is allowed and masked', types({ User: { allow: ['key', 'name'], mask: { name: { pseudonym: {} } } } }), 'types.User.mask.name'],
    ['a condition with an unknown field', agent({ rows: { stat: { eq: 'ACTIVE' } } }), 'types.Agent.rows.stat'],
    ['an empty condition', agent({ rows: {} }), 'types.Agent.rows'],
    ['aggregate-only terms', types({ Agent: { aggregateOnly: { unit: 'owner', minimum: 10 } } }), 'types.Agent.aggregateOnly'],
    [
      'a list whose foreign key is denied',
      types({ Agent: { allow: ['key', 'name', 'status', 'createdAt', 'executions'] }, WorkflowExecution: { allow: ['key', 'status', 'startedAt'] } }),
      'types.Agent.allow',
    ],
  ])('does not load with %s', (_, content, path) => {
    const { agreement, paths } = load(JSON.parse(JSON.stringify(content)))
    expect(agreement).toBeNull()
    expect(paths).toContain(path)
  })

  it('does not load with a prototype as type or as mask', () => {
    expect(load({ ...TERMS, types: JSON.parse('{ "__proto__": { "allow": [] } }') as unknown }).paths).toEqual(['types.__proto__'])
    const masks = JSON.parse('{ "__proto__": { "pseudonym": {} } }') as unknown
    expect(load(types({ User: { allow: ['key', 'name'], mask: masks } })).paths).toEqual(['types.User.mask.__proto__'])
  })

  it('may allow a relation whose target it does not name: it is denied at use', () => {
    expect(load(types({ Agent: { allow: ['key', 'name', 'status', 'createdAt', 'owner', 'executions'] } })).agreement).not.toBeNull()
  })

  it('says what is missing where aggregates alone are wanted', () => {
    expect(load(types({ Agent: { aggregateOnly: {} } })).problems[0]).toContain('not available yet')
  })
})

describe('a mask', () => {
  it('of a key is a pseudonym in the domain of its type, whoever names the key', () => {
    expect(mask('key', { pseudonym: {} }).mask).toEqual({ kind: 'masked', mask: { kind: 'pseudonym', domain: 'Agent', grantee: 'aurora', revealNulls: false } })
    expect(mask('key', { pseudonym: { domain: 'bots' } }).mask).toMatchObject({ mask: { domain: 'bots' } })
  })

  it.each<[string, string, unknown, unknown]>([
    ['null', 'description', null, { kind: 'null' }],
    ['null, by its name', 'description', { null: {} }, { kind: 'null' }],
    ['null on JSON', 'configuration', null, { kind: 'null' }],
    ['null on a list', 'tags', null, { kind: 'null' }],
    ['a constant text', 'name', { constant: 'hidden' }, { kind: 'constant', value: 'hidden' }],
    ['a constant of an enum', 'status', { constant: 'ACTIVE' }, { kind: 'constant', value: 'ACTIVE' }],
    ['a constant decimal', 'monthlyBudget', { constant: '0.50' }, { kind: 'constant', value: '0.5' }],
    ['a constant that is false', 'active', { constant: false }, { kind: 'constant', value: false }],
    ['nothing but the end', 'name', { redact: { keepLast: 4 } }, { kind: 'redact', keepLast: 4, revealNulls: false }],
    ['nothing of the end', 'description', { redact: { keepLast: 0, nulls: 'reveal' } }, { kind: 'redact', keepLast: 0, revealNulls: true }],
    ['a grid of decimals', 'monthlyBudget', { generalize: { step: '0.25' } }, { kind: 'generalize', step: '0.25', revealNulls: false }],
    ['a grid of integers', 'maxConcurrency', { generalize: { step: 10 } }, { kind: 'generalize', step: '10', revealNulls: false }],
    ['a grid of big integers', 'quota', { generalize: { step: '1000000' } }, { kind: 'generalize', step: '1000000', revealNulls: false }],
    ['a grid of floats', 'load', { generalize: { step: '0.1' } }, { kind: 'generalize', step: '0.1', revealNulls: false }],
    ['a grid of times', 'createdAt', { generalize: { unit: 'HOUR' } }, { kind: 'generalizeTime', unit: 'HOUR', revealNulls: false }],
    ['a grid of days', 'day', { generalize: { unit: 'MONTH', nulls: 'reveal' } }, { kind: 'generalizeTime', unit: 'MONTH', revealNulls: true }],
  ])('gives %s', (_, field, value, expected) => {
    expect(mask(field, value).mask).toEqual({ kind: 'masked', mask: expected })
  })

  it.each<[string, string, unknown, string]>([
    ['null on a required field', 'name', null, 'mask.name.null'],
    ['null on a key', 'key', null, 'mask.key'],
    ['a constant key', 'key', { constant: 'x' }, 'mask.key'],
    ['a redacted key', 'key', { redact: { keepLast: 2 } }, 'mask.key'],
    ['a relation that is masked', 'owner', { pseudonym: {} }, 'mask.owner'],
    ['a list of relations that is masked', 'executions', null, 'mask.executions'],
    ['a constant of another type', 'maxConcurrency', { constant: 'many' }, 'mask.maxConcurrency.constant'],
    ['a constant that is null', 'description', { constant: null }, 'mask.description.constant'],
    ['a constant outside of the enum', 'status', { constant: 'HIDDEN' }, 'mask.status.constant'],
    ['a constant for JSON', 'configuration', { constant: '{}' }, 'mask.configuration.constant'],
    ['a constant for a list', 'tags', { constant: 'x' }, 'mask.tags.constant'],
    ['a pseudonym of an enum', 'status', { pseudonym: {} }, 'mask.status.pseudonym'],
    ['a pseudonym of a number', 'quota', { pseudonym: {} }, 'mask.quota.pseudonym'],
    ['a pseudonym of a UUID', 'trace', { pseudonym: {} }, 'mask.trace.pseudonym'],
    ['a redacted number', 'maxConcurrency', { redact: { keepLast: 1 } }, 'mask.maxConcurrency.redact'],
    ['more of the end than 16', 'name', { redact: { keepLast: 17 } }, 'mask.name.redact.keepLast'],
    ['less of the end than nothing', 'name', { redact: { keepLast: -1 } }, 'mask.name.redact.keepLast'],
    ['a grid of texts', 'name', { generalize: { step: 10 } }, 'mask.name.generalize'],
    ['a step of nothing', 'monthlyBudget', { generalize: { step: 0 } }, 'mask.monthlyBudget.generalize.step'],
    ['a step of nothing, with digits', 'monthlyBudget', { generalize: { step: '0.00' } }, 'mask.monthlyBudget.generalize.step'],
    ['a step below nothing', 'maxConcurrency', { generalize: { step: -5 } }, 'mask.maxConcurrency.generalize.step'],
    ['a broken step for integers', 'maxConcurrency', { generalize: { step: '0.5' } }, 'mask.maxConcurrency.generalize.step'],
    ['a step for times', 'createdAt', { generalize: { step: 10 } }, 'mask.createdAt.generalize'],
    ['a unit for numbers', 'monthlyBudget', { generalize: { unit: 'DAY' } }, 'mask.monthlyBudget.generalize'],
    ['hours of a day', 'day', { generalize: { unit: 'HOUR' } }, 'mask.day.generalize.unit'],
    ['a unit that is none', 'createdAt', { generalize: { unit: 'day' } }, 'mask.createdAt.generalize.unit'],
    ['nulls that are hidden by another word', 'description', { pseudonym: { nulls: 'hide' } }, 'mask.description.pseudonym.nulls'],
    ['a mask that is unknown', 'name', { hash: {} }, 'mask.name.hash'],
    ['a shift of dates, which is not there yet', 'createdAt', { dateShift: {} }, 'mask.createdAt.dateShift'],
    ['two masks', 'name', { constant: 'x', redact: { keepLast: 1 } }, 'mask.name'],
    ['no mask', 'name', {}, 'mask.name'],
  ])('is refused as %s', (_, field, value, path) => {
    const read = mask(field, value)
    expect(read.mask).toBeUndefined()
    expect(read.paths.map((full) => full.replace('types.Agent.', ''))).toContain(path)
  })
})

async function keys(alg: 'EdDSA' | 'ES256' | 'RS256'): Promise<{ readonly secret: JWK; readonly shared: JWK }> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { secret: await exportJWK(privateKey), shared: await exportJWK(publicKey) }
}

async function sign(content: unknown, key: JWK, alg: string, header: Record<string, unknown> = {}): Promise<string> {
  return new CompactSign(new TextEncoder().encode(canonicalText(content))).setProtectedHeader({ alg, ...header }).sign(await importJWK(key, alg))
}

const detached = (jws: string) => jws.replace(/\..*\./, '..')

describe('the signature of an agreement', () => {
  it('covers its content, whatever the order of its keys', async () => {
    for (const alg of ['EdDSA', 'ES256'] as const) {
      const { secret, shared } = await keys(alg)
      const jws = await sign(TERMS, secret, alg)
      const reordered = Object.fromEntries(Object.entries(TERMS).reverse())
      expect(await verifySignature(reordered, jws, [shared])).toBe(true)
      expect(await verifySignature(TERMS, `${detached(jws)}\n`, [shared])).toBe(true)
      expect(await verifySignature({ ...TERMS, version: 4 }, jws, [shared])).toBe(false)
      expect(await verifySignature({ ...TERMS, version: 4 }, detached(jws), [shared])).toBe(false)
    }
  })

  it('is one by any of the given keys, whatever it calls its key, and by no other', async () => {
    const [ours, theirs] = [await keys('EdDSA'), await keys('ES256')]
    const jws = await sign(TERMS, ours.secret, 'EdDSA', { kid: 'whatever' })
    expect(await verifySignature(TERMS, jws, [theirs.shared, { ...ours.shared, kid: 'mine' }])).toBe(true)
    expect(await verifySignature(TERMS, jws, [theirs.shared])).toBe(false)
    expect(await verifySignature(TERMS, jws, [])).toBe(false)
  })

  it('is not taken with another algorithm, a key of its own, or what we do not understand', async () => {
    const { secret, shared } = await keys('EdDSA')
    const rsa = await keys('RS256')
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(canonicalText(TERMS)).toString('base64url')}.`
    expect(await verifySignature(TERMS, none, [shared])).toBe(false)
    expect(await verifySignature(TERMS, await sign(TERMS, rsa.secret, 'RS256'), [rsa.shared])).toBe(false)
    const hmac: JWK = { kty: 'oct', k: Buffer.from(JSON.stringify(shared)).toString('base64url') }
    expect(await verifySignature(TERMS, await sign(TERMS, hmac, 'HS256'), [shared])).toBe(false)
    const stranger = await keys('EdDSA')
    expect(await verifySignature(TERMS, await sign(TERMS, stranger.secret, 'EdDSA', { jwk: stranger.shared }), [shared])).toBe(false)
    const critical = await new CompactSign(new TextEncoder().encode(canonicalText(TERMS)))
      .setProtectedHeader({ alg: 'EdDSA', crit: ['exp'], exp: 1 })
      .sign(await importJWK(secret, 'EdDSA'), { crit: { exp: true } })
    expect(await verifySignature(TERMS, critical, [shared])).toBe(false)
  })

  it.each(['', '.', '..', 'a..b', 'a.b.c', 'a.b.c.d', '{}', '\0'])('is not %j', async (text) => {
    const { shared } = await keys('EdDSA')
    expect(await verifySignature(TERMS, text, [shared])).toBe(false)
  })

  it('fails once a single character of it is another', async () => {
    const { secret, shared } = await keys('EdDSA')
    const jws = detached(await sign(TERMS, secret, 'EdDSA'))
    // The last character of 64 bytes in base64url carries bits that nobody reads.
    for (let index = 0; index < jws.length - 1; index += 7) {
      const flipped = jws.slice(0, index) + (jws[index] === 'A' ? 'B' : 'A') + jws.slice(index + 1)
      expect(await verifySignature(TERMS, flipped, [shared])).toBe(false)
    }
  })
})
