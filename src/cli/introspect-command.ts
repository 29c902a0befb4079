import { UsageError, type Command } from './command.js'
import { introspect, tokenCommand, type IntrospectReport } from './introspect.js'

export const INTROSPECT: Command = {
  name: 'introspect',
  summary: 'Writes contract, binding and a starting configuration from an existing PostgreSQL database.',
  positionals: ['URL'],
  options: [
    { name: 'organization', value: 'ID', required: true, about: 'Who owns the database; lower case letters, digits and hyphens.' },
    { name: 'out', value: 'DIR', required: true, about: 'Folder to make; it must not exist, or be empty.' },
    { name: 'schema', value: 'NAME', repeats: true, about: 'Schema to read; `public` if none is given.' },
    { name: 'key', value: 'TABLE=COLUMNS', repeats: true, about: 'Key of a view or of a table without one, such as `public.daily=day,agent_id`.' },
    { name: 'jurisdiction', value: 'CODE', about: 'Where the organization is (ISO 3166), such as `DE`.' },
    {
      name: 'gateway-database',
      value: 'URL',
      about: "The gateway's own database; if it is not given, its ledgers go to a schema of their own in the same one.",
    },
    { name: 'json', value: null, about: 'Prints one JSON object.' },
  ],
  notes: ['`concordat check --config DIR/concordat.yaml` and `concordat serve --config DIR/concordat.yaml` take what it writes as it is.'],
  run: async (input, { write }) => {
    const [url = ''] = input.positionals
    const [schemas, jurisdiction, gatewayDatabase] = [input.all('schema'), input.option('jurisdiction'), input.option('gateway-database')]
    const report = await introspect(url, {
      organization: input.required('organization'),
      out: input.required('out'),
      keys: new Map(input.all('key').map(keyOf)),
      ...(schemas.length > 0 && { schemas }),
      ...(jurisdiction !== null && { jurisdiction }),
      ...(gatewayDatabase !== null && { gatewayDatabase }),
    })
    write(input.flag('json') ? `${JSON.stringify(report, null, 2)}\n` : reportText(report, input.required('organization')))
    return 0
  },
}

function keyOf(text: string): [string, string[]] {
  const at = text.indexOf('=')
  const columns = text
    .slice(at + 1)
    .split(',')
    .map((column) => column.trim())
  if (at < 1 || columns.includes('')) throw new UsageError(`\`${text}\` is no key; write --key SCHEMA.TABLE=COLUMN,COLUMN`)
  return [text.slice(0, at), columns]
}

function reportText({ folder, files, types, notes, findings }: IntrospectReport, organization: string): string {
  const found = findings.map(({ severity, problem, hint, place }) => `  ${severity}: ${place === null ? '' : `${place}: `}${problem}; ${hint}`)
  return [
    `Wrote ${files.length} files to ${folder}, for ${types.length} types: ${types.join(', ')}.`,
    ...(notes.length > 0 ? ['', 'Renamed or left out:', ...notes.map((note) => `  ${note}`)] : []),
    ...(found.length > 0 ? ['', 'What `concordat check` will say:', ...found] : []),
    '',
    'Next, and a token for it in another terminal:',
    '',
    `  npx concordat serve --config ${folder}/concordat.yaml`,
    `  npx ${tokenCommand(organization, folder)}`,
    '',
  ].join('\n')
}
