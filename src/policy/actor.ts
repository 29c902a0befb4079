/** Which actors (links of a delegation chain) a role or an agreement lets act for a subject. */
import type { Actor } from './principal.js'
import type { Path, Reading } from './reading.js'

/** One actor by issuer and subject, or a class of them: subjects of the issuer that begin with the class's name and a colon, such as `agent:reader-7`. */
export type ActorRule =
  { readonly kind: 'actor'; readonly issuer: string; readonly subject: string } | { readonly kind: 'class'; readonly issuer: string; readonly class: string }

/** Reads a list of `{ issuer, subject }` and `{ issuer, class }`. */
export function parseActors(value: unknown, path: Path, reading: Reading): readonly ActorRule[] | null {
  if (!Array.isArray(value) || value.length > 1_000) return reading.mistake(path, 'expects a list of `{ issuer, subject }` or `{ issuer, class }`')
  const rules = value.map((item: unknown, index) => parseActor(item, [...path, index], reading))
  return rules.every((rule) => rule !== null) ? rules : null
}

function parseActor(value: unknown, path: Path, reading: Reading): ActorRule | null {
  const entries = reading.object(value, path, { required: ['issuer'], optional: ['subject', 'class'] })
  if (!entries) return null
  if (entries.has('subject') === entries.has('class')) return reading.mistake(path, 'expects `subject` or `class` beside `issuer`')
  const issuer = reading.text(entries.get('issuer'), [...path, 'issuer'], /^[\x21-\x7e]+$/, 'the `iss` of its tokens')
  if (entries.has('class')) {
    const name = reading.text(entries.get('class'), [...path, 'class'], /^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'the start of the subjects, up to their first colon')
    return issuer !== null && name !== null ? { kind: 'class', issuer, class: name } : null
  }
  const subject = reading.text(entries.get('subject'), [...path, 'subject'], /^[^\p{Cc}\p{Surrogate}]+$/u, 'a subject')
  return issuer !== null && subject !== null ? { kind: 'actor', issuer, subject } : null
}

/** Whether the outermost actor may act under these rules; a principal without actors always may. Inner actors are recorded only. */
export function admitsActor(rules: readonly ActorRule[], actors: readonly Actor[]): boolean {
  const [outermost] = actors
  if (!outermost) return true
  return rules.some((rule) => {
    if (rule.issuer !== outermost.issuer) return false
    return rule.kind === 'actor' ? rule.subject === outermost.subject : outermost.subject.startsWith(`${rule.class}:`)
  })
}
