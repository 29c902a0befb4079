import { check } from './check.js'
import type { Command } from './command.js'
import { CONFIGURED, configuredBy } from './configured.js'

export const CHECK: Command = {
  name: 'check',
  summary: 'Connects to every store of a configuration and says what does not fit the contract, with a hint how to mend it.',
  positionals: [],
  options: [...CONFIGURED, { name: 'json', value: null, about: 'Prints one JSON object.' }],
  notes: ['Exit code: 0, 1 where something does not fit, 2 where the configuration cannot be used. Warnings alone are 0.'],
  run: async (input, context) => check(await configuredBy(input, context), { json: input.flag('json'), write: context.write }),
}
