import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { lowerFirst, pluralOf, screamingSnakeCase, singularOf, snakeCase, upperFirst } from '../../src/query/name.js'

describe('names', () => {
  it.each([
    ['WorkflowExecution', 'workflow_execution'],
    ['cpuUsage', 'cpu_usage'],
    ['addressLine1', 'address_line1'],
    ['HTTPServer', 'http_server'],
    ['ownerID', 'owner_id'],
    ['already_snake', 'already_snake'],
    ['a', 'a'],
    ['_x', '_x'],
  ])('writes %s as %s in a database', (name, snake) => {
    expect(snakeCase(name)).toBe(snake)
    expect(screamingSnakeCase(name)).toBe(snake.toUpperCase())
  })

  it.each([
    ['agent', 'agents'],
    ['company', 'companies'],
    ['day', 'days'],
    ['box', 'boxes'],
    ['branch', 'branches'],
    ['address', 'addresses'],
    ['status', 'statuses'],
    ['person', 'people'],
    ['salesPerson', 'salesPeople'],
    ['sales_person', 'sales_people'],
    ['child', 'children'],
    ['movie', 'movies'],
    ['index', 'indices'],
    ['analysis', 'analyses'],
    ['database', 'databases'],
    ['warehouse', 'warehouses'],
    ['purchase', 'purchases'],
    ['lease', 'leases'],
    ['size', 'sizes'],
    ['invoiceLine', 'invoiceLines'],
    ['invoice_line', 'invoice_lines'],
    ['InvoiceLine', 'InvoiceLines'],
  ])('knows %s and %s', (one, many) => {
    expect(pluralOf(one)).toBe(many)
    expect(singularOf(many)).toBe(one)
  })

  it.each(['status', 'series', 'news', 'data', 'bus', 'address', 'basis'])('leaves %s as the singular that it is', (word) => {
    expect(singularOf(word)).toBe(word)
  })

  it('gives every word a plural that differs from it', () => {
    fc.assert(fc.property(fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,12}$/), (word) => expect(pluralOf(word)).not.toBe(word)))
  })

  it('changes first letters only', () => {
    expect([lowerFirst('HTTPServer'), upperFirst('agent'), lowerFirst(''), upperFirst('_x')]).toEqual(['hTTPServer', 'Agent', '', '_x'])
  })
})
