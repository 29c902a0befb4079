/** The command line's own process: its streams, environment and signals. */
import { main } from './concordat.js'

/** A terminal that closes ends what runs in it; without a terminal, `nohup` may have said that this signal means nothing. */
function stopSignals(): readonly NodeJS.Signals[] {
  return process.stdin.isTTY ? ['SIGINT', 'SIGTERM', 'SIGHUP'] : ['SIGINT', 'SIGTERM']
}

const REPEAT_MS = 250

/** Runs the command that the process was started with, and leaves its exit code. */
export async function runProcess(): Promise<void> {
  // A reader that goes away, as `head` does, is no failure.
  process.stdout.on('error', () => undefined)
  process.stderr.on('error', () => undefined)
  process.exitCode = await main(process.argv.slice(2), {
    write: (text) => void process.stdout.write(text),
    writeError: (text) => void process.stderr.write(text),
    environment: process.env,
    onStop: (listener) => {
      let asked = 0
      let lastMs = -Infinity
      const heard = (): void => {
        // One Ctrl-C comes twice under npm: from the terminal, and passed on.
        const nowMs = performance.now()
        if (nowMs - lastMs < REPEAT_MS) return
        lastMs = nowMs
        asked += 1
        // Twice cuts what is under way; who asks once more wants out.
        if (asked > 2) process.exit(130)
        listener()
      }
      const signals = stopSignals()
      for (const signal of signals) process.on(signal, heard)
      return () => {
        for (const signal of signals) process.off(signal, heard)
      }
    },
  })
}
