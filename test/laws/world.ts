/**
 * A small world for the laws: three organizations that keep the same things in different tables, a fourth one that shares nothing, and principals whose views
 * differ in rows, cells, masks and fields. The views are written a second time here, by hand, as SQL for each owner's database: that is the oracle.
 */
import fc from 'fast-check'
import pg from 'pg'
import type { TestAgreement, TestClaims, TestWorld } from '../support/gateway.js'
import { agreementOf } from '../support/gateway.js'

export const CONTRACT = `
type Person @entity(plural: "people") {
  key: ID!  name: String!  email: String  team: String  level: Int  salary: Decimal  hiredOn: Date
  tasks: [Task!] @inverse(of: "owner")
}
type Task @entity @series(time: "createdAt") {
  key: ID!  title: String!  status: TaskStatus!  priority: Int  effort: Float  points: BigInt  budget: Decimal  done: Boolean
  due: DateTime  seen: LocalDateTime  day: Date  trace: UUID  tags: [String!]  meta: JSON  note: String  createdAt: DateTime!
  owner: Person  project: Project
}
type Project @entity {
  key: ID!  name: String!  code: String
  lead: Person
  tasks: [Task!] @inverse(of: "project")
}
enum TaskStatus { OPEN ACTIVE CLOSED }
`

// --- rows ------------------------------------------------------------------------------------------------------------------------------------------------------

export const TEAMS = ['red', 'blue', 'green'] as const
export const STATUSES = ['OPEN', 'ACTIVE', 'CLOSED'] as const
/** Texts that stand in rows and in filters alike. */
export const TEXTS = [
  'alpha',
  'Alpha',
  'alp',
  "o'brien",
  'a%b',
  'a_b',
  'a\\b',
  '$1',
  '"quoted"',
  'ünïcode',
  '😀 smile',
  '\uffee above',
  'Zed',
  '',
  ' space',
  'x; --',
] as const
export const TAGS = ['new', 'old', 'a,b', '{"x"}', '😀'] as const
export const METAS = ['{"a":1}', '{"a":1,"b":[1,2]}', '{"b":[2]}', '[1,"x"]', '"text"', 'null', '12.50'] as const
export const TIMES = [
  '2026-01-31T23:30:00Z',
  '2026-02-01T00:00:00Z',
  '2026-02-01T00:00:00.000001Z',
  '2025-12-31T23:59:59.999999Z',
  '2026-03-15T12:00:00.5Z',
] as const
export const UUIDS = ['00000000-0000-4000-8000-000000000001', '7fffffff-0000-4000-8000-000000000002', 'ffffffff-0000-4000-8000-000000000003'] as const

interface PersonRow {
  readonly number: number
  readonly name: string
  readonly email: string | null
  readonly team: string | null
  readonly level: number | null
  readonly salaryCents: number | null
  readonly hiredOn: string | null
}
interface TaskRow {
  readonly number: number
  readonly title: string
  readonly status: number
  readonly priority: number | null
  readonly effort: number | null
  readonly points: string | null
  readonly budgetCents: number | null
  readonly done: boolean | null
  readonly due: string | null
  readonly seen: string | null
  readonly day: string | null
  readonly trace: string | null
  readonly tags: readonly string[] | null
  readonly meta: string | null
  readonly note: string | null
  readonly createdAt: string
  readonly owner: number | null
  readonly project: number | null
}
interface ProjectRow {
  readonly number: number
  readonly name: string
  readonly code: string | null
  readonly lead: number | null
}
export interface Rows {
  readonly people: readonly PersonRow[]
  readonly tasks: readonly TaskRow[]
  readonly projects: readonly ProjectRow[]
}

