import {
  App,
  CfnParameter,
  CfnResource,
  Size,
  Stack,
  Token,
  aws_ec2 as ec2,
  aws_kms as kms,
  aws_lambda as lambda,
  aws_rds as rds,
  aws_secretsmanager as secretsmanager,
} from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Authentication, IPostgresServer, ManagedPostgres, RdsPostgres, PostgresVersion } from '../../lib';
import { METRIC_NAMESPACE } from '../../lib/contract';
import { previewServer } from '../../lib/testing';
import { OBJECTIVES, quiet } from './support';
import { dayIn } from '../support/days';

quiet();

const ENV = { account: '123456789012', region: 'eu-west-1' };

/** What a team has that wrote plain aws-rds. */
function plain(kind: 'rds' | 'aurora', more: object = {}, app = new App()) {
  const stack = new Stack(app, 'Plain', { env: ENV });
  const vpc = new ec2.Vpc(stack, 'Vpc', { natGateways: 1, maxAzs: 2 });
  if (kind === 'rds') {
    const instance = new rds.DatabaseInstance(stack, 'Db', { engine: INSTANCE_ENGINE, vpc, ...more });
    return { app, stack, vpc, server: instance, bring: bringInstance(instance) };
  }
  const cluster = new rds.DatabaseCluster(stack, 'Db', {
    engine: CLUSTER_ENGINE,
    vpc,
    writer: rds.ClusterInstance.provisioned('Writer'),
    readers: [rds.ClusterInstance.serverlessV2('Reader', { scaleWithWriter: true })],
    ...more,
  });
  return { app, stack, vpc, server: cluster, bring: bringCluster(cluster) };
}

const INSTANCE_ENGINE = rds.DatabaseInstanceEngine.postgres({ version: rds.PostgresEngineVersion.of('17.4', '17') });
const CLUSTER_ENGINE = rds.DatabaseClusterEngine.auroraPostgres({
  version: rds.AuroraPostgresEngineVersion.of('17.4', '17'),
});

const bringInstance = (instance: rds.IDatabaseInstance) => (scope: Stack, options: object) =>
  ManagedPostgres.fromInstance(scope, 'Managed', { instance, ...options });
const bringCluster = (cluster: rds.IDatabaseCluster) => (scope: Stack, options: object) =>
  ManagedPostgres.fromCluster(scope, 'Managed', { cluster, ...options });

const GIB = 1024 ** 3;
const R6G_XLARGE = ec2.InstanceType.of(ec2.InstanceClass.R6G, ec2.InstanceSize.XLARGE);

/** The alarms of a stack by their metric: those of CloudWatch's own metrics, or all. */
function cloudWatchAlarms(stack: Stack, namespaces = ['AWS/RDS']): Record<string, any> {
  return Object.fromEntries(
    Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm'))
      .map(({ Properties }) => Properties)
      .filter(({ Namespace }) => namespaces.includes(Namespace))
      .map((alarm) => [alarm.MetricName, alarm]),
  );
}

function declareInside(server: IPostgresServer): void {
  const shop = server.addDatabase('shop');
  const api = shop.addLoginRole('api');
  shop.addSchema('billing').grantReadWrite(api);
}

const stateOf = (stack: Stack) =>
  Object.values(Template.fromStack(stack).findResources('Custom::CdkPostgresState'))[0]!.Properties;

