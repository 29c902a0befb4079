import { loadConfig } from '../config.js'
import { startGateway } from '../main.js'
import type { Command } from './command.js'

export const SERVE: Command = {
  name: 'serve',
  summary: 'Runs the gateway of a configuration file.',
  positionals: [],
  options: [{ name: 'config', value: 'FILE', required: true, about: 'The configuration; docs/configuration.md has every key.' }],
  notes: [
    'SIGTERM and Ctrl-C let requests under way finish, for the time that `gateway.drain` says, and refuse new ones; a second one ends at once.',
    'Stores and the gateway’s database may be down at the start: they are looked for until they answer.',
  ],
  run: async (input, { environment, onStop }) => {
    const config = loadConfig(input.required('config'), environment)
    let stop: () => void = () => undefined
    const asked = new Promise<void>((resolve) => (stop = resolve))
    let again: () => void = stop
    const unlisten = onStop(() => again())
    try {
      const gateway = await startGateway({ config, demo: null }).catch((error: unknown) => {
        throw explained(error, `${config.gateway.listen.host}:${config.gateway.listen.port}`)
      })
      await new Promise<void>((ended) => {
        const end = (): void => void gateway.stop().then(ended, ended)
        again = end
        void asked.then(end)
      })
      return 0
    } finally {
      unlisten()
    }
  },
}

/** Where the address cannot be listened on, which key to change. */
function explained(error: unknown, address: string): unknown {
  if (!(error instanceof Error) || !('code' in error) || !['EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL'].includes(String(error.code))) return error
  const reason = error.code === 'EADDRINUSE' ? 'is taken by another program' : 'cannot be listened on'
  return new Error(`${address} ${reason}; write another address under gateway.listen`)
}
