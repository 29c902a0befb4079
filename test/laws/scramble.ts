/** For each viewer, SQL that changes what the viewer may not see, and nothing else: hidden rows, denied columns, cells, values within one class of a mask. */

const POISON_JOBS = (states: string, staff: string): string => `
  INSERT INTO hr.jobs (job_no, label, state, prio, effort, points, cost_cents, due, seen, tags, meta, remark, made, staff_id, plan)
    SELECT 5000 + i, repeat('x', i * 40), ${states}, i % 9, CASE i % 3 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' ELSE '1e37' END::real,
      CASE i % 2 WHEN 0 THEN 'NaN' ELSE '99999999999999999999' END::numeric, 9223372036854775807, CASE i % 2 WHEN 0 THEN 'infinity' ELSE '4000-01-01 BC' END::timestamptz,
      '-infinity', ARRAY['secret', NULL], '{"a":"\\u0000"}', 'secret', '-infinity', ${staff}, 'plan-b'
    FROM generate_series(1, 40) AS i;`

/** What \`beta-alpha-testing\` hides. A state that the binding does not know is neither CLOSED nor anything else: hidden too. */
const BETA_TESTING = `
  DELETE FROM hr.jobs WHERE state = 3 AND job_no % 2 = 0;
  UPDATE hr.jobs SET job_no = -job_no - 1000, label = 'secret ' || job_no, prio = 5, effort = 'NaN', points = 'NaN', due = 'infinity', made = 'infinity' WHERE state = 3;
  ${POISON_JOBS('CASE i % 2 WHEN 0 THEN 3 ELSE 99 END', '(SELECT staff_id FROM hr.staff ORDER BY staff_id LIMIT 1 OFFSET i % 9)')}
  UPDATE hr.jobs SET plan = 'nowhere', remark = 'secret ' || job_no,
    points = CASE WHEN points IS NULL THEN 5 WHEN points BETWEEN 0 AND 9 THEN NULL ELSE floor(points / 10) * 10 + 9 END,
    cost_cents = CASE WHEN cost_cents IS NULL THEN 49 WHEN cost_cents < 50 THEN NULL ELSE floor(cost_cents / 50.0) * 50 + 7 END,
    due = date_trunc('day', due, 'UTC') + interval '1 hour' WHERE state IN (1, 2);
  UPDATE hr.staff SET mail = 'other' || staff_id, full_name = CASE WHEN length(full_name) > 2 THEN 'long secret ' || right(full_name, 2) ELSE left(full_name || 'zz', 2) END,
    grade = CASE WHEN grade IS NULL THEN 3 WHEN grade BETWEEN 0 AND 4 THEN NULL ELSE floor(grade / 5.0) * 5 + 4 END,
    pay_cents = floor(pay_cents / 10000.0) * 10000 + 1,
    since = CASE WHEN since IS NULL THEN '1970-01-20' ELSE date_trunc('month', since)::date + 5 END;
  DELETE FROM hr.plans WHERE code < 'plan-1';
  UPDATE hr.plans SET title = 'secret', code = code || '!', boss = NULL;`

const GAMMA = `
  DELETE FROM task t WHERE t.owner_key IS NULL;
  UPDATE task t SET key = 'secret ' || t.key, title = repeat('s', 3000), status = 'OPEN', priority = 77, points = -1, created_at = 'infinity' FROM person p
    WHERE p.key = t.owner_key AND (p.team IN ('red', 'blue')) IS NOT TRUE;
  INSERT INTO task SELECT 'extra ' || i, 'extra', 'ACTIVE', i, i, TRUE, '-infinity', CASE i % 3 WHEN 0 THEN 'nobody' WHEN 1 THEN NULL ELSE (SELECT key FROM person WHERE team = 'green' OR team IS NULL LIMIT 1) END, 'p'
    FROM generate_series(1, 30) AS i;
  UPDATE task t SET done = NOT coalesce(done, FALSE), project_key = 'elsewhere', created_at = date_trunc('month', t.created_at, 'UTC') + interval '20 days 03:04:05.678',
    title = CASE WHEN length(title) > 3 THEN '😀 much longer ' || right(title, 3) ELSE left('abc', length(title)) END FROM person p
    WHERE p.key = t.owner_key AND p.team IN ('red', 'blue');`

