import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, Duration, Stack, Token, aws_backup as backup, aws_kms as kms } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import {
  AuroraPostgres,
  AuroraPostgresProps,
  BackupCopyVault,
  BackupCopyVaultProps,
  PostgresProfile,
  PostgresVersion,
  RdsPostgres,
  RdsPostgresProps,
  VaultLock,
} from '../../../lib';
import { OBJECTIVES, cleanStack, quiet } from '../support';

quiet();

type Made = ReturnType<typeof cleanStack>;

const SERVERS: [string, (made: Made, props?: object) => RdsPostgres | AuroraPostgres][] = [
  [
    'RdsPostgres',
    ({ stack, vpc }, props: Partial<RdsPostgresProps> = {}) =>
      new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, ...props }),
  ],
  [
    'AuroraPostgres',
    ({ stack, vpc }, props: Partial<AuroraPostgresProps> = {}) =>
      new AuroraPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, ...props }),
  ],
];
const rds = SERVERS[0]![1] as (made: Made, props?: Partial<RdsPostgresProps>) => RdsPostgres;

/** A vault of the name in another account or region than eu-central-1 of 123456789012. */
const vaultOf = (stack: Stack, account: string, region: string, id = 'Copies') =>
  backup.BackupVault.fromBackupVaultArn(stack, id, `arn:aws:backup:${region}:${account}:backup-vault:copies`);

/** The errors of this library. */
function findings({ app }: Made): string[] {
  try {
    app.synth();
  } catch {
    // What failed is in the report.
  }
  const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8'));
  return report.pluginReports
    .flatMap((one: any) => one.violations)
    .filter((violation: any) => violation.severity === 'error')
    .map((violation: any) => violation.ruleName);
}

const keyStatements = (template: Template, logicalId = /^PostgresKey/): { Sid?: string }[] =>
  Object.entries(template.findResources('AWS::KMS::Key')).find(([id]) => logicalId.test(id))![1].Properties.KeyPolicy
    .Statement;

