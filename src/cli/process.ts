/** The command line's own process: its streams, environment and signals. */
import { main } from './concordat.js'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

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
      const heard = (): void => {
        asked += 1
        // Twice cuts what is under way; who asks once more wants out.
        if (asked > 2) process.exit(130)
        listener()
      }
      for (const signal of SIGNALS) process.on(signal, heard)
      return () => {
        for (const signal of SIGNALS) process.off(signal, heard)
      }
    },
  })
}
