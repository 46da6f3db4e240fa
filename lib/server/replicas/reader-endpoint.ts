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

/** Addresses behind which no node stands. */
const HEADLESS = new WeakSet<IReaderEndpoint>();

export function markHeadless(endpoint: IReaderEndpoint): void {
  HEADLESS.add(endpoint);
}

/** RDS gives a cluster an address for reads also where nothing answers there. `place` is who asks, and how. */
export function refuseHeadless(place: string, endpoint: IReaderEndpoint): void {
  if (!HEADLESS.has(endpoint)) return;
  throw new Error(
    `${place} names an endpoint without a node, since its secondary was made with readers: 0, and nobody answers there; set readers to 1 or more, ` +
      'or leave endpoint out for the primary',
  );
}
