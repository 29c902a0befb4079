/** How names change between the contract (camelCase), databases (snake_case), and English. Pure. */

/** `WorkflowExecution` and `workflowExecution` give `workflow_execution`; `HTTPServer` gives `http_server`. */
export function snakeCase(name: string): string {
  return name
    .replace(/([\p{Ll}\p{N}])(\p{Lu})/gu, '$1_$2')
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, '$1_$2')
    .toLowerCase()
}

/** `maxConcurrency` gives `MAX_CONCURRENCY`. */
export function screamingSnakeCase(name: string): string {
  return snakeCase(name).toUpperCase()
}

export function lowerFirst(name: string): string {
  return name.slice(0, 1).toLowerCase() + name.slice(1)
}

export function upperFirst(name: string): string {
  return name.slice(0, 1).toUpperCase() + name.slice(1)
}

/** The English plural by rule, with the irregular words that databases are full of. It always differs from the word. */
export function pluralOf(word: string): string {
  const [head, last] = lastWord(word)
  const irregular = IRREGULAR.find(([one]) => one === last.toLowerCase())
  if (irregular && irregular[0] !== irregular[1]) return head + matchCase(irregular[1], last)
  if (/[^aeiou]y$/i.test(word)) return `${word.slice(0, -1)}ies`
  if (/(s|x|z|ch|sh)$/i.test(word)) return `${word}es`
  return `${word}s`
}

/** The English singular by rule; a word that does not look like a plural stays as it is. */
export function singularOf(word: string): string {
  const [head, last] = lastWord(word)
  const irregular = IRREGULAR.find(([, many]) => many === last.toLowerCase())
  if (irregular) return head + matchCase(irregular[0], last)
  if (/[^aeiou]ies$/i.test(word)) return `${word.slice(0, -3)}y`
  if (/(ss|x|zz|ch|sh|us)es$/i.test(word)) return word.slice(0, -2)
  if (/[^sui]s$/i.test(word) || /[aeo][ui]s$/i.test(word)) return word.slice(0, -1)
  return word
}

const IRREGULAR: readonly (readonly [one: string, many: string])[] = [
  ['person', 'people'],
  ['child', 'children'],
  ['man', 'men'],
  ['woman', 'women'],
  ['movie', 'movies'],
  ['cookie', 'cookies'],
  ['index', 'indices'],
  ['vertex', 'vertices'],
  ['matrix', 'matrices'],
  ['analysis', 'analyses'],
  ['axis', 'axes'],
  ['leaf', 'leaves'],
  ['shelf', 'shelves'],
  ['series', 'series'],
  ['species', 'species'],
  ['news', 'news'],
  ['bus', 'buses'],
  ['use', 'uses'],
  ['clause', 'clauses'],
  ['cause', 'causes'],
  ['house', 'houses'],
  ['warehouse', 'warehouses'],
]

/** The last word of a camelCase or snake_case name, and what stands before it. */
function lastWord(name: string): readonly [head: string, last: string] {
  const start = Math.max(name.search(/\p{Lu}?[^\p{Lu}_]*$/u), name.lastIndexOf('_') + 1)
  return [name.slice(0, start), name.slice(start)]
}

function matchCase(word: string, model: string): string {
  if (model.length > 1 && model === model.toUpperCase()) return word.toUpperCase()
  return /^\p{Lu}/u.test(model) ? upperFirst(word) : word
}
