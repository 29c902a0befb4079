/** What a figure must reach, and whether it does. */
import { printed, table } from './markdown.js'

/**
 * @typedef {object} Goal
 * @property {string} what
 * @property {number} value NaN where it could not be measured
 * @property {'atLeast' | 'atMost'} kind
 * @property {number} must
 * @property {number} [aim] further than `must`
 * @property {number} [noise] share of `must` by which a figure may miss it before `--check` fails: how far equal things differ here
 * @property {number} [guard] what `--check` holds the figure to while `must` is not reached: what has been reached, less what a busy machine takes away
 * @property {string} [unit]
 */

/** @returns {'aim' | 'must' | 'noise' | 'missed'} the furthest that was reached */
export function verdict({ value, kind, must, aim, noise = 0 }) {
  const reaches = (bound) => (kind === 'atLeast' ? value >= bound : value <= bound)
  if (aim !== undefined && reaches(aim)) return 'aim'
  if (reaches(must)) return 'must'
  return reaches(kind === 'atLeast' ? must * (1 - noise) : must * (1 + noise)) ? 'noise' : 'missed'
}

const WORDS = { aim: 'aim reached', must: 'reached', noise: 'missed by less than the noise', missed: '**missed**' }

/** @param {readonly Goal[]} goals */
export function goalTable(goals) {
  const rows = goals.map((goal) => {
    const { what, value, kind, must, aim, noise, unit = '' } = goal
    const bound = `${kind === 'atLeast' ? '≥' : '≤'} ${printed(must)}${aim === undefined ? '' : ` (aim ${printed(aim)})`}${unit && ` ${unit}`}`
    return [what, `${printed(value)}${unit && ` ${unit}`}`, bound, noise ? `${(noise * 100).toFixed(0)} %` : '-', WORDS[verdict(goal)]]
  })
  return table({ title: 'Goals', columns: ['', 'measured', 'goal', 'noise', ''], rows })
}

/** @returns {readonly string[]} a line for each goal that is missed by more than the noise, or has fallen behind its guard */
export function missed(goals) {
  return goals
    .filter((goal) => (goal.guard === undefined ? verdict(goal) === 'missed' : verdict({ ...goal, must: goal.guard, aim: undefined, noise: 0 }) === 'missed'))
    .map(
      ({ what, value, kind, must, guard = must, unit = '' }) =>
        `${what}: ${printed(value)}${unit && ` ${unit}`}, and it must be ${kind === 'atLeast' ? 'at least' : 'at most'} ${printed(guard)}`,
    )
}