/** Deterministic (mulberry32): the laws' properties choose documents, not rows. */
export function chance(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Every field that can be null is null in some rows; values are few, so that they meet each other. */
export function makeRows(seed: number, counts = { people: 9, tasks: 36, projects: 5 }): Rows {
  const random = chance(seed)
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T // the index is within the list
  const maybe = <T>(value: T): T | null => (random() < 0.2 ? null : value)
  const upTo = <T>(count: number, make: (number: number) => T): T[] => Array.from({ length: count }, (_unused, number) => make(number))
  return {
    people: upTo(counts.people, (number) => ({
      number,
      name: pick(TEXTS),
      email: maybe(`${pick(['ada', 'bob', 'cy'])}@example.com`),
      team: maybe(pick(TEAMS)),
      level: maybe(Math.floor(random() * 12) - 2),
      salaryCents: maybe(Math.floor(random() * 8) * 7_525),
      hiredOn: maybe(pick(['2020-02-29', '2020-03-01', '2026-01-31'])),
    })),
    tasks: upTo(counts.tasks, (number) => ({
      number,
      title: pick(TEXTS),
      status: Math.floor(random() * 3),
      priority: maybe(Math.floor(random() * 8) - 1),
      effort: maybe(pick([0, -0.5, 0.1, 1.5, 1e21, 3])),
      points: maybe(pick(['0', '7', '13', '21', '-4', '9007199254740993'])),
      budgetCents: maybe(Math.floor(random() * 12) * 25),
      done: maybe(random() < 0.5),
      due: maybe(pick(TIMES)),
      seen: maybe(pick(TIMES).slice(0, -1)),
      day: maybe(pick(['2026-01-31', '2026-02-01', '1999-12-31'])),
      trace: maybe(pick(UUIDS)),
      tags: maybe(TAGS.filter(() => random() < 0.4)),
      meta: maybe(pick(METAS)),
      note: maybe(pick(TEXTS)),
      createdAt: pick(TIMES),
      owner: maybe(Math.floor(random() * counts.people)),
      project: maybe(Math.floor(random() * counts.projects)),
    })),
    projects: upTo(counts.projects, (number) => ({
      number,
      name: pick(TEXTS),
      code: maybe(pick(['P1', 'P2'])),
      lead: maybe(Math.floor(random() * counts.people)),
    })),
  }
}

// --- tables ----------------------------------------------------------------------------------------------------------------------------------------------------

function fill(table: string, records: readonly object[]): string {
  return `INSERT INTO ${table} SELECT * FROM json_populate_recordset(NULL::${table}, ${pg.escapeLiteral(JSON.stringify(records))});`
}

const euros = (cents: number | null): string | null => (cents === null ? null : (cents / 100).toFixed(2))
const json = (text: string | null): unknown => (text === null ? null : JSON.parse(text))

/** Names fit. */
export function alphaSql(rows: Rows): string {
  return `
    CREATE TABLE people (key bigint PRIMARY KEY, name text NOT NULL, email text, team text, level integer, salary numeric(12, 2), hired_on date);
    CREATE TABLE projects (key bigint PRIMARY KEY, name text NOT NULL, code text, lead_key bigint);
    CREATE TABLE tasks (key bigint PRIMARY KEY, title text NOT NULL, status text NOT NULL, priority integer, effort double precision, points bigint,
      budget numeric(12, 2), done boolean, due timestamptz, seen timestamp, day date, trace uuid, tags text[], meta jsonb, note text, created_at timestamptz NOT NULL,
      owner_key bigint, project_key bigint);
    ${fill(
      'people',
      rows.people.map(({ number, salaryCents, hiredOn, ...rest }) => ({ ...rest, key: number + 8, salary: euros(salaryCents), hired_on: hiredOn })),
    )}
    ${fill(
      'projects',
      rows.projects.map(({ number, lead, ...rest }) => ({ ...rest, key: number + 8, lead_key: lead === null ? null : lead + 8 })),
    )}
    ${fill(
      'tasks',
      rows.tasks.map(({ number, status, budgetCents, meta, createdAt, owner, project, ...rest }) => ({
        ...rest,
        key: number + 95,
        status: STATUSES[status],
        budget: euros(budgetCents),
        meta: json(meta),
        created_at: createdAt,
        owner_key: owner === null ? null : owner + 8,
        project_key: project === null ? null : project + 8,
      })),
    )}`
}

const staffId = (number: number | null): string | null =>
  number === null ? null : `${(7 - (number % 8)).toString(16)}000000${number}-0000-4000-8000-00000000000${number}`
const planCode = (number: number | null): string | null =>
  number === null ? null : (['plan-b', 'Plan-a', 'plan-ä', 'plan_1', 'plan-10', '😀'][number % 6] ?? null)

/** Other names, types and codes. */
export function betaSql(rows: Rows): string {
  return `
    CREATE SCHEMA hr;
    CREATE TABLE hr.staff (staff_id uuid PRIMARY KEY, full_name varchar(40) NOT NULL, mail text, unit text, grade smallint, pay_cents bigint, since date);
    CREATE TABLE hr.plans (code text PRIMARY KEY, title text NOT NULL, mark text, boss uuid);
    CREATE TABLE hr.jobs (job_no integer PRIMARY KEY, label text NOT NULL, state smallint NOT NULL, prio smallint, effort real, points numeric(20, 0), cost_cents bigint,
      due timestamptz, seen timestamp, tags varchar(20)[], meta json, remark varchar(40), made timestamptz NOT NULL, staff_id uuid, plan text);
    ${fill(
      'hr.staff',
      rows.people.map((row) => ({
        staff_id: staffId(row.number),
        full_name: row.name,
        mail: row.email,
        unit: row.team,
        grade: row.level,
        pay_cents: row.salaryCents,
        since: row.hiredOn,
      })),
    )}
    ${fill(
      'hr.plans',
      rows.projects.map((row) => ({ code: planCode(row.number), title: row.name, mark: row.code, boss: staffId(row.lead) })),
    )}
    ${fill(
      'hr.jobs',
      rows.tasks.map((row) => ({
        job_no: row.number * 7 - 20,
        label: row.title,
        state: row.status + 1,
        prio: row.priority,
        effort: row.effort,
        points: row.points,
        cost_cents: row.budgetCents,
        due: row.due,
        seen: row.seen,
        tags: row.tags,
        meta: json(row.meta),
        remark: row.note,
        made: row.createdAt,
        staff_id: staffId(row.owner),
        plan: planCode(row.project),
      })),
    )}`
}

export const BETA_BINDINGS = {
  Person: {
    table: 'main.hr.staff',
    fields: {
      key: 'staff_id',
      name: 'full_name',
      email: 'mail',
      team: 'unit',
      level: 'grade',
      salary: { column: 'pay_cents', multiply: '0.01' },
      hiredOn: 'since',
    },
  },
  Project: { table: 'main.hr.plans', fields: { key: 'code', name: 'title', code: 'mark', lead: 'boss' } },
  Task: {
    table: 'main.hr.jobs',
    fields: {
      key: 'job_no',
      title: 'label',
      status: { column: 'state', values: { 1: 'OPEN', 2: 'ACTIVE', 3: 'CLOSED' } },
      priority: 'prio',
      budget: { column: 'cost_cents', multiply: '0.01' },
      done: { constant: false },
      note: 'remark',
      createdAt: 'made',
      owner: 'staff_id',
      project: 'plan',
    },
  },
} as const

/** Text keys, an enum type, no projects. */
export function gammaSql(rows: Rows): string {
  return `
    CREATE TYPE task_status AS ENUM ('CLOSED', 'ACTIVE', 'OPEN');
    CREATE TABLE person (key text PRIMARY KEY, name text NOT NULL, team text);
    CREATE TABLE task (key text PRIMARY KEY, title text NOT NULL, status task_status NOT NULL, priority integer, points integer, done boolean, created_at timestamptz NOT NULL,
      owner_key text, project_key text);
    ${fill(
      'person',
      rows.people.map(({ number, name, team }) => ({ key: `person ${number}`, name, team })),
    )}
    ${fill(
      'task',
      rows.tasks.map(({ number, title, status, priority, points, done, createdAt, owner }) => ({
        key: `'task' "${number}" 😀`,
        title,
        status: STATUSES[status],
        priority,
        points: points === null || points.length > 6 ? null : points,
        done,
        created_at: createdAt,
        owner_key: owner === null ? null : `person ${owner}`,
      })),
    )}`
}

export const GAMMA_BINDINGS = { Person: { fields: { level: { constant: 3 } } }, Project: 'none' } as const

// --- policies --------------------------------------------------------------------------------------------------------------------------------------------------

export const ALPHA_ROLES = {
  chief: { read: { Person: { fields: 'all' }, Task: { fields: 'all' }, Project: { fields: 'all' } }, crossOrganization: ['testing', 'review'], explain: true },
  worker: {
    read: {
      Person: [
        { fields: ['key', 'name', 'team', 'level', 'tasks'], rows: { team: { isNull: false } } },
        { fields: ['salary'], rows: { team: { eq: { claim: 'team' } } } },
      ],
      Task: [
        {
          fields: ['key', 'title', 'status', 'createdAt', 'owner', 'priority', 'effort', 'tags', 'due', 'points'],
          rows: { or: [{ owner: { team: { eq: { claim: 'team' } } } }, { status: { eq: 'OPEN' } }] },
        },
        { fields: ['budget', 'note'], rows: { priority: { lte: 3 } } },
        { fields: ['project'], rows: { status: { ne: 'CLOSED' } } },
      ],
      Project: { fields: ['key', 'name', 'tasks', 'lead'] },
    },
    deny: { Task: { fields: ['effort'], rows: { points: { gt: 20 } } } },
    crossOrganization: ['testing'],
  },
  reader: {
    read: { Task: { fields: ['key', 'title', 'status', 'createdAt', 'note'], rows: { priority: { gte: 5 } } } },
    crossOrganization: ['review'],
  },
} as const

export const AGREEMENTS: readonly TestAgreement[] = [
  agreementOf(
    'beta',
    'alpha',
    {
      Person: {
        allow: ['key', 'team', 'tasks'],
        mask: {
          name: { redact: { keepLast: 2 } },
          email: { constant: 'hidden@beta' },
          level: { generalize: { step: 5 } },
          salary: { generalize: { step: '100', nulls: 'reveal' } },
          hiredOn: { generalize: { unit: 'MONTH' } },
        },
      },
      Task: {
        rows: { status: { ne: 'CLOSED' } },
        allow: ['key', 'title', 'status', 'priority', 'effort', 'owner', 'done', 'tags', 'meta', 'seen', 'createdAt'],
        mask: {
          note: null,
          points: { generalize: { step: 10 } },
          budget: { generalize: { step: '0.5' } },
          due: { generalize: { unit: 'DAY', nulls: 'reveal' } },
        },
      },
    },
    { agreement: 'beta-alpha-testing' },
  ),
  agreementOf(
    'beta',
    'alpha',
    {
      Task: { rows: { owner: { tasks: { some: { status: { eq: 'ACTIVE' } } } } }, allow: ['key', 'title', 'status', 'createdAt', 'project', 'priority'] },
      Project: { rows: { tasks: { none: { priority: { gte: 5 } } } }, allow: ['key', 'name', 'code', 'tasks'] },
    },
    { agreement: 'beta-alpha-review', purposes: ['review'] },
  ),
  agreementOf(
    'gamma',
    'alpha',
    {
      Person: { allow: ['team', 'tasks'], mask: { key: { pseudonym: {} }, name: { pseudonym: { nulls: 'reveal' } } } },
      Task: {
        rows: { owner: { team: { in: ['red', 'blue'] } } },
        allow: ['status', 'owner', 'priority', 'project', 'points'],
        mask: { key: { pseudonym: {} }, title: { redact: { keepLast: 3 } }, createdAt: { generalize: { unit: 'MONTH' } } },
      },
      Project: { allow: ['key', 'name', 'tasks'] },
    },
    { purposes: ['testing', 'review'] },
  ),
]

export interface WorldRows {
  readonly alpha: Rows
  readonly beta: Rows
  readonly gamma: Rows
  readonly delta: Rows
}

export const WORLD_ROWS: WorldRows = { alpha: makeRows(1), beta: makeRows(2), gamma: makeRows(3), delta: makeRows(4) }

/** @param scramble SQL by organization that runs after its tables are filled. */
export function lawsWorld(rows: WorldRows = WORLD_ROWS, scramble: Readonly<Record<string, string>> = {}): TestWorld {
  return {
    contract: CONTRACT,
    organizations: {
      alpha: { sql: alphaSql(rows.alpha) + (scramble['alpha'] ?? ''), roles: ALPHA_ROLES },
      beta: { sql: betaSql(rows.beta) + (scramble['beta'] ?? ''), bindings: BETA_BINDINGS },
      gamma: { sql: gammaSql(rows.gamma) + (scramble['gamma'] ?? ''), bindings: GAMMA_BINDINGS },
      delta: { sql: alphaSql(rows.delta) + (scramble['delta'] ?? '') },
    },
    agreements: AGREEMENTS,
  }
}

// --- principals and their views --------------------------------------------------------------------------------------------------------------------------------

export type TypeName = 'Person' | 'Task' | 'Project'
export type Decision = 'plain' | 'cell' | 'null' | 'constant' | 'redact' | 'pseudonym' | 'generalize'

export interface Viewer {
  readonly name: string
  readonly claims: TestClaims
  /** By owner and type: what may be used how, as `field` or `field:decision`. A type that is not here is not granted. */
  readonly decisions: Readonly<Record<string, Partial<Record<TypeName, string>>>>
  /** By owner and type: the readable view in SQL over the owner's tables, with the columns of `VIEW_COLUMNS`; a missing column is null. */
  readonly views: Readonly<Record<string, Partial<Record<TypeName, string>>>>
}

const ALL_FIELDS = {
  Person: 'key name email team level salary hiredOn tasks',
  Task: 'key title status priority effort points budget done due seen day trace tags meta note createdAt owner project',
  Project: 'key name code lead tasks',
} as const

const ALPHA_ALL = {
  Person: `SELECT key::text, key AS sort_number, name, email, team, level, salary, hired_on AS "hiredOn", TRUE AS tasks FROM people`,
  Task: `SELECT key::text, key AS sort_number, title, status, priority, effort, points, budget, done, due, seen, day, trace, tags, meta, note, created_at AS "createdAt",
    owner_key::text AS owner, project_key::text AS project FROM tasks`,
  Project: `SELECT key::text, key AS sort_number, name, code, lead_key::text AS lead, TRUE AS tasks FROM projects`,
} as const

const BETA_TESTING = {
  decisions: {
    Person: 'key team tasks name:redact email:constant level:generalize salary:generalize hiredOn:generalize',
    Task: 'key title status priority effort owner done tags meta seen createdAt note:null points:generalize budget:generalize due:generalize',
  },
  views: {
    Person: `SELECT staff_id::text AS key, staff_id::text AS sort_text, CASE WHEN length(full_name) > 2 THEN '***' || right(full_name, 2) ELSE '***' END AS name,
      'hidden@beta' AS email, unit AS team, floor(coalesce(grade, 0) / 5.0)::integer * 5 AS level,
      CASE WHEN pay_cents IS NOT NULL THEN floor(pay_cents / 100.0 / 100) * 100 END AS salary,
      date_trunc('month', coalesce(since, '1970-01-01')::timestamp)::date AS "hiredOn", TRUE AS tasks FROM hr.staff`,
    Task: `SELECT job_no::text AS key, job_no AS sort_number, label AS title, (ARRAY['OPEN', 'ACTIVE', 'CLOSED'])[state] AS status, prio AS priority, effort::double precision,
      floor(coalesce(points, 0) / 10) * 10 AS points, floor(coalesce(cost_cents, 0) * 0.01 / 0.5) * 0.5 AS budget, FALSE AS done,
      CASE WHEN due IS NOT NULL THEN date_trunc('day', due, 'UTC') END AS due, seen, tags, meta, made AS "createdAt", staff_id::text AS owner
      FROM hr.jobs WHERE state <> 3`,
  },
} as const

const GAMMA_BOTH = {
  decisions: {
    Person: 'team tasks key:pseudonym name:pseudonym',
    Task: 'status owner priority project points key:pseudonym title:redact createdAt:generalize',
    Project: 'key name tasks',
  },
  views: {
    Person: `SELECT concordat.pseudonym('alpha', 'Person', key) AS key, concordat.pseudonym('alpha', 'Person', key) AS sort_text,
      concordat.pseudonym('alpha', 'Person.name', name) AS name, team, TRUE AS tasks FROM person`,
    Task: `SELECT concordat.pseudonym('alpha', 'Task', t.key) AS key, concordat.pseudonym('alpha', 'Task', t.key) AS sort_text, t.status, t.priority, t.points,
      CASE WHEN length(t.title) > 3 THEN '***' || right(t.title, 3) ELSE '***' END AS title, date_trunc('month', t.created_at, 'UTC') AS "createdAt",
      concordat.pseudonym('alpha', 'Person', t.owner_key) AS owner FROM task t JOIN person p ON p.key = t.owner_key WHERE p.team IN ('red', 'blue')`,
    Project: `SELECT NULL AS key WHERE FALSE`,
  },
} as const

const BETA_REVIEW = {
  decisions: { Task: 'key title status createdAt project priority', Project: 'key name code tasks' },
  views: {
    Task: `SELECT j.job_no::text AS key, j.job_no AS sort_number, j.label AS title, (ARRAY['OPEN', 'ACTIVE', 'CLOSED'])[j.state] AS status, j.prio AS priority, j.made AS "createdAt",
      j.plan AS project FROM hr.jobs j
      WHERE EXISTS (SELECT FROM hr.staff s JOIN hr.jobs k ON k.staff_id = s.staff_id WHERE s.staff_id = j.staff_id AND k.state = 2)`,
    Project: `SELECT code AS key, code AS sort_text, title AS name, mark AS code, TRUE AS tasks FROM hr.plans p
      WHERE NOT EXISTS (SELECT FROM hr.jobs j WHERE j.plan = p.code AND (j.prio >= 5) IS NOT FALSE)`,
  },
} as const

/** @param team SQL of the claim; `NULL` where the token has none. */
function workerViews(team: string): Record<TypeName, string> {
  return {
    Person: `SELECT key::text, key AS sort_number, name, team, level, CASE WHEN team = ${team} THEN salary END AS salary, TRUE AS tasks FROM people WHERE team IS NOT NULL`,
    Task: `SELECT t.key::text, t.key AS sort_number, title, status, t.created_at AS "createdAt", t.owner_key::text AS owner, priority,
      CASE WHEN points <= 20 THEN effort END AS effort, tags, due, points, CASE WHEN priority <= 3 THEN budget END AS budget, CASE WHEN priority <= 3 THEN note END AS note,
      CASE WHEN status <> 'CLOSED' THEN t.project_key::text END AS project
      FROM tasks t LEFT JOIN people p ON p.key = t.owner_key WHERE p.team = ${team} OR t.status = 'OPEN'`,
    Project: `SELECT key::text, key AS sort_number, name, lead_key::text AS lead, TRUE AS tasks FROM projects`,
  }
}

const WORKER_DECISIONS = {
  Person: 'key name team level salary:cell tasks',
  Task: 'key title status createdAt owner priority effort:cell tags due points budget:cell note:cell project:cell',
  Project: 'key name tasks lead',
} as const

const WRITTEN: readonly Viewer[] = [
  {
    name: 'chief',
    claims: { organization: 'alpha', roles: ['chief'] },
    decisions: { alpha: ALL_FIELDS, beta: BETA_TESTING.decisions, gamma: GAMMA_BOTH.decisions },
    views: { alpha: ALPHA_ALL, beta: BETA_TESTING.views, gamma: GAMMA_BOTH.views },
  },
  {
    name: 'worker of the red team',
    claims: { organization: 'alpha', roles: ['worker'], claims: { team: 'red' } },
    decisions: { alpha: WORKER_DECISIONS, beta: BETA_TESTING.decisions, gamma: GAMMA_BOTH.decisions },
    views: { alpha: workerViews(`'red'`), beta: BETA_TESTING.views, gamma: GAMMA_BOTH.views },
  },
  {
    name: 'worker without a team, who names no purpose of agreements',
    claims: { organization: 'alpha', roles: ['worker'], purposes: ['review'] },
    decisions: { alpha: WORKER_DECISIONS },
    views: { alpha: workerViews('NULL') },
  },
  {
    name: 'worker of the blue team who is a reader too, for review',
    claims: { organization: 'alpha', roles: ['worker', 'reader'], purposes: ['review'], claims: { team: 'blue' } },
    decisions: {
      alpha: {
        Person: WORKER_DECISIONS.Person,
        Task: 'key title status createdAt owner:cell priority:cell effort:cell tags:cell due:cell points:cell budget:cell note:cell project:cell',
        Project: WORKER_DECISIONS.Project,
      },
      beta: BETA_REVIEW.decisions,
      gamma: GAMMA_BOTH.decisions,
    },
    views: {
      alpha: {
        ...workerViews(`'blue'`),
        Task: `SELECT key::text, key AS sort_number, title, status, created_at AS "createdAt", CASE WHEN works THEN owner_key::text END AS owner,
          CASE WHEN works THEN priority END AS priority, CASE WHEN works AND points <= 20 THEN effort END AS effort, CASE WHEN works THEN tags END AS tags,
          CASE WHEN works THEN due END AS due, CASE WHEN works THEN points END AS points, CASE WHEN works AND priority <= 3 THEN budget END AS budget,
          CASE WHEN (works AND priority <= 3) OR reads THEN note END AS note, CASE WHEN works AND status <> 'CLOSED' THEN project_key::text END AS project
          FROM (SELECT t.*, (p.team = 'blue' OR t.status = 'OPEN') AS works, (t.priority >= 5) AS reads FROM tasks t LEFT JOIN people p ON p.key = t.owner_key) AS t
          WHERE works OR reads`,
      },
      beta: BETA_REVIEW.views,
      gamma: GAMMA_BOTH.views,
    },
  },
]

/** Reports of failed properties name them, no more. */
export const VIEWERS: readonly Viewer[] = WRITTEN.map((viewer) => ({ ...viewer, [fc.toStringMethod]: () => `viewer ${JSON.stringify(viewer.name)}` }))

export function decisionOf(viewer: Viewer, organization: string, type: TypeName, field: string): Decision | 'absent' {
  const words = viewer.decisions[organization]?.[type]?.split(' ') ?? []
  const [, decision] = words.map((word) => word.split(':')).find(([name]) => name === field) ?? [null, 'absent']
  return (decision ?? 'plain') as Decision | 'absent' // the words are ours
}
