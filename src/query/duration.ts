/** Widths of buckets, from ISO 8601. Pure. */

/** A stretch of time, or a number of units of the calendar, whose length depends on where they lie. */
export type Width =
  { readonly kind: 'time'; readonly micros: bigint } | { readonly kind: 'days'; readonly count: number } | { readonly kind: 'months'; readonly count: number }

const CALENDAR = /^P(\d{1,6})([DWMY])$/
const TIME = /^PT(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})(?:\.(\d{1,6}))?S)?$/

/** Null where the text is none, is zero, or mixes units of the calendar with others: such a width has no places to begin at. */
export function parseWidth(text: string): Width | null {
  const [, count, unit] = CALENDAR.exec(text) ?? []
  if (count !== undefined) {
    const isOfMonths = unit === 'M' || unit === 'Y'
    const units = Number(count) * (unit === 'W' ? 7 : unit === 'Y' ? 12 : 1)
    return units === 0 ? null : { kind: isOfMonths ? 'months' : 'days', count: units }
  }
  const match = TIME.exec(text)
  if (!match) return null
  const [, hours = '0', minutes = '0', seconds = '0', fraction = ''] = match
  const wholeSeconds = (BigInt(hours) * 60n + BigInt(minutes)) * 60n + BigInt(seconds)
  const micros = wholeSeconds * 1_000_000n + BigInt(fraction.padEnd(6, '0'))
  return micros === 0n ? null : { kind: 'time', micros }
}
