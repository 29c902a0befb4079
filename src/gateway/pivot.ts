/** The vectors that searches start from, where they have to be asked for: before all else, since their text stands in other statements. */
import type { ExecuteOptions } from '../connectors/connector.js'
import { textOf } from '../connectors/texts.js'
import { GatewayError, invariant } from '../errors.js'
import type { Pivot } from './bound-plan.js'
import type { Embeddings } from './embedding.js'
import { operandValue } from './request-values.js'
import type { PivotRoute } from './route.js'
import type { Run } from './run.js'
import { parseInput } from './scalars.js'

/** @throws GatewayError BAD_USER_INPUT where the caller's organization cannot make vectors of texts. */
export function checkTexts({ bound, slots, principal }: Pick<Run, 'bound' | 'slots' | 'principal'>, embeddings: Embeddings | null): void {
  for (const root of bound.roots) {
    if (root.kind !== 'connection' || root.pivot?.kind !== 'text') continue
    const { text, space } = root.pivot
    const argument = `${root.responseKey}.to.text`
    if (operandValue(text, slots) === '') throw new GatewayError('BAD_USER_INPUT', 'an empty text', { argument })
    if (embeddings?.has(principal.organization, space.model) !== true)
      throw new GatewayError('BAD_USER_INPUT', `the caller's organization has no embedding service for \`${space.model}\``, { argument })
  }
}

/**
 * Fills the slots of the run; a root field whose row is not found, or whose vector cannot be had, is noted as unasked.
 *
 * @throws GatewayError AUDIT_UNAVAILABLE, POLICY_STALE: what is not recorded does not leave.
 */
export async function resolvePivots(run: Run, embeddings: Embeddings | null, options: ExecuteOptions): Promise<void> {
  const routes = new Map(run.route.pivots.map((route) => [route.rootIndex, route]))
  await Promise.all(
    run.bound.roots.map(async (root, index) => {
      if (root.kind !== 'connection' || !root.pivot) return
      const { pivot, list } = root
      const route = routes.get(index)
      const organization = pivot.kind === 'row' ? route?.owner.organization : run.principal.organization
      try {
        if (pivot.kind === 'row') run.slots[pivot.slot] = route ? await vectorOfRow(route, run, options) : null
        else run.slots[pivot.slot] = await vectorOfText(pivot, list.type, run, embeddings, options)
        if (run.slots[pivot.slot] === null) run.unasked.set(index, null)
      } catch (error) {
        const failure = error instanceof GatewayError ? error : new GatewayError('SOURCE_UNAVAILABLE', 'a connector failed', { cause: error })
        if (failure.code === 'AUDIT_UNAVAILABLE' || failure.code === 'POLICY_STALE') throw failure
        if (failure.code !== 'CANCELLED') run.onFailure?.(failure)
        run.unasked.set(index, { organization: organization ?? '', isStore: pivot.kind === 'row', error: failure })
      }
    }),
  )
}

function vectorOfText(
  pivot: Extract<Pivot, { kind: 'text' }>,
  type: string,
  run: Run,
  embeddings: Embeddings | null,
  { signal }: ExecuteOptions,
): Promise<string> {
  const { principal, authority, slots } = run
  const text = operandValue(pivot.text, slots)
  invariant(typeof text === 'string' && embeddings, 'a text, and a service for it')
  return embeddings.vectorOf({ text, organization: principal.organization, space: pivot.space, type, field: pivot.field, authority, signal })
}

/** Null: there is no such row in the caller's view, or it has no vector there. */
async function vectorOfRow({ connector, native }: PivotRoute, run: Run, options: ExecuteOptions): Promise<string | null> {
  if (!connector) throw new GatewayError('SOURCE_UNAVAILABLE', 'the owner of the row was never reached')
  const { principal, slots } = run
  const [answer] = await connector.execute([{ native, values: { slots, claims: principal.claims } }], principal.organization, options)
  const text = answer && answer.first.count > 0 ? answer.first.texts[0]?.at(0) : undefined
  if (text === undefined) return null
  // One row of one member.
  const [vector] = Object.values(JSON.parse(textOf(text)) as Record<string, readonly number[] | null>)
  return vector ? String(parseInput('Vector', vector)) : null
}
