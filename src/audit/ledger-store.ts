/**
 * The ledgers' tables in the gateway's own PostgreSQL database (`migrations/0001-ledger.sql`): the one place of the audit that speaks SQL.
 *
 * Several processes may write at once. Whoever adds entries holds one advisory lock until its commit, and reads the trees' sizes and the policy epoch under it.
 */
import type { ClientBase, Pool, PoolClient } from 'pg'
import { invariant } from '../errors.js'
import { binaryArray } from './binary-array.js'
import { Frontier, perfectSubtrees, fold, type LeafRange, type Subtree } from './merkle.js'
import type { ExportFilter, SealedEntry } from './record.js'

/** Advisory lock of all who change a tree or the epoch: `conc`, 2. Any number will do, as long as it is always the same. */
const WRITER_LOCK = '1668247139, 2'

/** Levels of the tree between two that are stored: a proof reads at most `2^8` hashes for each. */
const LEVELS_STORED = 8
const TILE_HASHES = 2 ** LEVELS_STORED

/** Rows a page when entries are read. */
const PAGE_ROWS = 500

/** Whole tiles that one reader keeps, about 16 KiB each. */
const TILES_KEPT = 128

export interface PolicyEpoch {
  readonly epoch: number
  /** Digest of the policies in force; empty before the first. */
  readonly digest: string
}

export interface TreeState {
  readonly size: number
  readonly frontier: Frontier
}

/** A leaf as it lies in the database; nothing says that it is right. */
export interface StoredEntry {
  readonly index: number
  readonly text: string
  readonly leafHash: Buffer
}

export interface StoredCheckpoint {
  readonly size: number
  readonly note: string
}

/** What a batch does under the lock, once it knows where the trees stand. */
export type Placement = (state: { readonly epoch: number; readonly trees: ReadonlyMap<string, TreeState> }) => readonly PlacedEntry[]

/** An entry with its place: `append` must be called for the entries of one ledger in their order. */
export interface PlacedEntry {
  readonly ledger: string
  readonly index: number
  readonly sealed: SealedEntry
}

/** How often each code was the answer to a request of nobody known, from `fromMs` to before `toMs` (milliseconds since the Unix epoch). */
export interface RefusalCounts {
  /** A UUID of this process's run. */
  readonly process: string
  readonly fromMs: number
  readonly toMs: number
  readonly counts: ReadonlyMap<string, number>
}

/** The database did not confirm that the batch is durable. It may or may not be there. */
export class NotDurable extends Error {
  constructor(reason: string, options: { readonly cause?: unknown } = {}) {
    super(reason, options)
    this.name = 'NotDurable'
  }
}

/** The database lacks a node that a tree of this size must have: it was tampered with. */
export class MissingNode extends Error {
  constructor(ledger: string) {
    super(`the ledger \`${ledger}\` lacks a node of its tree`)
    this.name = 'MissingNode'
  }
}

export class LedgerStore {
  /** @param timeoutMs bounds every single use of the database, on this side and, where it can, at the server. */
  constructor(
    private readonly pool: Pool,
    private readonly timeoutMs: number,
  ) {}

  /**
   * Adds a batch in one transaction. `place` runs under the lock; when it places nothing, nothing is written.
   *
   * @throws NotDurable when anything keeps the commit from being confirmed, a cancelled wait for a standby included.
   */
  async commit(place: Placement): Promise<void> {
    await this.exclusively(async (client, rows) => {
      const trees = new Map(rows.flatMap((row) => (row.ledger === null ? [] : [[row.ledger, stateOf(row)] as const])))
      const placed = place({ epoch: epochOf(rows[0]).epoch, trees })
      if (placed.length === 0) return
      await client.query(ADD_ENTRIES, parametersOf(placed, trees))
    })
  }

  /** The policies in force and their epoch. */
  async epoch(): Promise<PolicyEpoch> {
    const { rows } = await this.read<EpochRow>(`SELECT epoch, digest FROM concordat.policy_epoch`, [])
    return epochOf(rows[0])
  }

