import { aws_ec2 as ec2 } from 'aws-cdk-lib';
import type { IPostgresServer } from '../postgres-server';

/** An address of a server that serves reads: a replica, the readers of a cluster, or some of them. */
export interface IReaderEndpoint extends ec2.IConnectable {
  /** The server whose data is read here. */
  readonly server: IPostgresServer;

  /** The host. */
  readonly host: string;

  /** The port. */
  readonly port: number;

  /** The resource id by which IAM names it (`DbiResourceId` of a replica, `DbClusterResourceId` of a cluster). */
  readonly identity: string;

  /** The region in which it stands. */
  readonly region: string;
}
