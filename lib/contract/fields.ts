/** Reads the fields of one object strictly: what is wrong, and what nobody asked for, becomes a problem with its place. */
export class Fields {
  private readonly values: Record<string, unknown>;
  private readonly left: Set<string>;

  constructor(
    value: unknown,
    private readonly place: string,
    private readonly problems: string[],
  ) {
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!isObject) problems.push(`${place} must be an object`);
    this.values = isObject ? (value as Record<string, unknown>) : {};
    this.left = new Set(Object.keys(this.values));
  }

  private take(key: string): unknown {
    this.left.delete(key);
    return Object.hasOwn(this.values, key) ? this.values[key] : undefined;
  }

  private wrong(key: string, expected: string): undefined {
    this.problems.push(`${key} of ${this.place} must be ${expected}`);
    return undefined;
  }

  /** Whatever it is. */
  value(key: string): unknown {
    return this.take(key);
  }

  string(key: string, optional = false): string | undefined {
    const value = this.take(key);
    if (value === undefined && optional) return undefined;
    return typeof value === 'string' && value !== '' ? value : this.wrong(key, 'a text that is not empty');
  }

  choice<T extends string>(key: string, allowed: readonly T[]): T | undefined {
    const value = this.take(key);
    return allowed.includes(value as T) ? (value as T) : this.wrong(key, `one of ${allowed.join(', ')}`);
  }

  integer(key: string, optional = false): number | undefined {
    const value = this.take(key);
    if (value === undefined && optional) return undefined;
    if (Number.isSafeInteger(value)) return value as number;
    if (typeof value === 'string' && /^-?\d{1,9}$/.test(value)) return Number(value);
    return this.wrong(key, 'a whole number');
  }

  /** A whole number in a range, both ends of it included; the default where there is none. */
  integerIn(key: string, least: number, most: number, otherwise?: number): number {
    const value = this.integer(key, otherwise !== undefined) ?? otherwise ?? least;
    if (value < least || value > most) this.wrong(key, `a whole number from ${least} to ${most}`);
    return value;
  }

  lines<T>(key: string, read: (line: string) => T): T[] {
    const value = this.take(key) ?? [];
    if (!Array.isArray(value)) return this.wrong(key, 'a list of lines') ?? [];
    return value.flatMap((line) => {
      if (typeof line !== 'string') return this.wrong(key, 'a list of lines') ?? [];
      try {
        return [read(line)];
      } catch (error) {
        this.problems.push(`in ${key} of ${this.place}, ${(error as Error).message}`);
        return [];
      }
    });
  }

  entries<T>(key: string, read: (name: string, value: unknown, place: string) => T): T[] {
    const value = this.take(key) ?? {};
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return this.wrong(key, 'a map by name') ?? [];
    return Object.entries(value).map(([name, entry]) => read(name, entry, `${key}.${name} of ${this.place}`));
  }

  end(): void {
    for (const key of this.left)
      this.problems.push(`${this.place} has a key that this version does not know: ${JSON.stringify(key)}`);
  }
}
