/**
 * The ledgers' tables in the gateway's own PostgreSQL database (`migrations/0001-ledger.sql`): the one place of the audit that speaks SQL.
 *
 * Several processes may write at once. Whoever adds entries holds one advisory lock until its commit. Under it, the statement that adds them looks whether epoch and
 * trees are as its writer believes, and adds nothing otherwise. A process believes what its own last commit left while nobody else writes, and so needs one round
 * trip; else it reads first, under the lock.
 */
import type { Pool, PoolClient } from 'pg'
import { invariant } from '../errors.js'
import { flush, type WireResult, type WireStatement } from './ledger-wire.js'
import { Frontier, perfectSubtrees, fold, type LeafRange, type Subtree } from './merkle.js'
import { NO_PARAMETERS, Parameters } from './parameters.js'
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

/** What is believed of the database when a batch is placed. */
export interface Belief {
  readonly epoch: number
  readonly trees: ReadonlyMap<string, TreeState>
  /** Read under the lock; else it is how this process left it, which another may have changed since. */
  readonly isRead: boolean
  /** Those of the intents asked for that have no outcome yet; known only where it was read. */
  readonly open: readonly OpenIntent[]
}

/** An intent's entry: its ledger and its id. */
export interface IntentName {
  readonly ledger: string
  readonly id: string
}

export interface OpenIntent extends IntentName {
  /** The leaf, as it lies in the database. */
  readonly text: string
}

/** Which open intents a batch must know of: those it ends; or, at most `intentsMax`, those `abandoned` here and those whose process has let its lease expire. */
export type IntentsAsked =
  | { readonly kind: 'none' }
  | { readonly kind: 'named'; readonly names: readonly IntentName[] }
  | { readonly kind: 'expired'; readonly abandoned: readonly IntentName[]; readonly intentsMax: number }

/** What the database believes of a process that has open intents, unless it renews. */
export interface Lease {
  /** A UUID of the process's run. */
  readonly process: string
  readonly leaseMs: number
}

type Standing = Pick<Belief, 'epoch' | 'trees'>

/** Gives the entries of a batch their places. Null: what is believed does not do, and must be read first; never of what was read. */
export type Placement = (belief: Belief) => readonly PlacedEntry[] | null

/** An entry with its place: `append` must be called for the entries of one ledger in their order. */
export interface PlacedEntry {
  readonly ledger: string
  readonly index: number
  readonly sealed: SealedEntry
  readonly phase: Phase
}

