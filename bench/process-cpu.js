/** Processor time of a process and of all that it started, from Linux' /proc: user and system time, of children that have ended too. */
import { readdirSync, readFileSync } from 'node:fs'

/** Ticks a second of the times in /proc/PID/stat; 100 on every Linux that Node runs on. */
const TICKS = 100

/** @returns {(pid: number) => number} milliseconds of the tree below a process, all as of one look at /proc */
export function cpuSnapshot() {
  const processes = new Map()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const found = readStat(name)
    if (found) processes.set(Number(name), found)
  }
  const children = new Map()
  for (const [pid, { parent }] of processes) children.set(parent, [...(children.get(parent) ?? []), pid])
  const total = (pid) => (processes.get(pid)?.ticks ?? 0) + (children.get(pid) ?? []).reduce((sum, child) => sum + total(child), 0)
  return (pid) => (total(pid) * 1_000) / TICKS
}

function readStat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in brackets may hold anything; state, ppid, … follow it (proc_pid_stat(5): fields 4 and 14 to 17).
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) + Number(fields[13]) + Number(fields[14]) }
  } catch {
    return null // it has ended in the meantime
  }
}
