/**
 * Signs a checkpoint of every ledger soon after it grew, and keeps the last one in a file outside of the database.
 *
 * INVARIANT: nothing is signed, and the ledger takes nothing, until the tree in the database is consistent with the checkpoint in the file. A database that was
 * restored to an earlier state, or to another history, therefore stops its ledger instead of forking it unseen. What to do then is a person's decision.
 */
import { mkdir, open, readFile, rename, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { CheckpointError, signCheckpoint, verifyCheckpoint, type Checkpoint, type CheckpointKey, type CheckpointSigner } from './checkpoint.js'
import { MissingNode, type LedgerStore, type StoredCheckpoint } from './ledger-store.js'
import { consistencyRanges, EMPTY_ROOT, isConsistent } from './merkle.js'

/** What the operator should see in the log. */
export type CheckpointEvent =
  /** The ledger takes entries. */
  | { readonly kind: 'ledger-admitted'; readonly ledger: string; readonly size: number }
  /** No file was there: the ledger goes on from what the database says. A restore together with a lost file would not be noticed. */
  | { readonly kind: 'ledger-adopted'; readonly ledger: string; readonly size: number }
  /** The tree contradicts a checkpoint: the ledger takes no entries until somebody has looked and the process is started again. */
  | { readonly kind: 'ledger-refused'; readonly ledger: string; readonly reason: string }
  /** A checkpoint is late; it is tried again. */
  | { readonly kind: 'checkpoint-delayed'; readonly ledger: string; readonly cause: unknown }

export interface KeeperParts {
  readonly store: LedgerStore
  /** By organization. */
  readonly signers: ReadonlyMap<string, CheckpointSigner>
  /** Folder of the files, one an organization, named as it is. */
  readonly directory: string
  /** Which ledger may take entries is decided here; it may have its own reasons too. */
  readonly ledger: { admit(ledger: string): void; refuse(ledger: string, reason: string): void; refusalOf(ledger: string): string | null }
  /** A UUID of this process's run. */
  readonly process: string
  readonly intervalMs: number
  readonly report: (event: CheckpointEvent) => void
}

export class CheckpointKeeper {
  private readonly ledgers: readonly KeptLedger[]
  private timer: NodeJS.Timeout | null = null
  private round: Promise<void> | null = null
  private stopped = false

  constructor(private readonly parts: KeeperParts) {
    this.ledgers = [...parts.signers].map(([organization, signer]) => new KeptLedger(organization, signer, parts))
    for (const organization of parts.signers.keys()) parts.ledger.refuse(organization, 'its tree has not been checked yet')
  }

  /** Checks every ledger, admits those that are consistent, and goes on signing every interval. Never rejects: what could not be checked is tried again. */
  async start(): Promise<void> {
    await mkdir(this.parts.directory, { recursive: true })
    await this.keepAll()
    this.schedule()
  }

  /** Signs what is there, and ends. To be called when the ledger takes nothing more. */
  async stop(): Promise<void> {
    this.stopped = true
    if (this.timer !== null) clearTimeout(this.timer)
    await this.round
    await this.keepAll()
  }

  /**
   * The checkpoint of a ledger as it stands now, signed at once.
   *
   * @throws CheckpointError when the ledger is refused or has no signer; NotDurable when the database does not answer.
   */
  async checkpoint(organization: string): Promise<StoredCheckpoint> {
    const ledger = this.ledgers.find((kept) => kept.organization === organization)
    if (ledger === undefined) throw new CheckpointError('the organization has no ledger key here')
    return ledger.advance()
  }

  /** The public key of a ledger. @throws CheckpointError when it has no signer here. */
  keyOf(organization: string): CheckpointKey {
    const signer = this.parts.signers.get(organization)
    if (signer === undefined) throw new CheckpointError('the organization has no ledger key here')
    return signer
  }

  private schedule(): void {
    if (this.stopped) return
    this.timer = setTimeout(() => {
      this.round = this.keepAll().then(() => this.schedule())
    }, this.parts.intervalMs)
    this.timer.unref()
  }

  private async keepAll(): Promise<void> {
    await Promise.all(
      this.ledgers.map(async (ledger) => {
        if (ledger.isRefused) return
        // A refusal has reported itself; all else passes by itself or not at all.
        await ledger.advance().catch((cause: unknown) => {
          if (!ledger.isRefused) this.parts.report({ kind: 'checkpoint-delayed', ledger: ledger.organization, cause })
        })
      }),
    )
  }
}

/** One ledger: what was signed last, and the steps from there. */
class KeptLedger {
  private held: (Checkpoint & { readonly note: string }) | null = null
  private refusal: string | null = null
  /** Size of the last checkpoint that is known to be in the database too. */
  private storedSize = -1
  /** Steps of one ledger never overlap. */
  private last: Promise<unknown> = Promise.resolve()

  constructor(
    readonly organization: string,
    private readonly signer: CheckpointSigner,
    private readonly parts: KeeperParts,
  ) {}

  get isRefused(): boolean {
    return this.refusal !== null
  }

  advance(): Promise<StoredCheckpoint> {
    const step = this.last.then(() => this.step())
    this.last = step.catch(() => undefined)
    return step
  }

  private async step(): Promise<StoredCheckpoint> {
    if (this.refusal !== null) throw new CheckpointError(this.refusal)
    const reason = this.storedSize < 0 ? null : this.parts.ledger.refusalOf(this.organization)
    if (reason !== null) this.refuse(reason)
    this.held ??= await this.begin()
    const state = await this.parts.store.state(this.organization)
    await this.check(this.held, { size: state.size, root: state.frontier.root() })
    if (state.size > this.held.size || this.held.note === '') {
      const note = signCheckpoint({ size: state.size, root: state.frontier.root() }, this.signer)
      // First the file: a checkpoint that the database has and the file lacks would not be held against a restored database.
      await this.writeFile(note, state.size)
      this.held = { ...verifyCheckpoint(note, this.signer), note }
    }
    const isFirst = this.storedSize < 0
    if (this.storedSize < this.held.size) {
      await this.parts.store.putCheckpoint(this.organization, this.held)
      this.storedSize = this.held.size
    }
    if (isFirst) {
      this.parts.ledger.admit(this.organization)
      this.parts.report({ kind: 'ledger-admitted', ledger: this.organization, size: this.held.size })
    }
    return this.held
  }

  /** The checkpoint to begin with: the file's; without a file the database's; without either that of the empty tree, unsigned. */
  private async begin(): Promise<Checkpoint & { readonly note: string }> {
    const filed = await this.readFile()
    const stored = await this.parts.store.checkpoint(this.organization)
    const storedCheckpoint = stored === null ? null : this.opened(stored.note, 'the checkpoint in the database')
    const state = await this.parts.store.state(this.organization)
    const tree = { size: state.size, root: state.frontier.root() }
    if (storedCheckpoint !== null) await this.check(storedCheckpoint, tree)
    if (filed !== null) return filed
    if (state.size > 0) this.parts.report({ kind: 'ledger-adopted', ledger: this.organization, size: state.size })
    return storedCheckpoint ?? { origin: this.signer.name, size: 0, root: EMPTY_ROOT, note: '' }
  }

  /** Ends in a refusal unless the tree begins with that of the checkpoint. */
  private async check(checkpoint: Checkpoint, tree: { readonly size: number; readonly root: Buffer }): Promise<void> {
    if (tree.size < checkpoint.size) this.refuse(`the database holds ${tree.size} entries, but a checkpoint of ${checkpoint.size} was signed`)
    if (tree.size === checkpoint.size) {
      if (!tree.root.equals(checkpoint.root)) this.refuse(`the tree of ${tree.size} entries is not the one that was signed`)
      return
    }
    let proof: Buffer[]
    try {
      proof = await this.parts.store.tree(this.organization, tree.size).hashes(consistencyRanges(checkpoint.size, tree.size))
    } catch (error) {
      if (error instanceof MissingNode) this.refuse('the database lacks nodes of the tree')
      throw error
    }
    if (!isConsistent({ from: checkpoint, to: tree, proof })) {
      this.refuse(`the tree of ${tree.size} entries does not begin with the ${checkpoint.size} that were signed`)
    }
  }

  private refuse(reason: string): never {
    this.refusal = reason
    this.parts.ledger.refuse(this.organization, reason)
    this.parts.report({ kind: 'ledger-refused', ledger: this.organization, reason })
    throw new CheckpointError(reason)
  }

  /** A checkpoint of ours, or a refusal: somebody has changed it, or the key. */
  private opened(note: string, what: string): Checkpoint & { readonly note: string } {
    try {
      return { ...verifyCheckpoint(note, this.signer), note }
    } catch (error) {
      if (error instanceof CheckpointError) this.refuse(`${what} cannot be used: ${error.message}`)
      throw error
    }
  }

  private async readFile(): Promise<(Checkpoint & { readonly note: string }) | null> {
    try {
      return this.opened(await readFile(this.file, 'utf8'), 'the checkpoint file')
    } catch (error) {
      if (isMissing(error)) return null
      throw error
    }
  }

  /** Whole or not at all, also when the machine stops midway. Another process of the gateway may have gone further meanwhile: its checkpoint stays. */
  private async writeFile(note: string, size: number): Promise<void> {
    const filed = await this.readFile()
    if (filed !== null && filed.size > size) return
    const temporary = `${this.file}.${this.parts.process}.new`
    await synced(temporary, 'w', (handle) => handle.writeFile(note))
    await rename(temporary, this.file)
    await synced(this.parts.directory, 'r', () => Promise.resolve())
  }

  private get file(): string {
    return join(this.parts.directory, this.organization)
  }
}

async function synced(path: string, flags: 'r' | 'w', work: (handle: FileHandle) => Promise<void>): Promise<void> {
  const handle = await open(path, flags)
  try {
    await work(handle)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function isMissing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT'
}