describe.each(['rds', 'aurora'] as const)('a plain %s server of aws-rds', (kind) => {
  test('LR-21: gets the same declared state as a server of this library', () => {
    const { stack, bring } = plain(kind);
    declareInside(bring(stack, { stateName: 'shop' }));

    const own = new Stack(new App(), 'Own', { env: ENV });
    const vpc = new ec2.Vpc(own, 'Vpc', { natGateways: 1, maxAzs: 2 });
    declareInside(
      new RdsPostgres(own, 'Managed', {
        vpc,
        version: PostgresVersion.V17,
        objectives: OBJECTIVES,
        stateName: 'shop',
      }),
    );
    expect(stateOf(stack).State).toEqual(stateOf(own).State);
    // Control: another declaration is another state.
    const other = plain(kind);
    other.bring(other.stack, { stateName: 'shop' }).addDatabase('shop');
    expect(stateOf(other.stack).State).not.toEqual(stateOf(own).State);
  });

  test('identity, endpoint, port and secret are those of its construct', () => {
    const { stack, bring } = plain(kind);
    declareInside(bring(stack, {}));
    const logicalId = (type: string) => Object.keys(Template.fromStack(stack).findResources(type))[0];
    const resource = logicalId(kind === 'rds' ? 'AWS::RDS::DBInstance' : 'AWS::RDS::DBCluster');
    const attribute = (name: string) => ({ 'Fn::GetAtt': [resource, name] });
    expect(stateOf(stack).Server).toMatchObject({
      Platform: kind,
      Identity: attribute(kind === 'rds' ? 'DbiResourceId' : 'DBClusterResourceId'),
      Host: attribute('Endpoint.Address'),
      Port: 5432,
      AdminSecretArn: { Ref: logicalId('AWS::SecretsManager::SecretTargetAttachment') },
      ...(kind === 'aurora' && { ReaderHost: attribute('ReadEndpoint.Address') }),
    });
  });

  test('nothing of its construct changes, in the same stack or in another', () => {
    const before = Template.fromStack(plain(kind).stack).toJSON().Resources;
    const same = plain(kind);
    connectTo(same.bring(same.stack, {}), same.vpc, same.stack);
    const after = Template.fromStack(same.stack).toJSON().Resources;
    for (const [id, resource] of Object.entries(before)) expect({ [id]: after[id] }).toEqual({ [id]: resource });
    // Control: there is more than before.
    expect(Object.keys(after).length).toBeGreaterThan(Object.keys(before).length);

    const apart = plain(kind);
    const billing = new Stack(apart.app, 'Billing', { env: ENV });
    connectTo(apart.bring(billing, {}), apart.vpc, billing);
    expect(Template.fromStack(apart.stack).toJSON().Resources).toEqual(before);
    Template.fromStack(billing).resourceCountIs('Custom::CdkPostgresState', 1);
  });

  test('SEC-15: the functions enter its own security group by a rule with a literal port', () => {
    const { stack, bring, server } = plain(kind);
    declareInside(bring(stack, {}));
    Template.fromStack(stack).hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
      FromPort: 5432,
      ToPort: 5432,
      GroupId: stack.resolve(server.connections.securityGroups[0]!.securityGroupId),
      Description: 'cdk-postgres function',
    });
  });

  test('the state waits for the server, its nodes and the attachment of its secret', () => {
    const { stack, bring } = plain(kind);
    declareInside(bring(stack, {}));
    const template = Template.fromStack(stack);
    const [state] = Object.values(template.findResources('Custom::CdkPostgresState'));
    for (const type of ['AWS::RDS::DBInstance', 'AWS::SecretsManager::SecretTargetAttachment'])
      expect(state!.DependsOn).toEqual(expect.arrayContaining(Object.keys(template.findResources(type))));
    // Control: the same server from another stack leaves the order to its exports.
    const apart = plain(kind);
    const billing = new Stack(apart.app, 'Billing', { env: ENV });
    declareInside(apart.bring(billing, {}));
    const [remote] = Object.values(Template.fromStack(billing).findResources('Custom::CdkPostgresState'));
    expect(JSON.stringify(remote!.DependsOn)).not.toContain('Db');
  });

  test('drift detection and the acknowledgement of a plan work on it', () => {
    const { stack, bring } = plain(kind);
    const managed = bring(stack, {});
    declareInside(managed);
    managed.addDriftDetection();
    managed.acknowledgePlan('0123456789abcdef', 'tried on staging');
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::Events::Rule', 1);
    expect(JSON.stringify(stateOf(stack).State)).toContain('0123456789abcdef');
    expect(() => managed.acknowledge({ id: 'guard:replacement', reason: 'r', expires: dayIn(30) })).toThrow(
      'no deploy guard stands before a server that this app does not run',
    );
  });

  test('OPS-4: CloudWatch watches it as its own kind, with thresholds of its class and storage', () => {
    const { stack, bring } = plain(
      kind,
      kind === 'rds'
        ? { instanceType: R6G_XLARGE, allocatedStorage: 200 }
        : { writer: rds.ClusterInstance.provisioned('Writer', { instanceType: R6G_XLARGE }), readers: [] },
    );
    const monitoring = bring(stack, {}).addMonitoring();
    const alarms = cloudWatchAlarms(stack);
    expect(Object.keys(alarms).sort()).toEqual(
      kind === 'rds'
        ? [
            'BurstBalance',
            'CPUUtilization',
            'DatabaseConnections',
            'DiskQueueDepth',
            'FreeStorageSpace',
            'FreeableMemory',
            'MaximumUsedTransactionIDs',
            'OldestReplicationSlotLag',
            'ReadLatency',
            'TransactionLogsDiskUsage',
            'WriteLatency',
          ]
        : [
            'CPUUtilization',
            'DatabaseConnections',
            'FreeLocalStorage',
            'FreeableMemory',
            'MaximumUsedTransactionIDs',
            'VolumeBytesUsed',
          ],
    );
    expect(alarms.FreeableMemory.Threshold).toBe(Math.floor((32 * GIB) / 20));
    expect(alarms.DatabaseConnections.Threshold).toBe(Math.floor(Math.floor((32 * GIB * 0.95) / 9531392) * 0.8));
    if (kind === 'rds') {
      expect(alarms.FreeStorageSpace.Threshold).toBe(20 * GIB);
      expect(alarms.TransactionLogsDiskUsage.Threshold).toBe(60 * GIB);
    }
    const [dimension] = alarms.CPUUtilization.Dimensions;
    expect(dimension.Name).toBe(kind === 'rds' ? 'DBInstanceIdentifier' : 'DBClusterIdentifier');
    expect(dimension.Value.Ref).toMatch(/^Db/);
    expect(monitoring.alarms.length).toBeGreaterThan(Object.keys(alarms).length);
  });

  test('OPS-4: a class that only the deployment knows is taken for none', () => {
    const app = new App();
    const parameters = new Stack(app, 'Parameters', { env: ENV });
    const instanceType = new ec2.InstanceType(new CfnParameter(parameters, 'Class').valueAsString);
    const { stack, bring } = plain(
      kind,
      kind === 'rds'
        ? { instanceType }
        : { writer: rds.ClusterInstance.provisioned('W', { instanceType }), readers: [] },
      app,
    );
    bring(stack, {}).addMonitoring();
    const alarms = cloudWatchAlarms(stack, ['AWS/RDS', METRIC_NAMESPACE]);
    for (const metric of ['FreeableMemory', 'DatabaseConnections', 'ACUUtilization', 'FreeLocalStorage'])
      expect(alarms[metric]).toBeUndefined();
    expect(alarms.ConnectionsUsedPercent.Threshold).toBe(80);
  });

  test('HA-20: the events of RDS go to the topic of its monitoring', () => {
    const { stack, bring } = plain(kind);
    bring(stack, {}).addMonitoring();
    const found = Object.values(Template.fromStack(stack).findResources('AWS::RDS::EventSubscription'));
    expect(found.map(({ Properties }) => [Properties.SourceType, Properties.SourceIds.length])).toEqual(
      kind === 'rds'
        ? [['db-instance', 1]]
        : [
            ['db-cluster', 1],
            ['db-instance', 2],
          ],
    );
  });

  test('CP-18, HA-8: its own parameters decide where its group is in the app, and the probe where it is not', () => {
    const withGroup = (parameterGroup: (stack: Stack) => rds.IParameterGroup) => {
      const app = new App();
      const holder = new Stack(app, 'Groups', { env: ENV });
      const made = plain(kind, { parameterGroup: parameterGroup(holder) }, app);
      made.bring(made.stack, {}).addMonitoring();
      return cloudWatchAlarms(made.stack, ['AWS/RDS', METRIC_NAMESPACE]);
    };
    const engine = kind === 'rds' ? INSTANCE_ENGINE : CLUSTER_ENGINE;
    const own = withGroup(
      (scope) =>
        new rds.ParameterGroup(scope, 'Group', {
          engine,
          parameters: { max_connections: '300', max_slot_wal_keep_size: '4096' },
        }),
    );
    expect(own.SlotRetainedBytes.Threshold).toBe(2 * GIB);
    expect(own.DatabaseConnections.Threshold).toBe(240);
    if (kind === 'rds') expect(own.OldestReplicationSlotLag.Threshold).toBe(2 * GIB);
    const imported = withGroup((scope) => rds.ParameterGroup.fromParameterGroupName(scope, 'Group', 'theirs'));
    expect(imported.DatabaseConnections).toBeUndefined();
    expect(imported.ConnectionsUsedPercent.Threshold).toBe(80);
    expect(imported.SlotRetainedBytes.Threshold).toBe(10 * GIB);
  });

  test('OPS-4: the probe watches its inside', () => {
    const { stack, bring } = plain(kind);
    const managed = bring(stack, {});
    declareInside(managed);
    managed.addMonitoring();
    expect(JSON.stringify(stateOf(stack).State)).toContain('cdk_postgres_probe');
    Template.fromStack(stack).resourceCountIs('AWS::CloudWatch::Dashboard', 1);
  });

  test('SEC-16: logging in by IAM is there where the construct has it', () => {
    const without = plain(kind);
    expect(() =>
      without
        .bring(without.stack, {})
        .addDatabase('shop')
        .addLoginRole('job', { authentication: Authentication.iam() }),
    ).toThrow('use Authentication.password()');
    const { stack, bring } = plain(kind, { iamAuthentication: true });
    bring(stack, {}).addDatabase('shop').addLoginRole('job', { authentication: Authentication.iam() });
    expect(JSON.stringify(stateOf(stack).State)).toContain('job LOGIN IAM');
  });

  test('a port of its own is taken over, and a token is refused', () => {
    const { stack, bring } = plain(kind, { port: 6000 });
    expect(bring(stack, {}).port).toBe(6000);
    const other = plain(kind);
    expect(() => other.bring(other.stack, { port: Token.asNumber({ Ref: 'Port' }) })).toThrow(
      'expected a literal number from 1 to 65535',
    );
  });

  test('a password that RDS keeps itself is read from the secret that RDS keeps, and not rotated here', () => {
    const { stack, bring } = plain(kind, { manageMasterUserPassword: true });
    declareInside(bring(stack, {}));
    expect(JSON.stringify(stateOf(stack).Server.AdminSecretArn)).toContain('MasterUserSecret.SecretArn');
    // The one schedule is that of the role api.
    Template.fromStack(stack).resourceCountIs('AWS::SecretsManager::RotationSchedule', 1);
  });

  test('a server that was made from a snapshot without a secret asks for one, and takes it', () => {
    const restored = fromSnapshot(kind);
    expect(() => restored.bring({})).toThrow(
      /Plain\/Managed: Plain\/Db has no secret of its master user.*pass adminSecret, a secret with username and password/,
    );
    const secret = secretsmanager.Secret.fromSecretCompleteArn(
      restored.stack,
      'Admin',
      'arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf',
    );
    declareInside(restored.bring({ adminSecret: secret }));
    expect(stateOf(restored.stack).Server.AdminSecretArn).toContain(':secret:admin-AbCdEf');
  });

  test('a customer key of the secret may be used by the functions', () => {
    const { stack, bring } = plain(kind, {});
    const key = new kms.Key(stack, 'Theirs');
    const secret = secretsmanager.Secret.fromSecretAttributes(stack, 'Admin', {
      secretCompleteArn: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf',
      encryptionKey: key,
    });
    declareInside(bring(stack, { adminSecret: secret }));
    Template.fromStack(stack).hasResourceProperties('AWS::IAM::ManagedPolicy', {
      PolicyDocument: Match.objectLike({
        Statement: Match.arrayWith([
          Match.objectLike({ Resource: stack.resolve(key.keyArn), Action: Match.arrayWith(['kms:Decrypt']) }),
        ]),
      }),
    });
  });

  test('another account or region is an error', () => {
    const { app, bring } = plain(kind);
    const elsewhere = new Stack(app, 'Elsewhere', { env: { ...ENV, region: 'eu-central-1' } });
    expect(() => bring(elsewhere, {})).toThrow('the server is in the region eu-west-1, and this stack in eu-central-1');
  });
});