  /**
   * Makes these the policies in force. The same digest keeps the epoch; another one is a new epoch, after every batch that is under way.
   *
   * @throws NotDurable as `commit`.
   */
  async adoptEpoch(digest: string): Promise<PolicyEpoch> {
    return this.exclusively(async (client) => {
      const { rows } = await client.query<EpochRow>(
        `UPDATE concordat.policy_epoch SET epoch = epoch + CASE WHEN digest = $1 THEN 0 ELSE 1 END, digest = $1 RETURNING epoch, digest`,
        [digest],
      )
      return epochOf(rows[0])
    })
  }

  /** Adds to the operator's counts. The same interval of the same process is taken once, so an unconfirmed call may be repeated. */
  async addRefusals(refusals: RefusalCounts): Promise<void> {
    const codes = [...refusals.counts]
    await this.read(
      `INSERT INTO concordat.refusal_counts (process, from_at, to_at, code, count)
       SELECT $1::uuid, to_timestamp($2::float8 / 1000), to_timestamp($3::float8 / 1000), * FROM unnest($4::text[], $5::int8[])
       ON CONFLICT DO NOTHING`,
      [refusals.process, refusals.fromMs, refusals.toMs, binaryArray('text', codes, ([code]) => code), binaryArray('int8', codes, ([, count]) => count)],
    )
  }

  /** Where a tree stands; empty when the ledger has no entry yet. */
  async state(ledger: string): Promise<TreeState> {
    const { rows } = await this.read<StateRow>(`SELECT ledger, size, frontier FROM concordat.ledger_state WHERE ledger = $1`, [ledger])
    return rows[0] === undefined ? { size: 0, frontier: Frontier.empty() } : stateOf(rows[0])
  }

  async checkpoint(ledger: string): Promise<StoredCheckpoint | null> {
    const { rows } = await this.read<{ size: string; note: string }>(`SELECT size, note FROM concordat.ledger_checkpoints WHERE ledger = $1`, [ledger])
    return rows[0] === undefined ? null : { size: safe(rows[0].size), note: rows[0].note }
  }

  /** Keeps the checkpoint unless one of a larger tree is there. */
  async putCheckpoint(ledger: string, checkpoint: StoredCheckpoint): Promise<void> {
    await this.read(
      `INSERT INTO concordat.ledger_checkpoints AS kept (ledger, size, note, at) VALUES ($1, $2, $3, now())
       ON CONFLICT (ledger) DO UPDATE SET size = EXCLUDED.size, note = EXCLUDED.note, at = EXCLUDED.at WHERE kept.size < EXCLUDED.size`,
      [ledger, checkpoint.size, checkpoint.note],
    )
  }

  /** The entries of the first `size` that fit the filter, in order. */
  async *entries(ledger: string, filter: ExportFilter, size: number): AsyncGenerator<StoredEntry> {
    let after = -1
    for (;;) {
      const { rows } = await this.read<EntryRow>(
        `SELECT "index", leaf, leaf_hash FROM concordat.ledger_entries
         WHERE ledger = $1 AND "index" > $6 AND "index" < $7 AND ${FILTER} ORDER BY "index" LIMIT ${PAGE_ROWS}`,
        [ledger, ...filterParameters(filter), after, size],
      )
      for (const row of rows) yield entryOf(row)
      const last = rows.at(-1)
      if (last === undefined || rows.length < PAGE_ROWS) return
      after = safe(last.index)
    }
  }

  /** The newest entries that fit the filter, newest first. */
  async newest(ledger: string, filter: ExportFilter, rowsMax: number): Promise<StoredEntry[]> {
    const { rows } = await this.read<EntryRow>(
      `SELECT "index", leaf, leaf_hash FROM concordat.ledger_entries WHERE ledger = $1 AND ${FILTER} ORDER BY "index" DESC LIMIT $6`,
      [ledger, ...filterParameters(filter), rowsMax],
    )
    return rows.map(entryOf)
  }

  /** The tree of the first `size` leaves, for proofs. */
  tree(ledger: string, size: number): StoredTree {
    return new StoredTree(ledger, size, async (level, range) => {
      const { rows } = await this.read<{ hash: Buffer }>(level === 0 ? READ_LEAVES : READ_SUBTREES, [
        ledger,
        range.start,
        range.end,
        ...(level === 0 ? [] : [level]),
      ])
      return rows.map(({ hash }) => hash)
    })
  }

