/** What reaches the owners' databases, as PostgreSQL itself logs it. */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { TestGateway } from './gateway.js'
import type { TestPostgres } from './postgres.js'

/** Settings of a server whose log tells it. */
export const LOGGING = { log_statement: 'all', log_line_prefix: '%d|%a|%v|', log_connections: 'on', log_parameter_max_length: '0' } as const

export interface Executed {
  readonly organization: string
  /** Virtual id of the transaction. */
  readonly transaction: string
  readonly name: string
  readonly text: string
}

export interface Reached {
  readonly statements: readonly Executed[]
  /** Organizations, one for each connection that was opened. */
  readonly connections: readonly string[]
}

/** What the gateway's role had executed while the work was done. The server was started with `LOGGING`. */
export async function executedBy(
  { gateway, postgres, owners }: { readonly gateway: TestGateway; readonly postgres: TestPostgres; readonly owners: readonly string[] },
  work: () => Promise<unknown>,
): Promise<Reached> {
  const before = readFileSync(postgres.logFile, 'utf8').length
  await work()
  await delay(20) // the server's log is written by other processes
  const lines = readFileSync(postgres.logFile, 'utf8').slice(before).split('\n')
  const organizations = new Map(owners.map((organization) => [gateway.database(organization), organization]))
  const statements = lines.flatMap((line): Executed[] => {
    const [, database = '', transaction = '', name = '', text = ''] = /^([^|]*)\|concordat\|([^|]*)\|LOG: {2}execute (\S+): (.*)$/.exec(line) ?? []
    const organization = organizations.get(database)
    return organization === undefined ? [] : [{ organization, transaction, name, text }]
  })
  const connections = lines.flatMap((line) => organizations.get(/connection authorized: user=concordat_gateway database=(\S+)/.exec(line)?.[1] ?? '') ?? [])
  return { statements, connections }
}

/** Those of one owner that ask for data. */
export function dataOf(statements: readonly Executed[], organization: string): readonly Executed[] {
  return statements.filter((each) => each.organization === organization && asksForData(each))
}

/** All but the gateway's own settings and the ends of its transactions, so that none goes by unseen. Statements with a series have no name. */
export function asksForData({ name }: Executed): boolean {
  return !name.startsWith('concordat_')
}
