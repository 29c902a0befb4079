/**
 * Policy files as JSON values: YAML 1.2, core schema. What a file says must be what a reader sees, and what a signature covers: anchors, aliases, tags, directives,
 * several documents, keys that stand twice, and numbers that JavaScript cannot hold are refused, each with its line.
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, visit, type Document, type Node, type Pair } from 'yaml'
import { isPrototypeName, type Path } from '../policy/reading.js'

export interface PolicyYaml {
  /** JSON values only; null where there are mistakes. */
  readonly content: unknown
  readonly mistakes: readonly YamlMistake[]
  /** The line, from 1, of what stands at a path, or of the nearest thing above it. */
  readonly lineOf: (path: Path) => number
}

export interface YamlMistake {
  /** From 1. */
  readonly line: number
  readonly path: Path
  readonly problem: string
}

const TEXT_MAX = 1_048_576
const DEPTH_MAX = 64

export function parsePolicyYaml(text: string): PolicyYaml {
  const unreadable = (problem: string): PolicyYaml => ({ content: null, mistakes: [{ line: 1, path: [], problem }], lineOf: () => 1 })
  if (text.length > TEXT_MAX) return unreadable('is larger than 1 MiB')
  const lines = new LineCounter()
  try {
    const document = parseDocument(text, { version: '1.2', schema: 'core', strict: true, uniqueKeys: true, merge: false, lineCounter: lines })
    const content = new Content(lines)
    content.syntax(document)
    const value = content.mistakes.length > 0 ? null : content.value(document.contents, [])
    return { content: content.mistakes.length > 0 ? null : value, mistakes: content.mistakes, lineOf: (path) => lineAt(document.contents, path, lines) }
  } catch (error) {
    // A few thousand brackets within each other overflow the parser's stack.
    if (error instanceof RangeError) return unreadable('is nested too deeply')
    throw error
  }
}

class Content {
  readonly mistakes: YamlMistake[] = []

  constructor(private readonly lines: LineCounter) {}

  syntax(document: Document): void {
    for (const error of [...document.errors, ...document.warnings]) {
      const problem =
        error.code === 'DUPLICATE_KEY' ? 'a key stands twice in one mapping' : `is not readable as YAML 1.2 (${error.code.toLowerCase().replaceAll('_', ' ')})`
      this.mistakes.push({ line: lineOf(error.pos[0], this.lines), path: [], problem })
    }
    if (document.directives?.docStart && (document.directives.yaml.explicit || Object.keys(document.directives.tags).length > 1)) {
      this.mistakes.push({ line: 1, path: [], problem: 'has a directive, which is not allowed' })
    }
    visit(document, {
      Node: (_, node) => {
        if (isAlias(node)) this.mistake(node, [], 'has an alias; write the value out')
        else if (node.anchor !== undefined) this.mistake(node, [], 'has an anchor; write the value out where it is used')
        else if (node.tag !== undefined) this.mistake(node, [], 'has a tag; leave it out')
      },
    })
  }

  value(node: unknown, path: Path): unknown {
    if (path.length > DEPTH_MAX) return this.mistake(null, path.slice(0, 8), `is nested deeper than ${DEPTH_MAX} levels`)
    if (isMap(node)) return this.mapping(node.items, path)
    if (isSeq(node)) return node.items.map((item, index) => this.value(item, [...path, index]))
    return isScalar(node) ? this.scalar(node, node.value, path) : null
  }

  private mapping(items: readonly Pair[], path: Path): unknown {
    const entries = new Map<string, unknown>()
    for (const { key, value } of items) {
      const name = keyText(key)
      if (name === null || isPrototypeName(name)) this.mistake(isNode(key) ? key : null, path, 'has a key that is not a name')
      else if (entries.has(name)) this.mistake(isNode(key) ? key : null, [...path, name], 'a key stands twice in one mapping')
      else entries.set(name, this.value(value, [...path, name]))
    }
    return Object.fromEntries(entries)
  }

  private scalar(node: Node, value: unknown, path: Path): unknown {
    if (value === null || typeof value === 'boolean') return value
    if (typeof value === 'string') return /\p{Surrogate}|\0/u.test(value) ? this.mistake(node, path, 'has a character that is not allowed') : value
    if (typeof value === 'number' && Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))) return value
    return this.mistake(node, path, 'is a number that cannot be held exactly; write it in quotes')
  }

  private mistake(node: Node | null, path: Path, problem: string): null {
    this.mistakes.push({ line: lineOf(node?.range?.[0] ?? 0, this.lines), path, problem })
    return null
  }
}

/** Keys as they are written: `null` and `1` are names too. Null: not a plain name. */
function keyText(key: unknown): string | null {
  if (!isScalar(key)) return null
  const text = typeof key.value === 'string' ? key.value : key.source
  return text === undefined || text === '' ? null : text
}

function isNode(value: unknown): value is Node {
  return isScalar(value) || isMap(value) || isSeq(value) || isAlias(value)
}

function lineOf(offset: number, lines: LineCounter): number {
  return Math.max(lines.linePos(offset).line, 1)
}

function lineAt(contents: unknown, path: Path, lines: LineCounter): number {
  let [at, node]: [Node | null, unknown] = [isNode(contents) ? contents : null, contents]
  for (const step of path) {
    const pair: Pair | undefined = isMap(node) ? node.items.find(({ key }) => keyText(key) === step) : undefined
    const next: unknown = pair ? pair.value : isSeq(node) && typeof step === 'number' ? node.items[step] : undefined
    const shown = pair ? pair.key : next
    if (!isNode(shown)) break
    at = shown
    node = next
  }
  return lineOf(at?.range?.[0] ?? 0, lines)
}
