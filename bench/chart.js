/** Bar charts, as SVG without anything from elsewhere. */

const COLOURS = { limit: '#9aa0a6', gateway: '#0b6e4f', apollo: '#c05621', postgraphile: '#2b6cb0' }
const OTHERS = ['#0b6e4f', '#2b6cb0', '#c05621', '#6b46c1', '#9aa0a6', '#b7791f']
const BAR = 14
const GAP = 18
const WIDTH = 760
const TOP = 64
const DIGIT_WIDTH = 7

/**
 * @param {{
 *   title: string,
 *   note: string,
 *   groups: readonly { label: string, bars: readonly { name: string, value: number, text: string }[] }[],
 *   mark?: number,
 * }} chart `mark`: a value to hold the bars against
 */
export function chart({ title, note, groups, mark }) {
  const names = [...new Set(groups.flatMap(({ bars }) => bars.map(({ name }) => name)))]
  const colour = (name) => COLOURS[name] ?? OTHERS[names.indexOf(name) % OTHERS.length]
  const left = 24 + DIGIT_WIDTH * Math.max(...groups.map(({ label }) => label.length))
  const finite = (value) => (Number.isFinite(value) ? Math.max(0, value) : 0) // what could not be measured has no bar
  const most = Math.max(mark ?? 0, ...groups.flatMap(({ bars }) => bars.map(({ value }) => finite(value)))) * 1.05 || 1
  const x = (value) => left + (finite(value) / most) * (WIDTH - left - 120)
  const parts = []
  let y = TOP
  for (const { label, bars } of groups) {
    parts.push(`<text x="12" y="${y + (bars.length * BAR) / 2 + 3}" font-weight="600">${escaped(label)}</text>`)
    for (const { name, value, text } of bars) {
      const width = Math.max(1, x(value) - left)
      parts.push(`<rect x="${left}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 2}" fill="${colour(name)}"/>`)
      parts.push(`<text x="${(left + width + 6).toFixed(1)}" y="${y + BAR - 4}" font-size="10">${escaped(text)}</text>`)
      y += BAR
    }
    y += GAP
  }
  const height = y + 8
  const legend = names.map((name, index) => {
    const at = 12 + index * Math.min(130, (WIDTH - 24) / names.length)
    return `<rect x="${at}" y="34" width="10" height="10" fill="${colour(name)}"/><text x="${at + 16}" y="43">${escaped(name)}</text>`
  })
  const line =
    mark === undefined
      ? ''
      : `<line x1="${x(mark).toFixed(1)}" y1="${TOP - 8}" x2="${x(mark).toFixed(1)}" y2="${height - 12}" stroke="#4a5568" stroke-dasharray="3 3"/>`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#1a202c">
<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>
<text x="12" y="20" font-weight="600">${escaped(title)}</text>
<text x="${WIDTH - 12}" y="20" text-anchor="end" font-size="10">${escaped(note)}</text>
${legend.join('\n')}
${line}
${parts.join('\n')}
</svg>
`
}

function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
