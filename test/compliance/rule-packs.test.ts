import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  App,
  Duration,
  IPolicyValidationPlugin,
  Stack,
  Validations,
  aws_backup as backup,
  aws_kms as kms,
  aws_rds as rds,
} from 'aws-cdk-lib';
import {
  AwsSolutionsChecks,
  HIPAASecurityChecks,
  NIST80053R4Checks,
  NIST80053R5Checks,
  PCIDSS321Checks,
} from 'cdk-nag';
import { IConstruct } from 'constructs';
import {
  AuroraPostgres,
  AuroraPostgresProps,
  BackupCopyVault,
  ClusterBackups,
  InstanceBackups,
  PostgresVersion,
  RdsPostgres,
  RdsPostgresProps,
  RestoreTime,
  VaultLock,
  SchemaObject,
} from '../../lib';
import { OBJECTIVES, cleanStack, quiet } from '../server/support';

quiet();

/** The warning that the user's VPC has, whatever its security groups: only a function of CDK's own could close the default one. */
const OF_THE_VPC = /VPCDefaultSecurityGroupClosed$/;

const IAM4 = (policy: string) =>
  `AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/${policy}]`;

type Made = ReturnType<typeof cleanStack>;

const KINDS: Record<string, (made: Made, props?: object) => RdsPostgres | AuroraPostgres> = {
  rds: ({ stack, vpc }, props: Partial<RdsPostgresProps> = {}) =>
    new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, ...props }),
  aurora: ({ stack, vpc }, props: Partial<AuroraPostgresProps> = {}) =>
    new AuroraPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, ...props }),
  serverless: ({ stack, vpc }, props: Partial<AuroraPostgresProps> = {}) =>
    new AuroraPostgres(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V17,
      objectives: OBJECTIVES,
      serverlessV2: { minCapacity: 2, maxCapacity: 16 },
      ...props,
    }),
  'rds from a point in time': ({ stack, vpc }, props: Partial<RdsPostgresProps> = {}) =>
    RdsPostgres.fromPointInTime(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      source: InstanceBackups.ofInstance('orders'),
      restoreTo: RestoreTime.utc('2026-01-12T03:04:05Z'),
      ...props,
    }),
  'rds from a snapshot, with second copies': ({ stack, vpc }, props: Partial<RdsPostgresProps> = {}) =>
    RdsPostgres.fromSnapshot(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: { ...OBJECTIVES, history: Duration.days(365) },
      snapshot: 'orders-before-release',
      backupCopies: [{ vault: vaultIn(stack, '210987654321', 'eu-central-1') }],
      backupReplication: {
        region: 'eu-west-1',
        encryptionKey: kms.Key.fromKeyArn(stack, 'Other', 'arn:aws:kms:eu-west-1:123456789012:key/1'),
      },
      ...props,
    }),
  'aurora from a point in time': ({ stack, vpc }, props: Partial<AuroraPostgresProps> = {}) =>
    AuroraPostgres.fromPointInTime(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      source: ClusterBackups.ofCluster('orders'),
      restoreTo: RestoreTime.latest(),
      ...props,
    }),
  'aurora from a snapshot, with a second copy': ({ stack, vpc }, props: Partial<AuroraPostgresProps> = {}) =>
    AuroraPostgres.fromSnapshot(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      snapshot: 'orders-before-release',
      backupCopies: [{ vault: vaultIn(stack, '123456789012', 'eu-west-1') }],
      backupVaultLock: VaultLock.compliance({
        minRetention: Duration.days(30),
        maxRetention: Duration.days(90),
        coolingOff: Duration.days(7),
      }),
      ...props,
    }),
};

function vaultIn(stack: Stack, account: string, region: string): backup.IBackupVault {
  const arn = `arn:aws:backup:${region}:${account}:backup-vault:copies`;
  return backup.BackupVault.fromBackupVaultArn(stack, 'Copies', arn);
}

