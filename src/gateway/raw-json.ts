/**
 * JSON values of stores keep their text on a way that parses: each is taken out before, a token stands for it, and it is put back into the text that is sent.
 * Everything else is parsed as usual.
 */
import { randomUUID } from 'node:crypto'

/** Where JSON values stand in an answer, by response key: here, in each item of a list, or further inside, where lists of objects are not named. */
export type RawPlace = 'here' | 'items' | RawPlaces
export type RawPlaces = ReadonlyMap<string, RawPlace>

export class RawJson {
  /** No text of a store or service can know it. */
  private readonly token = randomUUID()
  private readonly texts: string[] = []

  /** @param text JSON as a store wrote it. */
  parse(text: string, places: RawPlaces): unknown {
    if (places.size === 0) return JSON.parse(text)
    const scanner = new Scanner(text, (raw) => `"${this.token}:${this.texts.push(raw) - 1}"`)
    return JSON.parse(scanner.whole(places))
  }

  /** JSON with the texts in their places. */
  stringify(value: unknown): string {
    const text = JSON.stringify(value)
    if (this.texts.length === 0) return text
    return text.replace(new RegExp(`"${this.token}:(\\d+)"`, 'g'), (_match, index: string) => this.texts[Number(index)] ?? 'null')
  }
}

/** Copies well-formed JSON, with `replace` on the values at the places. */
class Scanner {
  private at = 0
  private copiedTo = 0
  private readonly parts: string[] = []

  constructor(
    private readonly text: string,
    private readonly replace: (raw: string) => string,
  ) {}

  whole(places: RawPlaces): string {
    this.value(places)
    this.parts.push(this.text.slice(this.copiedTo))
    return this.parts.join('')
  }

  private value(place: RawPlace | undefined): void {
    const first = this.text[this.skipSpace()]
    if (first === '[' && place !== undefined && place !== 'here') this.list(place === 'items' ? 'here' : place)
    else if (first === '{' && typeof place === 'object') this.object(place)
    else {
      const start = this.at
      this.skipValue()
      if (place === 'here') this.replaceFrom(start)
    }
  }

  private replaceFrom(start: number): void {
    const raw = this.text.slice(start, this.at)
    if (raw === 'null') return // a field without a value, or JSON's own null: the same to whoever reads it
    this.parts.push(this.text.slice(this.copiedTo, start), this.replace(raw))
    this.copiedTo = this.at
  }

  private list(place: RawPlace): void {
    this.each(']', () => this.value(place))
  }

  private object(places: RawPlaces): void {
    this.each('}', () => {
      const start = this.at
      this.skipString()
      const key = JSON.parse(this.text.slice(start, this.at)) as string // a string in quotes
      this.skipSpace()
      this.at++ // the colon
      this.value(places.get(key))
    })
  }

  private each(end: string, item: () => void): void {
    this.at++
    while (this.text[this.skipSpace()] !== end) {
      item()
      if (this.text[this.skipSpace()] === ',') this.at++
      this.skipSpace()
    }
    this.at++
  }

  /** Steps over one value, whatever is in it. */
  private skipValue(): void {
    let depth = 0
    do {
      const character = this.text[this.skipSpace()]
      if (character === '"') this.skipString()
      else {
        if (character === '{' || character === '[') depth++
        else if (character === '}' || character === ']') depth--
        else if (character !== ',' && character !== ':') {
          this.skip(WORD)
          continue
        }
        this.at++
      }
    } while (depth > 0)
  }

  private skipString(): void {
    this.skip(STRING)
  }

  private skipSpace(): number {
    return this.skip(SPACE)
  }

  private skip(pattern: RegExp): number {
    pattern.lastIndex = this.at
    if (!pattern.test(this.text)) throw new SyntaxError('not the JSON of a store')
    return (this.at = pattern.lastIndex)
  }
}

const SPACE = /[\t\n\r ]*/y
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/sy
const WORD = /[^\t\n\r ,:"[\]{}]+/y
