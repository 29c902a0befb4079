import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { checkpointSigner, formatKey, signCheckpoint, type CheckpointKey } from '../../src/audit/checkpoint.js'
import { exportLedger } from '../../src/audit/export.js'
import type { LedgerRecord } from '../../src/audit/ledger.js'
import { leafHash, MerkleTree } from '../../src/audit/merkle.js'
import { seal, type ExportFilter } from '../../src/audit/record.js'
import { bundleLine, verifyBundle, type BundleEntry, type Verification } from '../../src/audit/verify.js'
import { startTestPostgres, withClient, type TestPostgres } from '../support/postgres.js'
import { append, codeOf, disclosure, ground, open, record, type Ground, type OpenAudit } from './fixture.js'
import { times } from '../support/times.js'

let postgres: TestPostgres
let on: Ground
let key: CheckpointKey
/** Aurora's whole ledger of 4 entries, and one of several hundred. */
let small: string
let large: string

beforeAll(async () => {
  postgres = await startTestPostgres()
  on = await ground(postgres)
  const audit = await open(on)
  key = signerOf(on)
  for (const subject of ['ana', 'ben', 'ana', 'zoë']) await audit.ledger.append(record(disclosure(subject)))
  small = await bundle(audit, {})
  await append(audit, 600)
  large = await bundle(audit, {})
  await audit.end()
})
afterAll(async () => {
  await postgres.stop()
})

