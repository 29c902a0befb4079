/**
 * The demo's rows, as the contract means them and before any organization's tables: a platform for AI agents at three organizations. Pure and deterministic: the
 * same organization and scale always give the same rows, on every machine and day. All times lie before `PLATFORM_NOW`.
 */
import { featureHash } from './feature-hashing.js'

export const DEMO_ORGANIZATIONS = ['aurora', 'borealis', 'cascade'] as const
export type DemoOrganization = (typeof DEMO_ORGANIZATIONS)[number]

/** Changes when the rows do, so that a demo that was filled by an earlier version is filled again. */
export const PLATFORM_DATA_VERSION = 2

/** The end of the recorded time, in microseconds since 1970: 2026-03-03T00:00:00Z. */
export const PLATFORM_NOW = Date.UTC(2026, 2, 3) * 1_000

export type AgentStatus = 'ACTIVE' | 'PAUSED' | 'ARCHIVED'
export type ExecutionStatus = 'QUEUED' | 'RUNNING' | 'SUCCEEDED' | 'FAILED' | 'CANCELLED'

/** Rows are numbered from 0 within their table; relations are such numbers. Times are microseconds since 1970, exact up to 2^53. */
export interface UserRow {
  readonly number: number
  readonly name: string
  readonly email: string | null
  readonly team: string | null
  readonly createdAt: number
}

export interface AgentRow {
  readonly number: number
  readonly name: string
  readonly status: AgentStatus
  readonly description: string | null
  readonly tags: readonly string[] | null
  readonly configuration: object | null
  /** In hundredths. */
  readonly monthlyBudgetCents: number | null
  readonly maxConcurrency: number | null
  readonly createdAt: number
  readonly updatedAt: number | null
  readonly owner: number | null
  /** Of name, description and tags; null where it was never made. */
  readonly embedding: readonly number[] | null
}

export interface WorkflowRow {
  readonly number: number
  readonly name: string
  readonly version: number
  readonly definition: object | null
  readonly owner: number | null
}

export interface ExecutionRow {
  readonly number: number
  readonly status: ExecutionStatus
  readonly startedAt: number
  readonly endedAt: number | null
  readonly error: string | null
  readonly workflow: number | null
  readonly agent: number | null
}

export interface MetricRow {
  readonly number: number
  readonly status: ExecutionStatus
  readonly startedAt: number
  readonly endedAt: number | null
  readonly error: string | null
  readonly metadata: object | null
  readonly cpuUsage: number | null
  /** Bytes, as decimal text: some exceed what a JavaScript number holds. */
  readonly memoryUsage: string | null
  readonly inputSize: string | null
  readonly outputSize: string | null
  readonly createdAt: number
  readonly updatedAt: number | null
  readonly agent: number | null
  readonly execution: number | null
}

export interface SettingRow {
  readonly number: number
  readonly name: string
  readonly value: unknown
  readonly description: string | null
  readonly updatedAt: number | null
}

export interface PlatformCounts {
  readonly users: number
  readonly agents: number
  readonly workflows: number
  readonly executions: number
}

export interface PlatformData {
  readonly counts: PlatformCounts
  users(): Iterable<UserRow>
  agents(): Iterable<AgentRow>
  workflows(): Iterable<WorkflowRow>
  /** In the order of their start. */
  executions(): Iterable<ExecutionRow>
  /** One for each execution. */
  metrics(): Iterable<MetricRow>
  settings(): Iterable<SettingRow>
}

/**
 * @param scale 1 gives each organization 10,000 agents, 2,000 workflows and 300,000 executions; smaller scales have a floor that still shows every case.
 */
export function platformData(organization: DemoOrganization, scale: number): PlatformData {
  const counts = {
    users: Math.max(12, Math.round(400 * scale)),
    agents: Math.max(40, Math.round(10_000 * scale)),
    workflows: Math.max(12, Math.round(2_000 * scale)),
    executions: Math.max(600, Math.round(300_000 * scale)),
  }
  const world = new World(organization, counts)
  return {
    counts,
    users: () => world.rows(counts.users, (number) => world.user(number)),
    agents: () => world.rows(counts.agents, (number) => world.agent(number)),
    workflows: () => world.rows(counts.workflows, (number) => world.workflow(number)),
    executions: () => world.rows(counts.executions, (number) => world.execution(number)),
    metrics: () => world.rows(counts.executions, (number) => world.metric(number)),
    settings: () => world.settings(),
  }
}

