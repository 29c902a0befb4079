/** Signing agreements, and checking the signatures. The signature stands beside the file: `x.yaml` is signed in `x.jws`. */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { CompactSign, importJWK, type JWK } from 'jose'
import { parsePolicyYaml } from '../gateway/policy-yaml.js'
import { schemaMistakesOf, signaturePath } from '../gateway/policies.js'
import { canonicalText, contentDigest, verifySignature } from '../policy/agreement.js'
import { printPath } from '../policy/reading.js'
import { algorithmOf } from './token.js'

export type SignOutcome =
  | { readonly kind: 'signed'; readonly file: string; readonly signatureFile: string; readonly digest: string }
  | { readonly kind: 'refused'; readonly problems: readonly string[] }

export type VerifyOutcome =
  | { readonly kind: 'valid'; readonly file: string; readonly digest: string }
  | { readonly kind: 'invalid'; readonly file: string; readonly problems: readonly string[] }

/**
 * Signs the canonical JSON of an agreement and writes the signature, whole or not at all. Whether its terms fit a contract is seen when the gateway loads it.
 *
 * @throws Error where a file cannot be read or written, or the key is none to sign with.
 */
export async function signAgreement(file: string, privateJwk: JWK): Promise<SignOutcome> {
  const read = await readAgreement(file)
  if (read.kind === 'refused') return read
  const signature = await detachedSignature(read.content, privateJwk)
  const signatureFile = signaturePath(file)
  const draft = `${signatureFile}.${process.pid}.draft`
  await writeFile(draft, `${signature}\n`, { mode: 0o644 })
  await rename(draft, signatureFile)
  return { kind: 'signed', file, signatureFile, digest: contentDigest(read.content) }
}

/** A compact JWS without its payload (RFC 7515, appendix F). */
async function detachedSignature(content: unknown, privateJwk: JWK): Promise<string> {
  const alg = algorithmOf(privateJwk)
  if (alg !== 'EdDSA' && alg !== 'ES256') throw new Error('an agreement is signed with EdDSA or ES256')
  const header = { alg, ...(privateJwk.kid !== undefined && { kid: privateJwk.kid }) }
  const compact = await new CompactSign(new TextEncoder().encode(canonicalText(content))).setProtectedHeader(header).sign(await importJWK(privateJwk, alg))
  const [protectedHeader = '', , signature = ''] = compact.split('.')
  return `${protectedHeader}..${signature}`
}

/** Whether the signature beside the file is one by this key over the file's content. */
export async function verifyAgreement(file: string, publicJwk: JWK): Promise<VerifyOutcome> {
  const read = await readAgreement(file)
  if (read.kind === 'refused') return { kind: 'invalid', file, problems: read.problems }
  const signature = await readFile(signaturePath(file), 'utf8').catch(() => null)
  if (signature === null) return { kind: 'invalid', file, problems: ['there is no signature beside the file'] }
  if (!(await verifySignature(read.content, signature, [publicJwk])))
    return { kind: 'invalid', file, problems: ['the signature is not one by this key over this content'] }
  return { kind: 'valid', file, digest: contentDigest(read.content) }
}

type ReadAgreement = { readonly kind: 'read'; readonly content: unknown } | { readonly kind: 'refused'; readonly problems: readonly string[] }

async function readAgreement(file: string): Promise<ReadAgreement> {
  const { content, mistakes } = parsePolicyYaml(await readFile(file, 'utf8'))
  const problems = mistakes.map(({ line, path, problem }) => `line ${line}: ${printPath(path)} ${problem}`)
  if (problems.length > 0) return { kind: 'refused', problems }
  const unfit = schemaMistakesOf('agreement', content)
  return unfit.length > 0 ? { kind: 'refused', problems: unfit } : { kind: 'read', content }
}
