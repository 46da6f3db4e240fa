/** A PostgreSQL version as RDS writes it: `18`, `18.4`, `17.5-R2`. Undefined: not one. */
export function readVersion(text: string | undefined): Version | undefined {
  const match = /^(\d+)(?:\.(\d+))?/.exec(text ?? '');
  if (!match) return undefined;
  return { major: Number(match[1]), minor: match[2] === undefined ? undefined : Number(match[2]) };
}

export interface Version {
  readonly major: number;
  /** Undefined: any. */
  readonly minor?: number;
}
