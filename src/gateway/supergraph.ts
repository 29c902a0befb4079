/**
 * The API together with foreign GraphQL services: types of the contract take fields from services, joined by global id. An operation without such a field never
 * comes here. One with such a field is executed by graphql-js over the stitched schema, whose contract part is answered by the same engine, in one run.
 */
import { stitchSchemas } from '@graphql-tools/stitch'
import type { ExecutionRequest } from '@graphql-tools/utils'
import { MapperKind, mapSchema } from '@graphql-tools/utils'
import type { DocumentNode, FieldNode, GraphQLSchema } from 'graphql'
import {
  execute,
  getDirectiveValues,
  getVariableValues,
  GraphQLScalarType,
  isScalarType,
  isSpecifiedScalarType,
  Kind,
  specifiedScalarTypes,
  TypeInfo,
  valueFromASTUntyped,
  visit,
  visitWithTypeInfo,
} from 'graphql'
import type { OwnerDisclosure } from '../audit/record.js'
import { GatewayError, invariant } from '../errors.js'
import type { KeyAccess, KeyRequest } from '../policy/key-access.js'
import type { Catalog } from '../query/catalog.js'
import type { EngineRequest } from './run.js'
import { isIncluded } from './foreign-answer.js'
import type { ForeignSchema, ForeignSource } from './foreign-schema.js'
import { foreignSchema, ForeignServiceError } from './foreign-schema.js'
import type { ForeignTransport } from './foreign-service.js'
import type { RecordKeys } from './key-disclosure.js'
import type { EngineDoor } from './key-travel.js'
import type { Operation } from './operation.js'
import type { EngineOutcome } from './outcome.js'
import { keyLookup } from './stitched-document.js'
import { KEY_NAME, StitchedRun } from './stitched-run.js'

export interface ForeignService extends ForeignSource {
  /** Who runs it: its fields are this organization's. */
  readonly organization: string
  /** Where it is. */
  readonly jurisdiction: string
  readonly transport: ForeignTransport
  /** Keys of one request. */
  readonly keysMax: number
}

export interface SupergraphParts {
  readonly contractSchema: GraphQLSchema
  readonly catalog: Catalog
  readonly services: readonly ForeignService[]
  /** Whether keys of an owner's rows may go to a service; under the policies in force. */
  readonly mayReceiveKey: (request: KeyRequest) => KeyAccess
  readonly recordKeys: RecordKeys
  readonly gatewayJurisdiction: string
  /** Of a configured organization. */
  readonly jurisdictionOf: (organization: string) => string | null
  readonly limits: SupergraphLimits
  /** Why a service failed, where the caller learns a code only. */
  readonly onFailure: (service: string, cause: unknown) => void
}

export interface SupergraphLimits {
  /** Of a whole operation, as the engine has it. */
  readonly deadlineMs: number
  /** Of a whole operation: the engine's run, and the keys that are looked up again for their recipients. */
  readonly cost: number
  /** Ids of one lookup, as the engine has both. */
  readonly pageRows: number
  readonly listValues: number
  /** Bytes of the contract's part of an answer: it is parsed and completed here, which costs far more than passing it on. */
  readonly stitchedBytes: number
}

/** Fields that an operation takes from services: by service and type. */
export interface ForeignUse {
  readonly service: string
  readonly type: string
  readonly field: string
}

export interface Supergraph {
  /** What documents are validated against; the engine binds against it too. */
  readonly schema: GraphQLSchema
  touchesForeign(operation: Operation): boolean
  /** @throws GatewayError every code of a refusal; failures of owners and services are part of the outcome. */
  run(request: EngineRequest, engine: EngineDoor): Promise<EngineOutcome>
  /** The owners that were asked before a run ended with this error here, as the engine has it for its own runs. */
  askedBefore(error: unknown): readonly OwnerDisclosure[]
}

