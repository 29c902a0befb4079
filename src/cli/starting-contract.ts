/**
 * A contract and its binding from what a database holds. Pure: names are made to be sensible in GraphQL, and whatever they cannot say is said in notes.
 */
import type { ConfiguredField, ConfiguredType } from '../connectors/configured.js'
import { columnNamed, resolveBinding } from '../connectors/postgres/bind-tables.js'
import { naturalScalar } from '../connectors/postgres/column-fit.js'
import type { ColumnDescription, ForeignKeyDescription, StoreDescription, TableDescription } from '../connectors/postgres/describe.js'
import { isUnique } from '../connectors/postgres/finding.js'
import { COMMON_ROOTS, COMMON_TYPES, entityTypeNames, enumTypeNames } from '../gateway/api-schema.js'
import { parseContract } from '../gateway/contract.js'
import type { OrganizationBinding, TypeBinding } from '../query/binding.js'
import type { BuiltinScalar } from '../query/catalog.js'
import { lowerFirst, pluralOf, screamingSnakeCase, singularOf, upperFirst } from '../query/name.js'

export interface StartingContract {
  /** The contract's text. */
  readonly sdl: string
  /** By type; only what does not fit by name. */
  readonly bindings: ReadonlyMap<string, ConfiguredType>
  readonly types: readonly string[]
  /** What was renamed or left out, a sentence each. */
  readonly notes: readonly string[]
}

export interface StartingOptions {
  readonly store: string
  /** Schemas to take, in order; the first is the one that the store's configuration names. */
  readonly schemas: readonly string[]
  /** Key columns of views and of tables without a primary key, by `schema.table`. */
  readonly keys: ReadonlyMap<string, readonly string[]>
}

export function startingContract(description: StoreDescription, options: StartingOptions): StartingContract {
  const notes: string[] = []
  const tables = options.schemas.flatMap((schema) => description.tables.filter((table) => table.schema === schema))
  const keyed = tables.flatMap((table) => keyedTable(table, { keys: options.keys, notes }) ?? [])
  const drafts = withLists(withRelations(withValues(named(keyed, { schemas: options.schemas, notes }), notes), notes))
  const sdl = contractText(drafts)
  return { sdl, bindings: drafts.length === 0 ? new Map() : bindingsOf(drafts, { sdl, description, options }), types: drafts.map(({ name }) => name), notes }
}

interface KeyedTable {
  readonly table: TableDescription
  /** Columns of the key, in order. */
  readonly key: readonly string[]
}

interface NamedTable extends KeyedTable {
  readonly name: string
  readonly singular: string
  readonly plural: string
}

interface Draft extends NamedTable {
  readonly fields: readonly DraftField[]
  /** Lines for the contract about columns that are left out. */
  readonly remarks: readonly string[]
}

type DraftField =
  | {
      readonly kind: 'value'
      readonly name: string
      readonly column: ColumnDescription
      readonly scalar: string
      readonly mapping: EnumMapping | null
    }
  | { readonly kind: 'toOne'; readonly name: string; readonly key: ForeignKeyDescription; readonly target: NamedTable }
  | { readonly kind: 'toMany'; readonly name: string; readonly target: NamedTable; readonly inverse: string }

interface EnumMapping {
  readonly name: string
  /** Stored label → value of the enum, in the order of the labels. */
  readonly values: ReadonlyMap<string, string>
}

// --- keys ------------------------------------------------------------------------------------------------------------------------------------------------------

const KEY_SCALARS: ReadonlySet<string> = new Set<BuiltinScalar>(['String', 'Int', 'BigInt', 'Decimal', 'UUID', 'Date', 'DateTime', 'LocalDateTime'])

