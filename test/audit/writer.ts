/** A process of its own that appends until it is killed, and tells each receipt when it has it. Arguments: a `WriterOrder` as JSON. */
import { createPrivateKey, randomBytes, randomUUID, type JsonWebKey } from 'node:crypto'
import { once } from 'node:events'
import { writeSync } from 'node:fs'
import pg from 'pg'
import { openAudit } from '../../src/audit/audit.js'
import { checkpointSigner } from '../../src/audit/checkpoint.js'
import { disclosure, intent, LIMITS, record } from './fixture.js'

export interface WriterOrder {
  readonly url: string
  readonly checkpoints: string
  /** Private JWKs by organization. */
  readonly keys: Readonly<Record<string, JsonWebKey>>
  /** Appends in flight. */
  readonly inFlight: number
  /** Appends in all. */
  readonly count: number
  /** Intents instead, which it never ends; then it lives on. `leaseMs`: of its lease, which it never renews. */
  readonly intents?: { readonly leaseMs: number }
}

const order = JSON.parse(process.argv[2] ?? '') as WriterOrder
const pool = new pg.Pool({ connectionString: order.url, max: 4 })
pool.on('error', () => undefined)
const audit = await openAudit({
  pool,
  signers: new Map(
    Object.entries(order.keys).map(([organization, key]) => [organization, checkpointSigner(organization, createPrivateKey({ key, format: 'jwk' }))]),
  ),
  checkpoints: order.checkpoints,
  checkpointMs: 20,
  limits: { ...LIMITS, leaseMs: order.intents?.leaseMs ?? LIMITS.leaseMs, renewMs: 60_000, sweepMs: 60_000 },
  now: Date.now,
  process: randomUUID(),
  random: randomBytes,
  report: () => undefined,
})
// Processes that race start together: each says that it is ready, and waits for the word.
writeSync(1, '{"ready":true}\n')
await once(process.stdin, 'data')
process.stdin.destroy()
let begun = 0
await Promise.all(
  Array.from({ length: order.inFlight }, async () => {
    while (begun < order.count) {
      begun += 1
      const receipts = order.intents
        ? (await audit.ledger.begin(intent(`process ${process.pid}`))).receipts
        : await audit.ledger.append(record(disclosure(`process ${process.pid}`)))
      for (const receipt of receipts.values()) writeSync(1, `${JSON.stringify(receipt)}\n`)
    }
  }),
)
if (order.intents) setInterval(() => undefined, 1_000)
else await end()

async function end(): Promise<void> {
  await audit.stop()
  await pool.end()
}
