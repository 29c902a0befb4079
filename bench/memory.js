/** Memory of a process, from Linux' /proc, in MiB. */
import { readFileSync, writeFileSync } from 'node:fs'

/** Resident now, and the most since `resetPeak`. */
export function residentMiB(pid) {
  const text = readFileSync(`/proc/${pid}/status`, 'latin1')
  const of = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? NaN) / 1_024
  return { now: of('VmRSS'), peak: of('VmHWM') }
}

/** The peak begins anew at what is resident now (proc_pid_clear_refs(5): 5). */
export function resetPeak(pid) {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}