/** What an entry is to its request: all of it, or the beginning, or the end of what began with the entry `of`. */
export type Phase = { readonly kind: 'whole' } | { readonly kind: 'intent'; readonly lease: Lease } | { readonly kind: 'outcome'; readonly of: string }

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
  /** Begins a transaction that nobody else's overlaps: a statement behind these sees what the former holder of the lock has committed. */
  private readonly beginning: readonly WireStatement[]

  /** @param timeoutMs bounds every single use of the database, on this side and, where it can, at the server. */
  constructor(
    private readonly pool: Pool,
    private readonly timeoutMs: number,
  ) {
    // At the server a wait for a standby is bounded by nothing, so the bound on this side must be there as well.
    this.beginning = [BEGIN, { ...LOCK, values: Parameters.ofTexts([String(Math.max(1, Math.trunc(timeoutMs)))]) }]
  }

  /** How this process's last commit left the database; null when that is not known. */
  private left: (Standing & { readonly undisturbed: boolean }) | null = null
  /** Prepared statements stay with their connection. Set to false by a pooler that shows otherwise. */
  private keepsStatements = true

  /**
   * Adds a batch in one transaction. When `place` places nothing, nothing is written. Intents are open from then on, and closed with their outcomes.
   *
   * @throws NotDurable when anything keeps the commit from being confirmed, a cancelled wait for a standby included.
   */
  async commit(place: Placement, asked: IntentsAsked): Promise<void> {
    try {
      await this.commitOnce(place, asked)
    } catch (error) {
      // The server knew a statement not by its name: nothing was committed, and names are not used any more.
      if (!(error instanceof NotDurable) || !isForgotten(error.cause)) throw error
      await this.commitRead(place, asked, null)
    }
  }

  private async commitOnce(place: Placement, asked: IntentsAsked): Promise<void> {
    const { left } = this
    // Until this commit is confirmed, nothing is known; its entries go into these very frontiers.
    this.left = null
    if (left?.undisturbed !== true) return this.commitRead(place, asked, left)
    const placed = place({ ...left, isRead: false, open: [] })
    if (placed === null) return this.commitRead(place, asked, left)
    if (placed.length === 0) this.left = left
    else if (!(await this.addBelieved(placed, left))) await this.commitRead(place, asked, null)
  }

  /** In one round trip: lock, look, add, commit. @returns whether the belief held; if not, nothing was written. */
  private async addBelieved(placed: readonly PlacedEntry[], left: NonNullable<LedgerStore['left']>): Promise<boolean> {
    const { write, next } = writing(placed, left)
    const results = await this.connected((client, noticed) => this.transaction(client, noticed, [...this.beginning, write, COMMIT]))
    const held = results.at(-2)?.tag !== 'INSERT 0 0'
    if (held) this.left = { ...next, undisturbed: true }
    return held
  }

  /** In two: lock and read; look, add, commit. */
  private async commitRead(place: Placement, asked: IntentsAsked, left: LedgerStore['left']): Promise<void> {
    await this.connected(async (client, noticed) => {
      const beginning = [...this.beginning, READ_STATE]
      const read = await this.transaction(client, noticed, [...beginning, ...readingIntents(asked)])
      const belief = beliefOf(read[beginning.length - 1]?.rows ?? [], read[beginning.length]?.rows ?? [])
      const undisturbed = left !== null && isSame(belief, left)
      const placed = place(belief)
      invariant(placed !== null, 'what was read does')
      if (placed.length === 0) {
        await this.transaction(client, noticed, [COMMIT])
        this.left = { ...belief, undisturbed }
        return
      }
      const { write, next } = writing(placed, belief)
      const results = await this.transaction(client, noticed, [write, ...phases(placed), COMMIT])
      if (results[0]?.tag === 'INSERT 0 0') throw new NotDurable('the trees changed under the lock')
      this.left = { ...next, undisturbed }
    })
  }

  /** Keeps the intents of a process open for as long again. */
  async renew({ process, leaseMs }: Lease): Promise<void> {
    await this.read(RENEW_LEASE.text, [process, String(leaseMs)])
  }

  /** Whether there is an open intent of a process that has let its lease expire. */
  async hasExpired(): Promise<boolean> {
    const { rows } = await this.read<{ expired: boolean }>(
      `SELECT EXISTS (SELECT FROM concordat.open_intents LEFT JOIN concordat.process_leases USING (process) WHERE ${IS_EXPIRED}) AS expired`,
      [],
    )
    return rows[0]?.expired === true
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
    return this.connected(async (client, noticed) => {
      const results = await this.transaction(client, noticed, [...this.beginning, { ...ADOPT_EPOCH, values: Parameters.ofTexts([digest]) }, COMMIT])
      const [row] = results.at(-2)?.rows ?? []
      return epochOf(row === undefined ? undefined : { epoch: row[0] ?? '', digest: row[1] ?? '' })
    })
  }

  /** Adds to the operator's counts. The same interval of the same process is taken once, so an unconfirmed call may be repeated. */
  async addRefusals(refusals: RefusalCounts): Promise<void> {
    const codes = [...refusals.counts]
    await this.read(
      `INSERT INTO concordat.refusal_counts (process, from_at, to_at, code, count)
       SELECT $1::uuid, to_timestamp($2::float8 / 1000), to_timestamp($3::float8 / 1000), * FROM unnest($4::text[], $5::int8[])
       ON CONFLICT DO NOTHING`,
      [refusals.process, refusals.fromMs, refusals.toMs, codes.map(([code]) => code), codes.map(([, count]) => count)],
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

  /** One flush. When it ends in COMMIT, all is durable once this returns. */
  private async transaction(client: PoolClient, noticed: readonly string[], statements: readonly WireStatement[]): Promise<readonly WireResult[]> {
    const results = await flush(client, statements, { keep: this.keepsStatements }).catch((error: unknown) => {
      // A pooler lends another connection of the server for each transaction: unnamed statements from the next batch on.
      if (isForgotten(error)) this.keepsStatements = false
      throw error
    })
    // A transaction that failed answers COMMIT with ROLLBACK, without an error.
    const ended = results.at(-1)?.tag ?? ''
    if (statements.at(-1) === COMMIT && ended !== 'COMMIT') throw new NotDurable(`the transaction ended with ${ended}`)
    // 01000, "canceling wait for synchronous replication": committed here, but on no standby. Any other warning is as little expected.
    if (noticed.length > 0) throw new NotDurable(`the commit came with the warning ${noticed.join(', ')}`)
    return results
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

const BEGIN: WireStatement = { name: 'concordat_begin', text: 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE', values: NO_PARAMETERS }
const COMMIT: WireStatement = { name: 'concordat_commit', text: 'COMMIT', values: NO_PARAMETERS }

/**
 * The settings hold for this transaction alone, so they are right on whatever connection it runs. A statement of its own, before any that looks or writes. Planned for the
 * arrays at hand, each batch would cost PostgreSQL 0.2 ms more.
 */
const LOCK: Omit<WireStatement, 'values'> = {
  name: 'concordat_lock',
  text: `SELECT set_config('synchronous_commit', 'on', true), set_config('client_min_messages', 'warning', true), set_config('lock_timeout', $1, true),
    set_config('statement_timeout', $1, true), set_config('plan_cache_mode', 'force_generic_plan', true), pg_advisory_xact_lock(${WRITER_LOCK})`,
}

/** The epoch beside each tree; one row without a tree when there is none yet. */
const READ_STATE: WireStatement = {
  name: 'concordat_read_state',
  text: `SELECT epoch, ledger, size, encode(frontier, 'base64') FROM concordat.policy_epoch LEFT JOIN concordat.ledger_state ON true`,
  values: NO_PARAMETERS,
}

const ADOPT_EPOCH: Omit<WireStatement, 'values'> = {
  name: 'concordat_adopt_epoch',
  text: `UPDATE concordat.policy_epoch SET epoch = epoch + CASE WHEN digest = $1 THEN 0 ELSE 1 END, digest = $1 RETURNING epoch, digest`,
}

/**
 * One statement for a batch: entries, the stored subtrees that they complete, and the new states; nothing at all unless the epoch is $20 and the trees have the sizes $18
 * and frontiers $19.
 *
 * All other parameters are arrays, one element an entry, a subtree and a ledger.
 */
const ADD_ENTRIES: Omit<WireStatement, 'values'> = {
  name: 'concordat_add_entries',
  text: `
WITH believed AS MATERIALIZED (
  SELECT FROM concordat.policy_epoch WHERE epoch = $20::int8 AND NOT EXISTS (
    SELECT FROM unnest($15::text[], $18::int8[], $19::bytea[]) AS believed (ledger, size, frontier) LEFT JOIN concordat.ledger_state AS found USING (ledger)
    WHERE coalesce(found.size, 0) <> believed.size OR coalesce(found.frontier, '') <> believed.frontier
  )
), entries AS (
  INSERT INTO concordat.ledger_entries (ledger, "index", entry_id, at, kind, subject, purpose, leaf, leaf_hash, salt)
  SELECT entry.* FROM believed,
    unnest($1::text[], $2::int8[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::bytea[]) AS entry
), subtrees AS (
  INSERT INTO concordat.ledger_subtrees (ledger, level, "index", hash)
  SELECT subtree.* FROM believed, unnest($11::text[], $12::int2[], $13::int8[], $14::bytea[]) AS subtree
)
INSERT INTO concordat.ledger_state (ledger, size, frontier)
SELECT state.* FROM believed, unnest($15::text[], $16::int8[], $17::bytea[]) AS state
ON CONFLICT (ledger) DO UPDATE SET size = EXCLUDED.size, frontier = EXCLUDED.frontier`,
}

/** The statement that adds a batch where the belief holds, and what is then true. The entries go into the frontiers of the belief: it is not to be used again. */
function writing(placed: readonly PlacedEntry[], belief: Standing): { readonly write: WireStatement; readonly next: Standing } {
  const subtrees: (Subtree & { readonly ledger: string; readonly hash: Buffer })[] = []
  const grown = new Map<string, { readonly frontier: Frontier; readonly before: { readonly size: number; readonly bytes: Buffer } }>()
  for (const { ledger, index, sealed } of placed) {
    let tree = grown.get(ledger)
    if (tree === undefined) {
      const frontier = belief.trees.get(ledger)?.frontier ?? Frontier.empty()
      tree = { frontier, before: { size: frontier.size, bytes: frontier.bytes() } }
      grown.set(ledger, tree)
    }
    invariant(tree.frontier.size === index, 'indices are dense')
    tree.frontier.append(sealed.leafHash, (subtree, hash) => {
      if (subtree.level % LEVELS_STORED === 0) subtrees.push({ ...subtree, ledger, hash })
    })
  }
  const states = [...grown]
  const trees = new Map(belief.trees)
  for (const [ledger, { frontier }] of states) trees.set(ledger, { size: frontier.size, frontier })
  const values = new Parameters(placed.length * ENTRY_BYTES)
    .texts(placed, ({ ledger }) => ledger)
    .int8s(placed, ({ index }) => index)
    .uuids(placed, ({ sealed }) => sealed.id)
    .times(placed, ({ sealed }) => sealed.timeMs)
    .texts(placed, ({ sealed }) => sealed.kind)
    .texts(placed, ({ sealed }) => searchable(sealed.subject))
    .texts(placed, ({ sealed: { purpose } }) => (purpose === null ? null : searchable(purpose)))
    .utf8s(placed, ({ sealed }) => sealed.leaf)
    .byteas(placed, ({ sealed }) => sealed.leafHash)
    .byteas(placed, ({ sealed }) => sealed.salt)
    .texts(subtrees, ({ ledger }) => ledger)
    .int2s(subtrees, ({ level }) => level)
    .int8s(subtrees, ({ index }) => index)
    .byteas(subtrees, ({ hash }) => hash)
    .texts(states, ([ledger]) => ledger)
    .int8s(states, ([, { frontier }]) => frontier.size)
    .byteas(states, ([, { frontier }]) => frontier.bytes())
    .int8s(states, ([, { before }]) => before.size)
    .byteas(states, ([, { before }]) => before.bytes)
    .int8(belief.epoch)
  return { write: { ...ADD_ENTRIES, values }, next: { epoch: belief.epoch, trees } }
}

/** What most entries take with their columns. */
const ENTRY_BYTES = 2_048

/** By the database's clock, whatever those of the processes say. A process without a lease has none to renew. */
const IS_EXPIRED = `(expires_at IS NULL OR expires_at <= clock_timestamp())`

const READ_INTENTS = {
  named: {
    name: 'concordat_read_intents',
    text: `SELECT ledger, entry_id, NULL FROM unnest($1::text[], $2::uuid[]) AS asked (ledger, entry_id) JOIN concordat.open_intents USING (ledger, entry_id)`,
  },
  expired: {
    name: 'concordat_expired_intents',
    text: `
SELECT ledger, open.entry_id, leaf FROM concordat.open_intents AS open LEFT JOIN concordat.process_leases USING (process)
JOIN concordat.ledger_entries USING (ledger, "index")
WHERE ${IS_EXPIRED} OR (ledger, open.entry_id) IN (SELECT * FROM unnest($1::text[], $2::uuid[])) ORDER BY ledger, "index" LIMIT $3::int8`,
  },
} as const

/** Under the writers' lock, so that nobody sees an intent without the lease of its process. */
const OPEN_INTENTS: Omit<WireStatement, 'values'> = {
  name: 'concordat_open_intents',
  text: `INSERT INTO concordat.open_intents (ledger, entry_id, "index", process) SELECT * FROM unnest($1::text[], $2::uuid[], $3::int8[], $4::uuid[])`,
}

const RENEW_LEASE: Omit<WireStatement, 'values'> = {
  name: 'concordat_renew_lease',
  text: `INSERT INTO concordat.process_leases (process, expires_at) VALUES ($1::uuid, clock_timestamp() + $2::float8 * interval '1 millisecond')
    ON CONFLICT (process) DO UPDATE SET expires_at = EXCLUDED.expires_at`,
}

const CLOSE_INTENTS: Omit<WireStatement, 'values'> = {
  name: 'concordat_close_intents',
  text: `DELETE FROM concordat.open_intents WHERE (ledger, entry_id) IN (SELECT * FROM unnest($1::text[], $2::uuid[]))`,
}

/** Leases that nothing hangs on: whoever opens an intent renews its own. */
const DROP_LEASES: WireStatement = {
  name: 'concordat_drop_leases',
  text: `DELETE FROM concordat.process_leases AS lease WHERE ${IS_EXPIRED} AND NOT EXISTS (SELECT FROM concordat.open_intents WHERE process = lease.process)`,
  values: NO_PARAMETERS,
}

function readingIntents(asked: IntentsAsked): readonly WireStatement[] {
  switch (asked.kind) {
    case 'none':
      return []
    case 'named':
      return [{ ...READ_INTENTS.named, values: nameArrays(asked.names) }]
    case 'expired':
      return [{ ...READ_INTENTS.expired, values: nameArrays(asked.abandoned).int8(asked.intentsMax) }]
  }
}

/** What goes with the entries of a batch that are not the whole of their requests. */
function phases(placed: readonly PlacedEntry[]): readonly WireStatement[] {
  const intents = placed.flatMap((entry) => (entry.phase.kind === 'intent' ? [{ ...entry, lease: entry.phase.lease }] : []))
  const ended = placed.flatMap(({ ledger, phase }) => (phase.kind === 'outcome' ? [{ ledger, id: phase.of }] : []))
  const leases = new Map(intents.map(({ lease }) => [lease.process, lease]))
  const opening: WireStatement = {
    ...OPEN_INTENTS,
    values: new Parameters()
      .texts(intents, ({ ledger }) => ledger)
      .uuids(intents, ({ sealed }) => sealed.id)
      .int8s(intents, ({ index }) => index)
      .uuids(intents, ({ lease }) => lease.process),
  }
  return [
    ...(intents.length > 0 ? [opening] : []),
    ...[...leases.values()].map(({ process, leaseMs }): WireStatement => ({ ...RENEW_LEASE, values: Parameters.ofTexts([process, String(leaseMs)]) })),
    ...(ended.length > 0 ? [{ ...CLOSE_INTENTS, values: nameArrays(ended) }, DROP_LEASES] : []),
  ]
}

function nameArrays(names: readonly IntentName[]): Parameters {
  return new Parameters().texts(names, ({ ledger }) => ledger).uuids(names, ({ id }) => id)
}

function beliefOf(rows: WireResult['rows'], intents: WireResult['rows']): Belief {
  const [first] = rows
  invariant(first !== undefined, 'the policy epoch is one row')
  const trees = new Map<string, TreeState>()
  for (const [, ledger, size, frontier] of rows) {
    if (typeof ledger === 'string') trees.set(ledger, stateOf({ ledger, size: size ?? '', frontier: Buffer.from(frontier ?? '', 'base64') }))
  }
  const open = intents.map(([ledger, id, text]): OpenIntent => ({ ledger: ledger ?? '', id: id ?? '', text: text ?? '' }))
  return { epoch: safe(first[0] ?? ''), trees, isRead: true, open }
}

function isSame(read: Standing, left: Standing): boolean {
  return (
    read.epoch === left.epoch && read.trees.size === left.trees.size && [...read.trees].every(([ledger, { size }]) => left.trees.get(ledger)?.size === size)
  )
}

/** The server's connection lacks a statement that was prepared on it, or has one that was not: 26000, 42P05. */
function isForgotten(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === '26000' || error.code === '42P05')
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
