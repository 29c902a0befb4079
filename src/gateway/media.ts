/** Media types of requests and answers, as GraphQL over HTTP has them. */

export type ResponseMedia = 'graphql-response' | 'json'

export const MEDIA_TYPES: Readonly<Record<ResponseMedia, string>> = {
  'graphql-response': 'application/graphql-response+json; charset=utf-8',
  json: 'application/json; charset=utf-8',
}

interface MediaType {
  readonly type: string
  readonly subtype: string
  readonly parameters: ReadonlyMap<string, string>
}

interface MediaRange extends MediaType {
  /** From 0 to 1. */
  readonly quality: number
}

/**
 * The media type to answer with, or null when the client takes neither. The older `application/json` where the client has no preference; the newer one where it
 * names both alike.
 */
export function negotiate(accept: string | undefined): ResponseMedia | null {
  if (accept === undefined || accept.trim() === '') return 'json'
  if (accept === 'application/json') return 'json'
  const ranges = mediaRanges(accept)
  const json = preference(ranges, { type: 'application', subtype: 'json' })
  const response = preference(ranges, { type: 'application', subtype: 'graphql-response+json' })
  if (json.quality === 0 && response.quality === 0) return null
  if (json.quality !== response.quality) return json.quality > response.quality ? 'json' : 'graphql-response'
  return response.specificity > json.specificity || response.specificity === EXACT ? 'graphql-response' : 'json'
}

/** Whether the client would show a page. */
export function acceptsHtml(accept: string | undefined): boolean {
  return accept !== undefined && mediaRanges(accept).some(({ type, subtype, quality }) => type === 'text' && subtype === 'html' && quality > 0)
}

/** Whether a request body is JSON in UTF-8. */
export function isJson(contentType: string | undefined): boolean {
  if (contentType === undefined) return false
  if (contentType === 'application/json') return true
  const media = parseMediaType(contentType)
  return media !== null && media.type === 'application' && media.subtype === 'json' && isUtf8(media)
}

function isUtf8({ parameters }: MediaType): boolean {
  const charset = parameters.get('charset')
  return charset === undefined || charset.toLowerCase() === 'utf-8' || charset.toLowerCase() === 'utf8'
}

const EXACT = 2

/** The most specific range decides, however it is weighed. */
function preference(
  ranges: readonly MediaRange[],
  wanted: { readonly type: string; readonly subtype: string },
): { readonly quality: number; readonly specificity: number } {
  const fitting = ranges.flatMap((range) => {
    if (range.type === wanted.type && range.subtype === wanted.subtype) return isUtf8(range) ? [{ quality: range.quality, specificity: EXACT }] : []
    if (range.type === wanted.type && range.subtype === '*') return [{ quality: range.quality, specificity: 1 }]
    return range.type === '*' && range.subtype === '*' ? [{ quality: range.quality, specificity: 0 }] : []
  })
  return fitting.sort((a, b) => b.specificity - a.specificity || b.quality - a.quality)[0] ?? { quality: 0, specificity: -1 }
}

function mediaRanges(accept: string): readonly MediaRange[] {
  return split(accept, ',')
    .slice(0, RANGES_MAX)
    .flatMap((part) => {
      const media = parseMediaType(part)
      if (media === null) return []
      const weight = media.parameters.get('q') ?? '1'
      return [{ ...media, quality: /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(weight) ? Number(weight) : 0 }]
    })
}

/** More are not looked at. */
const RANGES_MAX = 50

function parseMediaType(text: string): MediaType | null {
  const [essence = '', ...parameters] = split(text, ';')
  const [type, subtype, ...rest] = essence.trim().toLowerCase().split('/')
  if (type === undefined || subtype === undefined || rest.length > 0 || !TOKEN.test(type) || !TOKEN.test(subtype)) return null
  const named = parameters.map((parameter): [string, string] => {
    const at = parameter.indexOf('=')
    return at < 0 ? [parameter.trim().toLowerCase(), ''] : [parameter.slice(0, at).trim().toLowerCase(), unquoted(parameter.slice(at + 1).trim())]
  })
  return { type, subtype, parameters: new Map(named) }
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/

function unquoted(value: string): string {
  return value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value
}

/** At every separator outside of quotes. */
function split(text: string, separator: ',' | ';'): string[] {
  const parts: string[] = []
  let [from, quoted] = [0, false]
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at]
    if (quoted && character === '\\') at += 1
    else if (character === '"') quoted = !quoted
    else if (!quoted && character === separator) {
      parts.push(text.slice(from, at))
      from = at + 1
    }
  }
  return [...parts, text.slice(from)]
}
