/** Figures over several runs. */

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** A standard deviation that one stray value does not change, as it does not change a median: 1.4826 times the median distance from the median. */
export function deviation(values) {
  const middle = median(values)
  return 1.4826 * median(values.map((value) => Math.abs(value - middle)))
}

export function grouped(rows, key) {
  const groups = new Map()
  for (const row of rows) groups.set(row[key], [...(groups.get(row[key]) ?? []), row])
  return groups
}

/** Milliseconds a request of processor time, by process and in all, of one run. */
export function cpuOfRequest({ cpuMs, requests }) {
  const each = Object.fromEntries(Object.entries(cpuMs).map(([name, ms]) => [name, ms / requests]))
  return { ...each, all: Object.values(each).reduce((sum, ms) => sum + ms, 0) }
}