describe('an exported ledger', () => {
  it('verifies with the trusted key, whole, with nothing but the file', async () => {
    expect(await verify(small)).toEqual({
      verified: true,
      ledger: 'aurora',
      key: formatKey(key),
      trusted: true,
      size: 5,
      entries: 4,
      complete: true,
      receiptIndex: null,
      problems: [],
    })
    // The former export is an entry as well.
    expect(await verify(large)).toMatchObject({ verified: true, entries: 605, complete: true, size: 606 })
  })

  it('holds the entry of a receipt, or says that it does not', async () => {
    const leaf = (JSON.parse(small.split('\n')[3] ?? '') as BundleEntry).leaf
    const receipt = leafHash(Buffer.from(leaf)).toString('base64')
    expect(await verify(small, key, receipt)).toMatchObject({ verified: true, receiptIndex: 2 })
    const other = leafHash(Buffer.from('another')).toString('base64')
    expect(await verify(small, key, other)).toMatchObject({
      verified: false,
      receiptIndex: null,
      problems: [{ problem: 'the bundle does not hold the entry of the receipt' }],
    })
  })

  it('verifies against its own key too, which is said', async () => {
    expect(await verify(small, null)).toMatchObject({ verified: true, trusted: false })
  })

  it('holds the entries as they are in the ledger, and in the end the record of the export', () => {
    const lines = small
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.slice(1, -1).map(({ leaf }) => JSON.parse(leaf).principal.subject)).toEqual(['ana', 'ben', 'ana', 'zoë'])
    expect(JSON.parse(lines.at(-1).export.leaf)).toMatchObject({
      kind: 'audit-export',
      ledger: 'aurora',
      principal: { subject: 'olivia', organization: 'aurora' },
      export: { filter: {}, size: 4, count: 4 },
    })
  })

  it('fails once any bit of it is flipped', async () => {
    const bytes = Buffer.from(small)
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: bytes.length * 8 - 1 }), async (bit) => {
        const copy = Buffer.from(bytes)
        copy[bit >> 3]! ^= 1 << (bit & 7)
        expect((await verify(copy)).verified).toBe(false)
        expect((await verify(copy, null)).verified).toBe(false)
      }),
      { numRuns: times(150) },
    )
  }, 60_000)

  it('fails once a line is removed, repeated, moved or added, and says where', async () => {
    const lines = large.trimEnd().split('\n')
    const file = (changed: readonly string[]) => verify(`${changed.join('\n')}\n`)
    for (const at of [1, 2, 256, 300, lines.length - 2]) {
      const removed = await file(lines.toSpliced(at, 1))
      expect(removed.verified).toBe(false)
      expect(removed.problems.some(({ problem }) => /missing/.test(problem))).toBe(true)
      expect((await file(lines.toSpliced(at, 0, lines[at]!))).problems).toContainEqual({ line: at + 2, index: at - 1, problem: 'the entry is out of order' })
    }
    expect((await file(lines.toSpliced(5, 2, lines[6]!, lines[5]!))).verified).toBe(false)
    expect((await file(lines.toSpliced(0, 1))).verified).toBe(false)
    expect((await file(lines.slice(0, -1))).problems.map(({ problem }) => problem)).toEqual(['the bundle lacks its end'])
    expect((await file([...lines, lines[1]!])).problems.map(({ problem }) => problem)).toEqual(['the bundle goes on after its end'])
    expect((await file([...lines, ...lines])).verified).toBe(false)
    expect((await file([])).verified).toBe(false)
    expect((await verify('')).verified).toBe(false)
    expect((await verify(large.trimEnd())).problems).toEqual([{ line: lines.length, problem: 'the last line is not ended' }])
  })

  it('fails in any part of it', async () => {
    const end = Buffer.from(small).length
    for (let cut = 0; cut < end; cut += 97) expect((await verify(Buffer.from(small).subarray(0, cut))).verified).toBe(false)
  })

  it('fails with an entry of another place, even with the proof of that place', async () => {
    const lines = large.trimEnd().split('\n')
    const other = JSON.parse(lines[9]!) as BundleEntry
    const swapped = lines.with(5, bundleLine({ ...other, index: 4 }))
    const problems = (await verify(`${swapped.join('\n')}\n`)).problems
    expect(problems).toContainEqual({ line: 6, index: 4, problem: 'the entry is not the one that the ledger holds at this place' })
  })

  it('fails under another key than the trusted one, though it agrees with itself', async () => {
    const forged = forge()
    expect((await verify(forged, null)).verified).toBe(true)
    expect(await verify(forged)).toMatchObject({ verified: false, problems: [{ line: 1, problem: 'the bundle is not signed with the key that you trust' }] })
  })

  it('fails as the bundle of another organization', async () => {
    const borealis = on.signers.get('borealis')
    if (borealis === undefined) throw new Error('borealis has a key')
    expect((await verify(small, borealis)).verified).toBe(false)
  })

  it('is read in chunks of any size', async () => {
    for (const size of [1, 7, 4096]) {
      const bytes = Buffer.from(small)
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size))
      expect((await verifyBundle(streamed(chunks), { key, receipt: null, problemsMax: 10 })).verified).toBe(true)
    }
  })

  it('fails calmly on what is no bundle', async () => {
    for (const text of ['\n', '{}\n', 'null\n', '[]\n', '{"bundle":"concordat-audit/2"}\n', '\u0000\n', '{"__proto__":1}\n']) {
      expect((await verify(text)).verified).toBe(false)
    }
    expect((await verify(Buffer.from([0xff, 0xfe, 0x0a]))).problems).toEqual([{ line: 1, problem: 'the bundle is not UTF-8' }])
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => expect((await verify(text)).verified).toBe(false)),
      { numRuns: times(100) },
    )
  })

  it('reports no more problems than asked for', async () => {
    const lines = large.trimEnd().split('\n')
    const changed = lines.map((line, at) => (at === 0 ? line : line.replace('operations', 'marketing')))
    const result = await verifyBundle(streamed([Buffer.from(`${changed.join('\n')}\n`)]), { key, receipt: null, problemsMax: 3 })
    expect(result.verified).toBe(false)
    expect(result.problems).toHaveLength(3)
  })
})