const COMMON_ACKNOWLEDGEMENTS = [
  `Test/Postgres/BackupRole ${IAM4('AWSBackupServiceRolePolicyForBackup')}`,
  `Test/Postgres/MonitoringRole ${IAM4('AmazonRDSEnhancedMonitoringRole')}`,
  'Test/Postgres/Guard/Function/NetworkPolicy AwsSolutions-IAM5[Resource::*]',
  'Test/Postgres/State/Apply/NetworkPolicy AwsSolutions-IAM5[Resource::*]',
  'Test/Postgres/State/Rotate/NetworkPolicy AwsSolutions-IAM5[Resource::*]',
  'Test/Postgres/DriftDetection/Function/NetworkPolicy AwsSolutions-IAM5[Resource::*]',
  'Test/Postgres/Monitoring/Probe/Function/NetworkPolicy AwsSolutions-IAM5[Resource::*]',
];
const BACKUP_BY_CLUSTER = ['HIPAA.Security', 'NIST.800.53.R4', 'NIST.800.53.R5'].map(
  (pack) => `Test/Postgres/Resource ${pack}-RDSInBackupPlan`,
);
const ACKNOWLEDGEMENTS: Record<string, string[]> = {
  rds: COMMON_ACKNOWLEDGEMENTS,
  aurora: [...COMMON_ACKNOWLEDGEMENTS, ...BACKUP_BY_CLUSTER],
  serverless: [...COMMON_ACKNOWLEDGEMENTS, ...BACKUP_BY_CLUSTER],
  'rds from a point in time': [...COMMON_ACKNOWLEDGEMENTS, 'Test/Postgres/Resource/Resource F3020'],
  'rds from a snapshot, with second copies': COMMON_ACKNOWLEDGEMENTS,
  'aurora from a point in time': [
    ...COMMON_ACKNOWLEDGEMENTS,
    ...BACKUP_BY_CLUSTER,
    'Test/Postgres/Resource/Resource F3021',
    'Test/Postgres/Resource/Resource W3689',
  ],
  'aurora from a snapshot, with a second copy': [
    ...COMMON_ACKNOWLEDGEMENTS,
    ...BACKUP_BY_CLUSTER,
    'Test/Postgres/Resource/Resource F3021',
  ],
};

/** What the validator of templates holds against a restore. */
const OF_THE_VALIDATOR = / [FW]3\d\d\d$/;

interface Violation {
  readonly ruleName: string;
  readonly severity: string;
  readonly violatingConstructs: { readonly constructPath: string }[];
}

function declareInside(server: RdsPostgres | AuroraPostgres): void {
  const app = server.addDatabase('app');
  const api = app.addLoginRole('api');
  const billing = app.addSchema('billing');
  billing.grantReadWrite(api);
  server.addAuditing().audit(billing, SchemaObject.allTables());
  server.addDriftDetection();
  server.addMonitoring();
}

/** Synthesises with the five packs and reads what they found, their errors and warnings, as `path rule`. */
function check(made: { readonly app: App }): { errors: string[]; warnings: string[] } {
  const { app } = made;
  const packs = [AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R4Checks, NIST80053R5Checks, PCIDSS321Checks];
  Validations.of(app).addPlugins(...packs.map((Pack): IPolicyValidationPlugin => new Pack(app)));
  try {
    app.synth();
  } catch {
    // Any finding fails the synthesis; what it was is in the report.
  }
  const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8'));
  const violations: Violation[] = report.pluginReports.flatMap((r: { violations: Violation[] }) => r.violations);
  const of = (severity: string) =>
    violations
      .filter((v) => v.severity === severity)
      .flatMap((v) => v.violatingConstructs.map((c) => `${c.constructPath} ${v.ruleName}`))
      .sort();
  return { errors: of('error'), warnings: of('warning') };
}

/** What the library acknowledges; CDK acknowledges rules of its own on what it makes. */
function acknowledgements(server: IConstruct): { entry: string; reason: string }[] {
  return server.node.findAll().flatMap((construct) =>
    construct.node.metadata
      .filter((m) => m.type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY)
      .flatMap((m) => Object.entries(m.data as Record<string, string>))
      .map(([id, reason]) => ({ entry: `${construct.node.path} ${id.replace(/^[^:[]*::/, '')}`, reason })),
  );
}

