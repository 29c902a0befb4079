import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { mkdtemp, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { auditExport, auditKey, auditList, auditVerify } from '../../src/cli/audit.js'
import { startTestPostgres, withClient, type TestPostgres } from '../support/postgres.js'
import { codeOf, disclosure, ground, open, record, type Ground, type OpenAudit } from './fixture.js'

let postgres: TestPostgres
let on: Ground
let audit: OpenAudit
let folder: string
const printed: string[] = []
const print = (text: string): void => void printed.push(text)
const shown = (): string => printed.splice(0).join('')

beforeAll(async () => {
  postgres = await startTestPostgres()
  on = await ground(postgres)
  audit = await open(on)
  folder = await mkdtemp(join(tmpdir(), 'concordat-audit-'))
  for (const subject of ['ana', 'ben', 'e\u001b[2Jve\u202e']) await audit.ledger.append(record(disclosure(subject)))
  await audit.ledger.append(record({ ...disclosure('ana', []), outcome: 'refused', code: 'FIELD_NOT_USABLE' }))
})
afterAll(async () => {
  await audit.end()
  await postgres.stop()
})

describe('concordat audit', () => {
  it('lists the newest entries first, in lines that no name can garble', async () => {
    expect(await auditList({ organization: 'aurora', filter: {}, rowsMax: 3, json: false }, audit.store, print)).toBe(0)
    const lines = shown().trimEnd().split('\n')
    expect(lines).toHaveLength(3)
    expect(lines[0]).toMatch(/^3 {2}\S+Z {2}\S+ {2}ana of aurora {2}for operations {2}refused \(FIELD_NOT_USABLE\)/)
    expect(lines[1]).toContain('e\ufffd[2Jve\ufffd of aurora')
    expect(lines[2]).toContain('borealis: 2 rows of Agent under borealis-aurora-operations v3')
    await auditList({ organization: 'borealis', filter: { subject: 'ana' }, rowsMax: 10, json: false }, audit.store, print)
    expect(shown()).toMatch(/^0 .* ana of aurora {2}for operations {2}answered 2 rows of Agent under borealis-aurora-operations v3\n$/)
  })

  it('lists as JSON lines, exactly as the ledger holds them', async () => {
    await auditList({ organization: 'aurora', filter: { subject: 'ana' }, rowsMax: 10, json: true }, audit.store, print)
    const entries = shown()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(entries.map(({ index, entry }) => [index, entry.kind, entry.principal.subject])).toEqual([
      [3, 'request', 'ana'],
      [0, 'request', 'ana'],
    ])
  })

  it('exports to a file that only its owner may read, and verifies it with any form of the key', async () => {
    const out = join(folder, 'aurora.jsonl')
    const parts = { ...audit, now: Date.now, random: randomBytes }
    const options = { organization: 'aurora', filter: { from: '2026-01-01T00:00:00Z' }, subject: 'olivia', out }
    expect(await auditExport({ ...options, json: true }, parts, print)).toBe(0)
    expect(JSON.parse(shown())).toMatchObject({ out, entries: 4 })
    expect((await stat(out)).mode & 0o777).toBe(0o600)
    expect(await auditExport({ ...options, json: false }, parts, print)).toBe(0)
    expect(shown()).toContain('5 entries of aurora')
    expect(await readdir(folder)).toEqual(['aurora.jsonl'])

    const key = audit.keeper.keyOf('aurora')
    expect(auditKey(key, print)).toBe(0)
    const forms = {
      line: shown(),
      jwk: JSON.stringify(key.publicKey.export({ format: 'jwk' })),
      pem: key.publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    }
    for (const [name, text] of Object.entries(forms)) {
      const file = join(folder, name)
      await writeFile(file, text)
      expect(await auditVerify(out, { json: false, key: file, receipt: null }, print)).toBe(0)
      expect(shown()).toMatch(/^verified: 5 entries of aurora.*\nsigned with the key that you gave\n$/)
    }
    const receipts = await audit.ledger.append(record(disclosure('fay')))
    await auditExport({ ...options, json: true }, parts, print)
    shown()
    expect(await auditVerify(out, { json: false, key: null, receipt: receipts.get('aurora')?.leaf ?? '' }, print)).toBe(0)
    expect(shown()).toContain('the receipt is that of entry 6')
    expect(await auditVerify(out, { json: false, key: null, receipt: null }, print)).toBe(0)
    expect(shown()).toContain('compare it with the one that aurora publishes')
  })

  it('ends with 1 and says what is wrong, and with 2 when there is nothing to verify', async () => {
    const out = join(folder, 'changed.jsonl')
    await auditExport({ organization: 'aurora', filter: {}, subject: 'olivia', out, json: true }, { ...audit, now: Date.now, random: randomBytes }, print)
    shown()
    await writeFile(out, (await readFile(out, 'utf8')).replace('"rows\\":2', '"rows\\":1'))
    expect(await auditVerify(out, { json: false, key: null, receipt: null }, print)).toBe(1)
    expect(shown()).toMatch(/^line 2, entry 0: the entry is not the one that the ledger holds at this place\n(.*\n)*NOT verified\n$/)
    expect(await auditVerify(out, { json: true, key: null, receipt: null }, print)).toBe(1)
    expect(JSON.parse(shown())).toMatchObject({ verified: false, ledger: 'aurora' })

    expect(await auditVerify(join(folder, 'nothing'), { json: true, key: null, receipt: null }, print)).toBe(2)
    expect(JSON.parse(shown()).verified).toBe(false)
    await writeFile(join(folder, 'bad-key'), 'no key')
    expect(await auditVerify(out, { json: false, key: join(folder, 'bad-key'), receipt: null }, print)).toBe(2)
    expect(shown()).toBe('the key is not an Ed25519 key of a signed note\n')
    const borealis = join(folder, 'borealis-key')
    auditKey(audit.keeper.keyOf('borealis'), print)
    await writeFile(borealis, shown())
    expect(await auditVerify(out, { json: false, key: borealis, receipt: null }, print)).toBe(1)
    expect(shown()).toContain('not signed with the key that you trust')
  })

  it('leaves no file when the export cannot be recorded', async () => {
    const parts = { ...audit, now: Date.now, random: randomBytes }
    audit.ledger.refuse('cascade', 'a test says so')
    const out = join(folder, 'cascade.jsonl')
    expect(await codeOf(auditExport({ organization: 'cascade', filter: {}, subject: 'olivia', out, json: false }, parts, print))).toBe('AUDIT_UNAVAILABLE')
    expect(await codeOf(auditExport({ organization: 'aurora', filter: { to: 'soon' }, subject: 'o', out, json: false }, parts, print))).toBe('BAD_USER_INPUT')
    expect((await readdir(folder)).filter((name) => name.startsWith('cascade'))).toEqual([])
  })

  it('shows an entry that was tampered with as what it is', async () => {
    await withClient(on.url, async (client) => {
      await client.query('SET session_replication_role = replica')
      await client.query(`UPDATE concordat.ledger_entries SET leaf = 'gone' WHERE ledger = 'borealis' AND "index" = 0`)
      await client.query(`UPDATE concordat.ledger_entries SET leaf = '{}' WHERE ledger = 'borealis' AND "index" = 1`)
    })
    await auditList({ organization: 'borealis', filter: {}, rowsMax: 10, json: false }, audit.store, print)
    expect(shown()).toContain('0  (the entry is not what was written)')
    await auditList({ organization: 'borealis', filter: {}, rowsMax: 10, json: true }, audit.store, print)
    expect(shown()).toContain('{"index":0,"entry":"gone"}')
  })
})
