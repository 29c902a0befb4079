/** How often a property is tried: `LAW_RUNS` times more at length (`npm run test:long`). */
export function times(runs: number): number {
  return runs * Number(process.env['LAW_RUNS'] ?? 1)
}