test.each(['rds', 'aurora'] as const)(
  'a plain %s server is deployed: its inside is there, and its role logs in',
  async (kind) => {
    const { stack, bring } = plain(kind);
    declareInside(bring(stack, {}));
    const server = await previewServer(stack, { version: 17 });
    try {
      await server.query('CREATE TABLE billing.invoice (id int)', { role: 'shop_owner' });
      await server.query('INSERT INTO billing.invoice VALUES (1)', { role: 'api' });
      const [who] = await server.query('SELECT session_user AS name, current_database() AS database', { role: 'api' });
      expect(who).toEqual({ name: 'api', database: 'shop' });
      await expect(server.query('DROP TABLE billing.invoice', { role: 'api' })).rejects.toThrow('must be owner');
    } finally {
      await server.stop();
    }
  },
);

function connectTo(server: IPostgresServer, vpc: ec2.IVpc, stack: Stack): void {
  server.acknowledge({ id: 'CP-1', reason: 'what this test is about needs no pooler' });
  const api = server.addDatabase('shop').addLoginRole('api');
  const handler = new lambda.Function(stack, 'Handler', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => {};'),
    vpc,
  });
  api.grantConnect(handler);
}

function fromSnapshot(kind: 'rds' | 'aurora', more: object = {}) {
  const stack = new Stack(new App(), 'Plain', { env: ENV });
  const vpc = new ec2.Vpc(stack, 'Vpc', { natGateways: 1, maxAzs: 2 });
  if (kind === 'rds') {
    const instance = new rds.DatabaseInstanceFromSnapshot(stack, 'Db', {
      engine: INSTANCE_ENGINE,
      vpc,
      snapshotIdentifier: 'before-the-fire',
      ...more,
    });
    return { stack, cluster: undefined, bring: (options: object) => bringInstance(instance)(stack, options) };
  }
  const cluster = new rds.DatabaseClusterFromSnapshot(stack, 'Db', {
    engine: CLUSTER_ENGINE,
    vpc,
    snapshotIdentifier: 'before-the-fire',
    writer: rds.ClusterInstance.provisioned('Writer'),
    ...more,
  });
  return { stack, cluster, bring: (options: object) => bringCluster(cluster)(stack, options) };
}

