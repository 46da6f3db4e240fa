import { RemovalPolicy, Stack, Token, aws_ec2 as ec2, aws_kms as kms, aws_rds as rds } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { FindingAcknowledgement, acknowledgeFinding } from '../../compliance';
import { DeployGuard, isGuardId } from '../guard';
import type { ManagedServerBase } from '../managed-server';
import type { IPostgresServer } from '../postgres-server';

/** How a copy of a server is entered: through a security group of its own, which lets nobody in before a connection is granted. */
export function copyConnections(
  copy: Construct,
  what: string,
  options: { readonly vpc: ec2.IVpc; readonly port: number; readonly removalPolicy: RemovalPolicy },
): ec2.Connections {
  const securityGroup = new ec2.SecurityGroup(copy, 'SecurityGroup', {
    vpc: options.vpc,
    description: `${what} ${copy.node.path}`.slice(0, 255),
    allowAllOutbound: false,
  });
  securityGroup.applyRemovalPolicy(options.removalPolicy);
  return new ec2.Connections({ securityGroups: [securityGroup], defaultPort: ec2.Port.tcp(options.port) });
}

/** A network is one of a region, and a literal says which: that of a stack that was looked up or made elsewhere does not reach here. */
export function requireOwnNetwork(copy: Construct, vpc: ec2.IVpc): void {
  const [here, there] = [Stack.of(copy).region, vpc.env.region];
  if (Token.isUnresolved(here) || Token.isUnresolved(there) || here === there) return;
  throw new Error(
    `${copy.node.path}: vpc is ${vpc.node.path}, a network in ${there}, and this stack is in ${here}; pass one in ${here}`,
  );
}

/** The deploy guard of a copy in a stack of its own, where that of its server does not reach. */
export function copyGuard(
  copy: Construct & { readonly encryptionKey: kms.IKey },
  source: ManagedServerBase,
  where: {
    readonly servers: (rds.CfnDBCluster | rds.CfnDBInstance)[];
    readonly vpc: ec2.IVpc;
    readonly vpcSubnets: ec2.SubnetSelection;
  },
): DeployGuard | undefined {
  if (!source.profile.isProduction) return undefined;
  return new DeployGuard(copy, 'Guard', {
    ...where,
    encryptionKey: copy.encryptionKey,
    defaults: source.defaults,
    reserveConcurrency: source._reserveConcurrency,
    logRemovalPolicy: source._settings.companions,
  });
}

/** A finding is acknowledged on the copy, and what a deploy guard refused on the guard that refused it: its own, or that of its server. */
export function acknowledgeOnCopy(
  copy: Construct,
  guards: { readonly own?: DeployGuard; readonly server?: IPostgresServer },
  acknowledgement: FindingAcknowledgement,
): void {
  if (!isGuardId(acknowledgement.id)) acknowledgeFinding(copy, acknowledgement);
  else if (guards.own) guards.own.acknowledge({ ...acknowledgement, expires: acknowledgement.expires ?? '' });
  else guards.server?.acknowledge(acknowledgement);
}
