import { randomBytes, randomUUID } from 'node:crypto'
import { userInfo } from 'node:os'
import pg from 'pg'
import { openAudit, type Audit } from '../audit/audit.js'
import { checkpointSigner, parseLedgerKey } from '../audit/checkpoint.js'
import { LedgerStore } from '../audit/ledger-store.js'
import { LEASE } from '../audit/ledger.js'
import { pooledRandom } from '../audit/uuid.js'
import type { Config, OrganizationConfig } from '../config.js'
import { auditExport, auditKey, auditList, auditVerify } from './audit.js'
import { UsageError, type Command, type CommandInput, type CommandOption } from './command.js'
import { CONFIGURED, configuredBy } from './configured.js'

const ORGANIZATION: CommandOption = { name: 'organization', value: 'ID', required: true, about: 'Whose ledger.' }
const JSON_FLAG: CommandOption = { name: 'json', value: null, about: 'Prints JSON.' }
const FILTER: readonly CommandOption[] = [
  { name: 'from', value: 'TIME', about: 'Entries from this time on (RFC 3339).' },
  { name: 'to', value: 'TIME', about: 'Entries before this time.' },
  { name: 'subject', value: 'TEXT', about: 'Entries of this subject.' },
  { name: 'purpose', value: 'NAME', about: 'Entries for this purpose.' },
]
const ROWS = 50
const ROWS_MAX = 100_000

export const AUDIT_LIST: Command = {
  name: 'audit list',
  summary: "Shows the newest entries of an organization's ledger, newest first.",
  positionals: [],
  options: [...CONFIGURED, ORGANIZATION, ...FILTER, { name: 'rows', value: 'N', about: `How many; ${ROWS} if it is not given.` }, JSON_FLAG],
  run: async (input, context) => {
    const config = await configuredBy(input, context)
    const { id } = organizationOf(input, config)
    const options = { organization: id, filter: filterOf(input), rowsMax: rowsOf(input.option('rows')), json: input.flag('json') }
    return withPool(config, (pool) => auditList(options, new LedgerStore(pool, config.gateway.audit.timeoutMs), context.write))
  },
}

export const AUDIT_EXPORT: Command = {
  name: 'audit export',
  summary: "Writes an organization's ledger, or part of it, with its proofs; the export is itself recorded.",
  positionals: [],
  options: [
    ...CONFIGURED,
    ORGANIZATION,
    { name: 'out', value: 'FILE', required: true, about: 'The bundle to write.' },
    { name: 'format', value: 'FORMAT', about: '`jsonl`, which is the only one so far.' },
    ...FILTER,
    { name: 'as', value: 'TEXT', about: 'Who exports, for the ledger; the user of this machine if it is not given.' },
    JSON_FLAG,
  ],
  notes: ['`concordat audit verify` checks the bundle anywhere, without a server.'],
  run: async (input, context) => {
    const format = input.option('format') ?? 'jsonl'
    if (format !== 'jsonl') throw new UsageError(`there is no format \`${format}\`; write --format jsonl`)
    const config = await configuredBy(input, context)
    const organization = organizationOf(input, config)
    const options = {
      organization: organization.id,
      filter: filterOf(input),
      subject: input.option('as') ?? userInfo().username,
      out: input.required('out'),
      json: input.flag('json'),
    }
    return withPool(config, async (pool) => {
      const audit = await openLedger(organization, config, pool)
      try {
        const obstacle = audit.ledger.obstacle()
        if (obstacle !== null) throw new Error(obstacle)
        return await auditExport(options, { ...audit, now: () => Date.now(), random: randomBytes }, context.write)
      } finally {
        await audit.stop()
      }
    })
  },
}

export const AUDIT_VERIFY: Command = {
  name: 'audit verify',
  summary: 'Checks an exported bundle: finds any entry that was changed, removed, added or moved. Needs no server.',
  positionals: ['BUNDLE'],
  options: [
    { name: 'key', value: 'FILE', about: "The ledger's public key, from its owner; without it the bundle is only shown to agree with itself." },
    { name: 'receipt', value: 'LEAF', about: '`receipt.leaf` of an answer, whose entry the bundle must hold.' },
    JSON_FLAG,
  ],
  notes: ['Exit code: 0 verified, 1 not verified, 2 where a file cannot be used.'],
  run: (input, { write }) => {
    const [bundle = ''] = input.positionals
    return auditVerify(bundle, { json: input.flag('json'), key: input.option('key'), receipt: input.option('receipt') }, write)
  },
}

export const AUDIT_KEY: Command = {
  name: 'audit key',
  summary: "Prints the public key of an organization's ledger, for those who verify.",
  positionals: [],
  options: [...CONFIGURED, ORGANIZATION],
  run: async (input, context) => {
    const { id, ledgerKey } = organizationOf(input, await configuredBy(input, context))
    return auditKey(checkpointSigner(id, parseLedgerKey(ledgerKey.reveal())), context.write)
  },
}

function organizationOf(input: CommandInput, config: Config): OrganizationConfig {
  const id = input.required('organization')
  const found = config.organizations.get(id)
  if (found === undefined) throw new UsageError(`there is no organization \`${id}\`; there are ${[...config.organizations.keys()].join(', ')}`)
  return found
}

function filterOf(input: CommandInput): Readonly<Record<'from' | 'to' | 'subject' | 'purpose', string | undefined>> {
  const given = (name: string): string | undefined => input.option(name) ?? undefined
  return { from: given('from'), to: given('to'), subject: given('subject'), purpose: given('purpose') }
}

function rowsOf(text: string | null): number {
  if (text === null) return ROWS
  if (!/^\d{1,6}$/.test(text) || Number(text) < 1 || Number(text) > ROWS_MAX) throw new UsageError(`\`${text}\` is no number of rows from 1 to ${ROWS_MAX}`)
  return Number(text)
}

/** This process signs for one ledger only: an organization exports its own. */
function openLedger({ id, ledgerKey }: OrganizationConfig, config: Config, pool: pg.Pool): Promise<Audit> {
  const { timeoutMs, queue, batch, refusalsMs, checkpointMs } = config.gateway.audit
  return openAudit({
    pool,
    signers: new Map([[id, checkpointSigner(id, parseLedgerKey(ledgerKey.reveal()))]]),
    checkpoints: config.gateway.checkpoints,
    checkpointMs,
    limits: { timeoutMs, queueMax: queue, batchMax: batch, refusalsMs, ...LEASE },
    now: () => Date.now(),
    process: randomUUID(),
    random: pooledRandom(),
    // What keeps the ledger from being read is its obstacle, which the command says.
    report: () => undefined,
  })
}

async function withPool<T>(config: Config, work: (pool: pg.Pool) => Promise<T>): Promise<T> {
  const { timeoutMs, connections } = config.gateway.audit
  const pool = new pg.Pool({
    connectionString: config.gateway.database.reveal(),
    max: connections,
    connectionTimeoutMillis: timeoutMs,
    application_name: 'concordat audit',
  })
  pool.on('error', () => undefined) // a lost idle connection is replaced; who uses one sees the failure
  try {
    return await work(pool)
  } finally {
    await pool.end()
  }
}
