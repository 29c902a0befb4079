import { loadConfig } from '../config.js'
import { check } from './check.js'
import type { Command } from './command.js'

export const CHECK: Command = {
  name: 'check',
  summary: 'Connects to every store of a configuration and says what does not fit the contract, with a hint how to mend it.',
  positionals: [],
  options: [
    { name: 'config', value: 'FILE', required: true, about: 'The configuration.' },
    { name: 'json', value: null, about: 'Prints one JSON object.' },
  ],
  notes: ['Exit code: 0, 1 where something does not fit, 2 where the configuration cannot be used. Warnings alone are 0.'],
  run: (input, { environment, write }) => check(loadConfig(input.required('config'), environment), { json: input.flag('json'), write }),
}
