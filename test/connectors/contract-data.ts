/**
 * The tables that every connector is tried on: each type of the contract, names that must be quoted, and values that break what is careless. Stored texts are what
 * PostgreSQL's cast to text prints (times in UTC and ISO style); a harness that has a real store checks that they are.
 */
import type { ColumnBinding, OrganizationBinding, RelationBinding, TypeBinding } from '../../src/query/binding.js'
import type { BuiltinScalar, Catalog, EntityType, Field, ValueField, ValueType } from '../../src/query/catalog.js'
import type { Scalar } from '../../src/query/predicate.js'
import type { StoredRow, StoredValue } from '../../src/connectors/memory/stored.js'

export interface ContractTable {
  readonly schema: string
  readonly table: string
  /** With the type as a CREATE TABLE writes it. */
  readonly columns: readonly { readonly name: string; readonly declared: string }[]
  readonly rows: readonly StoredRow[]
}

export interface ContractData {
  readonly catalog: Catalog
  readonly binding: OrganizationBinding
  /** Of the store under test, where that has fields in other tables than memory; such fields are shown and searched by, and nothing else. */
  readonly apart?: { readonly binding: OrganizationBinding; readonly fields: ReadonlySet<string> }
  /** Enum types, to be made before the tables. */
  readonly enums: readonly { readonly schema: string; readonly name: string; readonly labels: readonly string[] }[]
  readonly tables: readonly ContractTable[]
  /** Who may be asked for pseudonyms, with the owner's key for each. */
  readonly pseudonymKeys: ReadonlyMap<string, Buffer>
  /** Canonical operands by type, many of which are in the tables. */
  readonly operands: (type: ValueType) => readonly Scalar[]
  /** Keys of a type's rows, as sort keys. */
  readonly keys: (type: string) => readonly (readonly string[])[]
}

export const ORGANIZATION = 'bor"ealis %s \\ \'$1'
const SCHEMA = 'Store "of" %s'

// --- values ----------------------------------------------------------------------------------------------------------------------------------------------------

