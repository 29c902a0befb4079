/** `concordat audit list|export|verify|key`. Each gives the exit code: 0 when all is well, 1 when verification finds something, 2 when a file cannot be used. */
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { CheckpointError, checkpointKey, formatKey, originOf, parseKey, type CheckpointKey } from '../audit/checkpoint.js'
import { exportFilter, exportLedger, type ExportOrder, type ExportParts } from '../audit/export.js'
import type { LedgerStore, StoredEntry } from '../audit/ledger-store.js'
import type { Entry, ExportFilter, IntentSection, Section } from '../audit/record.js'
import { verifyBundle, type Verification } from '../audit/verify.js'

/** Takes text as it is to be shown, line feeds included. */
export type Print = (text: string) => void

export type ExitCode = 0 | 1 | 2

export interface ListOptions {
  readonly organization: string
  readonly filter: { readonly [Key in keyof ExportFilter]?: string | undefined }
  readonly rowsMax: number
  readonly json: boolean
}

/**
 * Shows the newest entries of a ledger, newest first: a line each, or with `json` an object each with `index` and `entry`.
 *
 * @throws GatewayError BAD_USER_INPUT when a bound of the filter is not a time.
 */
export async function auditList(options: ListOptions, store: LedgerStore, print: Print): Promise<ExitCode> {
  const entries = await store.newest(options.organization, exportFilter(options.filter), options.rowsMax)
  for (const entry of entries) print(options.json ? `{"index":${entry.index},"entry":${jsonOf(entry)}}\n` : `${printable(summary(entry))}\n`)
  if (entries.length === 0 && !options.json) print('no entries\n')
  return 0
}

export interface ExportOptions extends Omit<ExportOrder, 'filter'> {
  readonly filter: { readonly [Key in keyof ExportFilter]?: string | undefined }
  /** Path of the bundle; it appears when it is whole. */
  readonly out: string
  readonly json: boolean
}

/**
 * Exports a ledger as a bundle. The file tells who asked what of whom, so only its owner may read it.
 *
 * @throws GatewayError AUDIT_UNAVAILABLE when the export cannot be recorded, BAD_USER_INPUT when a bound is not a time; the file is not there then.
 */
export async function auditExport(options: ExportOptions, parts: ExportParts, print: Print): Promise<ExitCode> {
  const draft = `${options.out}.${process.pid}.new`
  const file = await open(draft, 'w', 0o600)
  try {
    const lines = buffered((text) => file.writeFile(text))
    const { entries, receipt } = await exportLedger({ ...options, filter: exportFilter(options.filter) }, parts, lines.write)
    await lines.end()
    await file.sync()
    await file.close()
    await rename(draft, options.out)
    const { entry, leaf } = receipt
    if (options.json) print(`${JSON.stringify({ out: options.out, entries, recordedAs: { entry, leaf } })}\n`)
    else print(`${entries} entries of ${options.organization} in ${options.out}; the export is itself recorded as entry ${entry}\n`)
    return 0
  } catch (error) {
    await file.close().catch(() => undefined)
    await rm(draft, { force: true })
    throw error
  }
}

export interface AuditVerifyOptions {
  readonly json: boolean
  /** File with the ledger's public key: its line, a JWK or PEM. Null: the bundle's own key, which proves only that the bundle agrees with itself. */
  readonly key: string | null
  /** `leaf` of a receipt whose entry the bundle must hold; null when there is none. */
  readonly receipt: string | null
}

/** Verifies a bundle: no server, no configuration, no network. */
export async function auditVerify(bundle: string, options: AuditVerifyOptions, print: Print): Promise<ExitCode> {
  let verification: Verification
  try {
    const key = options.key === null ? null : readKey(await readFile(options.key, 'utf8'), await ledgerOf(bundle))
    verification = await verifyBundle(createReadStream(bundle), { key, receipt: options.receipt, problemsMax: PROBLEMS_MAX })
  } catch (error) {
    const problem = error instanceof CheckpointError ? error.message : 'a file cannot be read'
    print(options.json ? `${JSON.stringify({ verified: false, problems: [{ problem }] })}\n` : `${problem}\n`)
    return 2
  }
  print(options.json ? `${JSON.stringify(verification)}\n` : report(verification))
  return verification.verified ? 0 : 1
}

/** Shows a ledger's public key as a line, to be handed to those who verify. */
export function auditKey(key: CheckpointKey, print: Print): ExitCode {
  print(`${formatKey(key)}\n`)
  return 0
}

const PROBLEMS_MAX = 100
const WRITE_CHARACTERS = 1 << 16

/** A JWK and PEM hold no name: they count as the key of the ledger that the bundle claims to be of. */
function readKey(text: string, ledger: string): CheckpointKey {
  const trimmed = text.trim()
  let key: KeyObject
  try {
    if (trimmed.startsWith('{')) key = createPublicKey({ key: JSON.parse(trimmed) as JsonWebKey, format: 'jwk' })
    else if (trimmed.startsWith('-----')) key = createPublicKey(trimmed)
    else return parseKey(trimmed)
  } catch (error) {
    throw error instanceof CheckpointError ? error : new CheckpointError('the key is neither a key line nor a JWK nor PEM')
  }
  return checkpointKey(originOf(ledger), key)
}