test('a cluster with nodes of the older kind is waited for with all of them', () => {
  const stack = new Stack(new App(), 'Plain', { env: ENV });
  const vpc = new ec2.Vpc(stack, 'Vpc', { natGateways: 1, maxAzs: 2 });
  const cluster = new rds.DatabaseCluster(stack, 'Db', {
    engine: CLUSTER_ENGINE,
    instances: 2,
    instanceProps: { vpc },
  });
  declareInside(ManagedPostgres.fromCluster(stack, 'Managed', { cluster }));
  const template = Template.fromStack(stack);
  const [state] = Object.values(template.findResources('Custom::CdkPostgresState'));
  const nodes = Object.keys(template.findResources('AWS::RDS::DBInstance'));
  expect(nodes).toHaveLength(2);
  expect(state!.DependsOn).toEqual(expect.arrayContaining(nodes));
});

test('the secret that aws-rds makes for a restored cluster is taken where its password is set, and not where it is not', () => {
  const restored = fromSnapshot('aurora', {
    snapshotCredentials: rds.SnapshotCredentials.fromGeneratedSecret('postgres'),
  });
  expect(restored.cluster!.secret).toBeDefined();
  declareInside(restored.bring({}));
  const other = fromSnapshot('aurora');
  // It is there, and opens nothing.
  expect(other.cluster!.secret).toBeDefined();
  expect(() => other.bring({})).toThrow('has no secret of its master user');
});