const TEXTS = [
  ...['', 'a', 'A', 'b', ' ', 'a b', "it's", '"quoted"', 'back\\slash', '\\', '%', '_', '100%', '%s', '$1', "'; DROP TABLE x; --", 'null', 'NULL', '{"a":1}'],
  ...['é', 'É', 'e\u0301', 'ß', 'İ', 'ı', '\u{fffd}', '\u{e000}', '\u{ffff}', '\u{10000}', '😀', '👩‍👩‍👧', '\u{10ffff}', '\ufeff'],
  ...['line\nbreak', 'tab\t', '\u0001x\u0002', '\u001f', '\u007f', '\u2028', 'z'.repeat(3_000), 'ab', 'abc', 'aB'],
]
const UUIDS = [
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  '0b51c6e6-1111-4222-8333-94d1a2b3c4d5',
  '7f000000-0000-4000-8000-000000000001',
]
const SMALL = ['0', '1', '-1', '32767', '-32768', '9', '10']
const INTS = ['0', '1', '-1', '2147483647', '-2147483648', '9', '10', '100']
const BIGS = ['0', '1', '-1', '9223372036854775807', '-9223372036854775808', '9007199254740993', '9', '10']
const WIDES = ['0', '1', '-1', '123456789012345678901234567890', '-123456789012345678901234567890', '9223372036854775808']
const AMOUNTS = ['0.00', '1250.00', '1250.75', '-0.01', '9999999999.99', '-9999999999.99', '0.10', '999.99', 'NaN']
const EXACTS = [
  ...['0', '1', '-1', '1.5', '0.00000000000000000001', '123456789012345678901234567890.123456789', '2999.99999999999999999999999999', '-0.5'],
  ...['NaN', 'Infinity', '-Infinity', '0.000000000000000150000000000000', '-0.000000000000000000000000000001', `1${'0'.repeat(60)}`],
]
const CENTS = ['0', '1', '125000', '-5', '9223372036854775807']
const LOADS = [
  ...['0', '-0', '0.1', '0.2', '0.30000000000000004', '1e-05', '0.0001', '1e+15', '123456789', '9.999999999999999e+22', '5e-324', '-1.5'],
  ...['1.7976931348623157e+308', '-1.7976931348623157e+308', 'NaN', 'Infinity', '-Infinity'],
]
const RATIOS = ['0', '-0', '0.1', '3.4028235e+38', '1e-45', '1.6777216e+07', 'NaN', 'Infinity', '-Infinity']
const MOMENTS = [
  ...['infinity', '-infinity', '4714-11-24 00:00:00+00 BC', '0044-03-15 12:00:00.5+00 BC', '0001-12-31 23:59:59.999999+00 BC', '0001-01-01 00:00:00+00'],
  ...['0099-06-15 12:00:00+00', '1970-01-01 00:00:00+00', '1969-12-31 23:59:59.999999+00', '2024-02-29 12:00:00+00', '2026-01-01 00:00:00+00'],
  ...['2026-03-01 22:14:03.120511+00', '2026-03-01 22:14:03.1+00', '2026-03-01 22:14:03+00', '2026-03-29 00:59:59+00', '2026-03-29 01:00:00+00'],
  ...['2026-10-25 00:30:00+00', '2026-10-25 01:30:00+00', '2025-12-29 00:00:00+00', '9999-12-31 23:59:59.999999+00', '10000-01-01 00:00:00+00'],
  '294276-12-31 23:59:59.999999+00',
]
const DAYS = [
  ...['infinity', '-infinity', '4714-11-24 BC', '0044-03-15 BC', '0001-12-31 BC', '0001-01-01', '1970-01-01', '2024-02-29', '2026-01-01', '2026-03-01'],
  ...['9999-12-31', '10000-01-01', '5874897-12-31'],
]
const DOCUMENTS = [
  ...['{}', '[]', 'null', 'true', '"x"', '1.0', '1', '{"a": 1}', '{"a": 1, "b": 2}', '[1, 2, {"b": null}]', '["a", ["a", "b"]]'],
  ...['{"a": {"b": [1, "x", true]}, "é\\"%s": "😀"}', '12345678901234567890.123', '{"": {"__proto__": 1}}', `[${'"long", '.repeat(200)}0]`],
]
const RAW_DOCUMENTS = [
  '{"z" : 1,  "a":2}',
  '{"a":1,"a":2}',
  ' [1,\n2] ',
  '"\\u0000"',
  '{"b":2,"x":"\\ud800"}',
  '{"b":2,"x":"\\ud83d\\ude00"}',
  '{"b":2,"x":"\\ude00"}',
  '1e5000',
  '{"a":1.00}',
  'null',
]

/** Operands beside those that are in the tables: nearly canonical texts come through claims only (see contract.ts). */
const OPERANDS: Readonly<Record<BuiltinScalar, readonly Scalar[]>> = {
  String: TEXTS,
  ID: [...SMALL, ...BIGS, '041', '1e1', '9223372036854775808', '-0', ...UUIDS, UUIDS[1]?.toUpperCase() ?? '', ...TEXTS],
  UUID: UUIDS,
  Int: INTS.map(Number),
  Float: [0, 0.1, 0.2, 0.30000000000000004, 1e23, 5e-324, Number.MAX_VALUE, -Number.MAX_VALUE, -1.5, 1e15, Math.fround(0.1), 16777216],
  Boolean: [true, false],
  BigInt: [...BIGS, ...WIDES, '9223372036854775808', '-9223372036854775809', `1${'0'.repeat(900)}`],
  Decimal: [
    '0',
    '1250',
    '1250.75',
    '-0.01',
    '0.1',
    '1.5',
    '123456789012345678901234567890.123456789',
    '-0.5',
    `0.${'0'.repeat(500)}1`,
    `9${'9'.repeat(500)}`,
    '92233720368547758.07',
  ],
  DateTime: [
    '2026-03-01T22:14:03.120511Z',
    '2026-03-01T22:14:03.1Z',
    '1970-01-01T00:00:00Z',
    '0001-01-01T00:00:00Z',
    '9999-12-31T23:59:59.999999Z',
    '2026-01-01T00:00:00Z',
  ],
  LocalDateTime: ['2026-03-01T22:14:03.120511', '2026-03-01T22:14:03.1', '1970-01-01T00:00:00', '0001-01-01T00:00:00', '9999-12-31T23:59:59.999999'],
  Date: ['2026-03-01', '1970-01-01', '0001-01-01', '9999-12-31', '2024-02-29'],
  JSON: ['{}', '[]', '"x"', '1', '1.0', 'null', '{"a":1}', '{"a":1.000}', '[2]', '["a"]', '{"a":{"b":["x"]}}', '{"b":2}', '[[]]', '{"é\\"%s":"😀"}', '{"":{}}'],
  Vector: ['[1,0,0]', '[0,0,0]', '[3,4,0]', '[-0.5,0.25,2]', '[1,1,1]', '[3.4028234663852886e+38,0,1]', '[1.401298464324817e-45,0,0]'],
}