/** What the header says; verification decides whether it is so. */
async function ledgerOf(bundle: string): Promise<string> {
  const file = await open(bundle)
  try {
    for await (const line of file.readLines({ end: 1 << 20 })) {
      const found = /"ledger":"([a-z0-9-]+)"/.exec(line)
      return found?.[1] ?? 'unknown'
    }
    return 'unknown'
  } finally {
    await file.close().catch(() => undefined)
  }
}

function report(found: Verification): string {
  const lines = found.problems.map(({ line, index, problem }) => `line ${line}${index === undefined ? '' : `, entry ${index}`}: ${problem}`)
  if (found.problems.length === PROBLEMS_MAX) lines.push('… and perhaps more')
  if (found.verified) {
    const what = found.complete ? 'the whole ledger up to the export' : 'what the filter chose, as the ledger recorded it'
    lines.push(`verified: ${found.entries} entries of ${found.ledger ?? ''}, ${what}; signed tree of ${found.size ?? 0} entries`)
    if (found.receiptIndex !== null) lines.push(`the receipt is that of entry ${found.receiptIndex}`)
    if (found.trusted) lines.push('signed with the key that you gave')
    else
      lines.push(
        `signed with the key in the bundle itself: compare it with the one that ${found.ledger ?? ''} publishes, or give that with --key`,
        `  ${found.key ?? ''}`,
      )
  } else lines.push('NOT verified')
  return lines.map((line) => `${printable(line)}\n`).join('')
}

/** The leaf where it is JSON; a leaf that was tampered with is shown as a string. */
function jsonOf({ text }: StoredEntry): string {
  return isJson(text) ? text : JSON.stringify(text)
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function summary({ index, text }: StoredEntry): string {
  if (!isJson(text)) return `${index}  (the entry is not what was written)`
  // What a ledger holds in this format; a changed leaf may lack anything, so nothing is read without a look.
  const entry = JSON.parse(text) as Partial<Entry>
  const head = `${index}  ${entry.time ?? ''}  ${entry.id ?? ''}  ${entry.principal?.subject ?? ''} of ${entry.principal?.organization ?? ''}`
  switch (entry.kind) {
    case 'request':
      return `${head}  for ${entry.purpose ?? 'no purpose'}  ${verdict(entry.outcome, entry.code)}  ${(entry.sections ?? []).map((section) => `${section.organization}: ${given(section)}`).join('; ')}`
    case 'disclosure':
      return `${head}  for ${entry.purpose ?? 'no purpose'}  ${(entry.sections ?? []).map((section) => `${verdict(section.outcome, section.code)} ${given(section)}`).join('; ')}`
    case 'request-intent':
      return `${head}  for ${entry.purpose ?? 'no purpose'}  began ${(entry.sections ?? []).map((section) => `${section.organization}: ${asked(section)}`).join('; ')}`
    case 'disclosure-intent':
      return `${head}  for ${entry.purpose ?? 'no purpose'}  began ${(entry.sections ?? []).map(asked).join('; ')}`
    case 'request-outcome':
      return `${head}  for ${entry.purpose ?? 'no purpose'}  ended ${entry.intent ?? ''}: ${verdict(entry.outcome, entry.code)}  ${(entry.sections ?? []).map((section) => `${section.organization}: ${rowsOf(section)}`).join('; ')}`
    case 'disclosure-outcome':
      return `${head}  for ${entry.purpose ?? 'no purpose'}  ended ${entry.intent ?? ''}: ${(entry.sections ?? []).map((section) => `${verdict(section.outcome, section.code)} ${rowsOf(section)}`).join('; ')}`
    case 'audit-export':
      return `${head}  exported ${entry.export?.count ?? 0} entries`
    case undefined:
  }
  return head
}

function verdict(outcome: string | undefined, code: string | null | undefined): string {
  return code === null || code === undefined ? (outcome ?? '') : `${outcome ?? ''} (${code})`
}

function given(section: Section): string {
  return `${rowsOf(section)} of ${asked(section)}`
}

/** Types and rule, which an intent has as well. */
function asked({ source, types }: IntentSection): string {
  const rule = source.kind === 'agreement' ? `${source.agreement} v${source.version}` : `${source.roles.join('+')} v${source.version}`
  return `${types.map(({ type }) => type).join(', ')} under ${rule}`
}

function rowsOf({ rows }: { readonly rows: number | null }): string {
  return rows === null ? 'nobody knows how many rows' : `${rows} rows`
}

/** Names come from tokens: nothing in them may move the cursor of a terminal or hide what follows. */
function printable(text: string): string {
  return text.replace(/[\p{Control}\p{Format}\p{Surrogate}\p{Line_Separator}\p{Paragraph_Separator}]/gu, '\ufffd')
}

/** Gathers lines into larger writes. */
function buffered(flush: (text: string) => Promise<void>): { write(line: string): Promise<void>; end(): Promise<void> } {
  let lines: string[] = []
  let characters = 0
  const end = async (): Promise<void> => {
    const text = lines.join('')
    lines = []
    characters = 0
    await flush(text)
  }
  return {
    end,
    write: async (line) => {
      lines.push(line)
      characters += line.length
      if (characters >= WRITE_CHARACTERS) await end()
    },
  }
}
