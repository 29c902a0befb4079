/** Pinecone is a service, and cannot be had: its suite starts a stub of it (test/support/pinecone-stub.ts), so that there is nothing to install or to start here. */
export function install() {
  return Promise.resolve('')
}

/** @returns {Promise<{ url: string, stop(): Promise<void> }>} */
export function start() {
  return Promise.resolve({ url: '', stop: () => Promise.resolve() })
}