/** An RFC 3339 text in UTC with all six digits of the microseconds. */
export function timeText(microseconds: number): string {
  const second = Math.floor(microseconds / 1_000_000)
  const fraction = String(microseconds - second * 1_000_000).padStart(6, '0')
  return `${new Date(second * 1_000).toISOString().slice(0, 19)}.${fraction}Z`
}

const SECOND = 1_000_000
const DAY = 86_400 * SECOND
/** Executions are recorded over this span, up to now. */
const RECORDED = 90 * DAY
/** Only what started this recently may still be waiting or running. */
const RECENT = 2 * DAY

/** Each row has a generator of its own, so that a row does not depend on how many there are before it. */
class World {
  constructor(
    private readonly organization: DemoOrganization,
    private readonly counts: PlatformCounts,
  ) {}

  *rows<Row>(count: number, rowAt: (number: number) => Row): Iterable<Row> {
    for (let number = 0; number < count; number += 1) yield rowAt(number)
  }

  user(number: number): UserRow {
    const random = this.random('user', number)
    const { given, family, domain } = PEOPLE[this.organization]
    const first = at(given, number)
    const last = at(family, Math.floor(number / given.length) * 5 + number)
    const address = `${plain(first)}.${plain(last)}${number < given.length * 2 ? '' : number}@${domain}`
    return {
      number,
      name: `${first} ${last}`,
      email: random.chance(0.08) ? null : address,
      team: number % 11 === 10 ? null : at(TEAMS, number),
      createdAt: PLATFORM_NOW - 900 * DAY + Math.floor(random.next() * 700 * DAY),
    }
  }

  agent(number: number): AgentRow {
    const random = this.random('agent', number)
    const name = this.agentName(number, random)
    const createdAt = PLATFORM_NOW - Math.floor((100 + random.next() * 300) * DAY)
    const status = number % 10 === 7 ? 'ARCHIVED' : random.chance(0.15) ? 'PAUSED' : 'ACTIVE'
    const description = number % 9 === 8 ? null : `${random.of(PURPOSES)} ${random.of(CONDITIONS)}`
    const tags = number % 17 === 16 ? null : random.some(TAGS, 3)
    return {
      number,
      name,
      status,
      description,
      tags,
      configuration: number % 19 === 18 ? null : this.configuration(random),
      monthlyBudgetCents: random.chance(0.1) ? null : (1 + random.below(80)) * 12_500 + (random.chance(0.3) ? random.below(10_000) : 0),
      maxConcurrency: random.chance(0.1) ? null : random.of([1, 1, 2, 2, 4, 8, 16, 32]),
      createdAt,
      updatedAt: random.chance(0.2) ? null : createdAt + Math.floor(random.next() * 90 * DAY),
      owner: number % 23 === 22 ? null : random.below(this.counts.users),
      embedding: number % 13 === 12 ? null : featureHash([name, description ?? '', ...(tags ?? [])].join(' ')),
    }
  }

  workflow(number: number): WorkflowRow {
    const random = this.random('workflow', number)
    const titles = WORKFLOWS[this.organization]
    const place = number < titles.length ? '' : ` ${random.of(PLACES)}`
    return {
      number,
      name: `${at(titles, number)}${place}`,
      version: 1 + random.below(9),
      definition: random.chance(0.04)
        ? null
        : { trigger: random.of(TRIGGERS), steps: random.some(STEPS, 5).map((step, index) => ({ step, order: index + 1 })) },
      owner: random.chance(0.05) ? null : random.below(this.counts.users),
    }
  }

  execution(number: number): ExecutionRow {
    const random = this.random('execution', number)
    const startedAt = Math.floor(PLATFORM_NOW - RECORDED + ((number + random.next()) / this.counts.executions) * RECORDED)
    const status = this.executionStatus(number, startedAt, random)
    // Most runs take seconds, some take hours; none ends in the future.
    const seconds = Math.exp(random.next() * 3 + random.next() * 3 + random.next() * 2)
    const endedAt = Math.min(startedAt + Math.floor(seconds * SECOND), PLATFORM_NOW)
    return {
      number,
      status,
      startedAt,
      endedAt: status === 'QUEUED' || status === 'RUNNING' ? null : endedAt,
      error: status === 'FAILED' && !random.chance(0.03) ? this.errorText(random) : null,
      workflow: random.chance(0.02) ? null : random.below(this.counts.workflows),
      agent: random.chance(0.01) ? null : this.busyAgent(random),
    }
  }

