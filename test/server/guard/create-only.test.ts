import { CREATE_ONLY, guardedProperties } from '../../../lib/server/guard/create-only';
import { readCreateOnly } from '../../../scripts/create-only';

test('the committed lists are those of the installed CloudFormation specification', () => {
  expect(readCreateOnly()).toEqual(CREATE_ONLY);
});

test('what changes a server in place is not guarded', () => {
  const instance = guardedProperties('AWS::RDS::DBInstance');
  for (const name of [
    'MultiAZ',
    'BackupRetentionPeriod',
    'DBInstanceClass',
    'StorageType',
    'AllocatedStorage',
    'Tags',
  ]) {
    expect(instance).not.toContain(name);
  }
  expect(instance).toEqual(expect.arrayContaining(['Port', 'StorageEncrypted', 'DBSnapshotIdentifier', 'KmsKeyId']));
});
