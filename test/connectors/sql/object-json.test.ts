import { describe, expect, it } from '@jest/globals'
import { name, render, sql } from '../../../src/connectors/sql/fragment.js'
import { asked, formatted, type Json, objectJson } from '../../../src/connectors/sql/object-json.js'

const textOf = (json: Json): string => render(formatted(json)).text

describe('JSON in SQL', () => {
  it('is one format call, with objects within objects in the same text', () => {
    const inner = objectJson([
      { key: 'share', value: ['"100%"'] },
      { key: 'name', value: [name('n')] },
    ])
    const outer = objectJson([
      { key: 'key', value: ['"', name('k'), '"'] },
      { key: 'inner', value: inner },
    ])
    expect(textOf(outer)).toBe(`format('{"key":"%s","inner":{"share":"100%%","name":%s}}', "k", "n")`)
  })

  it('takes more values than PostgreSQL has arguments', () => {
    const members = Array.from({ length: 201 }, (_, index) => ({ key: `f${index}`, value: [sql`v`] }))
    const text = textOf(objectJson(members))
    expect(text.match(/format\(/g)).toHaveLength(3)
    expect(text.match(/%s/g)).toHaveLength(201)
    expect(text.match(/, v/g)).toHaveLength(201)
  })

  it('asks a subquery for a single value alone, and for several as one text', () => {
    const ask = (value: ReturnType<typeof name>): ReturnType<typeof name> => sql`(SELECT ${value} FROM p)`
    expect(textOf(asked(['[', name('a'), ']'], ask))).toBe(`format('[%s]', (SELECT "a" FROM p))`)
    expect(textOf(asked(['[', name('a'), ',', name('b'), ']'], ask))).toBe(`format('%s', (SELECT format('[%s,%s]', "a", "b") FROM p))`)
  })
})