/** Null: nothing tells its rows apart, or the role may not read it. */
function keyedTable(table: TableDescription, { keys, notes }: { keys: StartingOptions['keys']; notes: string[] }): KeyedTable | null {
  const place = `${table.schema}.${table.name}`
  const told = keys.get(place)
  const unique = table.keys.find(({ columns }) => columns.every((column) => table.columns.get(column)?.nullable === false))
  const key = told ?? unique?.columns ?? null
  const leaveOut = (reason: string): null => {
    notes.push(`\`${place}\` is left out: ${reason}.`)
    return null
  }
  if (!table.reachable || [...table.columns.values()].every(({ readable }) => !readable)) return leaveOut('this role may not read it')
  if (!key)
    return leaveOut(
      table.kind === 'view' || table.kind === 'materializedView'
        ? 'a view has no key; name its key columns to have it'
        : 'it has neither a primary key nor a unique key without NULL',
    )
  const isKept = table.kind === 'table' || table.kind === 'partitioned' || table.kind === 'foreign'
  const nullable = isKept && key.find((name) => table.columns.get(name)?.nullable)
  if (nullable) return leaveOut(`its key column \`${nullable}\` can hold NULL`)
  const unfit = key.find((name) => !isKeyColumn(table.columns.get(name)))
  return unfit === undefined
    ? { table, key }
    : leaveOut(`its key column \`${unfit}\` ${table.columns.has(unfit) ? 'has a type that cannot be a key, or may not be read' : 'does not exist'}`)
}

function isKeyColumn(column: ColumnDescription | undefined): boolean {
  return column !== undefined && column.readable && !column.array && !column.labels && KEY_SCALARS.has(naturalScalar(column) ?? '')
}

// --- names -----------------------------------------------------------------------------------------------------------------------------------------------------

