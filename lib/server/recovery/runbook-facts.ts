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
  /** Of a Multi-AZ DB cluster, which makes its nodes by itself. Undefined: it is none. */
  readonly multiAzCluster?: { readonly instanceClass: string; readonly storageType: string; readonly iops?: string };
  /** The vault of the daily snapshots. Undefined: there is none. */
  readonly vault?: string;
  readonly copies: readonly string[];
  readonly replicationRegion?: string;
}
