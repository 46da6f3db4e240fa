import { Duration, RemovalPolicy, aws_kms as kms, aws_s3 as s3 } from 'aws-cdk-lib';
import { EcsPostgres, PostgresVersion, RecoveryTarget } from '../../../lib';
import { errorsOfFivePacks } from '../../compliance/five-packs';
import { cleanStack, cluster, NO_LOSS, quiet } from './support';

quiet();

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../state/fake-bundles').fakeBundle(),
  poolerImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
  clusterImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
}));

test('a second repository, and a server that is made from the backups of another one, have no error in the five packs', () => {
  const network = cleanStack();
  const { app, stack, vpc } = network;
  const bucket = s3.Bucket.fromBucketAttributes(stack, 'Second', {
    bucketArn: 'arn:aws:s3:::elsewhere',
    encryptionKey: kms.Key.fromKeyArn(stack, 'SecondKey', 'arn:aws:kms:eu-west-1:222222222222:key/second'),
  });
  const { server } = cluster({ backup: { secondRepository: { bucket, region: 'eu-west-1' } } }, network);
  EcsPostgres.fromBackup(stack, 'Restored', {
    vpc,
    version: PostgresVersion.V18,
    objectives: NO_LOSS,
    clusterName: 'restored',
    source: server.backups,
    target: RecoveryTarget.latest(),
  });
  expect(errorsOfFivePacks(app)).toEqual([]);
});

test('a log bucket takes the place of the exception that there is none', () => {
  const network = cleanStack();
  const accessLogs = new s3.Bucket(network.stack, 'Logs', {
    removalPolicy: RemovalPolicy.RETAIN,
    lifecycleRules: [{ expiration: Duration.days(365) }],
  });
  const { app } = cluster({ backup: { accessLogs } }, network);
  expect(errorsOfFivePacks(app).filter((error) => error.startsWith('Test/Postgres'))).toEqual([]);
});