function operands(type: ValueType): readonly Scalar[] {
  return type.kind === 'enum' ? type.values : OPERANDS[type.name]
}

// --- columns ---------------------------------------------------------------------------------------------------------------------------------------------------

/** One field with its column and the texts that its rows take in turn. */
interface Column {
  readonly field: ValueField
  readonly bound: ColumnBinding | null
  readonly declared: string
  readonly texts: readonly StoredValue[]
}

function builtin(name: BuiltinScalar): ValueType {
  return { kind: 'builtin', name }
}

interface ColumnOptions {
  readonly column: string
  /** As a CREATE TABLE writes it, and as the catalog of the store names it where that differs. */
  readonly declared: string
  readonly native?: string
  readonly texts: readonly StoredValue[]
  readonly required?: boolean
  readonly values?: ReadonlyMap<string, string>
  readonly multiply?: string
}

function scalar(name: string, type: ValueType, options: ColumnOptions): Column {
  return columnOf(name, { type, list: false }, options)
}

function list(name: string, type: ValueType, options: ColumnOptions): Column {
  return columnOf(name, { type, list: true }, { ...options, declared: `${options.declared}[]`, native: options.native ?? options.declared })
}

/** An array in the store, of which the contract knows a vector of three dimensions. */
function vector(name: string, options: ColumnOptions): Column {
  const { field, bound, ...column } = columnOf(
    name,
    { type: builtin('Vector'), list: true },
    { ...options, declared: `${options.declared}[]`, native: options.declared },
  )
  return { ...column, bound, field: { ...field, list: false, vector: { model: 'm', dimensions: 3, metric: 'COSINE' } } }
}

function columnOf(name: string, { type, list: isList }: { readonly type: ValueType; readonly list: boolean }, options: ColumnOptions): Column {
  const { column, declared, native = declared, texts, required = false, values = null, multiply = null } = options
  const field: ValueField = { kind: 'value', name, description: null, type, list: isList, required, vector: null }
  const bound: ColumnBinding = { kind: 'column', column, native, array: isList, nullable: !required, values, multiply }
  return { field, bound, declared, texts: required ? texts : withNulls(texts) }
}

function withNulls(texts: readonly StoredValue[]): StoredValue[] {
  return texts.flatMap((text, index) => (index % 4 === 0 ? [null, text] : [text]))
}

function constant(name: string, type: ValueType, value: Scalar | null): Column {
  const field: ValueField = { kind: 'value', name, description: null, type, list: false, required: false, vector: null }
  return { field, bound: { kind: 'constant', value }, declared: '', texts: [] }
}

function unbound(name: string, type: ValueType): Column {
  return { ...constant(name, type, null), bound: null }
}

const STATUS: ValueType = { kind: 'enum', name: 'Status', values: ['ACTIVE', 'PAUSED', 'ARCHIVED'] }
const STAGE: ValueType = { kind: 'enum', name: 'Stage', values: ['new', 'Old', 'ZERO'] }
const MOOD: ValueType = { kind: 'enum', name: 'Mood', values: ['GOOD', 'BAD'] }
const MOOD_TYPE = `"${SCHEMA.replaceAll('"', '""')}"."Mood ""of"" it"`
/** Not in code point order, and one label that the contract does not have. */
const MOOD_LABELS = ['so "so"', "it's good", 'bad%s']

