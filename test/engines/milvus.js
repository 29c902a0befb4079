/** Milvus in its standalone form: the binary of the server, from a Python wheel that carries it compressed. Linux on x64 and arm64. */
import { mkdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fetchWheels, fetchWith, installed } from './installation.js'
import { freePorts, startProcess } from './server-process.js'

/** The last one that came as a wheel. */
const VERSION = '2.3.5'
const TRY_MS = 2_000
/** Each server keeps its number here, whatever it is told, and another account's folder makes it fail: none is left behind. */
const RUN_FOLDER = '/tmp/milvus'

/** What the wheel's own launcher does at each start, into each data folder. */
const UNPACK = `
import glob, lzma, os, shutil
os.mkdir('bin')
for path in glob.glob('wheel/milvus/data/bin/*.lzma'):
    target = os.path.join('bin', os.path.basename(path)[:-5])
    with lzma.open(path) as packed, open(target, 'wb') as plain:
        shutil.copyfileobj(packed, plain)
    os.chmod(target, 0o755)
shutil.copy('wheel/milvus/data/config.yaml.template', '.')
shutil.copy('wheel/milvus/data/glog.conf', '.')
shutil.rmtree('wheel')
`

export function install() {
  return installed({ name: 'milvus', version: VERSION, make })
}

async function make(folder) {
  await mkdir(join(folder, 'wheel'))
  await fetchWheels(join(folder, 'wheel'), [`milvus==${VERSION}`])
  await fetchWith('python3', ['-c', UNPACK], { cwd: folder, from: 'python3' })
}

/**
 * @param {{ directory: string, port?: number }} options `port`: of the gRPC service; Milvus listens on all addresses of the machine
 * @returns {Promise<{ url: string, stop(): Promise<void> }>} `url`: host and port, as Milvus' clients want it
 */
export async function start({ directory, port }) {
  const installation = await install()
  const [free, metrics, etcd, peer, ...inner] = await freePorts(4 + INNER_PORTS.length)
  const proxy = port ?? free
  for (const folder of ['configs', 'logs', 'data']) await mkdir(join(directory, folder), { recursive: true })
  const template = await readFile(join(installation, 'config.yaml.template'), 'utf8')
  const values = {
    proxy_port: proxy,
    etcd_port: etcd,
    etcd_log_path: join(directory, 'logs', 'etcd.log'),
    etcd_data_dir: join(directory, 'data', 'etcd.data'),
    local_storage_dir: join(directory, 'data'),
    rocksmq_data_dir: join(directory, 'data', 'rocksmq'),
    system_log_path: join(directory, 'logs'),
    ...Object.fromEntries(INNER_PORTS.map((name, index) => [name, inner[index]])),
  }
  const etcdFile = join(directory, 'configs', 'etcd.yaml')
  await writeFile(etcdFile, etcdSettings({ directory, client: etcd, peer }))
  // The template does not name the file; without it, etcd would take its usual ports.
  const settings = filled(template, values).replace(/^etcd:$/m, `etcd:\n  config:\n    path: ${etcdFile}`)
  await writeFile(join(directory, 'configs', 'milvus.yaml'), settings)
  await writeFile(join(directory, 'configs', 'glog.conf'), await readFile(join(installation, 'glog.conf')))
  const server = await startProcess({
    command: join(installation, 'bin', 'milvus'),
    args: ['run', 'standalone'],
    directory,
    log: join(directory, 'milvus.log'),
    env: {
      DEPLOY_MODE: 'STANDALONE',
      LD_LIBRARY_PATH: join(installation, 'bin'),
      METRICS_PORT: String(metrics),
    },
    answers: () => isHealthy(metrics),
  })
  const stop = async () => {
    await server.stop()
    await rm(join(RUN_FOLDER, `server_id_${server.pid}`), { force: true })
    const pidFile = join(RUN_FOLDER, 'standalone.pid')
    if ((await readFile(pidFile, 'utf8').catch(() => '')).trim() === String(server.pid)) await rm(pidFile)
    await rmdir(RUN_FOLDER).catch(() => undefined) // fails when another server still runs
  }
  return { url: `127.0.0.1:${proxy}`, stop }
}

const INNER_PORTS = [
  'root_coord_port',
  'proxy_internal_port',
  'query_coord_port',
  'query_node_port',
  'index_coord_port',
  'index_node_port',
  'data_coord_port',
  'data_node_port',
]

/** The template has `{{ name(type): default }}`, type and default optional. */
function filled(template, values) {
  return template.replace(/\{\{\s*(\w+)(?:\(\w+\))?(?::\s*([^}]*?))?\s*\}\}/g, (_, name, otherwise) => String(values[name] ?? otherwise ?? ''))
}

function etcdSettings({ directory, client, peer }) {
  return `name: default
data-dir: ${join(directory, 'data', 'etcd.data')}
listen-client-urls: http://127.0.0.1:${client}
advertise-client-urls: http://127.0.0.1:${client}
listen-peer-urls: http://127.0.0.1:${peer}
initial-advertise-peer-urls: http://127.0.0.1:${peer}
initial-cluster: default=http://127.0.0.1:${peer}
log-level: warn
log-outputs: [${join(directory, 'logs', 'etcd.log')}]
unsafe-no-fsync: true
`
}

async function isHealthy(port) {
  const answer = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(TRY_MS) })
  if (!answer.ok || !(await answer.text()).includes('OK')) throw new Error('not healthy yet')
}
