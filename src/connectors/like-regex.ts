/** SQL LIKE as a regular expression in which every character of the pattern stands for itself, and no part is tried anew once it has matched. */

/** The leftmost place of each part between two `%` is always right, so that atomic groups `(?>…)` lose no match and the time stays linear in it. `.` takes every character. */
export function likeRegex(pattern: string, fold: boolean): string {
  const [first = '', ...rest] = partsOf(pattern, fold)
  if (rest.length === 0) return `^${first}(?!.)`
  const last = rest.pop() ?? ''
  return `^${first}${rest.map((part) => `(?>.*?${part})`).join('')}.*?${last}(?!.)`
}

/** Between `%`; `_` is one code point, `\` takes the next character as it is. */
function partsOf(pattern: string, fold: boolean): readonly string[] {
  const parts = ['']
  let isEscaped = false
  const add = (regex: string): void => void parts.push(`${parts.pop() ?? ''}${regex}`)
  for (const point of pattern) {
    if (!isEscaped && point === '\\') isEscaped = true
    else {
      if (isEscaped || (point !== '%' && point !== '_')) add(quoted(point, fold))
      else if (point === '_') add('.')
      else parts.push('')
      isEscaped = false
    }
  }
  return parts
}

/** Only ASCII letters fold. */
function quoted(point: string, fold: boolean): string {
  if (/[A-Za-z]/.test(point)) return fold ? `[${point.toLowerCase()}${point.toUpperCase()}]` : point
  return /[\0-\x7f]/.test(point) && !/[0-9]/.test(point) ? `\\x${point.charCodeAt(0).toString(16).padStart(2, '0')}` : point
}