const THING_COLUMNS: readonly Column[] = [
  scalar('key', builtin('ID'), { column: 'id', declared: 'bigint', required: true, texts: [] }),
  scalar('name', builtin('String'), { column: 'name"; --', declared: 'text', required: true, texts: TEXTS }),
  scalar('code', builtin('String'), { column: 'CODE', declared: 'character varying(4000)', native: 'character varying', texts: TEXTS }),
  scalar('fixed', builtin('String'), { column: '$1', declared: 'character(6)', native: 'character', texts: ['', 'a', 'ab', 'é😀', 'x y'] }),
  scalar('reference', builtin('ID'), { column: ' reference ', declared: 'integer', texts: INTS }),
  scalar('serial', builtin('ID'), { column: "ser'ial", declared: 'uuid', texts: UUIDS }),
  scalar('uuid', builtin('UUID'), { column: 'select', declared: 'uuid', texts: UUIDS }),
  scalar('small', builtin('Int'), { column: '%s', declared: 'smallint', texts: SMALL }),
  scalar('count', builtin('Int'), { column: 'naïve Ω', declared: 'integer', texts: INTS }),
  scalar('big', builtin('BigInt'), { column: '__proto__', declared: 'bigint', texts: BIGS }),
  scalar('wide', builtin('BigInt'), { column: 'wide', declared: 'numeric(40,0)', native: 'numeric', texts: WIDES }),
  scalar('amount', builtin('Decimal'), { column: 'back\\slash', declared: 'numeric(12,2)', native: 'numeric', texts: AMOUNTS }),
  scalar('exact', builtin('Decimal'), { column: '"', declared: 'numeric', texts: EXACTS }),
  scalar('budget', builtin('Decimal'), { column: 'budget_cents', declared: 'bigint', texts: CENTS, multiply: '0.01' }),
  scalar('load', builtin('Float'), { column: '😀', declared: 'double precision', texts: LOADS }),
  scalar('ratio', builtin('Float'), { column: 'constructor', declared: 'real', texts: RATIOS }),
  scalar('flag', builtin('Boolean'), { column: 'flag', declared: 'boolean', texts: ['true', 'false'] }),
  scalar('at', builtin('DateTime'), { column: 'at', declared: 'timestamp(6) with time zone', native: 'timestamp with time zone', texts: MOMENTS }),
  scalar('createdAt', builtin('DateTime'), {
    column: 'created_at',
    declared: 'timestamptz',
    native: 'timestamp with time zone',
    required: true,
    texts: MOMENTS.filter((text) => /^(19|20)/.test(text)),
  }),
  scalar('localAt', builtin('LocalDateTime'), {
    column: 'local at',
    declared: 'timestamp',
    native: 'timestamp without time zone',
    texts: MOMENTS.map((text) => text.replace('+00', '')),
  }),
  scalar('day', builtin('Date'), { column: 'day', declared: 'date', texts: DAYS }),
  scalar('data', builtin('JSON'), { column: 'data', declared: 'jsonb', texts: DOCUMENTS }),
  scalar('raw', builtin('JSON'), { column: 'raw', declared: 'json', texts: RAW_DOCUMENTS }),
  scalar('status', STATUS, {
    column: 'state',
    declared: 'smallint',
    texts: ['1', '2', '3', '9', '5'],
    values: new Map([
      ['1', 'ACTIVE'],
      ['2', 'PAUSED'],
      ['3', 'PAUSED'],
      ['9', 'ARCHIVED'],
    ]),
  }),
  scalar('stage', STAGE, { column: 'stage', declared: 'text', required: true, texts: ['new', 'Old', 'ZERO'] }),
  scalar('mood', MOOD, {
    column: 'mood',
    declared: MOOD_TYPE,
    texts: MOOD_LABELS,
    values: new Map([
      ["it's good", 'GOOD'],
      ['bad%s', 'BAD'],
    ]),
  }),
  list('tags', builtin('String'), {
    column: 'tags',
    declared: 'text',
    texts: [[], ['a', 'b'], ['', '"', '\\', '{}', 'NULL'], ['a', null], [null], ['😀', 'a', 'a'], TEXTS],
  }),
  list('numbers', builtin('Int'), { column: 'numbers', declared: 'integer', texts: [[], ['1', '-1'], ['2147483647', null], ['9', '10', '9']] }),
  list('bigs', builtin('BigInt'), { column: 'bigs', declared: 'bigint', texts: [[], BIGS, ['1', null]] }),
  list('amounts', builtin('Decimal'), {
    column: 'amounts',
    declared: 'numeric(12,2)',
    native: 'numeric',
    texts: [[], ['1250.00', '0.10'], ['-0.01', null], ['NaN', '1.00']],
  }),
  list('loads', builtin('Float'), {
    column: 'loads',
    declared: 'double precision',
    texts: [[], ['0.1', '9.999999999999999e+22', '-0'], ['NaN', '1'], ['0.2', null]],
  }),
  list('flags', builtin('Boolean'), { column: 'flags', declared: 'boolean', texts: [[], ['true', 'false'], ['true', null]] }),
  list('moments', builtin('DateTime'), {
    column: 'moments',
    declared: 'timestamptz',
    native: 'timestamp with time zone',
    texts: [[], MOMENTS.slice(5, 12), ['2026-03-01 22:14:03.1+00', null], ['infinity', '1970-01-01 00:00:00+00'], ['0044-03-15 12:00:00.5+00 BC']],
  }),
  list('days', builtin('Date'), {
    column: 'days',
    declared: 'date',
    texts: [[], ['2026-03-01', '0001-01-01'], ['1970-01-01', null], ['infinity'], ['10000-01-01', '2026-01-01']],
  }),
  list('uuids', builtin('UUID'), { column: 'uuids', declared: 'uuid', texts: [[], UUIDS] }),
  list('stages', STAGE, { column: 'stages', declared: 'text', texts: [[], ['Old', 'new'], ['ZERO', null], ['new']] }),
  list('documents', builtin('JSON'), { column: 'documents', declared: 'jsonb', texts: [[], ['{"a": 1}', '"x"', '[1, 2]'], ['null', null]] }),
  vector('embedding', {
    column: 'embed"ding',
    declared: 'real',
    texts: [
      ...[
        ['1', '0', '0'],
        ['0', '0', '0'],
        ['3', '4', '0'],
        ['-0.5', '0.25', '2'],
        ['2', '0', '0'],
        ['1', '2'],
        ['1', null, '2'],
        ['NaN', '0', '1'],
      ],
      ...[[], ['3.4028235e+38', '1', '-1'], ['1e-45', '0', '0'], ['Infinity', '0', '0'], ['0.1', '0.2', '0.3'], ['-1', '0', '0'], ['-0', '1e-05', '1e+15']],
    ],
  }),
  constant('label', builtin('String'), 'con"st%s \\ \'$1'),
  constant('level', builtin('Int'), -7),
  constant('nothing', builtin('Decimal'), null),
  unbound('missing', builtin('DateTime')),
]