/** Words of a name of any database, in ASCII and lower case: `InvoiceLine`, `invoice_line` and `invoice line` are two words. */
function wordsOf(name: string): readonly string[] {
  const plain = name
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .replaceAll('ß', 'ss')
    .replaceAll(/[øØ]/g, 'o')
    .replaceAll(/[æÆ]/g, 'ae')
    .replaceAll(/[łŁ]/g, 'l')
  return plain.match(/[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+/g)?.map((word) => word.toLowerCase()) ?? []
}

/** `fallback` where no letter of the name can stand in GraphQL. */
function camelCase(name: string, fallback: string): string {
  const words = wordsOf(name)
  const joined = words.map((word, index) => (index === 0 ? word : upperFirst(word))).join('')
  if (joined === '') return fallback
  return /^[0-9]/.test(joined) ? `_${joined}` : joined
}

/** The first of these that is free, else the first with a number. */
function freeName(candidates: readonly string[], isFree: (name: string) => boolean): string {
  const found = candidates.find(isFree)
  if (found !== undefined) return found
  const [stem = '_'] = candidates
  let number = 2
  while (!isFree(`${stem}_${number}`)) number += 1
  return `${stem}_${number}`
}

function isReserved(name: string): boolean {
  return name.startsWith('__') || name === 'prototype' || name in Object.prototype
}

function named(tables: readonly KeyedTable[], { schemas, notes }: { schemas: readonly string[]; notes: string[] }): readonly NamedTable[] {
  const types = new Set(COMMON_TYPES)
  const roots = new Set(COMMON_ROOTS)
  // Enums keep their names: a table's name gives way.
  return tables.map((keyed) => {
    const { schema, name: tableName } = keyed.table
    const stem = singularOf(camelCase(tableName, 'table'))
    const inSchema = camelCase(`${schema}_${stem}`, 'table')
    const isFreeType = (name: string) => !isReserved(name) && entityTypeNames(name).every((each) => !types.has(each))
    const name = freeName(
      schema === schemas[0] ? [upperFirst(stem), `${upperFirst(stem)}Record`] : [upperFirst(stem), upperFirst(inSchema), `${upperFirst(stem)}Record`],
      isFreeType,
    )
    for (const each of entityTypeNames(name)) types.add(each)
    const isFreeRoot = (root: string) => !isReserved(root) && [root, pluralOf(root), `${pluralOf(root)}Aggregate`].every((each) => !roots.has(each))
    const singular = freeName([stem, lowerFirst(name)], isFreeRoot)
    const plural = pluralOf(singular)
    for (const each of [singular, plural, `${plural}Aggregate`]) roots.add(each)
    if (name !== upperFirst(stem)) notes.push(`\`${schema}.${tableName}\` is called \`${name}\`, since the name \`${upperFirst(stem)}\` is taken.`)
    return { ...keyed, name, singular, plural }
  })
}

/** Names of the fields of one type. Two that are one in capitals cannot stand beside each other in `groupBy`. */
class FieldNames {
  private readonly taken = new Set(['ID', 'ORGANIZATION', 'AND', 'OR', 'NOT'])

  take(candidates: readonly string[]): string {
    const name = freeName(candidates, (each) => !isReserved(each) && !this.taken.has(screamingSnakeCase(each)))
    this.taken.add(screamingSnakeCase(name))
    return name
  }

  /** A list also takes the name of its aggregate. */
  takeList(candidates: readonly string[]): string {
    const name = freeName(candidates, (each) => !isReserved(each) && [each, `${each}Aggregate`].every((one) => !this.taken.has(screamingSnakeCase(one))))
    for (const one of [name, `${name}Aggregate`]) this.taken.add(screamingSnakeCase(one))
    return name
  }
}

// --- values ----------------------------------------------------------------------------------------------------------------------------------------------------

interface NamedDraft extends Draft {
  readonly names: FieldNames
}

function withValues(tables: readonly NamedTable[], notes: string[]): readonly NamedDraft[] {
  const enums = new EnumNames(tables.map(({ name }) => name))
  return tables.map((table) => {
    const names = new FieldNames()
    const remarks: string[] = []
    const relational = new Set(table.table.foreignKeys.flatMap((key) => (referredTable(key, tables) && key.columns.length === 1 ? key.columns : [])))
    // Keys choose their names first.
    const columns = [
      ...table.key.flatMap((name) => table.table.columns.get(name) ?? []),
      ...[...table.table.columns.values()].filter(({ name }) => !table.key.includes(name)),
    ]
    const fields = columns.flatMap((column): DraftField[] => {
      const isKey = table.key.includes(column.name)
      if (!isKey && relational.has(column.name)) return []
      const type = columnType(column, enums)
      const place = `\`${table.name}\`: the column \`${column.name}\``
      if (!type || !column.readable) {
        remarks.push(`left out: ${oneLine(column.name)} (${oneLine(column.declared)})`)
        notes.push(`${place} of type \`${column.declared}\` is left out: ${column.readable ? 'no scalar holds it' : 'this role may not read it'}.`)
        return []
      }
      const plain = camelCase(column.name, 'column')
      const name = plain === 'id' ? names.take(['key', 'keyValue']) : names.take([plain, `${plain}Value`])
      if (name !== plain && !(plain === 'id' && name === 'key')) notes.push(`${place} is called \`${name}\`, since \`${plain}\` is taken or reserved.`)
      const isId = isKey && name === 'key' && ['String', 'Int', 'BigInt', 'UUID'].includes(type.scalar)
      return [{ kind: 'value', name, column, scalar: isId ? 'ID' : type.scalar, mapping: type.mapping }]
    })
    return { ...table, fields, remarks, names }
  })
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ')
}

/** Null: no scalar holds it. */
function columnType(column: ColumnDescription, enums: EnumNames): { readonly scalar: string; readonly mapping: EnumMapping | null } | null {
  if (column.labels && column.labels.length > 0) {
    const mapping = enums.mappingOf(column.native, column.labels)
    const isPlain = [...mapping.values].every(([label, value]) => label === value)
    // A list has no mapping of values: its elements stay texts.
    if (isPlain || !column.array) return { scalar: mapping.name, mapping }
  }
  const scalar = naturalScalar(column)
  return scalar && { scalar, mapping: null }
}

class EnumNames {
  private readonly taken: Set<string>
  private readonly known = new Map<string, EnumMapping>()

  constructor(types: readonly string[]) {
    this.taken = new Set([...COMMON_TYPES, ...types.flatMap(entityTypeNames)])
  }

  mappingOf(native: string, labels: readonly string[]): EnumMapping {
    const found = this.known.get(native)
    if (found) return found
    const local = /(?:^|\.)"?((?:[^".]|"")+)"?$/.exec(native)?.[1] ?? native
    const stem = upperFirst(camelCase(local.replaceAll('""', '"'), 'Enum'))
    const name = freeName([stem, `${stem}Enum`], (each) => !isReserved(each) && enumTypeNames(each).every((one) => !this.taken.has(one)))
    for (const each of enumTypeNames(name)) this.taken.add(each)
    const mapping = { name, values: enumValues(labels) }
    this.known.set(native, mapping)
    return mapping
  }
}

