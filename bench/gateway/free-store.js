/** A store that costs nothing: each statement is asked once of the real one, and answered from memory from then on. */

/** Answers that are kept; a bench asks fewer. */
const KEPT_MAX = 10_000

/**
 * @param {object} connector of `connectors/connector.ts`
 * @returns {object} one that compiles as this one does, and remembers what it gave
 */
export function remembering(connector) {
  /** By compiled statement, by values. */
  const kept = new Map()
  const keptOf = (native) => kept.get(native) ?? kept.set(native, new Map()).get(native)
  let count = 0
  return new Proxy(connector, {
    get: (target, name) => {
      if (name === 'execute') return execute
      const member = Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })

  async function execute(statements, caller, options) {
    const found = statements.map(({ native, values }) => keptOf(native).get(keyOf(values)))
    if (found.every((answer) => answer !== undefined)) return found
    const answers = await connector.execute(statements, caller, options)
    for (const [index, { native, values }] of statements.entries()) {
      // What is still to come can be read once only.
      if (answers[index].rest) throw new Error('the bench asks a free store for small answers only')
      if ((count += 1) > KEPT_MAX) throw new Error('the bench asks a free store for few answers only')
      keptOf(native).set(keyOf(values), answers[index])
    }
    return answers
  }
}

function keyOf({ slots, claims }) {
  return JSON.stringify([slots, [...claims]])
}