const PERSON_COLUMNS: readonly Column[] = [
  scalar('key', builtin('ID'), { column: 'id', declared: 'uuid', required: true, texts: [] }),
  scalar('name', builtin('String'), { column: 'näme', declared: 'text', required: true, texts: TEXTS.filter((text) => text.length < 8) }),
  scalar('team', builtin('String'), { column: 'Team', declared: 'text', texts: ['red', 'Red', '\u{fffd}', '😀'] }),
  scalar('salary', builtin('Decimal'), { column: 'salary', declared: 'numeric', texts: ['0', '1000', '1000.50', '99999.99'] }),
]

const PLACE_COLUMNS: readonly Column[] = [
  scalar('region', builtin('String'), { column: 'region', declared: 'text', required: true, texts: [] }),
  scalar('spot', builtin('BigInt'), { column: 'spot', declared: 'integer', required: true, texts: [] }),
  scalar('label', builtin('String'), { column: 'label', declared: 'text', texts: ['here', 'there', '%_\\'] }),
]

const TOKEN_COLUMNS: readonly Column[] = [
  scalar('key', builtin('ID'), { column: 'token', declared: 'text', required: true, texts: [] }),
  scalar('weight', builtin('Float'), { column: 'weight', declared: 'double precision', texts: ['0.1', '0.2', '-0', 'NaN'] }),
]

