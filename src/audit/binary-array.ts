/** One-dimensional arrays in PostgreSQL's binary format (`array_send` in its sources). Thousands of values cost no quoting here and no parsing there. */

interface Element {
  /** The type's OID. */
  readonly oid: number
  readonly bytes: (value: never) => Uint8Array
}

const ELEMENTS = {
  text: { oid: 25, bytes: (value: string) => Buffer.from(value) },
  bytea: { oid: 17, bytes: (value: Uint8Array) => value },
  int2: { oid: 21, bytes: (value: number) => sized(2, (buffer) => buffer.writeInt16BE(value)) },
  int8: { oid: 20, bytes: (value: number) => sized(8, (buffer) => buffer.writeBigInt64BE(BigInt(value))) },
  uuid: { oid: 2950, bytes: (value: string) => Buffer.from(value.replaceAll('-', ''), 'hex') },
  /** Milliseconds since the Unix epoch; PostgreSQL counts microseconds from the year 2000. */
  timestamptz: { oid: 1184, bytes: (value: number) => sized(8, (buffer) => buffer.writeBigInt64BE(BigInt(value - Y2K_MS) * 1000n)) },
} as const satisfies Record<string, Element>

const Y2K_MS = Date.UTC(2000, 0, 1)

type ElementName = keyof typeof ELEMENTS
type ValueOf<Name extends ElementName> = Parameters<(typeof ELEMENTS)[Name]['bytes']>[0]

/** A parameter for `$n::<type>[]`, with one element an item: the `pg` package sends a Buffer in binary format. Null elements are allowed. */
export function binaryArray<Name extends ElementName, Item>(type: Name, items: readonly Item[], pick: (item: Item) => ValueOf<Name> | null): Buffer {
  // The table pairs each name with its own function; TypeScript does not follow that through the index.
  const { oid, bytes } = ELEMENTS[type] as { readonly oid: number; readonly bytes: (value: ValueOf<Name>) => Uint8Array }
  if (items.length === 0) return header({ dimensions: 0, hasNull: 0, oid })
  const elements = items.map((item) => {
    const value = pick(item)
    return value === null ? null : bytes(value)
  })
  const total = elements.reduce((sum, element) => sum + 4 + (element?.length ?? 0), 20)
  const array = Buffer.allocUnsafe(total)
  header({ dimensions: 1, hasNull: elements.includes(null) ? 1 : 0, oid }).copy(array)
  array.writeInt32BE(elements.length, 12)
  array.writeInt32BE(1, 16) // the lower bound
  let at = 20
  for (const element of elements) {
    at = array.writeInt32BE(element?.length ?? -1, at)
    if (element !== null) {
      array.set(element, at)
      at += element.length
    }
  }
  return array
}

function header({ dimensions, hasNull, oid }: { readonly dimensions: number; readonly hasNull: number; readonly oid: number }): Buffer {
  return sized(12, (buffer) => {
    buffer.writeInt32BE(dimensions, 0)
    buffer.writeInt32BE(hasNull, 4)
    buffer.writeInt32BE(oid, 8)
  })
}

function sized(bytes: number, write: (buffer: Buffer) => void): Buffer {
  const buffer = Buffer.allocUnsafe(bytes)
  write(buffer)
  return buffer
}