test('LIB-12: the secret of the server is not under the key of its storage, whose policy stays as it is', () => {
  const app = new App();
  const stack = new Stack(app, 'Plain', { env: ENV });
  const vpc = new ec2.Vpc(stack, 'Vpc', { natGateways: 1, maxAzs: 2 });
  const storageEncryptionKey = new kms.Key(stack, 'Storage');
  const instance = new rds.DatabaseInstance(stack, 'Db', { engine: INSTANCE_ENGINE, vpc, storageEncryptionKey });
  const [before] = policies(stack, 'Storage');
  declareInside(ManagedPostgres.fromInstance(stack, 'Managed', { instance }));
  expect(policies(stack, 'Storage')).toEqual([before]);
  // Control: there is another key, with a policy of its own.
  expect(policies(stack, 'Managed')).toHaveLength(1);
});

const policies = (stack: Stack, under: string) =>
  stack.node
    .findAll()
    .filter((c): c is kms.CfnKey => CfnResource.isCfnResource(c) && c instanceof kms.CfnKey)
    .filter((key) => key.node.path.startsWith(`Plain/${under}/`))
    .map((key) => stack.resolve(key.keyPolicy) as object);

test('a serverless cluster that pauses warns of a schedule that keeps it awake', () => {
  const drifting = (minCapacity: number) => {
    const { stack, bring } = plain('aurora', { serverlessV2MinCapacity: minCapacity });
    const managed = bring(stack, {});
    declareInside(managed);
    managed.addDriftDetection();
    return JSON.stringify(stack.node.findAll().map(({ node }) => node.metadata));
  };
  expect(drifting(0)).toContain('pause');
  expect(drifting(0.5)).not.toContain('pause');
});

