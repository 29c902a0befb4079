/** The vector of a search as Milvus takes it: a `PlaceholderGroup` of its protocol (milvus-proto, common.proto), with one vector of 32-bit floats. */
const [TAG, TYPE, VALUES] = [1, 2, 3]
const FLOAT_VECTOR = 101

export function placeholderGroup(vector: readonly number[]): Buffer {
  const elements = Buffer.alloc(vector.length * 4)
  for (const [index, element] of vector.entries()) elements.writeFloatLE(element, index * 4)
  const value = Buffer.concat([bytesField(TAG, Buffer.from('$0')), Buffer.from([TYPE << 3, FLOAT_VECTOR]), bytesField(VALUES, elements)])
  return bytesField(1, value)
}

function bytesField(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | 2]), varint(bytes.length), bytes])
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80)
  return Buffer.from([...bytes, rest])
}