describe.each(Object.entries(KINDS))('%s', (kind, make) => {
  test('has no error in the five packs, and warnings of the VPC and the unread alarms alone', () => {
    const made = cleanStack();
    declareInside(make(made));
    const { errors, warnings } = check(made);
    expect(errors).toEqual([]);
    expect(warnings.filter((w) => !OF_THE_VPC.test(w))).toEqual(['Test/Postgres/AlarmTopic OPS-4']);
  });

  test('acknowledges exactly these rules, each with a reason', () => {
    const made = cleanStack();
    const server = make(made);
    declareInside(server);
    const found = acknowledgements(server);
    expect(found.map((a) => a.entry).sort()).toEqual([...ACKNOWLEDGEMENTS[kind]!].sort());
    for (const { reason } of found) expect(reason.length).toBeGreaterThan(80);
  });

  test('needs every one of them: without acknowledgements, exactly those rules fail', () => {
    jest.spyOn(Validations.prototype, 'acknowledge').mockImplementation();
    const made = cleanStack();
    declareInside(make(made));
    const rules = (entries: string[]) => [...new Set(entries.map((e) => e.replace(/^\S+ /, '')))].sort();
    const { errors } = check(made);
    // The validator of templates warns, and is off here; it has its own test below.
    const ofPacks = ACKNOWLEDGEMENTS[kind]!.filter((entry) => !OF_THE_VALIDATOR.test(entry));
    expect(rules(errors)).toEqual(rules(ofPacks));
    jest.restoreAllMocks();
  });
});

test('a vault for second copies has no finding in the five packs, and needs no acknowledgement', () => {
  const app = new App();
  const stack = new Stack(app, 'Copies', { env: { account: '210987654321', region: 'eu-west-1' } });
  const copies = new BackupCopyVault(stack, 'Vault', { vaultName: 'copies', sourceAccounts: ['123456789012'] });
  expect(check({ app })).toEqual({ errors: [], warnings: [] });
  expect(acknowledgements(copies)).toEqual([]);
});

describe('a rule that is broken is found', () => {
  test('on an instance', () => {
    const made = cleanStack();
    const server = KINDS.rds!(made) as RdsPostgres;
    (server.instance.node.defaultChild as rds.CfnDBInstance).storageEncrypted = false;
    expect(check(made).errors.join('\n')).toMatch(/Postgres\/Resource\/Resource AwsSolutions-RDS2/);
  });

  test('on a cluster', () => {
    const made = cleanStack();
    const server = KINDS.aurora!(made) as AuroraPostgres;
    (server.cluster.node.defaultChild as rds.CfnDBCluster).deletionProtection = false;
    const { errors } = check(made);
    expect(errors.join('\n')).toMatch(/Postgres\/Resource\/Resource AwsSolutions-RDS10/);
    expect(errors).toContain('Test/Postgres BK-15');
  });
});

describe('the validator of CloudFormation', () => {
  const before = process.env.CDK_VALIDATION;
  beforeAll(() => void (process.env.CDK_VALIDATION = 'true'));
  afterAll(() => void (process.env.CDK_VALIDATION = before));

  function validate(made: Made): string[] {
    made.app.synth();
    const report = JSON.parse(readFileSync(join(made.app.outdir, 'validation-report.json'), 'utf8'));
    return report.pluginReports
      .filter((r: { pluginName: string }) => r.pluginName !== 'cdk-postgres')
      .flatMap((r: { violations: Violation[] }) => r.violations.map((v) => v.ruleName));
  }

  test.each(Object.entries(KINDS))(
    'knows every property and value of %s, the engine version among them',
    (_kind, make) => {
      const made = cleanStack();
      declareInside(make(made));
      expect(validate(made)).toEqual([]);
    },
  );

  test.each(
    Object.entries(KINDS).filter(([kind]) => ACKNOWLEDGEMENTS[kind]!.some((entry) => OF_THE_VALIDATOR.test(entry))),
  )('holds exactly what is acknowledged against %s', (kind, make) => {
    jest.spyOn(Validations.prototype, 'acknowledge').mockImplementation();
    const made = cleanStack();
    make(made);
    const rules = ACKNOWLEDGEMENTS[kind]!.flatMap((entry) => OF_THE_VALIDATOR.exec(entry)?.[0].trim() ?? []);
    expect([...new Set(validate(made))].sort()).toEqual(rules);
    jest.restoreAllMocks();
  });

  test('finds an engine version that does not exist', () => {
    const made = cleanStack();
    const server = KINDS.aurora!(made) as AuroraPostgres;
    (server.cluster.node.defaultChild as rds.CfnDBCluster).engineVersion = '18.999';
    expect(validate(made)).toEqual([expect.stringMatching(/9006/)]);
  });
});
