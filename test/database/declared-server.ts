import { App, Stack, aws_ec2 as ec2, aws_kms as kms, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { Construct } from 'constructs';
import { decodeState, DesiredState, Platform } from '../../lib/contract';
import { PostgresProfile } from '../../lib/server/postgres-profile';
import { PostgresServerBase } from '../../lib/server/postgres-server';
import { ServerState, ServerStateProps } from '../../lib/server/state/server-state';

/** A server without anything around it: what is declared inside does not depend on what kind of server it is. */
export class DeclaredServer extends PostgresServerBase {
  public readonly identity: string;
  public readonly host = 'writer.example';
  public readonly readerHost = 'reader.example';
  public readonly port = 5433;
  public readonly profile = PostgresProfile.production();
  public readonly adminSecret: secretsmanager.ISecret;
  public readonly connections: ec2.Connections;
  public readonly _platform: Platform = 'aurora';
  public readonly vpc: ec2.Vpc;
  public readonly state: ServerState;

  constructor(scope: Construct, id: string, props: Partial<ServerStateProps> & { platform?: Platform } = {}) {
    super(scope, id);
    this.identity = id === 'Server' ? 'cluster-ABC' : `cluster-${id}`;
    this.vpc = new ec2.Vpc(this, 'Vpc', { natGateways: 1, maxAzs: 2 });
    const encryptionKey = new kms.Key(this, 'Key');
    this.adminSecret = new secretsmanager.Secret(this, 'AdminSecret', { encryptionKey });
    const securityGroup = new ec2.SecurityGroup(this, 'SecurityGroup', { vpc: this.vpc, allowAllOutbound: false });
    this.connections = new ec2.Connections({ securityGroups: [securityGroup], defaultPort: ec2.Port.tcp(5433) });
    this.state = new ServerState(this, 'State', {
      platform: 'aurora',
      identity: this.identity,
      host: this.host,
      readerHost: this.readerHost,
      port: this.port,
      majorVersion: 18,
      adminSecret: this.adminSecret,
      trust: 'rds',
      vpc: this.vpc,
      serverSecurityGroups: [securityGroup],
      encryptionKey,
      profile: 'production',
      defaults: 'V1',
      dependencies: [],
      ...props,
    });
  }
}

export function newStack(context: Record<string, unknown> = {}): Stack {
  return new Stack(new App({ context }), 'Test');
}

export interface StateResource {
  readonly Properties: Record<string, any>;
  readonly DependsOn?: string[];
}

export function stateResource(stack: Stack): StateResource {
  const resources = Object.values(Template.fromStack(stack).findResources('Custom::CdkPostgresState'));
  expect(resources).toHaveLength(1);
  return resources[0] as StateResource;
}

/** What the function would read: the properties decoded as strictly as it does. */
export function declaredState(stack: Stack): DesiredState {
  return decodeState(stateResource(stack).Properties.State);
}

/** The lines as `cdk diff` shows them. */
export function declaredLines(stack: Stack): Record<string, any> {
  return stateResource(stack).Properties.State;
}