describe.each(SERVERS)('%s', (_kind, make) => {
  test('BK-13: the vault of the daily snapshots is locked in governance mode, and its policy lets nobody delete', () => {
    const made = cleanStack();
    make(made);
    Template.fromStack(made.stack).hasResource('AWS::Backup::BackupVault', {
      DeletionPolicy: 'Retain',
      Properties: {
        LockConfiguration: { MinRetentionDays: 7, ChangeableForDays: Match.absent(), MaxRetentionDays: Match.absent() },
        AccessPolicy: {
          Statement: [
            {
              Effect: 'Deny',
              Principal: { AWS: '*' },
              Action: ['backup:DeleteRecoveryPoint', 'backup:UpdateRecoveryPointLifecycle'],
              Resource: '*',
            },
          ],
          Version: '2012-10-17',
        },
      },
    });
  });

  test('BK-13: compliance mode only by name', () => {
    const made = cleanStack();
    const lock = VaultLock.compliance({
      minRetention: Duration.days(30),
      maxRetention: Duration.days(400),
      coolingOff: Duration.days(5),
    });
    make(made, { backupVaultLock: lock });
    Template.fromStack(made.stack).hasResourceProperties('AWS::Backup::BackupVault', {
      LockConfiguration: { MinRetentionDays: 30, MaxRetentionDays: 400, ChangeableForDays: 5 },
    });
  });

  test('BK-13: copies in another region, kept for their own time', () => {
    const made = cleanStack();
    make(made, {
      backupCopies: [{ vault: vaultOf(made.stack, '123456789012', 'eu-west-1'), retention: Duration.days(90) }],
    });
    const template = Template.fromStack(made.stack);
    template.hasResourceProperties('AWS::Backup::BackupPlan', {
      BackupPlan: {
        BackupPlanRule: [
          Match.objectLike({
            Lifecycle: { DeleteAfterDays: 35 },
            CopyActions: [
              {
                DestinationBackupVaultArn: 'arn:aws:backup:eu-west-1:123456789012:backup-vault:copies',
                Lifecycle: { DeleteAfterDays: 90 },
              },
            ],
          }),
        ],
      },
    });
    expect(keyStatements(template).filter(({ Sid }) => Sid?.startsWith('BackupCop'))).toEqual([]);
    expect(findings(made)).toEqual([]);
  });

  test('BK-14: the account of a copy may use the key of the server, and not change it; two vaults there need it once', () => {
    const made = cleanStack();
    make(made, {
      backupCopies: [
        { vault: vaultOf(made.stack, '210987654321', 'eu-central-1') },
        { vault: vaultOf(made.stack, '210987654321', 'eu-central-1', 'More') },
      ],
    });
    const template = Template.fromStack(made.stack);
    const Principal = { AWS: { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':iam::210987654321:root']] } };
    expect(keyStatements(template).filter(({ Sid }) => Sid?.startsWith('BackupCop'))).toEqual([
      {
        Sid: 'BackupCopies210987654321',
        Effect: 'Allow',
        Principal,
        Action: ['kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey*', 'kms:ReEncrypt*'],
        Resource: '*',
      },
      {
        Sid: 'BackupCopyGrants210987654321',
        Effect: 'Allow',
        Principal,
        Action: 'kms:CreateGrant',
        Resource: '*',
        Condition: { Bool: { 'kms:GrantIsForAWSResource': 'true' } },
      },
    ]);
    expect(findings(made)).toEqual([]);
  });

  test('BK-14: an imported key needs somebody to say that the other account may use it', () => {
    const made = cleanStack();
    const encryptionKey = kms.Key.fromKeyArn(made.stack, 'House', 'arn:aws:kms:eu-central-1:123456789012:key/1');
    const server = make(made, {
      encryptionKey,
      backupCopies: [{ vault: vaultOf(made.stack, '210987654321', 'eu-central-1') }],
    });
    expect(findings(made)).toEqual(['BK-14']);
    server.acknowledge({ id: 'BK-14', reason: 'the security team gave the account the key' });
    expect(findings(made)).toEqual([]);
  });

  test('BK-13: another account and another region in one step', () => {
    const made = cleanStack();
    make(made, { backupCopies: [{ vault: vaultOf(made.stack, '210987654321', 'eu-west-1') }] });
    expect(findings(made)).toEqual(['BK-13']);
  });

  test.each<[string, (stack: Stack) => object, RegExp]>([
    [
      'BK-13: a vault that is lost together with the server',
      (stack) => ({ backupCopies: [{ vault: vaultOf(stack, '123456789012', 'eu-central-1') }] }),
      /Test\/Postgres: backupCopies names Test\/Copies, a vault in the account and region of the server/,
    ],
    [
      'BK-14: the key that AWS manages',
      (stack) => ({
        encryptionKey: kms.Alias.fromAliasName(stack, 'Managed', 'alias/aws/rds'),
        backupCopies: [{ vault: vaultOf(stack, '210987654321', 'eu-central-1') }],
      }),
      /Test\/Postgres: encryptionKey is a key that AWS manages.*account 210987654321 could make no copy/,
    ],
    [
      'BK-13: a lock under which every job would fail',
      () => ({ backupVaultLock: VaultLock.governance({ minRetention: Duration.days(60) }) }),
      /kept for 35 days, and the lock of their vault takes 60 to any number of days/,
    ],
    [
      'BK-13: copies of a server that has no backup plan',
      (stack) => ({
        profile: PostgresProfile.development(),
        backupCopies: [{ vault: vaultOf(stack, '123456789012', 'eu-west-1') }],
      }),
      /Test\/Postgres: backupCopies is set, and the development profile has no backup plan/,
    ],
  ])('%s is an error', (_what, props, message) => {
    const made = cleanStack();
    expect(() => make(made, props(made.stack))).toThrow(message);
  });

  test('BK-1, BK-3: a history beyond two weeks is kept to the second, and one beyond 35 days to the day', () => {
    for (const [days, seconds, daily] of [
      [10, 14, 35],
      [30, 30, 35],
      [400, 35, 400],
    ] as const) {
      const made = cleanStack();
      make(made, { objectives: { ...OBJECTIVES, history: Duration.days(days) } });
      const template = Template.fromStack(made.stack);
      template.hasResourceProperties('AWS::Backup::BackupPlan', {
        BackupPlan: { BackupPlanRule: [Match.objectLike({ Lifecycle: { DeleteAfterDays: daily } })] },
      });
      expect(JSON.stringify(template.toJSON())).toContain(`"BackupRetentionPeriod":${seconds}`);
    }
  });

  test('BK-1: a history that pointInTimeRecovery does not keep', () => {
    const made = cleanStack();
    make(made, { objectives: { ...OBJECTIVES, history: Duration.days(30) }, pointInTimeRecovery: Duration.days(20) });
    expect(findings(made)).toEqual(['BK-1']);
  });

  test('BK-1: a history that no service keeps', () => {
    const made = cleanStack();
    const objectives = { ...OBJECTIVES, history: Duration.days(40_000) };
    expect(() => make(made, { objectives })).toThrow(
      /objectives.history is 40000 days.*1 to 35 whole days.*up to 36500/,
    );
  });
});

