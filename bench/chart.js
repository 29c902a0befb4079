/** The ratios to `limit` as a bar chart, an SVG without anything from elsewhere. */

const COLOURS = { limit: '#9aa0a6', gateway: '#0b6e4f', apollo: '#c05621', postgraphile: '#2b6cb0' }
const OTHER = '#6b46c1'
const BAR = 14
const GAP = 18
const LEFT = 56
const WIDTH = 760
const TOP = 64

export function chart({ date, machine, settings, workloads, contestants, summary }) {
  const names = contestants.map(({ name }) => name)
  const most = Math.max(1.4, ...summary.map(({ ratio }) => ratio ?? 0))
  const x = (ratio) => LEFT + (ratio / most) * (WIDTH - LEFT - 60)
  const parts = []
  let y = TOP
  for (const { id } of workloads) {
    const rows = names.flatMap((name) => summary.filter((row) => row.workload === id && row.contestant === name && row.ratio !== null))
    parts.push(`<text x="12" y="${y + (rows.length * BAR) / 2 + 5}" font-weight="600">${id}</text>`)
    for (const { contestant, ratio, requestsPerSecond } of rows) {
      const width = Math.max(1, x(ratio) - LEFT)
      parts.push(`<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 2}" fill="${COLOURS[contestant] ?? OTHER}"/>`)
      parts.push(
        `<text x="${(LEFT + width + 6).toFixed(1)}" y="${y + BAR - 4}" font-size="10">${ratio.toFixed(2)} · ${Math.round(requestsPerSecond).toLocaleString('en')}/s</text>`,
      )
      y += BAR
    }
    y += GAP
  }
  const height = y + 8
  const legend = names.map((name, index) => {
    const at = LEFT + index * 130
    return `<rect x="${at}" y="34" width="10" height="10" fill="${COLOURS[name] ?? OTHER}"/><text x="${at + 16}" y="43">${name}</text>`
  })
  const one = x(1).toFixed(1)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#1a202c">
<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>
<text x="12" y="20" font-weight="600">Throughput as a fraction of the physical limit</text>
<text x="${WIDTH - 12}" y="20" text-anchor="end" font-size="10">${date.slice(0, 10)}, ${machine.cores} cores, scale ${settings.scale}, ${settings.connections} connections</text>
${legend.join('\n')}
<line x1="${one}" y1="${TOP - 8}" x2="${one}" y2="${height - 12}" stroke="#9aa0a6" stroke-dasharray="3 3"/>
${parts.join('\n')}
</svg>
`
}