  /** One statement of its own, bounded on this side too: a frozen server answers nothing. */
  private async read<Row extends object>(sql: string, values: readonly unknown[]): Promise<{ readonly rows: Row[] }> {
    return this.connected(async (client) => client.query<Row>(sql, [...values]))
  }

  /** A transaction that nobody else's overlaps, and that has ended durably when this returns. */
  private async exclusively<T>(work: (client: ClientBase, rows: readonly WriterRow[]) => Promise<T>): Promise<T> {
    return this.connected(async (client, noticed) => {
      // Only numbers of ours stand in this text. It is one message, and its last statement sees what the former holder of the lock has committed. At the
      // server a wait for a standby is bounded by nothing, so the bound on this side must be there as well.
      const boundMs = Math.max(1, Math.trunc(this.timeoutMs))
      const begun: unknown = await client.query(
        `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on; SET LOCAL client_min_messages = warning; ` +
          `SET LOCAL lock_timeout = ${boundMs}; SET LOCAL statement_timeout = ${boundMs}; SELECT pg_advisory_xact_lock(${WRITER_LOCK}); ` +
          `SELECT epoch, digest, ledger, size, frontier FROM concordat.policy_epoch LEFT JOIN concordat.ledger_state ON true`,
      )
      invariant(Array.isArray(begun), 'several statements have several results')
      // The package's types know of one result only.
      const { rows } = begun.at(-1) as { readonly rows: readonly WriterRow[] }
      const result = await work(client, rows)
      const { command } = await client.query('COMMIT')
      // A transaction that failed answers COMMIT with ROLLBACK, without an error.
      if (command !== 'COMMIT') throw new NotDurable(`the transaction ended with ${command}`)
      // 01000, "canceling wait for synchronous replication": committed here, but on no standby. Any other warning is as little expected.
      if (noticed.length > 0) throw new NotDurable(`the commit came with the warning ${noticed.join(', ')}`)
      return result
    })
  }

  /** Runs the work on a connection that is given back only when all went well; any failure or delay ends it, and with it whatever it still does. */
  private async connected<T>(work: (client: PoolClient, noticed: readonly string[]) => Promise<T>): Promise<T> {
    const deadline = deadlineIn(this.timeoutMs)
    try {
      const client = await deadline.race(this.pool.connect(), (late) => late.release())
      const noticed: string[] = []
      const onNotice = (notice: { readonly code?: string | undefined }): void => {
        if (notice.code !== '00000') noticed.push(notice.code ?? 'unknown')
      }
      const ignoreError = (): void => {
        // The query under way fails with the same error.
      }
      client.on('notice', onNotice)
      client.on('error', ignoreError)
      let broken = true
      try {
        const result = await deadline.race(work(client, noticed))
        broken = false
        return result
      } finally {
        client.off('notice', onNotice)
        // A broken connection keeps its listener: its last error may be yet to come.
        if (!broken) client.off('error', ignoreError)
        client.release(broken)
      }
    } catch (error) {
      throw error instanceof NotDurable ? error : new NotDurable('the gateway database failed', { cause: error })
    } finally {
      deadline.clear()
    }
  }
}

/** Reads the hashes that proofs need, for one size of one tree. What is whole never changes, so it is kept while the reader lives. */
export class StoredTree {
  private readonly tiles = new Map<string, Promise<Buffer[][]>>()

  /** @param read gives the stored hashes of a level, from `start` to before `end`. */
  constructor(
    private readonly ledger: string,
    readonly size: number,
    private readonly read: (level: number, range: LeafRange) => Promise<Buffer[]>,
  ) {}

  /**
   * The hash of each range.
   *
   * @throws MissingNode; NotDurable when the database does not answer.
   */
  async hashes(ranges: readonly LeafRange[]): Promise<Buffer[]> {
    const hashes: Buffer[] = []
    for (const range of ranges) {
      const subtrees: Buffer[] = []
      for (const subtree of perfectSubtrees(range)) subtrees.push(await this.subtree(subtree))
      hashes.push(fold(subtrees))
    }
    return hashes
  }

