import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { agreementOf, startTestGateway, type TestGateway } from '../support/gateway.js'

const table = (big: string): string => `CREATE TABLE things (key int PRIMARY KEY, name text NOT NULL, big ${big})`
const HUGE = '99999999999999999999'
const MAX = '9223372036854775807'
const MIN = '-9223372036854775808'
const ana = { organization: 'aurora', roles: ['all'] }

let gateway: TestGateway
beforeAll(async () => {
  const wide = `${table('numeric(30,0)')}; INSERT INTO things VALUES (1, repeat('é', 9000), '${HUGE}'), (2, 'b', 5), (3, 'c', '-${HUGE}')`
  const narrow = `${table('bigint')}; INSERT INTO things VALUES (1, 'z', 7), (2, repeat('y', 9000), ${MAX}), (3, 'x', ${MIN})`
  gateway = await startTestGateway({
    world: {
      contract: 'type Thing @entity { key: ID! name: String! big: BigInt }',
      organizations: {
        aurora: { sql: wide, roles: { all: { read: { Thing: { fields: 'all' } }, crossOrganization: ['testing'] } } },
        borealis: { sql: narrow },
      },
      agreements: [agreementOf('borealis', 'aurora', { Thing: { allow: ['key', 'name', 'big'] } })],
    },
  })
}, 120_000)
afterAll(() => gateway?.stop(), 60_000)

/** Values of a field, read page by page. */
async function paged(field: 'big' | 'name', order: string): Promise<readonly string[]> {
  const document = `query($after: String) { things(first: 1, after: $after, orderBy: [{ ${order} }]) { nodes { ${field} } pageInfo { hasNextPage endCursor } } }`
  const values: string[] = []
  let after: string | null = null
  for (let pages = 0; pages < 10; pages++) {
    const { json } = await gateway.ask(ana, document, { after })
    expect(json.errors).toBeUndefined()
    interface Page {
      readonly nodes: readonly Readonly<Record<string, string>>[]
      readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string }
    }
    const { nodes, pageInfo } = (json.data as { things: Page }).things
    values.push(...nodes.map((node) => node[field] ?? ''))
    if (!pageInfo.hasNextPage) return values
    after = pageInfo.endCursor
  }
  throw new Error('the pages do not end')
}

describe('pages over owners', () => {
  it("go on after a number that the other owner's column cannot hold", async () => {
    const ascending = [`-${HUGE}`, MIN, '5', '7', MAX, HUGE]
    expect(await paged('big', 'big: ASC')).toEqual(ascending)
    expect(await paged('big', 'big: DESC')).toEqual([...ascending].reverse())
  })

  it('go on after a long text', async () => {
    expect((await paged('name', 'name: ASC')).map((name) => name.slice(0, 1))).toEqual(['b', 'c', 'x', 'y', 'z', 'é'])
  })
})