describe('an export with a filter', () => {
  it('holds what fits, proves each entry, and fails when one is taken out afterwards', async () => {
    const audit = await open(on)
    const filtered = await bundle(audit, { subject: 'ana' })
    const lines = filtered.trimEnd().split('\n')
    expect(lines).toHaveLength(4)
    expect(await verify(filtered)).toMatchObject({ verified: true, complete: false, entries: 2 })
    for (const at of [1, 2]) {
      const problems = (await verify(`${lines.toSpliced(at, 1).join('\n')}\n`)).problems
      expect(problems.map(({ problem }) => problem)).toEqual(['the ledger recorded an export of 2 entries; here are 1'])
    }
    // One that was not chosen, with a sound proof of its own.
    const whole = (await bundle(audit, {})).trimEnd().split('\n')
    const foreign = lines.toSpliced(2, 0, whole[2]!)
    expect((await verify(`${foreign.join('\n')}\n`)).verified).toBe(false)
    await audit.end()
  })

  it('chooses by time, from inclusive, to exclusive, and by purpose', async () => {
    const fresh = await ground(postgres)
    const audit = await open(fresh)
    const noon = Date.UTC(2026, 2, 2, 12)
    for (const [offset, purpose] of [
      [-1, 'a'],
      [0, 'a'],
      [0, 'b'],
      [999, 'a'],
      [1000, 'a'],
    ] as const) {
      await audit.ledger.append(record({ ...disclosure(), time: noon + offset, purpose }))
    }
    const of = async (filter: ExportFilter): Promise<number[]> => {
      const text = await bundle(audit, filter)
      expect((await verify(text, signerOf(fresh))).problems).toEqual([])
      return text
        .trimEnd()
        .split('\n')
        .slice(1, -1)
        .map((line) => JSON.parse(line).index as number)
    }
    expect(await of({ from: '2026-03-02T12:00:00Z', to: '2026-03-02T12:00:01Z' })).toEqual([1, 2, 3])
    expect(await of({ from: '2026-03-02T13:00:00+01:00', to: '2026-03-02T12:00:00.999Z', purpose: 'a' })).toEqual([1])
    expect(await of({ purpose: 'b' })).toEqual([2])
    expect(await of({ subject: 'nobody' })).toEqual([])
    expect(await codeOf(bundle(audit, { from: 'yesterday' }))).toBe('BAD_USER_INPUT')
    await audit.end()
  })
})

describe('a ledger with entries of an older form', () => {
  it('is exported and verified like any other; a form of later versions is not', async () => {
    const fresh = await ground(postgres)
    const audit = await open(fresh)
    const old = (v: number): LedgerRecord => {
      const made = record(disclosure(), 0).entries.get('aurora')!
      return { epoch: 0, entries: new Map([['aurora', seal({ ...JSON.parse(made.text), v }, made.salt)]]) }
    }
    await audit.ledger.append(old(1))
    await audit.ledger.append(record())
    expect(await verify(await bundle(audit, {}), signerOf(fresh))).toMatchObject({ verified: true, complete: true, entries: 2 })
    await audit.ledger.append(old(3))
    expect((await verify(await bundle(audit, {}), signerOf(fresh))).problems).toEqual([
      { line: 5, index: 3, problem: 'the entry has a form that is not known here' },
    ])
    await audit.end()
  })
})

describe('a database that was tampered with', () => {
  it.each([
    ['a leaf', `UPDATE concordat.ledger_entries SET leaf = replace(leaf, '"rows":2', '"rows":0') WHERE ledger = 'aurora' AND "index" = 3`, 3],
    ['a leaf and its hash', `UPDATE concordat.ledger_entries SET leaf = 'x', leaf_hash = sha256('\\x0078'::bytea) WHERE ledger = 'aurora' AND "index" = 3`, 3],
    ['a hash', `UPDATE concordat.ledger_entries SET leaf_hash = set_byte(leaf_hash, 5, get_byte(leaf_hash, 5) # 1) WHERE ledger = 'aurora' AND "index" = 3`, 2],
    ['a stored node', `UPDATE concordat.ledger_subtrees SET hash = set_byte(hash, 5, get_byte(hash, 5) # 1) WHERE ledger = 'aurora' AND "index" = 0`, 299],
  ])('is found by verification when %s was changed', async (_, sql, index) => {
    const fresh = await ground(postgres)
    const audit = await open(fresh, { checkpointMs: 60_000 })
    await append(audit, 300)
    expect((await verify(await bundle(audit, {}), signerOf(fresh))).verified).toBe(true)
    await withClient(fresh.url, async (client) => {
      await client.query('SET session_replication_role = replica')
      expect((await client.query(sql)).rowCount).toBe(1)
    })
    // The keeper may see it first, and then nothing is exported at all.
    const text = await bundle(audit, {}).catch((error: unknown) => error)
    if (typeof text === 'string') {
      const result = await verify(text, signerOf(fresh))
      expect(result.verified).toBe(false)
      expect(result.problems.some((problem) => problem.index === index)).toBe(true)
    } else expect(audit.ledger.obstacle()).not.toBeNull()
    await audit.end()
  })
})

