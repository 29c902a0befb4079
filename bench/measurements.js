/** What there is to measure, in the order of a whole run. */
import { cold } from './measurements/cold.js'
import { growth } from './measurements/growth.js'
import { guarantees } from './measurements/guarantees.js'
import { noise } from './measurements/noise.js'
import { processes } from './measurements/processes.js'
import { rows } from './measurements/rows.js'
import { start } from './measurements/start.js'
import { stream } from './measurements/stream.js'
import { tail } from './measurements/tail.js'
import { workloads } from './measurements/workloads.js'

export const ALL = [workloads, guarantees, growth, rows, stream, cold, tail, processes, start, noise]
export const QUICK = [workloads, start]