  metric(number: number): MetricRow {
    const execution = this.execution(number)
    const random = this.random('metric', number)
    const failed = execution.status === 'FAILED'
    return {
      number,
      status: execution.status,
      startedAt: execution.startedAt,
      endedAt: execution.endedAt,
      error: execution.error,
      metadata: random.chance(0.05)
        ? null
        : {
            model: random.of(MODELS),
            region: random.of(REGIONS[this.organization]),
            attempt: failed ? 1 + random.below(3) : 1,
            tokens: { prompt: 200 + random.below(8_000), completion: 20 + random.below(2_000) },
          },
      cpuUsage: random.chance(0.02) ? null : Math.round(random.next() * random.next() * 40_000) / 10_000,
      memoryUsage: random.chance(0.02) ? null : String((64 + random.below(4_000)) * 1_048_576),
      inputSize: String(random.below(2_000_000)),
      // The archive job of the first of each 500 runs: more bytes than a JavaScript number can count.
      outputSize: number % 500 === 7 ? '9007199254740993' : String(random.below(20_000_000)),
      createdAt: execution.startedAt,
      updatedAt: execution.endedAt,
      agent: execution.agent,
      execution: number % 97 === 96 ? null : number,
    }
  }

  *settings(): Iterable<SettingRow> {
    for (const [number, [name, value, description]] of SETTINGS.entries()) {
      const random = this.random('setting', number)
      const updatedAt = random.chance(0.25) ? null : PLATFORM_NOW - Math.floor(random.next() * 200 * DAY)
      yield { number, name, value: name === 'platform.region' ? REGIONS[this.organization][0] : value, description, updatedAt }
    }
  }

  private agentName(number: number, random: Random): string {
    const { first, subjects } = AGENTS[this.organization]
    const known = first[number]
    if (known !== undefined) return known
    const name = `${random.of(subjects)} ${random.of(JOBS)}`
    return number < 200 ? name : `${name} ${random.of(PLACES)}`
  }

  private configuration(random: Random): object {
    return {
      model: random.of(MODELS),
      temperature: random.below(11) / 10,
      tools: random.some(TOOLS, 3),
      limits: { tokens: random.of([4_096, 8_192, 32_768]), seconds: random.of([30, 60, 300]) },
    }
  }

  private executionStatus(number: number, startedAt: number, random: Random): ExecutionStatus {
    const draw = random.next()
    const left = this.counts.executions - number
    if (left <= 4) return left <= 2 ? 'QUEUED' : 'RUNNING'
    if (startedAt > PLATFORM_NOW - RECENT && draw < 0.4) return draw < 0.15 ? 'QUEUED' : 'RUNNING'
    return draw < 0.09 ? 'FAILED' : draw < 0.13 ? 'CANCELLED' : 'SUCCEEDED'
  }

  /** A few agents do most of the work, and every thirteenth has never run. */
  private busyAgent(random: Random): number {
    const draw = random.next()
    const number = Math.floor(draw * draw * this.counts.agents)
    return number % 13 === 12 ? number - 1 : number
  }

  private errorText(random: Random): string {
    const error = random.of(ERRORS)
    return error.replace('#', String(1 + random.below(900)))
  }

  private random(table: string, number: number): Random {
    return new Random(seedOf(`${this.organization}/${table}`), number)
  }
}

/** Mulberry32: small, well spread, and exact in 32-bit arithmetic. Not for secrets. */
class Random {
  private state: number

  constructor(seed: number, stream: number) {
    this.state = (seed ^ Math.imul(stream + 1, 0x9e3779b1)) >>> 0
    this.next()
  }

  /** From 0 inclusive to 1 exclusive. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  of<T>(values: readonly T[]): T {
    return at(values, this.below(values.length))
  }

  /** One to `most` different values, in the order of the list. */
  some<T>(values: readonly T[], most: number): readonly T[] {
    const chosen = new Set(Array.from({ length: 1 + this.below(most) }, () => this.of(values)))
    return values.filter((value) => chosen.has(value))
  }
}

