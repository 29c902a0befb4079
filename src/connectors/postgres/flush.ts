/**
 * Several statements in one flush of a `pg` client: Parse (once a connection), Bind and Execute for each, and one Sync. PostgreSQL runs all of them in one implicit
 * transaction, so a setting that is local to it reaches the statements behind it and nobody else.
 */
import type { Connection, Submittable } from 'pg'
import type pg from 'pg'

export interface FlushStatement {
  /** Of the prepared statement; equal names mean equal texts. Empty: prepared anew each time, for poolers that cannot keep them. */
  readonly name: string
  readonly text: string
  readonly values: readonly (string | null)[]
}

export type TextRow = readonly (string | null)[]

/** What of the driver's connection a flush writes to (`pg` 8.23, lib/connection.js). */
interface Wire {
  readonly stream: { cork(): void; uncork(): void }
  parse(query: { name: string; text: string; types: readonly number[] }): void
  bind(config: { statement: string; portal: string; values: readonly (string | null)[]; binary: boolean }): void
  execute(config: { portal: string; rows: number }): void
  close(message: { type: 'S'; name: string }): void
  sync(): void
}

/** Prepared statements of a connection, least recently used first. Closed on eviction, so that a connection holds no more than `max`. */
export class PreparedNames {
  private readonly names = new Set<string>()
  constructor(private readonly max: number) {}

  /** @returns whether it is prepared already, and the name to close. */
  use(name: string): { readonly known: boolean; readonly evicted: string | null } {
    if (name === '') return { known: false, evicted: null }
    const known = this.names.delete(name)
    this.names.add(name)
    if (this.names.size <= this.max) return { known, evicted: null }
    const [oldest] = this.names
    if (oldest === undefined || oldest === name) return { known, evicted: null }
    this.names.delete(oldest)
    return { known, evicted: oldest }
  }
}

/** Rows of each statement, in order, as text. Rejects with the driver's error; the connection is not to be used again then. */
export function flush(client: pg.ClientBase, prepared: PreparedNames, statements: readonly FlushStatement[]): Promise<readonly TextRow[][]> {
  return new Promise((resolve, reject) => {
    client.query(new Flush(prepared, statements, (error, rows) => (error ? reject(error) : resolve(rows))))
  })
}

type Done = (error: Error | null, rows: readonly TextRow[][]) => void

class Flush implements Submittable {
  private readonly rows: TextRow[][]
  private current = 0
  /** `pg` calls this instead of us where the connection is lost. */
  callback: (error: Error | null) => void

  constructor(
    private readonly prepared: PreparedNames,
    private readonly statements: readonly FlushStatement[],
    private readonly done: Done,
  ) {
    this.rows = statements.map(() => [])
    this.callback = (error) => this.done(error ?? new Error('connection lost'), this.rows)
  }

  submit(connection: Connection): void {
    const wire = connection as unknown as Wire // the driver's own class; @types/pg leaves these methods out
    wire.stream.cork()
    try {
      for (const { name, text, values } of this.statements) {
        const { known, evicted } = this.prepared.use(name)
        if (evicted !== null) wire.close({ type: 'S', name: evicted })
        if (!known) wire.parse({ name, text, types: [] })
        wire.bind({ statement: name, portal: '', values, binary: false })
        wire.execute({ portal: '', rows: 0 })
      }
      wire.sync()
    } finally {
      wire.stream.uncork()
    }
  }

  handleDataRow(message: { readonly fields: TextRow }): void {
    this.rows[this.current]?.push(message.fields)
  }

  handleCommandComplete(): void {
    this.current += 1
  }

  handleReadyForQuery(): void {
    this.done(null, this.rows)
  }

  handleError(error: Error): void {
    this.done(error, this.rows)
  }

  handleRowDescription(): void {
    // Not asked for: the columns are known.
  }

  handleEmptyQuery(): void {
    this.current += 1
  }

  handlePortalSuspended(): void {
    // Not possible: every Execute asks for all rows.
  }
}
