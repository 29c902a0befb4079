/** Tries until the expectation holds; the last failure is the test's, at most `withinMs` later. */
export async function eventually<T>(expectation: () => Promise<T> | T, withinMs = 5_000): Promise<T> {
  const until = performance.now() + withinMs
  for (;;) {
    try {
      return await expectation()
    } catch (error) {
      if (performance.now() > until) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}
