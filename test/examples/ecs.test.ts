import { App, Validations, aws_s3 as s3 } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { EcsStack } from '../../examples/ecs/ecs-stack';
import { decodeState } from '../../lib/contract';
import { errorsOfFivePacks } from '../compliance/five-packs';
import { Resources } from '../server/ecs/support';
import { quiet } from '../server/support';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
  poolerImage: () => jest.requireActual('../pooling/fake-image').fakeImage(),
  clusterImage: () => jest.requireActual('../pooling/fake-image').fakeImage(),
}));

function made(): { app: App; stack: EcsStack } {
  const app = new App();
  return { app, stack: new EcsStack(app, 'Ecs') };
}

/** What the library acknowledges below the server, but for its pooler, monitoring, drift detection and functions. */
function acknowledgements(stack: EcsStack): { entry: string; reason: string }[] {
  return stack.server.node.findAll().flatMap((construct) =>
    construct.node.metadata
      .filter((one) => one.type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY)
      .flatMap((one) => Object.entries(one.data as Record<string, string>))
      .filter(([id]) => !id.includes('CloudFormation-Validate'))
      .map(([id, reason]) => ({
        entry: `${construct.node.path.slice('Ecs/Postgres/'.length)} ${id.replace(/^[^:[]*::/, '')}`,
        reason,
      }))
      .filter(({ entry }) => !/^(Pool|Monitoring|DriftDetection|State)\//.test(entry)),
  );
}

const FOUR = ['HIPAA.Security', 'NIST.800.53.R4', 'NIST.800.53.R5', 'PCI.DSS.321'];
const NO_ROTATION = [
  'AwsSolutions-SMG4',
  'HIPAA.Security-SecretsManagerRotationEnabled',
  'NIST.800.53.R5-SecretsManagerRotationEnabled',
];
const MEMBERS = ['pg-1', 'pg-2', 'pg-3'];
const FOLDER = /^AwsSolutions-IAM5\[Resource::<PostgresBackupsBucket\w+\.Arn>\/orders\/\*\]$/;
const EXPECTED = [
  ...NO_ROTATION.flatMap((rule) => [
    `Backups/Cipher ${rule}`,
    `Certificates/Authority ${rule}`,
    `RestApiSecret ${rule}`,
  ]),
  'Backups/Bucket AwsSolutions-S1',
  'Backups/Bucket NIST.800.53.R4-S3BucketDefaultLockEnabled',
  ...FOUR.flatMap((pack) => [
    `Backups/Bucket ${pack}-S3BucketLoggingEnabled`,
    `Backups/Bucket ${pack}-S3BucketReplicationEnabled`,
    `Front/LoadBalancer ${pack}-ELBLoggingEnabled`,
  ]),
  'Front/LoadBalancer AwsSolutions-ELB2',
  ...['Writer', 'Readers'].flatMap((listener) =>
    ['HIPAA.Security', 'NIST.800.53.R5', 'PCI.DSS.321'].map(
      (pack) => `Front/LoadBalancer/${listener} ${pack}-ELBv2ACMCertificateRequired`,
    ),
  ),
  'Backup/Schedule/DeadLetters AwsSolutions-SQS3',
  'Certificates/Function/NetworkPolicy AwsSolutions-IAM5[Resource::*]',
  'Operations/Function/NetworkPolicy AwsSolutions-IAM5[Resource::*]',
  'TaskStarter/Policy AwsSolutions-IAM5[Resource::*]',
  ...['Host-1', 'Host-2', 'Host-3'].flatMap((host) => [
    `${host}/Group AwsSolutions-AS3`,
    `${host}/Policy AwsSolutions-IAM5[Resource::*]`,
    `${host}/Policy AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:ec2:eu-central-1:111111111111:instance/*]`,
    ...['DataVolume', 'EtcdVolume'].flatMap((volume) =>
      FOUR.slice(0, 3).map((pack) => `${host}/${volume} ${pack}-EC2EBSInBackupPlan`),
    ),
  ]),
  ...['etcd-1', 'etcd-2', 'etcd-3', ...MEMBERS, 'Router', 'Backup'].map(
    (part) => `${part}/Task/Definition AwsSolutions-ECS2`,
  ),
  ...MEMBERS.map((member) => `${member}/Task/Policy AwsSolutions-IAM5[Resource::*]`),
  ...[...MEMBERS, 'Backup'].map((part) => `${part}/Task/Policy FOLDER`),
];

test('has no error in the five packs', () => {
  expect(errorsOfFivePacks(made().app)).toEqual([]);
});

test('acknowledges exactly these rules, each with a reason', () => {
  const found = acknowledgements(made().stack);
  const entries = found.map(({ entry }) => {
    const [place, ...rule] = entry.split(' ');
    return `${place} ${FOLDER.test(rule.join(' ')) ? 'FOLDER' : rule.join(' ')}`;
  });
  expect(entries.sort()).toEqual([...EXPECTED].sort());
  for (const { reason } of found) expect(reason.length).toBeGreaterThan(80);
});

test('needs every one of them', () => {
  jest.spyOn(Validations.prototype, 'acknowledge').mockImplementation();
  const { app } = made();
  const errors = errorsOfFivePacks(app);
  jest.restoreAllMocks();
  const place = (entry: string) => entry.replace(/^Ecs\/Postgres\//, '').replace(/\/(Resource|ASG) /, ' ');
  const found = new Set(
    errors.map(place).map((entry) => entry.split(' ').slice(1).join(' ').replace(FOLDER, 'FOLDER')),
  );
  const needed = new Set(EXPECTED.map((entry) => entry.split(' ').slice(1).join(' ')));
  expect([...needed].filter((rule) => !found.has(rule))).toEqual([]);
});

test('a rule that is broken is found', () => {
  const { app, stack } = made();
  (stack.server.backupBucket.node.defaultChild as s3.CfnBucket).versioningConfiguration = undefined;
  expect(errorsOfFivePacks(app).join()).toContain('S3BucketVersioningEnabled');
});

test('no resource waits for itself by way of others', () => {
  const resources = new Resources(made().stack);
  const ids = Object.keys(resources.all);
  expect(ids.filter((id) => resources.waitsFor(id, id))).toEqual([]);
  // The look does find a way.
  expect(resources.waitsFor(resources.service('router')[0], resources.service('etcd-1')[0])).toBe(true);
});

test('is far from the limits of CloudFormation and ECS', () => {
  const template = Template.fromStack(made().stack).toJSON();
  expect(Object.keys(template.Resources).length).toBeLessThan(450);
  expect(JSON.stringify(template).length).toBeLessThan(800_000);
  for (const { Type, Properties } of Object.values<any>(template.Resources))
    if (Type === 'AWS::ECS::TaskDefinition') expect(JSON.stringify(Properties).length).toBeLessThan(32_768);
});

test('declares inside what it would on Aurora, and its reports are read from the replicas', () => {
  const { stack } = made();
  const template = Template.fromStack(stack);
  const [state] = Object.values(template.findResources('Custom::CdkPostgresState'));
  expect(decodeState(state!.Properties.State).roles.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['api', 'app_owner', 'report']),
  );
  const toReaders = Object.values(template.findResources('AWS::EC2::SecurityGroupIngress')).filter(
    ({ Properties }) =>
      Properties.FromPort === 5433 && JSON.stringify(Properties.SourceSecurityGroupId).includes('Reports'),
  );
  expect(toReaders).toHaveLength(1);
});
