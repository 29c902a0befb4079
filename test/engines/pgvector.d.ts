/** Installs nothing twice: `start` does what `install` does. */
export function install(): Promise<string>
export function start(options: { readonly directory: string; readonly settings?: Readonly<Record<string, string>> }): Promise<{
  readonly url: string
  urlOf(database: string, user?: string): string
  stop(): Promise<void>
}>
