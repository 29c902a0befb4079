/** The configuration that a command works on: a file, or that of the running demo. */
import { join } from 'node:path'
import { loadConfig, type Config } from '../config.js'
import { UsageError, type CommandContext, type CommandInput, type CommandOption } from './command.js'
import { cacheFolder } from './demo/demo-folder.js'
import { runningDemo } from './demo/running-demo.js'

export const CONFIGURED: readonly CommandOption[] = [
  { name: 'config', value: 'FILE', about: 'The configuration.' },
  { name: 'demo', value: null, about: 'The configuration of the running demo.' },
]

/** @throws UsageError, SettingsError; Error where no demo runs. */
export async function configuredBy(input: CommandInput, { environment }: CommandContext): Promise<Config> {
  const file = input.option('config')
  if ((file === null) === !input.flag('demo')) throw new UsageError('write either --config FILE or --demo')
  if (file !== null) return loadConfig(file, environment)
  const cache = cacheFolder(environment)
  const running = (await runningDemo(cache, join(cache, 'demo'))) ?? (await runningDemo(cache, null))
  if (running === null) throw new Error('no demo is running; start one with `concordat demo`')
  return loadConfig(join(running.data, 'concordat.yaml'), environment)
}