/** Labels as they are where all of them can stand in GraphQL, else in capitals. */
function enumValues(labels: readonly string[]): ReadonlyMap<string, string> {
  const isValue = (label: string) => /^[_A-Za-z][_0-9A-Za-z]*$/.test(label) && !isReserved(label) && !['true', 'false', 'null'].includes(label)
  if (labels.every(isValue)) return new Map(labels.map((label) => [label, label]))
  const taken = new Set<string>()
  return new Map(
    labels.map((label) => {
      const name = freeName([capitals(label)], (each) => !taken.has(each))
      taken.add(name)
      return [label, name]
    }),
  )
}

function capitals(label: string): string {
  const joined = wordsOf(label).join('_').toUpperCase()
  if (joined === '') return label === '' ? 'EMPTY' : 'VALUE'
  return /^[0-9]/.test(joined) ? `_${joined}` : joined
}

// --- relations -------------------------------------------------------------------------------------------------------------------------------------------------

/** The table that a foreign key refers to by its key; null where it is none of these, or is referred to by other columns. */
function referredTable(key: ForeignKeyDescription, tables: readonly NamedTable[]): NamedTable | null {
  const target = tables.find(({ table }) => table.schema === key.schema && table.name === key.table)
  const isByKey = target?.key.length === key.targetColumns.length && target.key.every((column) => key.targetColumns.includes(column))
  return isByKey ? target : null
}

function withRelations(drafts: readonly NamedDraft[], notes: string[]): readonly NamedDraft[] {
  return drafts.map((draft) => {
    const order = [...draft.table.columns.keys()]
    const place = ({ columns: [first = ''] }: ForeignKeyDescription) => order.indexOf(first)
    const keys = [...draft.table.foreignKeys].sort((a, b) => place(a) - place(b))
    const relations = keys.flatMap((key): DraftField[] => {
      const target = referredTable(key, drafts)
      if (!target) return reportForeign(draft, key, notes)
      if (key.columns.some((column) => draft.table.columns.get(column)?.readable === false)) return []
      const stems = key.columns.length === 1 ? key.columns.map(relationStem) : []
      const names = [...stems, ...stems.map((stem) => `${stem}Ref`), target.singular, `${target.singular}Ref`].filter((stem) => stem !== '' && stem !== 'Ref')
      const name = draft.names.take(names)
      return [{ kind: 'toOne', name, key, target }]
    })
    return { ...draft, fields: [...draft.fields, ...relations] }
  })
}

function reportForeign(draft: NamedDraft, key: ForeignKeyDescription, notes: string[]): DraftField[] {
  notes.push(
    `\`${draft.name}\`: the foreign key \`${key.name}\` is no relation: \`${key.schema}.${key.table}\` is left out, or is referred to by other columns than its key.`,
  )
  return []
}

/** `customer_id` gives `customer`, `reports_to` gives `reportsTo`; empty where nothing would be left. */
function relationStem(column: string): string {
  const name = camelCase(column, '')
  return name.replace(/(^|[a-z0-9])(Id|Key|Fk|Uuid)$/, '$1').replace(/^(id|key|fk|uuid)$/, '')
}

