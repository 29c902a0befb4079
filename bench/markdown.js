/** Tables and numbers for people. */

/** @param {{ title: string, columns: readonly string[], rows: readonly (readonly string[])[] }} table the first column names the row */
export function table({ title, columns, rows }) {
  return [
    `### ${title}`,
    '',
    `| ${columns.join(' | ')} |`,
    `|---|${columns
      .slice(1)
      .map(() => '--:|')
      .join('')}`,
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
    '',
    '',
  ].join('\n')
}

/** Three digits that count. */
export function printed(value) {
  if (value === null || Number.isNaN(value)) return '-'
  if (value < 0) return `-${printed(-value)}`
  if (value >= 1_000) return Math.round(value).toLocaleString('en')
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value >= 1 ? value.toFixed(2) : value.toFixed(3)
}

export function percent(share) {
  return Number.isFinite(share) ? `${(share * 100).toFixed(1)} %` : '-'
}