test('BK-12: a second node is no backup, also in the development profile', () => {
  const warnings = (props: Partial<RdsPostgresProps>) => {
    const made = cleanStack();
    const spy = jest.spyOn(console, 'error').mockImplementation();
    const before = spy.mock.calls.length;
    rds(made, { profile: PostgresProfile.development(), ...props });
    made.app.synth();
    return spy.mock.calls.slice(before).flat().join('\n');
  };
  expect(warnings({ multiAz: true })).toMatch(/cdk-postgres::BK-12/);
  expect(warnings({ multiAz: true, pointInTimeRecovery: Duration.days(7) })).not.toMatch(/BK-12/);
  expect(warnings({})).not.toMatch(/BK-12/);
});

describe('BK-13: automated backups in another region', () => {
  const keyIn = (stack: Stack, region: string) =>
    kms.Key.fromKeyArn(stack, 'Other', `arn:aws:kms:${region}:123456789012:key/1`);

  test('under a customer key of that region, kept as long as here', () => {
    const made = cleanStack();
    rds(made, { backupReplication: { region: 'eu-west-1', encryptionKey: keyIn(made.stack, 'eu-west-1') } });
    Template.fromStack(made.stack).hasResourceProperties('AWS::RDS::DBInstance', {
      AutomaticBackupReplicationRegion: 'eu-west-1',
      AutomaticBackupReplicationKmsKeyId: 'arn:aws:kms:eu-west-1:123456789012:key/1',
      AutomaticBackupReplicationRetentionPeriod: 14,
    });
  });

  test('or for a time of their own', () => {
    const made = cleanStack();
    const encryptionKey = keyIn(made.stack, 'eu-west-1');
    rds(made, { backupReplication: { region: 'eu-west-1', encryptionKey, retention: Duration.days(35) } });
    Template.fromStack(made.stack).hasResourceProperties('AWS::RDS::DBInstance', {
      AutomaticBackupReplicationRetentionPeriod: 35,
    });
  });

  test.each<[string, (stack: Stack) => RdsPostgresProps['backupReplication'], RegExp]>([
    [
      'the region of the server',
      (s) => ({ region: 'eu-central-1', encryptionKey: keyIn(s, 'eu-central-1') }),
      /the server's own/,
    ],
    [
      'a region that is a token',
      (s) => ({ region: Token.asString({ Ref: 'R' }), encryptionKey: keyIn(s, 'eu-west-1') }),
      /write a region such as/,
    ],
    [
      'a key of another region',
      (s) => ({ region: 'eu-west-1', encryptionKey: keyIn(s, 'eu-north-1') }),
      /is a key of eu-north-1, and cannot encrypt in eu-west-1/,
    ],
    [
      'BK-14: the key that AWS manages',
      (s) => ({ region: 'eu-west-1', encryptionKey: kms.Alias.fromAliasName(s, 'Managed', 'alias/aws/rds') }),
      /backupReplication.encryptionKey is a key that AWS manages/,
    ],
    [
      'a retention that RDS does not keep',
      (s) => ({ region: 'eu-west-1', encryptionKey: keyIn(s, 'eu-west-1'), retention: Duration.days(36) }),
      /backupReplication.retention is 36 days; RDS keeps 1 to 35/,
    ],
  ])('%s is an error', (_what, replication, message) => {
    const made = cleanStack();
    expect(() => rds(made, { backupReplication: replication(made.stack) })).toThrow(message);
  });
});

