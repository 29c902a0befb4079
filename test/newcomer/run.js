/**
 * Does what README.md says, in a fresh clone of the committed state, as root (where the caller is root) and as another user: every command of its `sh` blocks runs.
 * The user also runs the tests; root has done so before (see .ci/run). Usage: node test/newcomer/run.js
 */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const REPOSITORY = resolve(import.meta.dirname, '../..')
const GATEWAY = 'http://127.0.0.1:4000'
const READY_MS = 60_000
const OTHER_USER = 65534

const isRoot = process.getuid?.() === 0
const accounts = isRoot ? [{ name: 'root', uid: 0 }, { name: 'another user', uid: OTHER_USER }] : [{ name: 'this user', uid: process.getuid() }] // prettier-ignore
for (const account of accounts) await newcomer(account)
console.log('README: every command worked')

async function newcomer({ name, uid }) {
  const place = mkdtempSync(join(tmpdir(), 'concordat-newcomer-'))
  const home = join(place, 'home')
  const project = join(place, 'concordat')
  chmodSync(place, 0o755)
  mkdirSync(home)
  must('git', ['clone', '--quiet', REPOSITORY, project], { cwd: place })
  const userconfig = join(homedir(), '.npmrc')
  if (existsSync(userconfig)) copyFileSync(userconfig, join(home, '.npmrc')) // where packages come from on this machine
  if (uid !== process.getuid()) {
    must('chown', ['-R', `${uid}:${uid}`, project, home], { cwd: place })
    chownSync(place, uid, uid)
  }
  const account = { cwd: project, env: { PATH: process.env.PATH, HOME: home, CI: 'true', LANG: 'C.UTF-8' }, ...(uid !== process.getuid() && { uid, gid: uid }) }
  const blocks = [...readFileSync(join(project, 'README.md'), 'utf8').matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map((match) => match[1].trim())
  const [start, ...rest] = blocks
  if (start !== 'npm install && npm start') throw new Error('README begins with another command than `npm install && npm start`')
  say(name, 'npm install')
  must('npm', ['install'], account)
  say(name, 'npm start')
  const demo = await running('npm', ['start'], account)
  try {
    const database = await ownDatabase(project, place, account)
    try {
      for (const block of rest) await runBlock(block, { name, uid, demo, database }, account)
    } finally {
      await database.stop()
    }
  } finally {
    await demo.stop()
    rmSync(place, { recursive: true, force: true })
  }
}

async function runBlock(block, { name, uid, demo, database }, account) {
  const lines = block.replaceAll('\\\n', ' ').split('\n')
  const serving = lines.filter((line) => line.startsWith('npx concordat serve'))
  if (block === 'npm test') {
    if (uid === 0) return // done before, see .ci/run
    say(name, block)
    must('npm', ['test'], account)
    return
  }
  const script = lines.filter((line) => !serving.includes(line)).join('\n')
  say(name, script)
  const { status, stdout } = spawnSync('bash', ['-euo', 'pipefail', '-c', script], {
    ...account,
    env: { ...account.env, DATABASE_URL: database.url },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Error(`ended with ${status}: ${script}\n${stdout}`)
  if (script.includes('curl')) checkAnswer(stdout)
  for (const line of serving) {
    say(name, line)
    await demo.stop() // it has the port
    const [command, ...args] = line.split(' ')
    const served = await running(command, args, account)
    await served.stop()
  }
}

/** The first query is answered by all three organizations, with a receipt. */
function checkAnswer(stdout) {
  const answer = JSON.parse(stdout)
  const served = answer.extensions.sovereignty.served.map(({ organization }) => organization)
  if (answer.errors || served.join() !== 'aurora,borealis,cascade' || answer.data.agents.nodes.length !== 3)
    throw new Error(`an answer is not as README says: ${stdout}`)
  if (!answer.extensions.sovereignty.receipt.leaf) throw new Error('an answer has no receipt')
}

/** A database of the newcomer's own, on the PostgreSQL that comes with the project. */
async function ownDatabase(project, place, { uid, env }) {
  const directory = join(place, 'own-database')
  const program = `
    import { startPostgres } from ${JSON.stringify(pathToFileURL(join(project, 'dist/cli/demo/embedded-postgres.js')).href)}
    import pg from ${JSON.stringify(pathToFileURL(join(project, 'node_modules/pg/esm/index.mjs')).href)}
    const server = await startPostgres({ directory: ${JSON.stringify(directory)}, durability: 'disposable' })
    const client = new pg.Client({ connectionString: server.url('postgres') })
    await client.connect()
    await client.query('CREATE TABLE team (id int PRIMARY KEY, name text NOT NULL); CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, team_id int REFERENCES team); CREATE INDEX ON person (team_id)')
    await client.end()
    console.log(server.url('postgres'))
    process.on('SIGTERM', async () => { await server.stop(); process.exit(0) })
    setInterval(() => undefined, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    cwd: place,
    env,
    ...(uid !== undefined && { uid, gid: uid }),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const url = await new Promise((done, fail) => {
    child.stdout.once('data', (data) => done(String(data).trim()))
    child.once('exit', (code) => fail(new Error(`the newcomer's database ended with ${code}`)))
  })
  return { url, stop: () => ended(child) }
}

/** Starts a gateway and waits until it is ready; `stop` interrupts it as Ctrl-C does and requires a clean end. */
async function running(command, args, account) {
  const child = spawn(command, args, { ...account, detached: true, stdio: ['ignore', 'ignore', 'inherit'] })
  let isStopped = false
  const until = Date.now() + READY_MS
  for (;;) {
    const ready = await fetch(`${GATEWAY}/readyz`).catch(() => null)
    if (ready?.ok) break
    if (child.exitCode !== null) throw new Error(`${command} ${args.join(' ')} ended with ${child.exitCode}`)
    if (Date.now() > until) throw new Error(`${command} ${args.join(' ')} was not ready after ${READY_MS} ms`)
    await new Promise((done) => setTimeout(done, 200))
  }
  return {
    stop: async () => {
      if (isStopped) return
      isStopped = true
      const exited = new Promise((done) => child.once('exit', done))
      process.kill(-child.pid, 'SIGINT') // the terminal sends it to the whole group
      await exited
      const gone = await fetch(`${GATEWAY}/healthz`).then(
        () => false,
        () => true,
      )
      if (!gone) throw new Error('the gateway is still there after Ctrl-C')
    },
  }
}

async function ended(child) {
  if (child.exitCode !== null) return
  const exited = new Promise((done) => child.once('exit', done))
  child.kill('SIGTERM')
  await exited
}

function must(command, args, options) {
  const { status } = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'], ...options })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}`)
}

function say(name, what) {
  console.log(`\n-- as ${name}: ${what}`)
}
