/** Global ids: base64url of the JSON list [type, organization, ...key values as text]. Not sealed: a forged one finds only what policy shows. */
export interface GlobalId {
  readonly type: string
  readonly organization: string
  readonly key: readonly string[]
}

/** @returns null for any text that is not a global id in its one canonical form. */
export function parseGlobalId(id: string): GlobalId | null {
  // `["` and the first letter of a type: whatever else a key is, it costs nothing more.
  if (!id.startsWith('WyJ') || id.length > 4096 || !/^[A-Za-z0-9_-]+$/.test(id)) return null
  const bytes = Buffer.from(id, 'base64url')
  if (bytes.toString('base64url') !== id) return null
  try {
    const parts: unknown = JSON.parse(bytes.toString('utf8'))
    if (!Array.isArray(parts) || parts.length < 3 || !parts.every((part): part is string => typeof part === 'string')) return null
    const [type, organization, ...key] = parts
    if (type === undefined || organization === undefined) return null
    return { type, organization, key }
  } catch {
    return null
  }
}