function withLists(drafts: readonly NamedDraft[]): readonly Draft[] {
  const lists = drafts.flatMap((source) => {
    const relations = source.fields.filter((field) => field.kind === 'toOne')
    return relations.map(({ name, target }) => {
      const isOnly = relations.filter((other) => other.target.name === target.name).length === 1 && target.name !== source.name
      const plain = lowerFirst(pluralOf(source.name))
      const precise = `${plain}By${upperFirst(name)}`
      return { owner: target.name, source, inverse: name, candidates: isOnly ? [plain, precise] : [precise] }
    })
  })
  return drafts.map((draft) => {
    const own = lists.filter(({ owner }) => owner === draft.name)
    const fields = own.map(({ source, inverse, candidates }): DraftField => ({
      kind: 'toMany',
      name: draft.names.takeList(candidates),
      target: source,
      inverse,
    }))
    return { ...draft, fields: [...draft.fields, ...fields] }
  })
}

// --- text ------------------------------------------------------------------------------------------------------------------------------------------------------

function contractText(drafts: readonly Draft[]): string {
  const mappings = drafts.flatMap(({ fields }) => fields.flatMap((field) => (field.kind === 'value' && field.mapping ? [field.mapping] : [])))
  const enums = [...new Map(mappings.map((mapping) => [mapping.name, mapping])).values()]
  const head = [
    '# Written by `concordat introspect`, to be edited: names are yours to choose, and what is not to be shared can go.',
    '# Only keys have `!` here: a field with `!` is given, or masked, by everybody who grants the type.',
  ]
  return [head.join('\n'), ...drafts.map(typeText), ...enums.map(enumText)].join('\n\n') + '\n'
}

function typeText(draft: Draft): string {
  const keys = draft.key.flatMap((column) => draft.fields.find((field) => field.kind === 'value' && field.column.name === column)?.name ?? [])
  const settings = [
    ...(keys.length === 1 && keys[0] === 'key' ? [] : [`key: [${keys.map((key) => JSON.stringify(key)).join(', ')}]`]),
    ...(draft.singular === lowerFirst(draft.name) ? [] : [`name: ${JSON.stringify(draft.singular)}`]),
  ]
  const directive = settings.length === 0 ? '@entity' : `@entity(${settings.join(', ')})`
  const lines = [...draft.fields.flatMap((field) => fieldLines(field, keys)), ...draft.remarks.map((remark) => `# ${remark}`)]
  return `${descriptionText(draft.table.comment, '')}type ${draft.name} ${directive} {\n${lines.map((line) => `  ${line}\n`).join('')}}`
}

function fieldLines(field: DraftField, keys: readonly string[]): readonly string[] {
  switch (field.kind) {
    case 'value': {
      const type = field.column.array ? `[${field.scalar}!]` : field.scalar
      return [...descriptionLines(field.column.comment), `${field.name}: ${type}${keys.includes(field.name) ? '!' : ''}`]
    }
    case 'toOne':
      return [`${field.name}: ${field.target.name}`]
    case 'toMany':
      return [`${field.name}: [${field.target.name}!] @inverse(of: ${JSON.stringify(field.inverse)})`]
  }
}

function enumText({ name, values }: EnumMapping): string {
  return `enum ${name} {\n${[...values.values()].map((value) => `  ${value}\n`).join('')}}`
}

function descriptionLines(comment: string | null): readonly string[] {
  return comment === null || comment.trim() === '' ? [] : [JSON.stringify(comment.trim())]
}

function descriptionText(comment: string | null, indent: string): string {
  return descriptionLines(comment)
    .map((line) => `${indent}${line}\n`)
    .join('')
}

// --- bindings --------------------------------------------------------------------------------------------------------------------------------------------------