/** @throws ForeignServiceError where a service does not fit the contract, or another service. */
export function supergraph(parts: SupergraphParts): Supergraph {
  const { contractSchema, catalog } = parts
  const services = new Map(parts.services.map((service) => [service.name, { service, foreign: foreignSchema(service, { schema: contractSchema, catalog }) }]))
  const foreigns = [...services.values()].map(({ foreign }) => foreign)
  checkOverlaps(foreigns)
  const executable = stitched(contractSchema, [...services.values()])
  const schema = mapSchema(executable, { [MapperKind.SCALAR_TYPE]: ({ name }) => strictScalar(name, contractSchema) })
  const fieldOwners = new Map(
    foreigns.flatMap(({ name, joins }) => [...joins.values()].flatMap(({ type, fields }) => [...fields].map((field) => [`${type}.${field}`, name]))),
  )
  const scalars = new Map([...specifiedScalarTypes, ...Object.values(contractSchema.getTypeMap()).filter(isScalarType)].map((type) => [type.name, type]))
  const facts = new WeakMap<Operation, OperationFacts>()
  const lookup = keyLookup()
  const askedInVain = new WeakMap<object, readonly OwnerDisclosure[]>()
  const factsOf = (operation: Operation): OperationFacts => {
    const known = facts.get(operation)
    if (known) return known
    const made = operationFacts(operation, schema, fieldOwners)
    facts.set(operation, made)
    return made
  }

  return {
    schema,
    touchesForeign: (operation) => factsOf(operation).uses.length > 0,
    run: async (request, engine) => {
      const { operation } = request
      const { document, reserved, uses } = factsOf(operation)
      if (reserved) throw new GatewayError('BAD_REQUEST', 'an alias begins with two underscores', placeOf(reserved))
      const variables = coercedVariables(request, schema)
      const onUnavailable = getDirectiveValues(sovereigntyOf(schema), operation.definition, variables)?.onUnavailable ?? 'REPORT'
      const run = new StitchedRun({
        ...parts,
        services,
        schema,
        scalars,
        request,
        engine,
        keyLookup: lookup,
        variables,
        uses: uses.filter(({ nodes }) => nodes.some((path) => path.every((node) => isIncluded(node, { variables })))),
        onUnavailable: onUnavailable as 'REPORT' | 'EXCLUDE' | 'FAIL', // checked by the schema's enum
      })
      try {
        const given = (request.variables ?? {}) as Record<string, unknown> // an object: it has been coerced
        const result = await execute({ schema: executable, document, variableValues: given, contextValue: run })
        return run.outcome(result)
      } catch (error) {
        if (typeof error === 'object' && error !== null) askedInVain.set(error, run.askedInVain())
        throw error
      } finally {
        run.end()
      }
    },
    askedBefore: (error) => (typeof error === 'object' && error !== null ? (askedInVain.get(error) ?? []) : []),
  }
}

function sovereigntyOf(schema: GraphQLSchema): NonNullable<ReturnType<GraphQLSchema['getDirective']>> {
  const directive = schema.getDirective('sovereignty')
  invariant(directive, 'the API has the directive `sovereignty`')
  return directive
}

/** As the engine coerces them. @throws GatewayError BAD_USER_INPUT */
function coercedVariables({ operation, variables }: EngineRequest, schema: GraphQLSchema): Readonly<Record<string, unknown>> {
  const given = variables ?? {}
  if (typeof given !== 'object' || Array.isArray(given)) throw new GatewayError('BAD_USER_INPUT', '`variables` is not an object', { argument: 'variables' })
  const { coerced, errors } = getVariableValues(schema, operation.definition.variableDefinitions ?? [], given as Record<string, unknown>, { maxErrors: 5 })
  if (coerced) return coerced
  const locations = errors[0]?.locations
  throw new GatewayError('BAD_USER_INPUT', 'a variable does not fit its type', locations ? { locations } : {})
}

// --- composition -----------------------------------------------------------------------------------------------------------------------------------------------

function checkOverlaps(foreigns: readonly ForeignSchema[]): void {
  const owners = new Map<string, string>()
  for (const { name, schema, joins } of foreigns) {
    const joined = [...joins.values()].flatMap(({ type, fields }) => [...fields].map((field) => `${type}.${field}`))
    const types = Object.values(schema.getTypeMap()).filter(
      (type) => !isScalarType(type) && !type.name.startsWith('__') && type.name !== 'Query' && !joins.has(type.name),
    )
    for (const coordinate of [...joined, ...types.map((type) => type.name)]) {
      const other = owners.get(coordinate)
      if (other !== undefined) throw new ForeignServiceError(name, [`\`${coordinate}\` is the service's \`${other}\` already`])
      owners.set(coordinate, name)
    }
  }
}

/**
 * The schema that is executed. Its scalars pass values on as they are: arguments have been checked against the strict ones, values of owners come from the engine,
 * and those of services are checked where they come in.
 */
