import { ACCOUNT, Call, REGION, SimulatedStack } from '../../compliance/iam-simulation';
import { cluster, quiet } from './support';

quiet();

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../state/fake-bundles').fakeBundle(),
  poolerImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
  clusterImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
}));

const simulated = () => new SimulatedStack(cluster().stack);
const arn = (service: string, rest: string) => `arn:aws:${service}:${REGION}:${ACCOUNT}:${rest}`;
const READ = ['GetSecretValue', 'DescribeSecret'];
const CHANGE = ['PutSecretValue', 'UpdateSecretVersionStage', 'DeleteSecret'];
const onSecret = (secret: string, ...calls: string[]): Call[] =>
  calls.map((call) => ({ action: `secretsmanager:${call}`, resource: secret }));
const viaSecrets = { 'kms:ViaService': `secretsmanager.${REGION}.amazonaws.com` };
const viaS3 = { 'kms:ViaService': `s3.${REGION}.amazonaws.com` };
const viaEc2 = { 'kms:ViaService': `ec2.${REGION}.amazonaws.com` };

/** What no role of a self-managed server may do. */
const NOBODY: Call[] = [
  ...onSecret(arn('secretsmanager', 'secret:SomebodyElses-AbCdEf'), ...READ, ...CHANGE),
  { action: 'iam:PassRole', resource: `arn:aws:iam::${ACCOUNT}:role/admin` },
  { action: 'ecs:UpdateService', resource: arn('ecs', 'service/any/any') },
  { action: 'ec2:DetachVolume', resource: arn('ec2', 'volume/vol-any') },
  { action: 'ec2:DeleteVolume', resource: arn('ec2', 'volume/vol-any') },
  { action: 'kms:Decrypt', resource: arn('kms', 'key/somebody-elses'), context: viaSecrets },
  { action: 's3:GetObject', resource: 'arn:aws:s3:::any/key' },
];

async function check(made: SimulatedStack, role: string, may: readonly Call[], mayNot: readonly Call[]): Promise<void> {
  const ask = (calls: readonly Call[]) =>
    Promise.all(calls.map(async (call) => `${await made.ask(role, call)} ${call.action} ${call.resource}`));
  expect((await ask(may)).filter((line) => !line.startsWith('Allowed '))).toEqual([]);
  expect((await ask([...mayNot, ...NOBODY])).filter((line) => line.startsWith('Allowed '))).toEqual([]);
}

const key = (made: SimulatedStack) => made.arn('Postgres/Key', 'Arn');
const bucket = (made: SimulatedStack) => made.arn('Postgres/Backups/Bucket', 'Arn');

test('a host attaches the two volumes of its member to itself, and no others to nothing else', async () => {
  const made = simulated();
  const volume = (host: number, kind: string) => arn('ec2', `volume/${made.arn(`Postgres/Host-${host}/${kind}`)}`);
  const tagged = (member: string) => ({ 'aws:ResourceTag/cdk-postgres:member': `orders/${member}` });
  const attach = (resource: string, context = tagged('pg-1')): Call => ({
    action: 'ec2:AttachVolume',
    resource,
    context,
  });
  await check(
    made,
    'Postgres/Host-1/Role',
    [
      attach(volume(1, 'DataVolume')),
      attach(volume(1, 'EtcdVolume')),
      attach(arn('ec2', 'instance/i-own')),
      { action: 'kms:Decrypt', resource: key(made), context: viaEc2 },
      { action: 'kms:CreateGrant', resource: key(made), context: { ...viaEc2, 'kms:GrantIsForAWSResource': 'true' } },
    ],
    [
      attach(volume(2, 'DataVolume'), tagged('pg-2')),
      attach(volume(3, 'EtcdVolume'), tagged('pg-3')),
      // Of another server, or with a tag that somebody has taken away.
      attach(volume(1, 'DataVolume'), tagged('pg-2')),
      attach(arn('ec2', 'instance/i-other'), tagged('pg-2')),
      { action: 'kms:CreateGrant', resource: key(made), context: { ...viaEc2, 'kms:GrantIsForAWSResource': 'false' } },
      { action: 'kms:Decrypt', resource: key(made), context: viaSecrets },
      { action: 'ecs:RegisterContainerInstance', resource: arn('ecs', 'cluster/another') },
      { action: 's3:GetObject', resource: `${bucket(made)}/orders/backup` },
      ...onSecret(made.arn('Postgres/AdminSecret'), ...READ),
      ...onSecret(made.arn('Postgres/pg-1/Certificate/Secret'), ...READ),
    ],
  );
});

