/** An ErrorResponse as the driver's own error, so that logs and whoever looks at a `cause` read the same, whoever has read the message. */
import pg from 'pg'

/** Fields by their letter (PostgreSQL's protocol 3.0, "Error and Notice Message Fields"), up to a zero byte. */
export function databaseError(bytes: Buffer, at: number, end: number): pg.DatabaseError {
  const fields = new Map<string, string>()
  let offset = at
  while (offset < end && bytes[offset] !== 0) {
    const zero = bytes.indexOf(0, offset + 1)
    const stop = zero < 0 || zero > end ? end : zero
    fields.set(String.fromCharCode(bytes[offset] ?? 0), bytes.toString('utf8', offset + 1, stop))
    offset = stop + 1
  }
  const error = new pg.DatabaseError(fields.get('M') ?? 'error without a message', end - at, 'error')
  return Object.assign(error, {
    severity: fields.get('S'),
    code: fields.get('C'),
    detail: fields.get('D'),
    hint: fields.get('H'),
    position: fields.get('P'),
    internalPosition: fields.get('p'),
    internalQuery: fields.get('q'),
    where: fields.get('W'),
    schema: fields.get('s'),
    table: fields.get('t'),
    column: fields.get('c'),
    dataType: fields.get('d'),
    constraint: fields.get('n'),
    file: fields.get('F'),
    line: fields.get('L'),
    routine: fields.get('R'),
  })
}