const READING_COLUMNS: readonly Column[] = [
  scalar('takenAt', builtin('DateTime'), { column: 'taken at', declared: 'timestamptz', native: 'timestamp with time zone', required: true, texts: [] }),
  scalar('level', builtin('Decimal'), { column: 'level', declared: 'numeric', required: true, texts: [] }),
  scalar('channel', builtin('Int'), { column: 'channel', declared: 'smallint', required: true, texts: [] }),
  scalar('note', builtin('String'), { column: 'note', declared: 'text', texts: ['a', 'B'] }),
]

// --- keys and relations ----------------------------------------------------------------------------------------------------------------------------------------

const THING_KEYS = [
  ...BIGS,
  ...['2', '3', '4', '5', '11', '12', '20', '41', '100', '101', '102', '1000', '-2', '-10', '9007199254740992', '9007199254740994', '77', '78', '79', '80'],
  ...Array.from({ length: 30 }, (_, index) => String(2_000 + index)),
]
const PERSON_KEYS = [
  ...UUIDS,
  'a0000000-0000-4000-8000-00000000000a',
  'A0000000-0000-4000-8000-00000000000B'.toLowerCase(),
  '10000000-0000-4000-8000-000000000000',
]
const TOKEN_KEYS = ['', 'a', 'B', 'b', '\u{fffd}', '😀', '041', '41', '"\\', "%s$1'", '\u0001']
const PLACE_KEYS = [
  ['', '0'],
  ['north', '1'],
  ['north', '10'],
  ['north', '9'],
  ['😀"\\', '-1'],
  ['\u{fffd}%s', '2147483647'],
] as const

/** Times within the years that have a JSON form: a row that is beyond them cannot be looked up by its id. */
const READING_KEYS = [
  ['2026-03-01 22:14:03.120511+00', '1.50', '1'],
  ['2026-03-01 22:14:03.120511+00', '1.5', '2'],
  ['2026-03-01 22:14:03.120511+00', '10', '-1'],
  ['2026-03-01 22:14:03+00', '0', '10'],
  ['0001-01-01 00:00:00+00', '-1', '9'],
  ['9999-12-31 23:59:59.999999+00', '0.00', '9'],
] as const

interface RelationColumn {
  readonly field: string
  readonly target: string
  /** The columns that hold the target's key, with their types. */
  readonly columns: readonly { readonly column: string; readonly declared: string }[]
  /** Keys that rows take in turn; null in a part: no relation. Some lead nowhere. */
  readonly keys: readonly (readonly (string | null)[])[]
}

const THING_RELATIONS: readonly RelationColumn[] = [
  {
    field: 'owner',
    target: 'Person',
    columns: [{ column: 'owner id', declared: 'uuid' }],
    keys: [...PERSON_KEYS.map((key) => [key]), [null], ['eeeeeeee-0000-4000-8000-000000000000']],
  },
  {
    field: 'parent',
    target: 'Thing',
    columns: [{ column: 'parent', declared: 'bigint' }],
    keys: [['1'], ['41'], ['9007199254740993'], [null], ['1'], ['123456']],
  },
  {
    field: 'place',
    target: 'Place',
    columns: [
      { column: 'place"region', declared: 'text' },
      { column: '$2', declared: 'integer' },
    ],
    keys: [...PLACE_KEYS, ['north', null], [null, '1'], [null, null], ['nowhere', '1']],
  },
  { field: 'token', target: 'Token', columns: [{ column: 'token', declared: 'text' }], keys: [...TOKEN_KEYS.map((key) => [key]), [null], ['gone']] },
  { field: 'ghost', target: 'Ghost', columns: [], keys: [] },
]
const PERSON_RELATIONS: readonly RelationColumn[] = [
  { field: 'boss', target: 'Person', columns: [{ column: 'boss %s', declared: 'uuid' }], keys: [[UUIDS[0] ?? null], [null], [UUIDS[2] ?? null]] },
]