/** FNV-1a of the text's UTF-16 units. */
function seedOf(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return hash >>> 0
}

/** The value at `index`, going round. */
function at<T>(values: readonly T[], index: number): T {
  const value = values[index % values.length]
  if (value === undefined) throw new Error('invariant: a list of the demo is empty')
  return value
}

function plain(name: string): string {
  return name
    .normalize('NFD')
    .replaceAll(/[^A-Za-z]/g, '')
    .toLowerCase()
}

const TEAMS = ['operations', 'research', 'finance', 'support'] as const

const PEOPLE: Readonly<Record<DemoOrganization, { readonly given: readonly string[]; readonly family: readonly string[]; readonly domain: string }>> = {
  aurora: {
    given: ['Ana', 'Jonas', 'Lea', 'Emre', 'Clara', 'Mateusz', 'Sophie', 'Björn', 'Aylin', 'Karl', 'Mia', 'Jürgen', 'Hanna', 'Luca', 'Marie', 'Piotr'],
    family: ['Weber', 'Krüger', 'Yılmaz', 'Schäfer', 'Nowak', 'Hoffmann', "D'Angelo", 'Vogel', 'Brandt', 'Großmann', 'Lang', 'Petrović', 'Roth'],
    domain: 'aurora.example',
  },
  borealis: {
    given: ['Noah', 'Émilie', 'Liam', 'Olivia', 'Étienne', 'Ava', 'Lucas', 'Chloé', 'Ethan', 'Zoé', 'Mason', 'Amélie', 'Owen', 'Jade', 'Xin', 'Priya'],
    family: ['Tremblay', 'Gagnon', "O'Connor", 'Roy', 'Singh', 'Bouchard', 'Macdonald', 'Côté', 'Nguyen', 'Pelletier', 'Wong', 'Campbell', 'Lévesque'],
    domain: 'borealis.example',
  },
  cascade: {
    given: ['Maya', 'Caleb', 'Ruth', 'Diego', 'Grace', 'Tyrone', 'Hazel', 'José', 'Naomi', 'Wyatt', 'Keisha', 'Soren', 'Ivy', 'Malik', 'Elena', 'Hiro'],
    family: ['Johnson', 'Ramírez', 'Nakamura', 'Whitfield', "O'Brien", 'Okafor', 'Larsen', 'Kealoha', 'Reyes', 'Sullivan', 'Begay', 'Hughes', 'Castillo'],
    domain: 'cascade.example',
  },
}

/** The first agents are the same at every scale, and hold what names can hold: quotes, accents, signs beyond 16 bits, equal names at several owners. */
const AGENTS: Readonly<Record<DemoOrganization, { readonly first: readonly string[]; readonly subjects: readonly string[] }>> = {
  aurora: {
    first: [
      'Receipt sorter',
      'Night watch',
      'Invoice reader',
      `Spare part "finder"`,
      `O'Hara's welding planner`,
      'Greifarm-Prüfer 🤖',
      'Ångström calibrator',
      '100% uptime_guard',
    ],
    subjects: ['Gripper', 'Torque', 'Line 4', 'Conveyor', 'Spare part', 'Maintenance', 'Firmware', 'Shift', 'Weld seam', 'Supplier', 'Paint shop', 'Warranty'],
  },
  borealis: {
    first: [
      'Invoice reader',
      'Ledger reconciler',
      'Receipt sorter',
      `Fraud "hunch" checker`,
      `L'assistant des prêts`,
      'Fee 💸 explainer',
      'Mortgage intake',
      '50%_rule tester',
    ],
    subjects: ['Mortgage', 'Card', 'Wire transfer', 'Account', 'Fraud', 'Statement', 'Pension', 'Tax', 'Branch', 'Credit', 'Audit', 'Claims'],
  },
  cascade: {
    first: [
      'Route planner',
      'Night watch',
      'Customs "express" clerk',
      `Driver's rest keeper`,
      'Cold chain 🧊 monitor',
      'Señal de puerto',
      'Invoice reader',
      'Back\\slash labeler',
    ],
    subjects: ['Route', 'Container', 'Customs', 'Dock', 'Fleet', 'Fuel', 'Parcel', 'Warehouse', 'Pallet', 'Driver', 'Port', 'Cold chain'],
  },
}

