import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { withClient } from './postgres.js'

/** Loads the Chinook sample database (test/data/chinook) into an empty database. */
export async function loadChinook(url: string): Promise<void> {
  const script = await readFile(join(process.cwd(), 'test/data/chinook/chinook.sql'), 'utf8')
  // What comes before makes and enters a database by psql's own commands.
  const [, statements = ''] = script.split('\\c chinook;')
  await withClient(url, (client) => client.query(statements))
}
