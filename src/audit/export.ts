/** Exports a ledger, or the part of it that a filter chooses, as one bundle (`verify.ts` has its format). Each export is itself an entry of the ledger. */
import { GatewayError } from '../errors.js'
import type { CheckpointKeeper } from './checkpoint-keeper.js'
import { formatKey, verifyCheckpoint } from './checkpoint.js'
import type { LedgerStore, StoredTree } from './ledger-store.js'
import type { Ledger, Receipt } from './ledger.js'
import { Frontier, inclusionRanges, leafHash } from './merkle.js'
import { SALT_BYTES, seal, type ExportEntry, type ExportFilter, type SealedEntry } from './record.js'
import { uuidV7, type Random } from './uuid.js'
import { BUNDLE_FORMAT, bundleLine, type BundleEntry } from './verify.js'

export interface ExportParts {
  readonly store: LedgerStore
  readonly ledger: Ledger
  readonly keeper: CheckpointKeeper
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  readonly random: Random
}

export interface ExportOrder {
  readonly organization: string
  readonly filter: ExportFilter
  /** Who exports; it stands in the ledger. */
  readonly subject: string
}

/**
 * Writes a bundle, a line a call, each with its line feed.
 *
 * What lies in the database is written as it is, wrong or right: finding out is the verifier's work.
 *
 * @returns how many entries were written, and the receipt of the export's own entry.
 * @throws GatewayError AUDIT_UNAVAILABLE when the export cannot be recorded; nothing has been written then. CheckpointError when the ledger is refused.
 */
export async function exportLedger(
  order: ExportOrder,
  parts: ExportParts,
  write: (line: string) => Promise<void>,
): Promise<{ readonly entries: number; readonly receipt: Receipt }> {
  const filter = exportFilter(order.filter)
  const { organization } = order
  const key = parts.keeper.keyOf(organization)
  const { size } = await parts.store.state(organization)
  const chosen = await digestOf(parts.store.entries(organization, filter, size))
  const record = exportEntry({ ...order, filter }, { size, ...chosen }, parts)
  const receipt = await recordExport(organization, record, parts)
  const checkpoint = await parts.keeper.checkpoint(organization)
  const tree = parts.store.tree(organization, verifyCheckpoint(checkpoint.note, key).size)
  const line = async (value: Parameters<typeof bundleLine>[0]): Promise<void> => write(`${bundleLine(value)}\n`)

  await line({ bundle: BUNDLE_FORMAT, ledger: organization, key: formatKey(key), checkpoint: checkpoint.note, filter, size })
  for await (const { index, text } of parts.store.entries(organization, filter, size)) await line(await proven({ index, text }, tree))
  await line({ export: await proven({ index: receipt.index, text: record.text }, tree) })
  return { entries: chosen.count, receipt }
}

/**
 * A filter in its one spelling: times in UTC with milliseconds, no absent keys.
 *
 * @throws GatewayError BAD_USER_INPUT when a bound is not a time.
 */
export function exportFilter(filter: { readonly [Key in keyof ExportFilter]?: string | undefined }): ExportFilter {
  const { from, to, subject, purpose } = filter
  return {
    ...(from === undefined ? {} : { from: utc(from) }),
    ...(to === undefined ? {} : { to: utc(to) }),
    ...(subject === undefined ? {} : { subject }),
    ...(purpose === undefined ? {} : { purpose }),
  }
}

function utc(time: string): string {
  const timeMs = Date.parse(time)
  if (Number.isNaN(timeMs)) throw new GatewayError('BAD_USER_INPUT', 'a bound of the export is not an RFC 3339 time')
  return new Date(timeMs).toISOString()
}

async function digestOf(entries: AsyncIterable<{ readonly text: string }>): Promise<{ readonly count: number; readonly root: string }> {
  const leaves = Frontier.empty()
  for await (const { text } of entries) leaves.append(leafHash(Buffer.from(text)))
  return { count: leaves.size, root: leaves.root().toString('base64') }
}

function exportEntry(order: ExportOrder, of: Omit<ExportEntry['export'], 'filter'>, parts: ExportParts): SealedEntry {
  const timeMs = parts.now()
  const entry: ExportEntry = {
    v: 2,
    kind: 'audit-export',
    id: uuidV7(timeMs, parts.random),
    time: new Date(timeMs).toISOString(),
    ledger: order.organization,
    requestId: uuidV7(timeMs, parts.random),
    principal: { subject: order.subject, organization: order.organization },
    purpose: null,
    export: { filter: order.filter, ...of },
  }
  return seal(entry, parts.random(SALT_BYTES))
}

async function recordExport(organization: string, record: SealedEntry, { ledger }: ExportParts): Promise<Receipt> {
  // An export is authorized by no policy, so whatever epoch is current will do.
  const { epoch } = await ledger.currentEpoch()
  const receipts = await ledger.append({ epoch, entries: new Map([[organization, record]]) })
  const receipt = receipts.get(organization)
  if (receipt === undefined) throw new GatewayError('AUDIT_UNAVAILABLE', 'the export has no receipt')
  return receipt
}

async function proven({ index, text }: { readonly index: number; readonly text: string }, tree: StoredTree): Promise<BundleEntry> {
  const proof = await tree.hashes(inclusionRanges(index, tree.size))
  return { index, leaf: text, proof: proof.map((hash) => hash.toString('base64')) }
}