function toOne({ field, target }: RelationColumn): [string, Field] {
  return [field, { kind: 'toOne', name: field, description: null, target }]
}

function toMany(name: string, target: string, inverse: string): [string, Field] {
  return [name, { kind: 'toMany', name, description: null, target, inverse }]
}

interface Table {
  readonly type: string
  readonly plural: string
  readonly table: string
  readonly key: readonly string[]
  readonly keys: readonly (readonly string[])[]
  readonly columns: readonly Column[]
  readonly relations: readonly RelationColumn[]
  readonly lists: readonly [string, Field][]
}

const ALL_TABLES: readonly Table[] = [
  {
    type: 'Thing',
    plural: 'things',
    table: 'Thing\'s "table" $1 %s é😀',
    key: ['key'],
    keys: THING_KEYS.map((key) => [key]),
    columns: THING_COLUMNS,
    relations: THING_RELATIONS,
    lists: [toMany('children', 'Thing', 'parent')],
  },
  {
    type: 'Person',
    plural: 'people',
    table: 'person',
    key: ['key'],
    keys: PERSON_KEYS.map((key) => [key]),
    columns: PERSON_COLUMNS,
    relations: PERSON_RELATIONS,
    lists: [toMany('things', 'Thing', 'owner'), toMany('reports', 'Person', 'boss')],
  },
  {
    type: 'Place',
    plural: 'places',
    table: 'PLACE',
    key: ['region', 'spot'],
    keys: PLACE_KEYS,
    columns: PLACE_COLUMNS,
    relations: [],
    lists: [toMany('things', 'Thing', 'place')],
  },
  {
    type: 'Token',
    plural: 'tokens',
    table: 'table',
    key: ['key'],
    keys: TOKEN_KEYS.map((key) => [key]),
    columns: TOKEN_COLUMNS,
    relations: [],
    lists: [toMany('things', 'Thing', 'token')],
  },
  {
    type: 'Reading',
    plural: 'readings',
    table: 'readings',
    key: ['takenAt', 'level', 'channel'],
    keys: READING_KEYS,
    columns: READING_COLUMNS,
    relations: [],
    lists: [],
  },
]

const GHOST: EntityType = {
  name: 'Ghost',
  description: null,
  key: ['key'],
  singular: 'ghost',
  plural: 'ghosts',
  fields: new Map<string, Field>([
    ['key', { kind: 'value', name: 'key', description: null, type: builtin('ID'), list: false, required: true, vector: null }],
    ['name', { kind: 'value', name: 'name', description: null, type: builtin('String'), list: false, required: false, vector: null }],
    ['sightings', { kind: 'value', name: 'sightings', description: null, type: builtin('Int'), list: false, required: false, vector: null }],
    toMany('things', 'Thing', 'ghost'),
  ]),
  seriesTime: null,
}

// --- assembly --------------------------------------------------------------------------------------------------------------------------------------------------

/** Another kind of column for the vectors of `Thing`. */
export interface VectorColumn {
  /** As a CREATE TABLE writes it. */
  readonly declared: string
  /** As the catalog of the store names it. */
  readonly native: string
}

/** What pgvector holds, and what it computes with exactly in single precision. */
const EXACT_VECTORS = ['[1,0,0]', '[0,0,0]', '[3,4,0]', '[-0.5,0.25,2]', '[2,0,0]', '[-1,0,0]', '[0.125,0,0.5]', '[1,1,1]']