test('a member reads its own certificate and what all of them share, and archives into its own folder', async () => {
  const made = simulated();
  await check(
    made,
    'Postgres/pg-1/Task/Role',
    [
      ...onSecret(made.arn('Postgres/pg-1/Certificate/Secret'), ...READ),
      ...onSecret(made.arn('Postgres/AdminSecret'), ...READ),
      ...onSecret(made.arn('Postgres/RestApiSecret'), ...READ),
      ...onSecret(made.arn('Postgres/Backups/Cipher'), ...READ),
      ...['GetObject', 'PutObject', 'DeleteObject'].map((call) => ({
        action: `s3:${call}`,
        resource: `${bucket(made)}/orders/archive/x`,
      })),
      { action: 's3:ListBucket', resource: bucket(made), context: { 's3:prefix': 'orders/backup' } },
      { action: 'kms:GenerateDataKey', resource: key(made), context: viaS3 },
      { action: 'kms:Decrypt', resource: key(made), context: viaSecrets },
    ],
    [
      ...onSecret(made.arn('Postgres/pg-2/Certificate/Secret'), ...READ),
      ...onSecret(made.arn('Postgres/Certificates/Authority'), ...READ, ...CHANGE),
      ...onSecret(made.arn('Postgres/AdminSecret'), ...CHANGE),
      ...onSecret(made.arn('Postgres/Backups/Cipher'), ...CHANGE),
      { action: 's3:GetObject', resource: `${bucket(made)}/other/x` },
      { action: 's3:ListBucket', resource: bucket(made), context: { 's3:prefix': 'other' } },
      { action: 's3:DeleteObjectVersion', resource: `${bucket(made)}/orders/archive/x` },
      { action: 's3:PutBucketPolicy', resource: bucket(made) },
      { action: 'ec2:AttachVolume', resource: arn('ec2', 'volume/any') },
    ],
  );
});

test('etcd and the routers read their own certificate, and nothing else', async () => {
  const made = simulated();
  for (const part of ['etcd-2', 'Router'])
    await check(
      made,
      `Postgres/${part}/Task/Role`,
      onSecret(made.arn(`Postgres/${part}/Certificate/Secret`), ...READ),
      [
        ...onSecret(made.arn('Postgres/pg-1/Certificate/Secret'), ...READ),
        ...onSecret(made.arn('Postgres/AdminSecret'), ...READ),
        ...onSecret(made.arn('Postgres/RestApiSecret'), ...READ),
        ...onSecret(made.arn('Postgres/Backups/Cipher'), ...READ),
        { action: 's3:GetObject', resource: `${bucket(made)}/orders/x` },
        { action: 'ssmmessages:CreateControlChannel', resource: '*' },
      ],
    );
});

test('the backup task reads cipher and certificate, and knows neither the administrator nor the REST API', async () => {
  const made = simulated();
  await check(
    made,
    'Postgres/Backup/Task/Role',
    [
      ...onSecret(made.arn('Postgres/Backup/Certificate/Secret'), ...READ),
      ...onSecret(made.arn('Postgres/Backups/Cipher'), ...READ),
      { action: 's3:PutObject', resource: `${bucket(made)}/orders/backup/x` },
    ],
    [
      ...onSecret(made.arn('Postgres/AdminSecret'), ...READ),
      ...onSecret(made.arn('Postgres/RestApiSecret'), ...READ),
      { action: 's3:PutObject', resource: `${bucket(made)}/other/x` },
    ],
  );
});

