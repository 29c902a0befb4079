import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { CODES } from '../../src/errors.js'

describe('docs/errors.md', () => {
  const headings = [...readFileSync('docs/errors.md', 'utf8').matchAll(/^## `?([A-Z_]+)`?$/gm)].map((match) => match[1])

  it('has a heading for each code, and for nothing else', () => {
    expect([...headings].sort()).toEqual(Object.keys(CODES).sort())
  })

  it('says the status of each code', () => {
    const text = readFileSync('docs/errors.md', 'utf8')
    for (const [code, { status }] of Object.entries(CODES)) {
      const section = text.split(/^## /m).find((part) => part.startsWith(`\`${code}\``)) ?? ''
      expect([code, section.includes(`Status ${status}`)]).toEqual([code, true])
    }
  })
})
