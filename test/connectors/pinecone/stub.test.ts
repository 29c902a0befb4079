import { Pinecone } from '@pinecone-database/pinecone'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { PineconeStub } from '../../support/pinecone-stub.js'

describe('the stub of Pinecone, as its official client sees it', () => {
  let stub: PineconeStub
  let client: Pinecone
  let host: string
  const own = (apiKey = stub.apiKey) => new Pinecone({ apiKey, controllerHostUrl: `http://${new URL(stub.url).host}`, maxRetries: 0 })
  const index = () => client.index({ host, namespace: 'n' })
  const RECORDS = Array.from({ length: 250 }, (_, number) => ({
    id: `item-${String(number).padStart(3, '0')}`,
    values: [number, 1],
    metadata: { number, genre: number % 2 === 0 ? ['comedy', 'drama'] : ['drama'], ...(number === 7 && { lucky: true }) },
  }))

  beforeAll(async () => {
    stub = await PineconeStub.start()
    client = own()
    await stub.createIndex({ name: 'items', dimension: 2, metric: 'euclidean' })
    const described = await client.describeIndex('items')
    expect(described).toMatchObject({ name: 'items', dimension: 2, metric: 'euclidean', vectorType: 'dense', status: { ready: true } })
    host = `http://${described.host}`
    await index().upsert({ records: RECORDS })
  })
  afterAll(() => stub.stop())

  it('keeps what is written, and counts it', async () => {
    expect(await index().describeIndexStats()).toMatchObject({ dimension: 2, totalRecordCount: 250, namespaces: { n: { recordCount: 250 } } })
    const { records } = await index().fetch({ ids: ['item-007', 'gone'] })
    expect(records).toEqual({ 'item-007': expect.objectContaining({ id: 'item-007', values: [7, 1], metadata: { number: 7, genre: ['drama'], lucky: true } }) })
  })

  it('lists ids in their order, and records by metadata, in pages', async () => {
    const ids: string[] = []
    for (let token: string | undefined, isLast = false; !isLast;) {
      const page = await index().listPaginated({ prefix: 'item-', ...(token !== undefined && { paginationToken: token }) })
      ids.push(...(page.vectors ?? []).map(({ id }) => id ?? ''))
      token = page.pagination?.next
      isLast = token === undefined
    }
    expect(ids).toEqual(RECORDS.map(({ id }) => id))
    const found: string[] = []
    for (let token: string | undefined, isLast = false; !isLast;) {
      const page = await index().fetchByMetadata({ filter: { genre: 'comedy' }, limit: 40, ...(token !== undefined && { paginationToken: token }) })
      found.push(...Object.keys(page.records))
      token = page.pagination?.next
      isLast = token === undefined
    }
    expect(found.sort()).toEqual(RECORDS.filter((_, number) => number % 2 === 0).map(({ id }) => id))
  })

  it('finds the nearest that fit a filter', async () => {
    const near = async (filter: object): Promise<readonly string[]> => (await index().query({ vector: [0, 1], topK: 2, filter })).matches.map(({ id }) => id)
    expect(await near({ number: { $gt: 5, $lte: 9 } })).toEqual(['item-006', 'item-007'])
    expect(await near({ lucky: { $exists: true } })).toEqual(['item-007'])
    expect(await near({ $or: [{ number: { $in: [9, 11] } }, { number: { $eq: 200 } }] })).toEqual(['item-009', 'item-011'])
    expect(await near({ $and: [{ genre: 'comedy' }, { genre: 'drama' }, { number: { $nin: [0, 2] } }] })).toEqual(['item-004', 'item-006'])
    expect(await near({ genre: { $ne: 'comedy' } })).toEqual(['item-001', 'item-003'])
  })

  it('refuses what the service refuses', async () => {
    for (const filter of [
      { number: { $regex: 'x' } },
      { $not: [] },
      { number: { $eq: { $ne: 1 } } },
      { number: { $gt: 'x' } },
      { number: { $in: 'x' } },
      { $and: [] },
    ])
      await expect(index().query({ vector: [0, 1], topK: 2, filter })).rejects.toMatchObject({ name: 'PineconeBadRequestError' })
    await expect(index().query({ vector: [0, 1, 2], topK: 2 })).rejects.toMatchObject({ name: 'PineconeBadRequestError' })
    await expect(index().upsert({ records: [{ id: 'é', values: [1, 1] }] })).rejects.toMatchObject({ name: 'PineconeBadRequestError' })
    await expect(
      own('another')
        .index({ host, namespace: 'n' })
        .fetch({ ids: ['x'] }),
    ).rejects.toMatchObject({ name: 'PineconeAuthorizationError' })
    await expect(client.describeIndex('others')).rejects.toMatchObject({ name: 'PineconeNotFoundError' })
  })
})