const DELTA = `TRUNCATE tasks; TRUNCATE projects; UPDATE people SET name = 'secret', team = 'red';`

/** @param team SQL of the claim. */
function alphaWorker(team: string): string {
  return `
    UPDATE people SET name = 'hidden', level = 99, salary = 1, email = NULL, hired_on = NULL WHERE team IS NULL;
    INSERT INTO people SELECT 1000 + i, 'hidden', 'x@y', NULL, i, 5, 'infinity' FROM generate_series(1, 20) AS i;
    UPDATE people SET email = 'other' || key, hired_on = '-infinity';
    UPDATE people SET salary = 1234.56 WHERE (team = ${team}) IS NOT TRUE;
    UPDATE projects SET code = 'secret ' || key;
    CREATE TEMPORARY TABLE seen AS SELECT t.key FROM tasks t LEFT JOIN people p ON p.key = t.owner_key WHERE p.team = ${team} OR t.status = 'OPEN';
    DELETE FROM tasks WHERE key NOT IN (SELECT key FROM seen) AND key % 2 = 0;
    UPDATE tasks SET key = -key, title = 'secret', priority = 3, effort = 'NaN', points = 9223372036854775807, budget = 'NaN', due = 'infinity', created_at = 'infinity', status = 'CLOSED',
      tags = '{{a,b},{c,d}}', project_key = 9 WHERE key NOT IN (SELECT key FROM seen);
    INSERT INTO tasks (key, title, status, priority, effort, points, budget, due, created_at, owner_key, project_key, note)
      SELECT 5000 + i, 'secret', CASE i % 2 WHEN 0 THEN 'CLOSED' ELSE 'ACTIVE' END, i, 'Infinity', -9223372036854775808, 9999999999.99, '-infinity', '-infinity',
        (SELECT key FROM people WHERE (team = ${team}) IS NOT TRUE ORDER BY key LIMIT 1 OFFSET i % 3), 8 + i % 5, 'secret' FROM generate_series(1, 40) AS i;
    UPDATE tasks SET done = NOT coalesce(done, FALSE), seen = 'infinity', day = '-infinity', trace = gen_random_uuid(), meta = '{"secret":[1e300]}' WHERE key IN (SELECT key FROM seen);
    UPDATE tasks SET effort = 'NaN' WHERE key IN (SELECT key FROM seen) AND (points <= 20) IS NOT TRUE;
    UPDATE tasks SET budget = 'NaN', note = 'secret' WHERE key IN (SELECT key FROM seen) AND (priority <= 3) IS NOT TRUE;
    UPDATE tasks SET project_key = CASE key % 2 WHEN 0 THEN 9 ELSE 404 END WHERE key IN (SELECT key FROM seen) AND status = 'CLOSED';
    UPDATE tasks SET owner_key = CASE WHEN owner_key IS NULL THEN 1001 END WHERE key IN (SELECT key FROM seen)
      AND NOT EXISTS (SELECT FROM people p WHERE p.key = owner_key AND p.team IS NOT NULL);
    DROP TABLE seen;`
}

const BETA_REVIEW = `
  CREATE TEMPORARY TABLE seen AS SELECT j.job_no FROM hr.jobs j WHERE EXISTS (SELECT FROM hr.jobs k WHERE k.staff_id = j.staff_id AND k.state = 2)
    AND EXISTS (SELECT FROM hr.staff s WHERE s.staff_id = j.staff_id);
  UPDATE hr.jobs SET effort = 'NaN', points = 'NaN', cost_cents = NULL, due = 'infinity', seen = '-infinity', tags = '{secret}', meta = '{"a":"\\u0000"}', remark = 'secret'
    WHERE job_no IN (SELECT job_no FROM seen);
  UPDATE hr.jobs SET label = 'secret', made = 'infinity', job_no = job_no + 9000 WHERE job_no NOT IN (SELECT job_no FROM seen) AND plan IS NULL;
  ${POISON_JOBS('99', 'NULL').replaceAll(`'plan-b'`, `(SELECT code FROM hr.plans p WHERE EXISTS (SELECT FROM hr.jobs j WHERE j.plan = p.code AND (j.prio >= 5) IS NOT FALSE) LIMIT 1)`)}
  UPDATE hr.staff SET full_name = 'secret', mail = 'secret', grade = 1, pay_cents = 2, since = 'infinity', unit = 'secret';
  UPDATE hr.plans p SET title = 'secret', mark = 'secret', boss = NULL WHERE EXISTS (SELECT FROM hr.jobs j WHERE j.plan = p.code AND (j.prio >= 5) IS NOT FALSE);
  INSERT INTO hr.plans SELECT 'plan-secret', 'secret', 'secret', NULL;
  INSERT INTO hr.jobs (job_no, label, state, made, plan) VALUES (7777, 'secret', 1, 'infinity', 'plan-secret');
  UPDATE hr.plans SET boss = (SELECT staff_id FROM hr.staff LIMIT 1);
  DROP TABLE seen;`