/** @param vectors absent: arrays, which hold what is no vector as well. */
export function contractData(vectors?: VectorColumn): ContractData {
  const TABLES = vectors ? ALL_TABLES.map((table) => ({ ...table, columns: table.columns.map((column) => withVectors(column, vectors)) })) : ALL_TABLES
  const entities = new Map([...TABLES.map((table): [string, EntityType] => [table.type, entityOf(table)]), ['Ghost', GHOST]])
  const enums = new Map(
    [STATUS, STAGE, MOOD].flatMap((type) => (type.kind === 'enum' ? [[type.name, { name: type.name, description: null, values: type.values }]] : [])),
  )
  const types = new Map<string, TypeBinding>([
    ...TABLES.map((table): [string, TypeBinding] => [table.type, bindingOf(table)]),
    ['Ghost', { kind: 'none', type: 'Ghost' }],
  ])
  return {
    catalog: { entities, enums },
    binding: { organization: ORGANIZATION, types },
    enums: [{ schema: SCHEMA, name: 'Mood "of" it', labels: MOOD_LABELS }],
    tables: TABLES.map(tableOf),
    pseudonymKeys: new Map([
      ['aurora', Buffer.from('an owner keeps one key for each grantee')],
      ['cas\'cade "%s', Buffer.alloc(32, 0xff)],
    ]),
    operands: vectors ? (type) => (type.kind === 'builtin' && type.name === 'Vector' ? EXACT_VECTORS : operands(type)) : operands,
    keys: (type) => keysOf(TABLES.find((table) => table.type === type)),
  }
}

function withVectors(column: Column, { declared, native }: VectorColumn): Column {
  if (!column.field.vector || column.bound?.kind !== 'column') return column
  return { ...column, declared, bound: { ...column.bound, native, array: false }, texts: withNulls(EXACT_VECTORS) }
}

function keysOf(table: Table | undefined): readonly (readonly string[])[] {
  if (!table) return [['gone']]
  return table.keys.map((key) => key.map((text, part) => (table.key[part] === 'takenAt' ? text.replace(' ', 'T').replace('+00', '') : text)))
}

function entityOf({ type, plural, key, columns, relations, lists }: Table): EntityType {
  const values = columns.map(({ field }): [string, Field] => [field.name, field])
  return {
    name: type,
    description: null,
    key,
    singular: type.toLowerCase(),
    plural,
    fields: new Map([...values, ...relations.map(toOne), ...lists]),
    seriesTime: null,
  }
}

function bindingOf({ type, table, columns, relations }: Table): TypeBinding {
  return {
    kind: 'table',
    type,
    store: 'main',
    schema: SCHEMA,
    table,
    columns: new Map(columns.flatMap(({ field, bound }): [string, ColumnBinding][] => (bound ? [[field.name, bound]] : []))),
    relations: new Map(
      relations.map((relation): [string, RelationBinding] => [
        relation.field,
        { columns: relation.columns.map(({ column, declared }) => ({ column, native: declared, nullable: true })) },
      ]),
    ),
  }
}

/** Rows take the texts of a column in turn, each column at its own pace, so that values meet in ever new company. */
function tableOf({ table, key, keys, columns, relations }: Table): ContractTable {
  const stored = columns.flatMap(({ field, bound, declared, texts }) => (bound?.kind === 'column' ? [{ field, column: bound.column, declared, texts }] : []))
  const rows = keys.map((keyTexts, row): StoredRow => {
    const values = stored.map(({ field, column, texts }, place): [string, StoredValue] => {
      const part = key.indexOf(field.name)
      return [column, part >= 0 ? (keyTexts[part] ?? null) : inTurn(texts, row, place)]
    })
    const links = relations.flatMap((relation, place) => {
      const target = relation.columns.length === 0 ? [] : inTurn(relation.keys, row, place)
      return relation.columns.map(({ column }, part): [string, StoredValue] => [column, target[part] ?? null])
    })
    return new Map([...values, ...links])
  })
  return {
    schema: SCHEMA,
    table,
    columns: [
      ...stored.map(({ column, declared }) => ({ name: column, declared })),
      ...relations.flatMap((relation) => relation.columns.map(({ column, declared }) => ({ name: column, declared }))),
    ],
    rows,
  }
}

function inTurn<Value>(values: readonly Value[], row: number, place: number): Value {
  const step = [1, 3, 7, 11][place % 4] ?? 1
  const value = values[(row * step + place * 5) % values.length]
  if (value === undefined) throw new Error('a column needs texts')
  return value
}
