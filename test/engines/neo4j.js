/** Neo4j Community: the server's own classes from Maven's repository, started as its launcher starts them. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fetchWith, installed } from './installation.js'
import { accepts, freePorts, startProcess } from './server-process.js'

/** The last of version 5, which has long-term support; Java 17 or 21. */
const VERSION = '5.26.30'
const COPY = 'org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies'

export function install() {
  return installed({ name: 'neo4j', version: VERSION, make })
}

async function make(folder) {
  const project = join(folder, 'pom.xml')
  await writeFile(project, pom())
  await fetchWith('mvn', ['--quiet', '--batch-mode', '-f', project, COPY, '-DoutputDirectory=lib', '-DincludeScope=runtime'], {
    cwd: folder,
    from: 'maven default-jre-headless',
  })
}

/** `neo4j` has the launcher and the database, `neo4j-server` the server's modules. */
function pom() {
  const dependencies = [
    ['org.neo4j', 'neo4j'],
    ['org.neo4j.app', 'neo4j-server'],
  ].map(([group, artifact]) => `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${VERSION}</version></dependency>`)
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>concordat.test</groupId><artifactId>neo4j-engine</artifactId><version>1</version>
  <dependencies>${dependencies.join('')}</dependencies>
</project>
`
}

/**
 * @param {{ directory: string, port?: number }} options
 * @returns {Promise<{ url: string, stop(): Promise<void> }>} a Bolt address, without authentication and TLS
 */
export async function start({ directory, port }) {
  const library = await install()
  const [free] = port ? [port] : await freePorts(1)
  await mkdir(join(directory, 'conf'), { recursive: true })
  await writeFile(join(directory, 'conf', 'neo4j.conf'), settings(free))
  const server = await startProcess({
    command: 'java',
    args: [
      '-Xms128m',
      '-Xmx1g',
      '-cp',
      join(library, 'lib', '*'),
      'org.neo4j.server.CommunityEntryPoint',
      `--home-dir=${directory}`,
      `--config-dir=${join(directory, 'conf')}`,
    ],
    directory,
    log: join(directory, 'neo4j.log'),
    answers: () => accepts(free),
  })
  return { url: `bolt://127.0.0.1:${free}`, stop: server.stop }
}

function settings(port) {
  return `server.bolt.listen_address=127.0.0.1:${port}
server.http.enabled=false
server.https.enabled=false
dbms.security.auth_enabled=false
dbms.usage_report.enabled=false
server.memory.pagecache.size=64m
db.tx_log.preallocate=false
server.db.query_cache_size=100
`
}
