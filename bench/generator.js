/** Starts load generators (`load.js`). */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** @returns `run(run)`, which resolves to the figures of one run at a time, and `stop()` */
export function startGenerator() {
  const child = fork(fileURLToPath(new URL('./load.js', import.meta.url)), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  return {
    run: (run) =>
      new Promise((resolve, reject) => {
        const onExit = () => reject(new Error('the load generator ended'))
        child.once('exit', onExit)
        child.once('message', ({ figures, error }) => {
          child.removeListener('exit', onExit)
          if (error === undefined) resolve(figures)
          else reject(new Error(error))
        })
        child.send(run)
      }),
    stop: async () => {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}