  /** The root of the first `size` leaves of the tree. */
  async rootAt(size: number): Promise<Buffer> {
    const [root] = await this.hashes([{ start: 0, end: size }])
    invariant(root !== undefined, 'one range has one hash')
    return root
  }

  private async subtree({ level, index }: Subtree): Promise<Buffer> {
    const height = level % LEVELS_STORED
    const first = index * 2 ** height
    const tile = Math.floor(first / TILE_HASHES)
    const heights = await this.tile(level - height, tile)
    const hash = heights[height]?.[(first % TILE_HASHES) / 2 ** height]
    if (hash === undefined) throw new MissingNode(this.ledger)
    return hash
  }

  /** The hashes of a tile and of the whole subtrees above them, by height. */
  private tile(level: number, tile: number): Promise<Buffer[][]> {
    const key = `${level}/${tile}`
    const kept = this.tiles.get(key)
    if (kept !== undefined) return kept
    const read = this.readTile(level, tile)
    if (this.tiles.size >= TILES_KEPT) {
      const [oldest] = this.tiles.keys()
      if (oldest !== undefined) this.tiles.delete(oldest)
    }
    this.tiles.set(key, read)
    return read
  }

  private async readTile(level: number, tile: number): Promise<Buffer[][]> {
    const start = tile * TILE_HASHES
    const end = Math.min(start + TILE_HASHES, Math.floor(this.size / 2 ** level))
    const hashes = await this.read(level, { start, end })
    if (hashes.length !== end - start) throw new MissingNode(this.ledger)
    const heights = [hashes]
    for (let height = 0; height < LEVELS_STORED; height++) {
      const below = heights[height] ?? []
      const above: Buffer[] = []
      for (let at = 0; at + 1 < below.length; at += 2) above.push(fold(below.slice(at, at + 2)))
      heights.push(above)
    }
    return heights
  }
}

const READ_LEAVES = `SELECT leaf_hash AS hash FROM concordat.ledger_entries WHERE ledger = $1 AND "index" >= $2 AND "index" < $3 ORDER BY "index"`
const READ_SUBTREES = `SELECT hash FROM concordat.ledger_subtrees WHERE ledger = $1 AND level = $4 AND "index" >= $2 AND "index" < $3 ORDER BY "index"`

/**
 * One statement for a batch: entries, the stored subtrees that they complete, and the new states.
 *
 * All parameters are arrays, one element an entry, a subtree and a ledger.
 */
const ADD_ENTRIES = `
WITH entries AS (
  INSERT INTO concordat.ledger_entries (ledger, "index", entry_id, at, kind, subject, purpose, leaf, leaf_hash, salt)
  SELECT * FROM unnest($1::text[], $2::int8[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::bytea[])
), subtrees AS (
  INSERT INTO concordat.ledger_subtrees (ledger, level, "index", hash)
  SELECT * FROM unnest($11::text[], $12::int2[], $13::int8[], $14::bytea[])
)
INSERT INTO concordat.ledger_state (ledger, size, frontier)
SELECT * FROM unnest($15::text[], $16::int8[], $17::bytea[])
ON CONFLICT (ledger) DO UPDATE SET size = EXCLUDED.size, frontier = EXCLUDED.frontier`