describe('the verifier', () => {
  it('needs nothing but tree, checkpoints and entries: no database, no gateway', async () => {
    const imports = async (name: string): Promise<string[]> => {
      const text = await readFile(new URL(`../../src/audit/${name}.ts`, import.meta.url), 'utf8')
      return [...text.matchAll(/^(?:import|export) .*from '(.+)'$/gm)].map(([, from]) => from ?? '')
    }
    expect((await imports('verify')).sort()).toEqual(['./canonical-json.js', './checkpoint.js', './merkle.js', './record.js'])
    const below = (await Promise.all(['canonical-json', 'checkpoint', 'merkle', 'record', 'contribution', 'owner-terms', 'digest', 'uuid'].map(imports))).flat()
    expect(new Set(below)).toEqual(
      new Set([
        'node:crypto',
        './canonical-json.js',
        './contribution.js',
        './digest.js',
        './merkle.js',
        './owner-terms.js',
        './uuid.js',
        '../errors.js',
        'canonicalize',
      ]),
    )
  })
})

function signerOf(ground: Ground): CheckpointKey {
  const signer = ground.signers.get('aurora')
  if (signer === undefined) throw new Error('aurora has a key')
  return signer
}

async function bundle(audit: OpenAudit, filter: ExportFilter): Promise<string> {
  const lines: string[] = []
  await exportLedger(
    { organization: 'aurora', filter, subject: 'olivia' },
    { ...audit, now: Date.now, random: randomBytes },
    async (line) => void lines.push(line),
  )
  return lines.join('')
}

async function verify(text: string | Buffer, trusted: CheckpointKey | null = key, receipt: string | null = null): Promise<Verification> {
  return verifyBundle(streamed([Buffer.from(text)]), { key: trusted, receipt, problemsMax: 10 })
}

async function* streamed(chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks
}

/** The small bundle with another subject, signed anew with a key of the forger's: consistent in itself. */
function forge(): string {
  const signer = checkpointSigner('aurora', generateKeyPairSync('ed25519').privateKey)
  const lines = small
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const leaves: string[] = lines.slice(1, -1).map(({ leaf }) => leaf.replace('"subject":"ana"', '"subject":"eve"'))
  const chosen = new MerkleTree()
  for (const leaf of leaves) chosen.append(leafHash(Buffer.from(leaf)))
  const trailer = lines.at(-1).export.leaf.replace(/"root":"[^"]+"/, `"root":"${chosen.rootAt(4).toString('base64')}"`) as string
  const tree = new MerkleTree()
  for (const leaf of [...leaves, trailer]) tree.append(leafHash(Buffer.from(leaf)))
  const entry = (leaf: string, index: number): BundleEntry => ({ index, leaf, proof: tree.inclusionProof(index, 5).map((hash) => hash.toString('base64')) })
  const header = { ...lines[0], key: formatKey(signer), checkpoint: signCheckpoint({ size: 5, root: tree.rootAt(5) }, signer) }
  return [bundleLine(header), ...leaves.map((leaf, index) => bundleLine(entry(leaf, index))), bundleLine({ export: entry(trailer, 4) }), ''].join('\n')
}