describe('BackupCopyVault', () => {
  const made = (props: Partial<BackupCopyVaultProps> = {}) => {
    const app = new App();
    const stack = new Stack(app, 'Copies', { env: { account: '210987654321', region: 'eu-central-1' } });
    const copies = new BackupCopyVault(stack, 'Vault', {
      vaultName: 'postgres-copies',
      sourceAccounts: ['123456789012', '210987654321'],
      ...props,
    });
    return { app, stack, copies, template: () => Template.fromStack(stack) };
  };

  test('BK-13: locked, kept, filled by the named accounts alone and emptied by nobody', () => {
    made()
      .template()
      .hasResource('AWS::Backup::BackupVault', {
        DeletionPolicy: 'Retain',
        Properties: {
          BackupVaultName: 'postgres-copies',
          LockConfiguration: { MinRetentionDays: 7 },
          AccessPolicy: {
            Statement: [
              Match.objectLike({ Effect: 'Deny', Principal: { AWS: '*' } }),
              {
                Effect: 'Allow',
                Action: 'backup:CopyIntoBackupVault',
                Principal: {
                  AWS: { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':iam::123456789012:root']] },
                },
                Resource: '*',
              },
            ],
          },
        },
      });
  });

  test('BK-14: under a customer key of its own account, which stays', () => {
    const template = made().template();
    template.hasResource('AWS::KMS::Key', { DeletionPolicy: 'Retain', Properties: { EnableKeyRotation: true } });
    template.hasResourceProperties('AWS::Backup::BackupVault', {
      EncryptionKeyArn: { 'Fn::GetAtt': [Match.stringLikeRegexp('^VaultKey'), 'Arn'] },
    });
  });

  test('a server in another account of the same app names it', () => {
    const app = new App();
    const copies = new BackupCopyVault(
      new Stack(app, 'Copies', { env: { account: '210987654321', region: 'eu-central-1' } }),
      'Vault',
      { vaultName: 'postgres-copies', sourceAccounts: ['123456789012'] },
    );
    const server = cleanStack(app);
    rds(server, { backupCopies: [{ vault: copies.vault }] });
    Template.fromStack(server.stack).hasResourceProperties('AWS::Backup::BackupPlan', {
      BackupPlan: {
        BackupPlanRule: [
          Match.objectLike({
            CopyActions: [
              Match.objectLike({
                DestinationBackupVaultArn: {
                  'Fn::Join': [
                    '',
                    [
                      'arn:',
                      { Ref: 'AWS::Partition' },
                      ':backup:eu-central-1:210987654321:backup-vault:postgres-copies',
                    ],
                  ],
                },
              }),
            ],
          }),
        ],
      },
    });
    expect(keyStatements(Template.fromStack(server.stack)).map(({ Sid }) => Sid)).toContain('BackupCopies210987654321');
  });

  describe('takes what is copied into it, or the server says so', () => {
    const copyInto = (props: Partial<BackupCopyVaultProps>, retention?: Duration) => () => {
      const app = new App();
      const env = { account: '210987654321', region: 'eu-central-1' };
      const copies = new BackupCopyVault(new Stack(app, 'Copies', { env }), 'Vault', {
        vaultName: 'postgres-copies',
        sourceAccounts: ['123456789012'],
        ...props,
      });
      rds(cleanStack(app), { backupCopies: [{ vault: copies.vault, retention }] });
    };

    test.each<[string, Partial<BackupCopyVaultProps>, Duration | undefined, RegExp]>([
      [
        'for too short a time',
        {},
        Duration.days(3),
        /^Test\/Postgres: backupCopies keeps copies in Copies\/Vault for 3 days, and the lock of that vault takes 7 to any number of days: .* Set retention/,
      ],
      [
        'for as long as the snapshot, which is too long',
        { vaultLock: VaultLock.governance({ maxRetention: Duration.days(10) }) },
        undefined,
        /^Test\/Postgres: backupCopies keeps copies in Copies\/Vault for \d+ days, and the lock of that vault takes 7 to 10 days/,
      ],
      [
        'from an account that may not, as none may',
        { sourceAccounts: undefined },
        undefined,
        /^Test\/Postgres: backupCopies names Copies\/Vault, whose sourceAccounts is empty: account 123456789012 .* Add '123456789012'/,
      ],
      [
        'from an account that may not, as another may',
        { sourceAccounts: ['111111111111'] },
        undefined,
        /^Test\/Postgres: .* sourceAccounts has 111111111111 alone: account 123456789012 may copy nothing into it/,
      ],
    ])('%s', (_what, props, retention, message) => expect(copyInto(props, retention)).toThrow(message));

    test.each<[string, Partial<BackupCopyVaultProps>, Duration | undefined]>([
      ['the least that the lock takes', {}, Duration.days(7)],
      [
        'less, with a lock that takes it',
        { vaultLock: VaultLock.governance({ minRetention: Duration.days(1) }) },
        Duration.days(3),
      ],
      ['an account among others', { sourceAccounts: ['111111111111', '123456789012'] }, undefined],
      ['an account that is a token', { sourceAccounts: [Token.asString({ Ref: 'Account' })] }, undefined],
    ])('it takes %s', (_what, props, retention) => expect(copyInto(props, retention)).not.toThrow());
  });

  test('a stack without an environment is an error, since nobody elsewhere could name its vault', () => {
    expect(() => new BackupCopyVault(new Stack(new App(), 'Copies'), 'Vault', { vaultName: 'copies' })).toThrow(
      /the stack Copies has no env with account and region/,
    );
  });

  test.each<[string, Partial<BackupCopyVaultProps>, RegExp]>([
    ['a name that AWS Backup does not take', { vaultName: 'a vault' }, /Copies\/Vault: vaultName 'a vault' must have/],
    ['an account that is none', { sourceAccounts: ['12'] }, /sourceAccounts has '12'; an account is twelve digits/],
  ])('%s is an error', (_what, props, message) => expect(() => made(props)).toThrow(message));

  test('a cooling-off period that AWS Backup does not take is an error', () => {
    expect(() =>
      VaultLock.compliance({
        minRetention: Duration.days(7),
        maxRetention: Duration.days(90),
        coolingOff: Duration.days(1),
      }),
    ).toThrow(/coolingOff is 1 day; AWS Backup asks for at least three days/);
  });
});