function stitched(contractSchema: GraphQLSchema, services: readonly { readonly service: ForeignService; readonly foreign: ForeignSchema }[]): GraphQLSchema {
  return stitchSchemas<StitchedRun>({
    subschemas: [
      {
        name: 'contract',
        schema: lenient(contractSchema),
        executor: (request: ExecutionRequest) => runOf(request).contractField(request),
      },
      ...services.map(({ service, foreign }) => ({
        name: `service ${service.name}`,
        schema: lenient(foreign.schema),
        // The joining fields take keys of anybody's choice, so nobody can reach them but the stitching.
        transforms: [{ transformSchema: (schema: GraphQLSchema) => mapSchema(schema, { [MapperKind.ROOT_FIELD]: () => null }) }],
        executor: (request: ExecutionRequest) => runOf(request).serviceRows(service.name, request),
        merge: Object.fromEntries(
          [...foreign.joins.values()].map(({ type, field, argument }) => [
            type,
            {
              // Under a name that no caller can give to another field: an alias could make any value of the row the key.
              selectionSet: `{ ${KEY_NAME}: id }`,
              fieldName: field,
              key: (row: Readonly<Record<string, unknown>>) => row[KEY_NAME],
              argsFromKeys: (keys: readonly unknown[]) => ({ [argument]: keys }),
              dataLoaderOptions: { maxBatchSize: service.keysMax },
            },
          ]),
        ),
      })),
    ],
    // The contract comes first, and has the word on what both describe.
    typeMergingOptions: {
      typeDescriptionsMerger: ([first]) => first?.type.description,
      fieldConfigMerger: ([first]) => {
        invariant(first, 'a field has a candidate')
        return first.fieldConfig
      },
    },
  })
}

function runOf({ context }: ExecutionRequest): StitchedRun {
  invariant(context instanceof StitchedRun, 'stitched schemas run in their context')
  return context
}

function lenient(schema: GraphQLSchema): GraphQLSchema {
  return mapSchema(schema, {
    [MapperKind.SCALAR_TYPE]: (type) =>
      isSpecifiedScalarType(type)
        ? undefined
        : new GraphQLScalarType({ ...type.toConfig(), serialize: asItIs, parseValue: asItIs, parseLiteral: valueFromASTUntyped }),
  })
}

function asItIs(value: unknown): unknown {
  return value
}

function strictScalar(name: string, contractSchema: GraphQLSchema): GraphQLScalarType | undefined {
  const type = contractSchema.getType(name)
  return isScalarType(type) ? type : undefined
}

// --- operations ------------------------------------------------------------------------------------------------------------------------------------------------

interface OperationFacts {
  readonly document: DocumentNode
  /** `nodes`: for each place, the nodes on the way to it that a condition may leave out, within the operation or fragment that it stands in. */
  readonly uses: readonly (ForeignUse & { readonly nodes: readonly (readonly Pick<FieldNode, 'directives'>[])[] })[]
  /** A field under a name that only GraphQL and we may give. */
  readonly reserved: FieldNode | null
}

function operationFacts({ definition, fragments }: Operation, schema: GraphQLSchema, fieldOwners: ReadonlyMap<string, string>): OperationFacts {
  const document: DocumentNode = { kind: Kind.DOCUMENT, definitions: [definition, ...fragments.values()] }
  const uses = new Map<string, { service: string; type: string; field: string; nodes: Pick<FieldNode, 'directives'>[][] }>()
  let reserved: FieldNode | null = null
  const typeInfo = new TypeInfo(schema)
  visit(
    document,
    visitWithTypeInfo(typeInfo, {
      [Kind.FIELD]: (node, _key, _parent, _path, ancestors) => {
        if (node.alias?.value.startsWith('__') && node.alias.value !== node.name.value) reserved ??= node
        const type = typeInfo.getParentType()?.name ?? ''
        const coordinate = `${type}.${node.name.value}`
        const service = fieldOwners.get(coordinate)
        if (service === undefined) return
        const use = uses.get(coordinate) ?? { service, type, field: node.name.value, nodes: [] }
        uses.set(coordinate, use)
        use.nodes.push([...ancestors.filter((ancestor): ancestor is FieldNode => 'kind' in ancestor && CONDITIONAL.has(ancestor.kind)), node])
      },
    }),
  )
  return { document, uses: [...uses.values()], reserved }
}

const CONDITIONAL: ReadonlySet<string> = new Set([Kind.FIELD, Kind.INLINE_FRAGMENT])

function placeOf({ loc }: FieldNode): { locations?: readonly { line: number; column: number }[] } {
  return loc ? { locations: [{ line: loc.startToken.line, column: loc.startToken.column }] } : {}
}
