import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import {
  CheckpointError,
  checkpointKey,
  checkpointSigner,
  formatKey,
  parseKey,
  parseLedgerKey,
  signCheckpoint,
  verifyCheckpoint,
  verifyNote,
} from '../../src/audit/checkpoint.js'
import { leafHash } from '../../src/audit/merkle.js'

describe('a signed note', () => {
  it("opens with the keys of the format's own examples", () => {
    // The example of Go's golang.org/x/mod/sumdb/note.
    const neumann = parseKey('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')
    const text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    const note = `${text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`
    expect(verifyNote(note, neumann)).toBe(text)
    expect(formatKey(neumann)).toBe('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')
    const example = parseKey('example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k')
    const other =
      'This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n'
    expect(verifyNote(other, example)).toBe('This is an example message.\n')
    expect(() => verifyNote(other, neumann)).toThrow(CheckpointError)
  })

  it('is signed as the reference signs it', () => {
    // PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz: type, then the seed.
    const seed = Buffer.from('AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz', 'base64').subarray(1)
    const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed])
    const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
    const neumann = checkpointKey('PeterNeumann', createPublicKey(key))
    expect(formatKey(neumann)).toBe('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')
    const text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    expect(Buffer.concat([neumann.id, sign(null, Buffer.from(text), key)]).toString('base64')).toBe(
      'x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=',
    )
  })
})

describe('a checkpoint', () => {
  const signer = checkpointSigner('aurora', generateKeyPairSync('ed25519').privateKey)
  const root = leafHash(Buffer.from('root'))

  it('reads back what was signed, under the origin of its organization', () => {
    const note = signCheckpoint({ size: 20_852_163, root }, signer)
    expect(note.split('\n').slice(0, 4)).toEqual(['concordat/aurora', '20852163', root.toString('base64'), ''])
    expect(verifyCheckpoint(note, signer)).toEqual({ origin: 'concordat/aurora', size: 20_852_163, root })
    expect(signCheckpoint({ size: 20_852_163, root }, signer)).toBe(note)
    expect(parseKey(formatKey(signer)).publicKey.equals(signer.publicKey)).toBe(true)
  })

  it('is refused once any bit of it is flipped', () => {
    const bytes = Buffer.from(signCheckpoint({ size: 7, root }, signer))
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const copy = Buffer.from(bytes)
      copy[bit >> 3]! ^= 1 << (bit & 7)
      expect(() => verifyCheckpoint(copy.toString(), signer)).toThrow(CheckpointError)
    }
  })

  it('is refused from another organization or another key', () => {
    const note = signCheckpoint({ size: 7, root }, signer)
    expect(() => verifyCheckpoint(note, checkpointSigner('aurora', generateKeyPairSync('ed25519').privateKey))).toThrow(CheckpointError)
    expect(() => verifyCheckpoint(note, checkpointSigner('borealis', signer.privateKey))).toThrow(CheckpointError)
    // Signed by this key's name and id, but of another log's text.
    const text = `concordat/borealis\n7\n${root.toString('base64')}\n`
    const forged = `${text}\n— ${signer.name} ${Buffer.concat([signer.id, sign(null, Buffer.from(text), signer.privateKey)]).toString('base64')}\n`
    expect(() => verifyCheckpoint(forged, signer)).toThrow(CheckpointError)
  })

  it('passes over the signatures of others, and of none alone', () => {
    const note = signCheckpoint({ size: 7, root }, signer)
    const witness = checkpointKey('witness.example/w1', generateKeyPairSync('ed25519').publicKey)
    const line = `— ${witness.name} ${Buffer.concat([witness.id, Buffer.alloc(64, 1)]).toString('base64')}\n`
    expect(verifyCheckpoint(note + line, signer).size).toBe(7)
    expect(() => verifyCheckpoint(note.slice(0, note.indexOf('—')) + line, signer)).toThrow(CheckpointError)
    // The same name with another id is another key; a second line of this key must fit too.
    const renamed = `— ${signer.name} ${Buffer.concat([witness.id, Buffer.alloc(64, 1)]).toString('base64')}\n`
    expect(verifyCheckpoint(note + renamed, signer).size).toBe(7)
    const bad = `— ${signer.name} ${Buffer.concat([signer.id, Buffer.alloc(64, 1)]).toString('base64')}\n`
    expect(() => verifyCheckpoint(note + bad, signer)).toThrow(CheckpointError)
  })

  it.each([
    ['a size with a leading zero', 'concordat/aurora\n07\nROOT\n'],
    ['a negative size', 'concordat/aurora\n-7\nROOT\n'],
    ['a size beyond what a number holds', 'concordat/aurora\n9007199254740992\nROOT\n'],
    ['a root that is too short', `concordat/aurora\n7\n${Buffer.alloc(31).toString('base64')}\n`],
    ['no root', 'concordat/aurora\n7\n'],
    ['an empty extension line', 'concordat/aurora\n7\nROOT\n\nmore\n'],
    ['a carriage return', 'concordat/aurora\r\n7\nROOT\n'],
  ])('has not %s', (_, template) => {
    const text = template.replace('ROOT', root.toString('base64'))
    const note = `${text}\n— ${signer.name} ${Buffer.concat([signer.id, sign(null, Buffer.from(text), signer.privateKey)]).toString('base64')}\n`
    expect(() => verifyCheckpoint(note, signer)).toThrow(CheckpointError)
  })

  it('never fails otherwise than with its own error, whatever the text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom('\n', '—', ' ', '+', 'a', '0', '=') })), (text) => {
        expect(() => verifyCheckpoint(text, signer)).toThrow(CheckpointError)
        expect(() => parseKey(text)).toThrow(CheckpointError)
        expect(() => parseLedgerKey(text)).toThrow(CheckpointError)
      }),
    )
  })
})

describe('a ledger key', () => {
  it('is read from a JWK and from PEM', () => {
    const { privateKey } = generateKeyPairSync('ed25519')
    const jwk = parseLedgerKey(JSON.stringify(privateKey.export({ format: 'jwk' })))
    const pem = parseLedgerKey(privateKey.export({ format: 'pem', type: 'pkcs8' }).toString())
    expect(jwk.equals(privateKey)).toBe(true)
    expect(pem.equals(privateKey)).toBe(true)
  })

  it('is refused when it is public, of another kind, or has a name that no note can hold, without a word of the secret', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    for (const text of [JSON.stringify(publicKey.export({ format: 'jwk' })), rsa.export({ format: 'pem', type: 'pkcs8' }).toString(), '{"secret-text']) {
      expect(() => parseLedgerKey(text)).toThrow(CheckpointError)
      expect(() => parseLedgerKey(text)).not.toThrow(/secret-text/)
    }
    for (const organization of ['a b', 'a+b', 'a\nb', 'a\u00a0b']) {
      expect(() => checkpointSigner(organization, privateKey)).toThrow(CheckpointError)
    }
  })

  it('is refused as a line whose id is not that of the key', () => {
    const line = formatKey(checkpointSigner('aurora', generateKeyPairSync('ed25519').privateKey))
    const [name, id, key] = line.split(/\+(?=[0-9a-f]{8}\+)|(?<=\+[0-9a-f]{8})\+/)
    expect(() => parseKey(`${name}+00000000+${key}`)).toThrow(CheckpointError)
    expect(() => parseKey(`${name}x+${id}+${key}`)).toThrow(CheckpointError)
    expect(parseKey(line).name).toBe('concordat/aurora')
  })
})