const JOBS = [
  'planner',
  'reader',
  'sorter',
  'monitor',
  'clerk',
  'checker',
  'forecaster',
  'dispatcher',
  'summarizer',
  'translator',
  'auditor',
  'scheduler',
] as const
const PLACES = ['North', 'South', 'East', 'West', 'Harbour', 'Airport', 'Depot 3', 'Depot 7', 'Head office', 'Night shift', 'Pilot', 'Backup'] as const
const PURPOSES = [
  'Reads incoming documents and files them',
  'Watches a queue and wakes somebody up',
  'Answers questions of colleagues',
  'Compares two lists and reports what differs',
  'Plans the next day',
  'Drafts replies',
  'Looks for unusual amounts',
  'Keeps a register up to date',
] as const
const CONDITIONS = [
  'every quarter of an hour.',
  'on weekdays.',
  'when asked.',
  'until a person takes over.',
  'for one site.',
  'in three languages.',
  'with a second pair of eyes.',
] as const
const TAGS = ['beta', 'critical', 'customer-facing', 'internal', 'nightly', 'pilot', 'regulated', 'überwacht'] as const
const MODELS = ['small', 'medium', 'large', 'vision'] as const
const TOOLS = ['calendar', 'documents', 'mail', 'search', 'sql', 'tickets'] as const
const TRIGGERS = ['schedule', 'event', 'manual', 'webhook'] as const
const STEPS = ['collect', 'classify', 'extract', 'compare', 'approve', 'notify', 'archive'] as const
const REGIONS: Readonly<Record<DemoOrganization, readonly string[]>> = {
  aurora: ['eu-central-1', 'eu-west-3'],
  borealis: ['ca-central-1', 'ca-west-1'],
  cascade: ['us-west-2', 'us-east-2'],
}

const WORKFLOWS: Readonly<Record<DemoOrganization, readonly string[]>> = {
  aurora: [
    'Order intake',
    'Incoming inspection',
    'Shift handover',
    'Warranty case',
    'Spare part order',
    'Safety round',
    'Supplier rating',
    'Monthly closing',
    'Firmware rollout',
  ],
  borealis: [
    'Loan application',
    'Card dispute',
    'Account opening',
    'Month-end close',
    'Fraud triage',
    'Tax slip run',
    'Branch report',
    'Wire release',
    'Pension transfer',
  ],
  cascade: [
    'Load planning',
    'Customs filing',
    'Dock booking',
    'Driver briefing',
    'Claims handling',
    'Fuel report',
    'Cold chain alarm',
    'Proof of delivery',
    'Fleet service',
  ],
}

/** `#` becomes a number. */
const ERRORS = [
  'timeout after # s',
  'the model provider refused the request: rate limit reached (429), retry in # s',
  'tool `search` returned no result after # attempts',
  'context window exceeded by # tokens',
  `invalid JSON in tool arguments: unexpected token '}' at position #`,
  'connection reset by peer',
  'permission denied for bucket "inbox-#"',
  'monthly budget exhausted, # runs postponed',
] as const

const SETTINGS: readonly (readonly [name: string, value: unknown, description: string | null])[] = [
  ['execution.timeout', { seconds: 300 }, 'How long an execution may take before it is ended.'],
  ['execution.retries', { most: 3, backoff: 'exponential' }, 'What happens after a failure.'],
  ['execution.queue', { length: 10000 }, null],
  ['retention.executions', { days: 400 }, 'After this, executions are removed.'],
  ['retention.metrics', { days: 90 }, 'After this, metrics are removed.'],
  ['models.default', 'small', 'The model of agents that name none.'],
  ['models.allowed', ['small', 'medium', 'large', 'vision'], null],
  ['budget.currencyDigits', 2, null],
  ['features.humanApproval', true, 'Whether steps may wait for a person.'],
  ['features.webSearch', false, null],
  ['notifications.mail', { from: 'agents@platform.example', digest: 'daily' }, 'Who writes to owners, and how often.'],
  ['platform.region', null, 'Where the platform runs.'],
]