test('the schedule starts the backup task in its cluster, and hands on its two roles to tasks alone', async () => {
  const made = simulated();
  const own = { 'ecs:cluster': made.arn('Postgres/Cluster', 'Arn') };
  const task = made.arn('Postgres/Backup/Task/Definition');
  const pass = (path: string, service = 'ecs-tasks.amazonaws.com'): Call => ({
    action: 'iam:PassRole',
    resource: made.arn(path, 'Arn'),
    context: { 'iam:PassedToService': service },
  });
  await check(
    made,
    'Postgres/Backup/Schedule/Role',
    [
      { action: 'ecs:RunTask', resource: task, context: own },
      pass('Postgres/Backup/Task/Role'),
      pass('Postgres/TaskStarter/Role'),
    ],
    [
      { action: 'ecs:RunTask', resource: made.arn('Postgres/pg-1/Task/Definition'), context: own },
      { action: 'ecs:RunTask', resource: task, context: { 'ecs:cluster': arn('ecs', 'cluster/another') } },
      pass('Postgres/pg-1/Task/Role'),
      pass('Postgres/Backup/Task/Role', 'ec2.amazonaws.com'),
    ],
  );
});

test('the function of the cluster reads its certificate and the password of the REST API, and no cipher', async () => {
  const made = simulated();
  await check(
    made,
    'Postgres/Operations/Function/Role',
    [
      ...onSecret(made.arn('Postgres/Operator/Certificate/Secret'), ...READ),
      ...onSecret(made.arn('Postgres/RestApiSecret'), ...READ),
    ],
    [
      ...onSecret(made.arn('Postgres/AdminSecret'), ...READ),
      ...onSecret(made.arn('Postgres/Backups/Cipher'), ...READ),
      ...onSecret(made.arn('Postgres/pg-1/Certificate/Secret'), ...READ),
    ],
  );
});

test('the function of the certificates signs and renews all of them, and reads no password', async () => {
  const made = simulated();
  const certificates = ['pg-1', 'etcd-3', 'Router', 'Backup', 'Operator'].map((part) =>
    made.arn(`Postgres/${part}/Certificate/Secret`),
  );
  await check(
    made,
    'Postgres/Certificates/Function/Role',
    [
      ...onSecret(made.arn('Postgres/Certificates/Authority'), ...READ, 'PutSecretValue'),
      ...certificates.flatMap((one) => onSecret(one, ...READ, 'PutSecretValue', 'UpdateSecretVersionStage')),
    ],
    [
      ...onSecret(made.arn('Postgres/Certificates/Authority'), 'UpdateSecretVersionStage', 'DeleteSecret'),
      ...onSecret(made.arn('Postgres/AdminSecret'), ...READ),
      ...onSecret(made.arn('Postgres/RestApiSecret'), ...READ),
      ...onSecret(made.arn('Postgres/Backups/Cipher'), ...READ),
    ],
  );
});

test('what starts the tasks pulls images and writes logs, and reads no secret', async () => {
  const made = simulated();
  const image = arn('ecr', `repository/cdk-hnb659fds-container-assets-${ACCOUNT}-${REGION}`);
  const log = made.arn('Postgres/Logs', 'Arn').replace(/:\*$/, ':log-stream:one');
  await check(
    made,
    'Postgres/TaskStarter/Role',
    [
      { action: 'logs:PutLogEvents', resource: log },
      { action: 'ecr:BatchGetImage', resource: image },
    ],
    [
      { action: 'ecr:PutImage', resource: image },
      ...onSecret(made.arn('Postgres/AdminSecret'), ...READ),
      ...onSecret(made.arn('Postgres/pg-1/Certificate/Secret'), ...READ),
    ],
  );
});