describe('imported', () => {
  const imported = () => {
    const stack = new Stack(new App(), 'Plain', { env: ENV });
    const vpc = new ec2.Vpc(stack, 'Vpc', { natGateways: 1, maxAzs: 2 });
    const secret = secretsmanager.Secret.fromSecretCompleteArn(
      stack,
      'Admin',
      'arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf',
    );
    const group = ec2.SecurityGroup.fromSecurityGroupId(stack, 'Theirs', 'sg-12345678');
    return { stack, vpc, secret, group };
  };

  test('a cluster by its attributes says what it was not given, one prop at a time', () => {
    const { stack, vpc, secret, group } = imported();
    let attributes: rds.DatabaseClusterAttributes = { clusterIdentifier: 'orders' };
    let options: object = {};
    let id = 0;
    const bring = () => {
      const cluster = rds.DatabaseCluster.fromDatabaseClusterAttributes(stack, `Db${++id}`, attributes);
      return ManagedPostgres.fromCluster(stack, `Managed${id}`, { cluster, ...options });
    };
    expect(bring).toThrow(
      'Plain/Db1 does not say its resource id (DbClusterResourceId, cluster-…); pass it as identity',
    );
    options = { ...options, identity: 'orders' };
    expect(bring).toThrow('identity is "orders"; write the resource id of the cluster, cluster-…');
    options = { ...options, identity: 'cluster-ABC123' };
    expect(bring).toThrow('does not say its endpoint; import it with clusterEndpointAddress and port');
    attributes = { ...attributes, clusterEndpointAddress: 'orders.cluster-x.eu-west-1.rds.amazonaws.com', port: 5432 };
    expect(bring).toThrow('has no secret of its master user');
    options = { ...options, adminSecret: secret };
    expect(bring).toThrow('does not say the network that it stands in; pass it as vpc');
    options = { ...options, vpc };
    expect(bring).toThrow(
      'does not say its security groups, which the functions have to enter; pass it as securityGroups',
    );
    options = { ...options, securityGroups: [group] };
    declareInside(bring());
    expect(stateOf(stack).Server).toMatchObject({
      Platform: 'aurora',
      Identity: 'cluster-ABC123',
      Host: 'orders.cluster-x.eu-west-1.rds.amazonaws.com',
      Port: 5432,
    });
  });

  test('an instance by its attributes needs no more than the network, the secret and the resource id', () => {
    const { stack, vpc, secret, group } = imported();
    const bring = (id: string, attributes: object, options: object = {}) =>
      ManagedPostgres.fromInstance(stack, `Managed${id}`, {
        instance: rds.DatabaseInstance.fromDatabaseInstanceAttributes(stack, `Db${id}`, {
          instanceIdentifier: 'orders',
          instanceEndpointAddress: 'orders.x.eu-west-1.rds.amazonaws.com',
          port: 5432,
          securityGroups: [group],
          ...attributes,
        }),
        vpc,
        adminSecret: secret,
        ...options,
      });
    expect(() => bring('1', {})).toThrow('does not say its resource id (DbiResourceId, db-…); pass it as identity');
    declareInside(bring('2', { instanceResourceId: 'db-ABC' }));
    expect(stateOf(stack).Server).toMatchObject({ Platform: 'rds', Identity: 'db-ABC', Port: 5432 });
  });

  describe('OPS-4: what an import does not say leaves out what follows it', () => {
    const watchInstance = (options: object) => {
      const { stack, vpc, secret, group } = imported();
      const instance = rds.DatabaseInstance.fromDatabaseInstanceAttributes(stack, 'Db', {
        instanceIdentifier: 'orders',
        instanceEndpointAddress: 'orders.x.eu-west-1.rds.amazonaws.com',
        instanceResourceId: 'db-ABC',
        port: 5432,
        securityGroups: [group],
      });
      const server = ManagedPostgres.fromInstance(stack, 'Managed', { instance, vpc, adminSecret: secret, ...options });
      server.addMonitoring();
      return cloudWatchAlarms(stack, ['AWS/RDS', METRIC_NAMESPACE]);
    };

    test('of an instance: memory and WAL, while free storage and slots have numbers of their own', () => {
      const alarms = watchInstance({});
      expect(alarms.FreeableMemory).toBeUndefined();
      expect(alarms.TransactionLogsDiskUsage).toBeUndefined();
      expect(alarms.BurstBalance).toBeUndefined();
      expect(alarms.DatabaseConnections).toBeUndefined();
      expect(alarms.ConnectionsUsedPercent.Threshold).toBe(80);
      expect(alarms.FreeStorageSpace.Threshold).toBe(5 * GIB);
      expect(alarms.OldestReplicationSlotLag.Threshold).toBe(10 * GIB);
      expect(alarms.CPUUtilization.Dimensions).toEqual([{ Name: 'DBInstanceIdentifier', Value: 'orders' }]);
    });

    test('of an instance whose size is said: nothing but its parameters', () => {
      const alarms = watchInstance({ instanceType: R6G_XLARGE, allocatedStorage: Size.gibibytes(500) });
      expect(alarms.FreeableMemory.Threshold).toBe(Math.floor((32 * GIB) / 20));
      expect(alarms.FreeStorageSpace.Threshold).toBe(50 * GIB);
      expect(alarms.TransactionLogsDiskUsage.Threshold).toBe(150 * GIB);
      expect(alarms.DiskQueueDepth.Threshold).toBe(240);
      expect(alarms.DatabaseConnections).toBeUndefined();
    });

    test.each<[string, object, string[]]>([
      ['', {}, []],
      [' whose class is said', { instanceType: R6G_XLARGE }, ['FreeableMemory']],
    ])('of a cluster%s', (_what, options, more) => {
      const { stack, vpc, secret, group } = imported();
      const cluster = rds.DatabaseCluster.fromDatabaseClusterAttributes(stack, 'Db', {
        clusterIdentifier: 'orders',
        clusterResourceIdentifier: 'cluster-ABC',
        clusterEndpointAddress: 'orders.cluster-x.eu-west-1.rds.amazonaws.com',
        port: 5432,
        securityGroups: [group],
      });
      const all = { cluster, vpc, adminSecret: secret, ...options };
      ManagedPostgres.fromCluster(stack, 'Managed', all).addMonitoring();
      const alarms = cloudWatchAlarms(stack);
      expect(Object.keys(alarms).sort()).toEqual(
        ['AuroraReplicaLagMaximum', 'CPUUtilization', 'MaximumUsedTransactionIDs', 'VolumeBytesUsed', ...more].sort(),
      );
      expect(alarms.VolumeBytesUsed.Dimensions).toEqual([{ Name: 'DBClusterIdentifier', Value: 'orders' }]);
      const events = Object.values(Template.fromStack(stack).findResources('AWS::RDS::EventSubscription'));
      expect(events.map(({ Properties }) => Properties.SourceIds)).toEqual([['orders']]);
    });
  });

  test('a token as the port of an import asks for the number', () => {
    const { stack, vpc, secret, group } = imported();
    const bring = (options: object) =>
      ManagedPostgres.fromInstance(stack, 'Managed', {
        instance: rds.DatabaseInstance.fromDatabaseInstanceAttributes(stack, `Db${Object.keys(options).length}`, {
          instanceIdentifier: 'orders',
          instanceEndpointAddress: 'orders.x.eu-west-1.rds.amazonaws.com',
          instanceResourceId: 'db-ABC',
          port: Token.asNumber({ Ref: 'Port' }),
          securityGroups: [group],
        }),
        vpc,
        adminSecret: secret,
        ...options,
      });
    expect(() => bring({})).toThrow(
      'does not say its port as a literal number, which a security group rule needs; pass it as port',
    );
    expect(bring({ port: 5433 }).port).toBe(5433);
  });

  test.each(['cluster', 'instance'] as const)('a %s that is yet to be looked up passes the first synthesis', (kind) => {
    const { stack, vpc, secret } = imported();
    const server =
      kind === 'cluster'
        ? ManagedPostgres.fromCluster(stack, 'Managed', {
            cluster: rds.DatabaseCluster.fromLookup(stack, 'Db', { clusterIdentifier: 'orders' }),
            vpc,
            adminSecret: secret,
          })
        : ManagedPostgres.fromInstance(stack, 'Managed', {
            instance: rds.DatabaseInstance.fromLookup(stack, 'Db', { instanceIdentifier: 'orders' }),
            vpc,
            adminSecret: secret,
          });
    declareInside(server);
    expect(server.host).toBe('TESTADDRESS');
  });
});

