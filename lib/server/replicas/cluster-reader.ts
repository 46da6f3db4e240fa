import { Stack, aws_ec2 as ec2 } from 'aws-cdk-lib';
import type { IPostgresServer } from '../postgres-server';
import { IReaderEndpoint } from './reader-endpoint';

/** The endpoint of a cluster behind which all of its readers stand. */
export function clusterReaderEndpoint(server: IPostgresServer, host: string): IReaderEndpoint {
  return {
    server,
    host,
    port: server.port,
    identity: server.identity,
    connections: server.connections as ec2.Connections,
    region: Stack.of(server).region,
  };
}