interface BindingContext {
  readonly sdl: string
  readonly description: StoreDescription
  readonly options: StartingOptions
}

/** Says only what the conventions would not find by themselves. */
function bindingsOf(drafts: readonly Draft[], context: BindingContext): ReadonlyMap<string, ConfiguredType> {
  const values = configuredTypes(drafts, { context, isSaid: (draft, field) => field.kind === 'value' && !valueFitsByName(field, draft.table) })
  // Which relations fit by name depends on the columns of the keys that they lead to.
  const found = resolved(values, context)
  const isSaid = (draft: Draft, field: BoundField) =>
    field.kind === 'value' ? !valueFitsByName(field, draft.table) : !relationFits(field, found.types.get(draft.name))
  const complete = configuredTypes(drafts, { context, isSaid })
  const byName = resolved(new Map([...complete].map(([type, settings]) => [type, withoutTable(settings)])), context)
  return new Map(
    drafts.flatMap(({ name, table }): [string, ConfiguredType][] => {
      const settings = complete.get(name)
      const alone = byName.types.get(name)
      const isFound = alone?.kind === 'table' && alone.schema === table.schema && alone.table === table.name
      if (settings?.kind !== 'table' || (isFound && settings.fields.size === 0 && !settings.uniqueKey)) return []
      return [[name, isFound ? withoutTable(settings) : settings]]
    }),
  )
}

type BoundField = Exclude<DraftField, { kind: 'toMany' }>

function configuredTypes(
  drafts: readonly Draft[],
  { context, isSaid }: { context: BindingContext; isSaid: (draft: Draft, field: BoundField) => boolean },
): ReadonlyMap<string, ConfiguredType> {
  return new Map(
    drafts.map((draft) => {
      const said = draft.fields.filter((field) => field.kind !== 'toMany').filter((field) => isSaid(draft, field))
      const table = { store: context.options.store, schema: draft.table.schema, table: draft.table.name }
      const fields = new Map(said.map((field) => [field.name, configuredField(field)]))
      return [draft.name, { kind: 'table', table, fields, ...(!isUnique(draft.table, draft.key) && { uniqueKey: true }) }]
    }),
  )
}

function withoutTable(settings: ConfiguredType): ConfiguredType {
  return settings.kind === 'none' ? settings : { ...settings, table: null }
}

function resolved(configured: ReadonlyMap<string, ConfiguredType>, { sdl, description, options }: BindingContext): OrganizationBinding {
  const [schema = 'public'] = options.schemas
  const catalog = parseContract([{ name: 'contract.graphql', text: sdl }])
  return resolveBinding({ catalog, organization: 'draft', configured, stores: new Map([[options.store, { schema, description }]]) }).binding
}

function valueFitsByName(field: Extract<DraftField, { kind: 'value' }>, table: TableDescription): boolean {
  return columnNamed(field.name, table)?.name === field.column.name && isPlain(field.mapping)
}

function relationFits(field: Extract<DraftField, { kind: 'toOne' }>, binding: TypeBinding | undefined): boolean {
  const found = binding?.kind === 'table' ? binding.relations.get(field.name)?.columns : undefined
  const meant = relationColumns(field)
  return found?.length === meant.length && found.every(({ column }, index) => column === meant[index])
}

function isPlain(mapping: EnumMapping | null): boolean {
  return mapping === null || [...mapping.values].every(([label, value]) => label === value)
}

/** In the order of the target's key. */
function relationColumns({ key, target }: Extract<DraftField, { kind: 'toOne' }>): readonly string[] {
  return target.key.flatMap((column) => key.columns[key.targetColumns.indexOf(column)] ?? [])
}

function configuredField(field: BoundField): ConfiguredField {
  if (field.kind === 'toOne') return { kind: 'column', columns: relationColumns(field), values: null, multiply: null }
  return { kind: 'column', columns: [field.column.name], values: isPlain(field.mapping) ? null : (field.mapping?.values ?? null), multiply: null }
}
