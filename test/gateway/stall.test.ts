/** No document within the limits keeps the event loop for longer than 50 ms. Measured as it is run: compiled, in a process of its own, not under the test runner. */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { transformFileSync } from '@swc/core'
import { DEFAULT_LIMITS } from '../../src/config.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'concordat-stall-'))
  for (const name of readdirSync('src', { recursive: true }).map(String)) {
    if (!name.endsWith('.ts')) continue
    const file = join(folder, 'src', name.replace(/ts$/, 'js'))
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, transformFileSync(join('src', name), { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'es6' } }).code)
  }
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'))
  writeFileSync(join(folder, 'measure.js'), MEASURE)
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

/** Reads documents, writes for each the milliseconds of processor time of its fastest preparation: other processes that are busy do not decide. */
const MEASURE = `
import { readFileSync } from 'node:fs'
import { DEFAULT_LIMITS } from './src/config.js'
import { apiSchema } from './src/gateway/api-schema.js'
import { parseContract } from './src/gateway/contract.js'
import { Operations } from './src/gateway/operation.js'
const { contract, documents } = JSON.parse(readFileSync(0, 'utf8'))
const schema = apiSchema(parseContract([{ name: 'contract.graphql', text: contract }]))
const operations = await Operations.start({ schema, limits: DEFAULT_LIMITS, cache: { operations: 1, operationBytes: 1 }, introspection: true })
const measured = []
for (const document of documents) {
  let best = Infinity
  let refused = null
  for (let run = 0; run < 5; run += 1) {
    const from = process.cpuUsage()
    await operations.prepare({ method: 'POST', document, operationName: null, accept: 'json' }).catch((error) => (refused = error.code + ' ' + error.detail))
    const { user, system } = process.cpuUsage(from)
    best = Math.min(best, (user + system) / 1000)
  }
  measured.push({ best, refused })
}
process.stdout.write(JSON.stringify(measured))
`

interface Measured {
  readonly best: number
  /** The limit that the document met, or null. */
  readonly refused: string | null
}

function measured(documents: readonly string[]): Promise<readonly Measured[]> {
  return new Promise((done, reject) => {
    const child = spawn(process.execPath, [join(folder, 'measure.js')], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, NODE_ENV: 'production', NODE_OPTIONS: '' },
    })
    let out = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    child.once('error', reject)
    child.once('close', () => done(JSON.parse(out) as Measured[]))
    child.stdin.end(JSON.stringify({ contract: CONTRACT, documents }))
  })
}

const CONTRACT = `
type User @entity { key: ID!  name: String!  email: String  team: String  createdAt: DateTime  agents: [Agent!] @inverse(of: "owner") }
type Agent @entity {
  key: ID!  name: String!  status: AgentStatus!  description: String  tags: [String!]  configuration: JSON
  monthlyBudget: Decimal  maxConcurrency: Int  createdAt: DateTime!  updatedAt: DateTime
  owner: User  executions: [WorkflowExecution!] @inverse(of: "agent")  metrics: [AgentExecutionMetric!] @inverse(of: "agent")
}
type Workflow @entity { key: ID!  name: String!  version: Int  definition: JSON  owner: User  executions: [WorkflowExecution!] @inverse(of: "workflow") }
type WorkflowExecution @entity(name: "execution") {
  key: ID!  status: ExecutionStatus!  startedAt: DateTime!  endedAt: DateTime  error: String  workflow: Workflow  agent: Agent
  metrics: [AgentExecutionMetric!] @inverse(of: "execution")
}
type AgentExecutionMetric @entity(name: "metric") {
  key: ID!  status: ExecutionStatus!  startedAt: DateTime!  endedAt: DateTime  error: String  metadata: JSON
  cpuUsage: Float  memoryUsage: BigInt  inputSize: BigInt  outputSize: BigInt  agent: Agent  execution: WorkflowExecution
}
enum AgentStatus { ACTIVE PAUSED ARCHIVED }
enum ExecutionStatus { QUEUED RUNNING SUCCEEDED FAILED CANCELLED }
`

const times = (count: number, part: (index: number) => string): string => Array.from({ length: count }, (_, index) => part(index)).join(' ')

/** Found by trying what each rule of validation is slow at. */
const WORST: readonly (readonly [string, string])[] = [
  ['line breaks before mistakes, whose places must be found', `${'\n'.repeat(32_000)}{ ${times(20, (index) => `x${index}`)} }`],
  ['comments', `${'#\n'.repeat(16_000)}{ agents { nodes { x y z w v u } } }`],
  ['names that are nearly those of types', `query Q(${times(470, (index) => `$a${index}:AgentExecutionMetricWher`)}) { agents { totalCount } }`],
  ['variables that nothing uses', `query Q(${times(480, (index) => `$a${index}:Int`)}) { agents { totalCount } }`],
  ['variables that nothing defines', `{ agents(where:{maxConcurrency:{in:[${times(950, (index) => `$a${index}`)}]}}) { totalCount } }`],
  ['fields of one name', `{ agents { nodes { ${times(99, () => 'name')} } } }`],
  [
    'fragments on one place',
    `{ agents { nodes { ${times(45, (index) => `...F${index}`)} } } } ${times(45, (index) => `fragment F${index} on Agent { ...G key name status tags }`)} fragment G on Agent { owner { key } }`,
  ],
  [
    'fragments in fragments',
    `{ agents { nodes { ${times(40, (index) => `...F${index}`)} } } } ${times(40, (index) => `fragment F${index} on Agent { ${times(8, (inner) => `...G${inner}`)} }`)} ${times(8, (inner) => `fragment G${inner} on Agent { key }`)}`,
  ],
  ['many conditions', `{ agents(where:{and:[${times(190, () => '{name:{eq:"x"}}')}]}) { totalCount } }`],
  [
    'one fragment for many operations',
    `${times(48, (index) => `query Q${index}($a:Int){ ...R }`)} fragment R on Query { ${times(19, (index) => `a${index}: agents(first:$a) { totalCount }`)} }`,
  ],
  ['fields that cannot be merged', `{ agents { nodes { ${times(49, (index) => `a: ${['name', 'key', 'status'][index % 3]}`)} } } }`],
]

describe('the limits of a document', () => {
  it('let none stall the process', async () => {
    const results = await measured(WORST.map(([, document]) => document))
    for (const [index, [what, document]] of WORST.entries()) {
      expect(Buffer.byteLength(document)).toBeLessThanOrEqual(DEFAULT_LIMITS.documentBytes)
      const { best, refused } = results[index] ?? { best: Infinity, refused: null }
      expect([what, refused, best < 50]).toEqual([what, null, true])
    }
  }, 60_000)
})