test.each([
  ['a MySQL server', rds.DatabaseInstanceEngine.mysql({ version: rds.MysqlEngineVersion.VER_8_0 }), 'is mysql, not'],
  [
    'an old version',
    rds.DatabaseInstanceEngine.postgres({ version: rds.PostgresEngineVersion.of('15.7', '15') }),
    'is of version 15; the declared state needs 16 or later',
  ],
])('%s is refused', (_, engine, message) => {
  const { stack, bring } = plain('rds', { engine });
  expect(() => bring(stack, {})).toThrow(message);
});

test('a read replica is refused', () => {
  const { stack, vpc, server } = plain('rds');
  const replica = new rds.DatabaseInstanceReadReplica(stack, 'Replica', {
    sourceDatabaseInstance: server as rds.DatabaseInstance,
    instanceType: ec2.InstanceType.of(ec2.InstanceClass.R7G, ec2.InstanceSize.LARGE),
    vpc,
  });
  expect(() => ManagedPostgres.fromInstance(stack, 'Managed', { instance: replica })).toThrow(
    'Plain/Replica is a read replica, which takes no roles, databases or grants of its own; pass the server that it follows',
  );
});

test('nothing passed is an error that says what to pass', () => {
  const stack = new Stack(new App(), 'Plain', { env: ENV });
  expect(() => ManagedPostgres.fromCluster(stack, 'M', { cluster: undefined as never })).toThrow(
    'cluster is undefined; pass a DatabaseCluster of aws-rds',
  );
  expect(() => ManagedPostgres.fromInstance(stack, 'M', { instance: undefined as never })).toThrow(
    'instance is undefined; pass a DatabaseInstance of aws-rds',
  );
});

test('an instance is no cluster and a cluster no instance, and the message names the other way', () => {
  const stack = new Stack(new App(), 'Plain', { env: ENV });
  const vpc = new ec2.Vpc(stack, 'Vpc');
  const instance = new rds.DatabaseInstance(stack, 'Instance', {
    engine: rds.DatabaseInstanceEngine.postgres({ version: rds.PostgresEngineVersion.VER_17 }),
    vpc,
  });
  const cluster = new rds.DatabaseCluster(stack, 'Cluster', {
    engine: rds.DatabaseClusterEngine.auroraPostgres({ version: rds.AuroraPostgresEngineVersion.VER_16_6 }),
    writer: rds.ClusterInstance.provisioned('writer'),
    vpc,
  });
  expect(() => ManagedPostgres.fromCluster(stack, 'M', { cluster: instance as never })).toThrow(
    'Plain/M: cluster is Plain/Instance, an instance; use ManagedPostgres.fromInstance() with { instance }',
  );
  expect(() => ManagedPostgres.fromInstance(stack, 'M', { instance: cluster as never })).toThrow(
    'Plain/M: instance is Plain/Cluster, a cluster; use ManagedPostgres.fromCluster() with { cluster }',
  );
});
