/** Every value as a word of a shell: what is literal as it is, a reference as a command that asks CloudFormation for it. */
export interface RunbookFacts {
  readonly path: string;
  readonly isCluster: boolean;
  readonly stackName: string;
  readonly region: string;
  readonly identifier: string;
  readonly port: number;
  readonly masterUsername: string;
  readonly stateName: string;
  readonly engineVersion: string;
  readonly retentionDays: string;
  readonly subnetGroup: string;
  readonly securityGroups: string;
  readonly parameterGroup: string;
  readonly adminSecret: string;
  readonly key: string;
  readonly resourceIdOf: string;
  readonly nodes: readonly {
    readonly identifier: string;
    readonly instanceClass: string;
    readonly parameterGroup: string;
  }[];
  readonly serverless?: { readonly min: string; readonly max: string };
  readonly multiAz: boolean;
  /** The vault of the daily snapshots. Undefined: there is none. */
  readonly vault?: string;
  readonly copies: readonly string[];
  readonly replicationRegion?: string;
}
