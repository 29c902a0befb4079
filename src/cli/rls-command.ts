import type { Command } from './command.js'
import { CONFIGURED, configuredBy } from './configured.js'
import { renderRls } from './rls.js'

export const RLS_RENDER: Command = {
  name: 'rls render',
  summary: 'Writes row-level security for a store of an organization, as SQL that its owner reads and applies.',
  positionals: [],
  options: [
    ...CONFIGURED,
    { name: 'organization', value: 'ID', required: true, about: 'Whose store.' },
    { name: 'store', value: 'NAME', about: 'Which of its stores; needed where it has several.' },
    { name: 'role', value: 'NAME', about: 'The role that the gateway logs in as; that of the configured URL if it is not given.' },
    { name: 'own-role', value: 'NAME', repeats: true, about: "A role of the organization's own programs, which goes on seeing all rows." },
  ],
  notes: ['The script goes to standard output: `concordat rls render … | psql --set ON_ERROR_STOP=1 …` as the owner of the tables. It holds no secret.'],
  run: async (input, context) => {
    const config = await configuredBy(input, context)
    const options = { organization: input.required('organization'), store: input.option('store'), role: input.option('role'), ownRoles: input.all('own-role') }
    return renderRls(config, options, { nowMs: Date.now(), write: context.write, writeError: context.writeError })
  },
}
