/** What a user did or met, in words for the user: shown without a stack trace. Any other error is a fault of ours. */
export class CliError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'CliError';
  }
}

/** Exit codes of every command. */
export const EXIT = { nothing: 0, error: 1, changes: 2 } as const;
