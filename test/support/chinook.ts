import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { withClient } from './postgres.js'

/** The Chinook sample (test/data/chinook) as statements for an empty database. */
export function chinookSql(): string {
  const script = readFileSync(join(process.cwd(), 'test/data/chinook/chinook.sql'), 'utf8')
  // What comes before makes and enters a database by psql's own commands.
  return script.split('\\c chinook;')[1] ?? ''
}

export async function loadChinook(url: string): Promise<void> {
  await withClient(url, (client) => client.query(chinookSql()))
}
