/**
 * What the guard remembers between two deployments, in the physical id of its resource: CloudFormation gives it back with the next
 * event, also when it rolls back, and says nowhere that it does.
 */
export interface Receipt {
  /** The fingerprint of what the guard let pass last. */
  readonly accepted: string;
  /** The one of what it let pass before that. */
  readonly before?: string;
  /** Epoch milliseconds at which it changed, to the minute. */
  readonly at: number;
}

const PREFIX = 'cdk-postgres-guard';

export function writeReceipt({ accepted, before, at }: Receipt): string {
  return [PREFIX, accepted, before ?? 'new', Math.floor(at / 60_000).toString(36)].join('/');
}

/** Undefined: not an id of the guard. */
export function readReceipt(physicalId: string | undefined): Receipt | undefined {
  const match = /^cdk-postgres-guard\/([0-9a-f]{16})\/([0-9a-f]{16}|new)\/([0-9a-z]+)$/.exec(physicalId ?? '');
  if (!match) return undefined;
  return {
    accepted: match[1]!,
    before: match[2] === 'new' ? undefined : match[2],
    at: parseInt(match[3]!, 36) * 60_000,
  };
}
