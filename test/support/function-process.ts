/**
 * Gives the process of the test to a function: what it logs is collected, and its environment is put back after each test. To be
 * called at the top of a test file, before hooks that set the environment.
 */
export function functionProcess(): { readonly lines: Record<string, any>[] } {
  const environment = { ...process.env };
  const lines: Record<string, any>[] = [];
  beforeEach(() => {
    lines.length = 0;
    for (const level of ['info', 'warn', 'error'] as const) {
      jest.spyOn(console, level).mockImplementation((...args: unknown[]) => {
        lines.push(JSON.parse(String(args[0])) as Record<string, any>);
      });
    }
  });
  afterEach(() => {
    jest.restoreAllMocks();
    for (const name of Object.keys(process.env)) delete process.env[name];
    Object.assign(process.env, environment);
  });
  return { lines };
}