/** What the worker and the reader of the blue team together do not see. */
const ALPHA_BLUE_READER = `
  UPDATE people SET email = 'other' || key, hired_on = '-infinity';
  UPDATE people SET name = 'hidden', level = 99, salary = 1 WHERE team IS NULL;
  UPDATE people SET salary = 1234.56 WHERE (team = 'blue') IS NOT TRUE;
  UPDATE projects SET code = 'secret ' || key;
  CREATE TEMPORARY TABLE shown AS SELECT t.key, (p.team = 'blue' OR t.status = 'OPEN') IS TRUE AS works, (t.priority >= 5) IS TRUE AS reads
    FROM tasks t LEFT JOIN people p ON p.key = t.owner_key;
  DELETE FROM tasks t USING shown s WHERE s.key = t.key AND NOT works AND NOT reads AND t.key % 2 = 0;
  UPDATE tasks t SET key = -t.key, title = 'secret', effort = 'NaN', created_at = 'infinity', status = 'CLOSED', priority = NULL, budget = 'NaN' FROM shown s
    WHERE s.key = t.key AND NOT works AND NOT reads;
  UPDATE tasks t SET effort = 'NaN', tags = '{{a},{b}}', due = 'infinity', points = 9223372036854775807, budget = 'NaN', priority = 5 + t.key % 100, project_key = 404,
    owner_key = (SELECT key FROM people WHERE (team = 'blue') IS NOT TRUE ORDER BY key LIMIT 1 OFFSET t.key % 2) FROM shown s WHERE s.key = t.key AND reads AND NOT works;
  UPDATE tasks t SET done = NOT coalesce(done, FALSE), seen = 'infinity', day = '-infinity', trace = gen_random_uuid(), meta = '{"secret":[1e300]}';
  UPDATE tasks t SET effort = 'NaN' FROM shown s WHERE s.key = t.key AND works AND (points <= 20) IS NOT TRUE;
  UPDATE tasks t SET budget = 'NaN' FROM shown s WHERE s.key = t.key AND works AND (priority <= 3) IS NOT TRUE;
  UPDATE tasks t SET note = 'secret' FROM shown s WHERE s.key = t.key AND works AND NOT reads AND (priority <= 3) IS NOT TRUE;
  UPDATE tasks t SET project_key = 9 FROM shown s WHERE s.key = t.key AND works AND status = 'CLOSED';
  DROP TABLE shown;`

/** By name of the viewer; organizations that are not here have nothing hidden from it. */
export const SCRAMBLES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  chief: { beta: BETA_TESTING, gamma: GAMMA, delta: DELTA },
  'worker of the red team': { alpha: alphaWorker(`'red'`), beta: BETA_TESTING, gamma: GAMMA, delta: DELTA },
  'worker without a team, who names no purpose of agreements': {
    alpha: alphaWorker('NULL'),
    beta: `TRUNCATE hr.jobs; UPDATE hr.staff SET full_name = 'secret';`,
    gamma: `TRUNCATE task; TRUNCATE person;`,
    delta: DELTA,
  },
  'worker of the blue team who is a reader too, for review': { alpha: ALPHA_BLUE_READER, beta: BETA_REVIEW, gamma: GAMMA, delta: DELTA },
}
