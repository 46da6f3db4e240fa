import data from './create-only.json';

/** The resource types that hold a server. */
export type GuardedType = 'AWS::RDS::DBInstance' | 'AWS::RDS::DBCluster';

export interface CreateOnlyProperties {
  /** A change always replaces the server. */
  readonly always: readonly string[];
  /** A change replaces the server, or does not, as the resource's own code decides. */
  readonly conditional: readonly string[];
  /** A change leaves the server, and cuts off every client. */
  readonly interrupting: readonly string[];
}

/** The properties that the deploy guard watches, by type. `scripts/create-only.ts` writes the data. */
export const CREATE_ONLY: Readonly<Record<GuardedType, CreateOnlyProperties>> = data;

export function guardedProperties(type: GuardedType): readonly string[] {
  const { always, conditional, interrupting } = CREATE_ONLY[type];
  return [...always, ...conditional, ...interrupting];
}
