import { signAgreement, verifyAgreement } from './agreement.js'
import type { Command } from './command.js'
import { readJwk } from './token-command.js'

export const AGREEMENT_SIGN: Command = {
  name: 'agreement sign',
  summary: 'Signs an agreement for its grantor; the signature goes beside the file.',
  positionals: ['FILE'],
  options: [
    { name: 'key', value: 'FILE', required: true, about: "The grantor's private JWK (Ed25519 or P-256)." },
    { name: 'json', value: null, about: 'Prints one JSON object.' },
  ],
  notes: ['What is signed is the canonical JSON of the content: layout and comments may change afterwards, nothing else.'],
  run: async (input, { write, writeError }) => {
    const [file = ''] = input.positionals
    const outcome = await signAgreement(file, await readJwk(input.required('key')))
    if (input.flag('json')) write(`${JSON.stringify(outcome, null, 2)}\n`)
    else if (outcome.kind === 'signed') write(`${outcome.signatureFile} signs ${file} (${outcome.digest}).\n`)
    else writeError(outcome.problems.map((problem) => `${file}: ${problem}\n`).join(''))
    return outcome.kind === 'signed' ? 0 : 1
  },
}

export const AGREEMENT_VERIFY: Command = {
  name: 'agreement verify',
  summary: 'Says whether the signature beside an agreement is its grantor’s, over what the file says now.',
  positionals: ['FILE'],
  options: [
    { name: 'key', value: 'FILE', required: true, about: "The grantor's public JWK." },
    { name: 'json', value: null, about: 'Prints one JSON object.' },
  ],
  run: async (input, { write, writeError }) => {
    const [file = ''] = input.positionals
    const outcome = await verifyAgreement(file, await readJwk(input.required('key')))
    if (input.flag('json')) write(`${JSON.stringify(outcome, null, 2)}\n`)
    else if (outcome.kind === 'valid') write(`${file} is signed by this key (${outcome.digest}).\n`)
    else writeError(outcome.problems.map((problem) => `${file}: ${problem}\n`).join(''))
    return outcome.kind === 'valid' ? 0 : 1
  },
}