function parametersOf(placed: readonly PlacedEntry[], trees: ReadonlyMap<string, TreeState>): Buffer[] {
  const subtrees: (Subtree & { readonly ledger: string; readonly hash: Buffer })[] = []
  const grown = new Map<string, Frontier>()
  for (const { ledger, index, sealed } of placed) {
    const frontier = grown.get(ledger) ?? trees.get(ledger)?.frontier ?? Frontier.empty()
    grown.set(ledger, frontier)
    invariant(frontier.size === index, 'indices are dense')
    frontier.append(sealed.leafHash, (subtree, hash) => {
      if (subtree.level % LEVELS_STORED === 0) subtrees.push({ ...subtree, ledger, hash })
    })
  }
  const states = [...grown]
  return [
    binaryArray('text', placed, ({ ledger }) => ledger),
    binaryArray('int8', placed, ({ index }) => index),
    binaryArray('uuid', placed, ({ sealed }) => sealed.entry.id),
    binaryArray('timestamptz', placed, ({ sealed }) => Date.parse(sealed.entry.time)),
    binaryArray('text', placed, ({ sealed }) => sealed.entry.kind),
    binaryArray('text', placed, ({ sealed }) => searchable(sealed.entry.principal.subject)),
    binaryArray('text', placed, ({ sealed: { entry } }) => (entry.purpose === null ? null : searchable(entry.purpose))),
    binaryArray('text', placed, ({ sealed }) => sealed.text),
    binaryArray('bytea', placed, ({ sealed }) => sealed.leafHash),
    binaryArray('bytea', placed, ({ sealed }) => sealed.salt),
    binaryArray('text', subtrees, ({ ledger }) => ledger),
    binaryArray('int2', subtrees, ({ level }) => level),
    binaryArray('int8', subtrees, ({ index }) => index),
    binaryArray('bytea', subtrees, ({ hash }) => hash),
    binaryArray('text', states, ([ledger]) => ledger),
    binaryArray('int8', states, ([, frontier]) => frontier.size),
    binaryArray('bytea', states, ([, frontier]) => frontier.bytes()),
  ]
}

/** Parameters 2 to 5; an absent one is null and narrows nothing. */
const FILTER = `($2::timestamptz IS NULL OR at >= $2) AND ($3::timestamptz IS NULL OR at < $3) AND ($4::text IS NULL OR subject = $4) AND ($5::text IS NULL OR purpose = $5)`

function filterParameters(filter: ExportFilter): (string | null)[] {
  const { from, to, subject, purpose } = filter
  return [from ?? null, to ?? null, subject === undefined ? null : searchable(subject), purpose === undefined ? null : searchable(purpose)]
}

/** PostgreSQL's text has no zero character and no half surrogates (writing UTF-8 replaces those); the leaf keeps them, escaped. */
function searchable(text: string): string {
  return text.replaceAll('\0', '\ufffd')
}

interface StateRow {
  readonly ledger: string
  /** bigint, as text. */
  readonly size: string
  readonly frontier: Buffer
}

/** The epoch beside each tree; one row without a tree when there is none yet. */
type WriterRow = EpochRow & (StateRow | { readonly ledger: null })

interface EpochRow {
  readonly epoch: string
  readonly digest: string
}

interface EntryRow {
  readonly index: string
  readonly leaf: string
  readonly leaf_hash: Buffer
}

function stateOf(row: StateRow): TreeState {
  const size = safe(row.size)
  return { size, frontier: Frontier.parse(size, row.frontier) }
}

function epochOf(row: EpochRow | undefined): PolicyEpoch {
  invariant(row !== undefined, 'the policy epoch is one row')
  return { epoch: safe(row.epoch), digest: row.digest }
}

function entryOf(row: EntryRow): StoredEntry {
  return { index: safe(row.index), text: row.leaf, leafHash: row.leaf_hash }
}

function safe(bigint: string): number {
  const value = Number(bigint)
  invariant(Number.isSafeInteger(value), 'a size or index fits a number')
  return value
}

interface Deadline {
  /** The result, or NotDurable once the time is up; `late` then takes what comes after all. */
  race<T>(promise: Promise<T>, late?: (value: T) => void): Promise<T>
  clear(): void
}

function deadlineIn(timeoutMs: number): Deadline {
  let expire: () => void = () => undefined
  let expired = false
  const expiry = new Promise<void>((resolve) => (expire = resolve))
  const timer = setTimeout(() => {
    expired = true
    expire()
  }, timeoutMs)
  return {
    race: (promise, late) =>
      Promise.race([
        promise.then((value) => {
          if (expired) late?.(value)
          return value
        }),
        expiry.then(() => {
          throw new NotDurable('the gateway database took too long')
        }),
      ]),
    clear: () => clearTimeout(timer),
  }
}
