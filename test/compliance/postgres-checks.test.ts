import {
  App,
  CfnParameter,
  CfnResource,
  Fn,
  NestedStack,
  Stack,
  Token,
  Validations,
  aws_ec2 as ec2,
  aws_rds as rds,
  aws_s3 as s3,
} from 'aws-cdk-lib';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PostgresChecks } from '../../lib';
import { RULES } from '../../lib/compliance/rules';
import { TemplateFacts } from '../../lib/compliance/template/template-facts';
import { quiet } from '../server/support';
import { checked, rulesOf } from './checked';

quiet();

/** What every rule is content with. A rule's case changes what the rule looks at, and nothing else. */
interface Parts {
  readonly instance?: Partial<rds.CfnDBInstanceProps>;
  readonly parameters?: Record<string, string>;
  readonly engineVersion?: string;
  /** Overrides of the template, as `addPropertyOverride` makes them. */
  readonly overrides?: Record<string, unknown>;
  readonly more?: (stack: Stack, instance: rds.CfnDBInstance) => void;
}

const GOOD: rds.CfnDBInstanceProps = {
  engine: 'postgres',
  dbInstanceClass: 'db.r7g.large',
  allocatedStorage: '100',
  maxAllocatedStorage: 1000,
  storageEncrypted: true,
  kmsKeyId: 'arn:aws:kms:eu-central-1:123456789012:key/1',
  backupRetentionPeriod: 14,
  deletionProtection: true,
  multiAz: true,
  publiclyAccessible: false,
  enablePerformanceInsights: true,
  enableCloudwatchLogsExports: ['postgresql'],
  engineLifecycleSupport: 'open-source-rds-extended-support-disabled',
  caCertificateIdentifier: 'rds-ca-rsa2048-g1',
  manageMasterUserPassword: true,
};

const GOOD_PARAMETERS = {
  'rds.force_ssl': '1',
  'rds.logical_replication': '1',
  'rds.accepted_password_auth_method': 'scram',
  password_encryption: 'scram-sha-256',
  max_slot_wal_keep_size: '20000',
  shared_preload_libraries: 'pg_stat_statements,pgaudit',
};

function withParts({ instance, parameters, engineVersion = '17.6', overrides = {}, more }: Parts) {
  return (stack: Stack) => {
    const group = new rds.CfnDBParameterGroup(stack, 'Parameters', {
      family: 'postgres17',
      description: 'of the test',
      parameters: { ...GOOD_PARAMETERS, ...parameters },
    });
    const made = new rds.CfnDBInstance(stack, 'Server', {
      ...GOOD,
      dbParameterGroupName: group.ref,
      engineVersion,
      ...instance,
    });
    for (const [name, value] of Object.entries(overrides)) made.addPropertyOverride(name, value);
    more?.(stack, made);
  };
}

const cluster = (nodes: number, props: Partial<rds.CfnDBClusterProps> = {}) => ({
  more: (stack: Stack) => {
    const made = new rds.CfnDBCluster(stack, 'Cluster', {
      engine: 'aurora-postgresql',
      engineVersion: '17.5',
      storageEncrypted: true,
      kmsKeyId: GOOD.kmsKeyId,
      backupRetentionPeriod: 14,
      deletionProtection: true,
      enableCloudwatchLogsExports: ['postgresql'],
      engineLifecycleSupport: GOOD.engineLifecycleSupport,
      manageMasterUserPassword: true,
      dbClusterParameterGroupName: Fn.ref('Parameters'),
      ...props,
    });
    for (let node = 1; node <= nodes; node++) {
      new rds.CfnDBInstance(stack, `Node${node}`, {
        engine: 'aurora-postgresql',
        dbClusterIdentifier: made.ref,
        dbInstanceClass: 'db.r7g.large',
        enablePerformanceInsights: true,
      });
    }
  },
});

const behind = (
  rule: ec2.CfnSecurityGroup.IngressProperty | undefined,
  separate?: Partial<ec2.CfnSecurityGroupIngressProps>,
) => ({
  more: (stack: Stack, instance: rds.CfnDBInstance) => {
    const group = new ec2.CfnSecurityGroup(stack, 'Group', {
      groupDescription: 'of the server',
      securityGroupIngress: rule && [rule],
    });
    if (separate)
      new ec2.CfnSecurityGroupIngress(stack, 'Rule', { groupId: group.attrGroupId, ipProtocol: 'tcp', ...separate });
    instance.vpcSecurityGroups = [group.attrGroupId];
  },
});

const proxy = (props: Partial<rds.CfnDBProxyProps>) => ({
  more: (stack: Stack) =>
    void new rds.CfnDBProxy(stack, 'Proxy', {
      dbProxyName: 'proxy',
      engineFamily: 'POSTGRESQL',
      roleArn: 'arn:aws:iam::123456789012:role/r',
      vpcSubnetIds: ['subnet-1', 'subnet-2'],
      requireTls: true,
      auth: [],
      ...props,
    }),
});

const parameter =
  (type = 'String') =>
  (stack: Stack) =>
    new CfnParameter(stack, 'P', { type });

/** A value that only the deployment knows: a parameter of the template. */
const token = (property: string): Parts => ({
  more: (stack, instance) => instance.addPropertyOverride(property, { Ref: parameter()(stack).logicalId }),
});
const tokenParameter = (name: string): Parts => ({
  more: (stack) =>
    (stack.node.findChild('Parameters') as CfnResource).addPropertyOverride(
      `Parameters.${name.replaceAll('.', '\\.')}`,
      {
        Ref: parameter()(stack).logicalId,
      },
    ),
});

interface Case {
  /** Each of them is found, with its words. */
  readonly found: readonly [Parts, RegExp][];
  /** Besides the stack that is good in every way. */
  readonly passes: readonly Parts[];
  /** A stack whose value is a token. */
  readonly unknown: readonly Parts[];
}

const CASES: Record<string, Case> = {
  'BK-2': {
    found: [
      [{ instance: { backupRetentionPeriod: 0 } }, /S\/Server: automated backups are off/],
      [{ overrides: { BackupRetentionPeriod: '0' } }, /automated backups are off/],
    ],
    passes: [{ instance: { backupRetentionPeriod: 7 } }],
    unknown: [token('BackupRetentionPeriod')],
  },
  'BK-3': {
    found: [
      [{ instance: { backupRetentionPeriod: 6 } }, /reaches back 6 days/],
      [{ instance: { backupRetentionPeriod: undefined } }, /reaches back 1 day;/],
      [cluster(2, { backupRetentionPeriod: 3 }), /S\/Cluster: .* 3 days/],
    ],
    passes: [{ instance: { backupRetentionPeriod: 7 } }, cluster(2)],
    unknown: [token('BackupRetentionPeriod')],
  },
  'BK-14': {
    found: [[{ instance: { kmsKeyId: undefined } }, /default key/]],
    passes: [{ instance: { kmsKeyId: undefined, dbSnapshotIdentifier: 'snapshot' } }],
    unknown: [token('KmsKeyId'), { ...token('StorageEncrypted'), instance: { kmsKeyId: undefined } }],
  },
  'BK-15': {
    found: [
      [{ instance: { deletionProtection: false } }, /deletion protection is off/],
      [{ instance: { deletionProtection: undefined } }, /deletion protection is off/],
      [{ more: (_, instance) => (instance.cfnOptions.deletionPolicy = 'Delete' as never) }, /goes with its stack/],
    ],
    passes: [{ more: (_, instance) => (instance.cfnOptions.deletionPolicy = 'Snapshot' as never) }],
    unknown: [token('DeletionProtection')],
  },
  'CP-10': {
    found: [
      [proxy({ requireTls: undefined }), /S\/Proxy: clients may connect to the proxy without TLS/],
      [proxy({ debugLogging: true }), /logs the text of statements/],
    ],
    passes: [proxy({}), proxy({ engineFamily: 'MYSQL', requireTls: false })],
    unknown: [proxy({ requireTls: Fn.importValue('tls') as never })],
  },
  'HA-1': {
    found: [
      [{ instance: { multiAz: false } }, /multiAz is off/],
      [{ instance: { multiAz: undefined } }, /multiAz is off/],
      [cluster(1), /S\/Cluster: there is no reader/],
    ],
    passes: [cluster(2), cluster(0), cluster(0, { engine: 'postgres', dbClusterInstanceClass: 'db.r6gd.large' })],
    unknown: [token('MultiAZ')],
  },
  'HA-8': {
    found: [
      [{ parameters: { max_slot_wal_keep_size: '-1' } }, /max_slot_wal_keep_size is unlimited/],
      [{ parameters: { max_slot_wal_keep_size: undefined as never } }, /max_slot_wal_keep_size is unlimited/],
    ],
    passes: [{ parameters: { 'rds.logical_replication': '0', max_slot_wal_keep_size: '-1' } }],
    unknown: [tokenParameter('max_slot_wal_keep_size')],
  },
  'LIB-12': {
    found: [[{ more: (stack) => (stack.terminationProtection = false) }, /termination protection of stack S is off/]],
    passes: [],
    // Of the stack itself nothing can be a token.
    unknown: [token('DBInstanceIdentifier')],
  },
  'LR-21': {
    found: [[{ instance: { engineLifecycleSupport: undefined } }, /extended support/]],
    passes: [{ instance: { engineLifecycleSupport: 'open-source-rds-extended-support' } }],
    unknown: [token('EngineLifecycleSupport')],
  },
  'OPS-4': {
    found: [
      [{ instance: { maxAllocatedStorage: undefined } }, /cannot grow beyond 100 GiB/],
      [{ instance: { maxAllocatedStorage: 100 } }, /cannot grow beyond 100 GiB/],
    ],
    passes: [cluster(2)],
    unknown: [token('MaxAllocatedStorage'), token('AllocatedStorage')],
  },
  'OPS-5': {
    found: [[{ parameters: { shared_preload_libraries: 'pgaudit' } }, /without pg_stat_statements/]],
    passes: [{ parameters: { shared_preload_libraries: 'auto_explain, pg_stat_statements,pgaudit' } }],
    unknown: [tokenParameter('shared_preload_libraries')],
  },
  'OPS-6': {
    found: [
      [{ instance: { enablePerformanceInsights: undefined } }, /Database Insights are off/],
      [{ instance: { enablePerformanceInsights: false } }, /Database Insights are off/],
    ],
    passes: [{ instance: { enablePerformanceInsights: undefined, databaseInsightsMode: 'standard' } }, cluster(2)],
    unknown: [token('EnablePerformanceInsights')],
  },
  'OPS-7': {
    found: [
      [{ parameters: { autovacuum: '0' } }, /autovacuum is off/],
      [{ parameters: { autovacuum: 'off' } }, /autovacuum is off/],
    ],
    passes: [{ parameters: { autovacuum: '1' } }],
    unknown: [tokenParameter('autovacuum')],
  },
  'OPS-12': {
    found: [[{ instance: { dbInstanceClass: 'db.t4g.medium' } }, /db\.t4g\.medium is burstable/]],
    passes: [{ instance: { dbInstanceClass: 'db.m7g.large' } }],
    unknown: [token('DBInstanceClass')],
  },
  'SEC-9': {
    found: [[{ parameters: { password_encryption: 'md5' } }, /password_encryption is md5/]],
    passes: [{ parameters: { password_encryption: undefined as never } }],
    unknown: [tokenParameter('password_encryption')],
  },
  'SEC-10': {
    found: [[{ parameters: { 'rds.accepted_password_auth_method': 'md5+scram' } }, /md5\+scram/]],
    passes: [{ parameters: { 'rds.accepted_password_auth_method': undefined as never } }],
    unknown: [tokenParameter('rds.accepted_password_auth_method')],
  },
  'SEC-11': {
    found: [
      [{ parameters: { 'rds.force_ssl': '0' } }, /rds\.force_ssl is 0/],
      [{ parameters: { ssl_min_protocol_version: 'TLSv1.1' } }, /TLSv1\.1, a broken version/],
      [{ parameters: { 'rds.force_ssl': undefined as never }, engineVersion: '14.9' }, /0 by default in version 14/],
      [
        cluster(2, { engineVersion: '16.4', dbClusterParameterGroupName: 'default.aurora-postgresql16' }),
        /0 by default in version 16/,
      ],
    ],
    passes: [
      { parameters: { 'rds.force_ssl': undefined as never }, engineVersion: '15.4' },
      cluster(2, { engineVersion: '17.4', dbClusterParameterGroupName: 'default.aurora-postgresql17' }),
    ],
    unknown: [
      tokenParameter('rds.force_ssl'),
      { engineVersion: Token.asString({ Ref: 'V' }), parameters: { 'rds.force_ssl': undefined as never } },
      { engineVersion: '14.9', instance: { dbParameterGroupName: 'a-group-of-somebody-else' } },
    ],
  },
  'SEC-13': {
    found: [[{ instance: { caCertificateIdentifier: 'rds-ca-2019' } }, /rds-ca-2019 has expired/]],
    passes: [{ instance: { caCertificateIdentifier: undefined } }],
    unknown: [token('CACertificateIdentifier')],
  },
  'SEC-15': {
    found: [[{ instance: { publiclyAccessible: true } }, /address on the internet/]],
    passes: [{ instance: { publiclyAccessible: undefined } }],
    unknown: [token('PubliclyAccessible')],
  },
  'SEC-15.ingress': {
    found: [
      [
        behind({ ipProtocol: 'tcp', cidrIp: '0.0.0.0/0', fromPort: 5432, toPort: 5432 }),
        /S\/Group: it lets in everybody \(0\.0\.0\.0\/0\)/,
      ],
      [
        behind(undefined, { cidrIpv6: '::/0', fromPort: 5432, toPort: 5432 }),
        /S\/Rule: it lets in everybody \(::\/0\)/,
      ],
    ],
    passes: [
      behind({ ipProtocol: 'tcp', cidrIp: '10.0.0.0/16', fromPort: 5432, toPort: 5432 }),
      behind(undefined, { sourceSecurityGroupId: 'sg-1' }),
      {
        more: (stack) =>
          void new ec2.CfnSecurityGroup(stack, 'OfAWebServer', {
            groupDescription: 'of something else',
            securityGroupIngress: [{ ipProtocol: 'tcp', cidrIp: '0.0.0.0/0', fromPort: 443, toPort: 443 }],
          }),
      },
    ],
    unknown: [behind({ ipProtocol: 'tcp', cidrIp: Fn.importValue('cidr'), fromPort: 5432, toPort: 5432 })],
  },
  'SEC-18': {
    found: [[{ instance: { masterUserPassword: 'correct horse' } }, /stands in the template/]],
    passes: [],
    unknown: [
      token('MasterUserPassword'),
      { instance: { masterUserPassword: '{{resolve:secretsmanager:arn:SecretString:password::}}' } },
    ],
  },
  'SEC-20': {
    found: [
      [{ parameters: { shared_preload_libraries: 'pg_stat_statements' } }, /pgaudit is not preloaded/],
      [{ instance: { dbParameterGroupName: undefined } }, /pgaudit is not preloaded/],
    ],
    passes: [],
    unknown: [tokenParameter('shared_preload_libraries')],
  },
  'SEC-21': {
    found: [
      [{ instance: { enableCloudwatchLogsExports: undefined } }, /log is not exported/],
      [{ instance: { enableCloudwatchLogsExports: ['upgrade'] } }, /log is not exported/],
    ],
    passes: [],
    unknown: [token('EnableCloudwatchLogsExports')],
  },
  'SEC-22': {
    found: [
      [{ instance: { storageEncrypted: false } }, /storage is not encrypted/],
      [{ instance: { storageEncrypted: undefined, kmsKeyId: undefined } }, /storage is not encrypted/],
    ],
    passes: [
      { instance: { storageEncrypted: undefined, kmsKeyId: undefined, dbSnapshotIdentifier: 'snapshot' } },
      { instance: { storageEncrypted: undefined, kmsKeyId: undefined, sourceDbInstanceIdentifier: 'primary' } },
    ],
    unknown: [token('StorageEncrypted')],
  },
};

test('the rules are these, each with a case', () => {
  const ids = [
    ...[
      'BK-2',
      'BK-3',
      'BK-14',
      'BK-15',
      'CP-10',
      'HA-1',
      'HA-8',
      'LIB-12',
      'LR-21',
      'OPS-4',
      'OPS-5',
      'OPS-6',
      'OPS-7',
    ],
    ...[
      'OPS-12',
      'SEC-9',
      'SEC-10',
      'SEC-11',
      'SEC-13',
      'SEC-15',
      'SEC-15.ingress',
      'SEC-18',
      'SEC-20',
      'SEC-21',
      'SEC-22',
    ],
  ];
  expect(RULES.map(({ id }) => id)).toEqual(ids);
  expect(new PostgresChecks().ruleIds).toEqual(ids);
  expect(Object.keys(CASES)).toEqual(ids);
});

test('docs/compliance.md has every rule, with its level, what it asks for and its remedy', () => {
  const page = readFileSync(join(__dirname, '..', '..', 'docs', 'compliance.md'), 'utf8');
  const section = page.split(/^## /m).find((part) => part.startsWith('Rules for every PostgreSQL server'))!;
  const rows = [...section.matchAll(/^\| ([A-Z][^|]*-\d[^|]*) \|(.*)\|$/gm)].map((match) =>
    match[0]
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  expect(rows).toEqual(RULES.map(({ id, level, asks, fix }) => [id, level, asks, fix]));
});

test('a server that is good in every way has no finding', () => {
  expect(checked(withParts({}))).toEqual([]);
});

describe.each(RULES.map((rule) => [rule.id, rule] as const))('%s', (id, rule) => {
  const { found, passes, unknown } = CASES[id]!;

  test('finds a stack that does not comply, with the path, the reason and the remedy', () => {
    for (const [parts, words] of found) {
      const mine = checked(withParts(parts)).filter((one) => one.rule === id);
      expect(mine).toHaveLength(1);
      expect(mine[0]!.description).toMatch(words);
      expect(mine[0]!.description.startsWith(`${mine[0]!.at}: `)).toBe(true);
      expect(mine[0]).toMatchObject({ severity: rule.level, fix: rule.fix });
    }
  });

  test('passes a stack that complies', () => {
    for (const parts of [{}, ...passes]) expect(rulesOf(checked(withParts(parts)))).not.toContain(id);
  });

  test('does not judge what only the deployment knows', () => {
    expect([found.length, unknown.length]).not.toContain(0);
    for (const parts of unknown) expect(rulesOf(checked(withParts(parts)))).not.toContain(id);
  });
});

describe('an acknowledgement', () => {
  const weak = withParts({ instance: { backupRetentionPeriod: 1, multiAz: false } });

  test('with a reason lets its rule pass, and no other', () => {
    const found = checked((stack) => {
      weak(stack);
      Validations.of(stack.node.findChild('Server')).acknowledge({
        id: 'PostgresChecks::BK-3',
        reason: 'a copy of another server',
      });
    });
    expect(rulesOf(found)).toEqual(['HA-1']);
  });

  test('of another server lets nothing pass', () => {
    const found = checked((stack) => {
      weak(stack);
      const other = new rds.CfnDBInstance(stack, 'Other', GOOD);
      Validations.of(other).acknowledge({ id: 'PostgresChecks::HA-1', reason: 'a copy' });
    });
    expect(found.filter(({ rule }) => rule === 'HA-1').map(({ at }) => at)).toEqual(['S/Server']);
  });

  test('of what is no rule is reported, and fails nothing', () => {
    const found = checked((stack) => {
      withParts({})(stack);
      Validations.of(stack).acknowledge({ id: 'PostgresChecks::BK-33', reason: 'a typing mistake' });
    });
    expect(found).toMatchObject([{ rule: 'LIB-11', severity: 'warning', at: 'S' }]);
    expect(found[0]!.description).toMatch(/BK-33.*names no rule; there are BK-2, /);
  });
});

test('an error fails the synthesis, a warning does not', () => {
  const synth = (parts: Parts) => () => {
    const app = new App();
    Validations.of(app).addPlugins(new PostgresChecks());
    withParts(parts)(new Stack(app, 'S', { terminationProtection: true }));
    app.synth();
  };
  expect(synth({ instance: { multiAz: false } })).toThrow(/multiAz is off/);
  expect(synth({ instance: { dbInstanceClass: 'db.t4g.medium' } })).not.toThrow();
});

test('a rule that throws is an error of its own, and all others are still asked', () => {
  const broken = RULES.find(({ id }) => id === 'BK-3')!;
  const check = jest.spyOn(broken, 'check').mockImplementation(() => {
    throw new TypeError('no such thing');
  });
  try {
    const found = checked(withParts({ instance: { multiAz: false } }));
    expect(rulesOf(found)).toEqual(['BK-3.unchecked', 'HA-1']);
    expect(found.find(({ rule }) => rule === 'BK-3.unchecked')).toMatchObject({
      severity: 'error',
      at: 'S',
      description: 'S: BK-3 could not be checked: no such thing',
    });
  } finally {
    check.mockRestore();
  }
});

test('a server that cannot be read is an error of its own', () => {
  const read = jest.spyOn(TemplateFacts.prototype, 'ofType').mockImplementation(() => {
    throw new TypeError('no such thing');
  });
  try {
    const found = checked((stack) => void new s3.Bucket(stack, 'Bucket'));
    expect(found).toMatchObject([{ rule: 'LIB-11.unchecked', severity: 'error', at: 'S' }]);
  } finally {
    read.mockRestore();
  }
});

describe('SEC-15.ingress: over stacks', () => {
  const world = { ipProtocol: 'tcp', cidrIp: '0.0.0.0/0', fromPort: 5432, toPort: 5432 };
  const ingress = (make: (app: App, server: Stack) => void) => {
    const app = new App({ context: { '@aws-cdk/core:failSynthOnValidationErrors': false } });
    Validations.of(app).addPlugins(new PostgresChecks());
    make(app, new Stack(app, 'Data'));
    jest.spyOn(console, 'error').mockImplementation();
    app.synth();
    return JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8'))
      .pluginReports.flatMap((report: any) => report.violations)
      .filter(({ ruleName }: any) => ruleName === 'SEC-15.ingress')
      .map(({ description }: any) => description.split(':')[0]);
  };
  const groupIn = (scope: Stack, rules: ec2.CfnSecurityGroup.IngressProperty[] = []) =>
    new ec2.CfnSecurityGroup(scope, 'Group', { groupDescription: 'of the server', securityGroupIngress: rules });
  const serverIn = (scope: Stack, group: ec2.CfnSecurityGroup) =>
    new rds.CfnDBInstance(scope, 'Server', { ...GOOD, vpcSecurityGroups: [group.attrGroupId] });

  test('a group of another stack is looked into', () => {
    const found = (rules: ec2.CfnSecurityGroup.IngressProperty[]) =>
      ingress((app, data) => serverIn(data, groupIn(new Stack(app, 'Network'), rules)));
    expect(found([world])).toEqual(['Network/Group']);
    expect(found([{ ...world, cidrIp: '10.0.0.0/8' }])).toEqual([]);
  });

  test('a rule of another stack on the group of a server is one of it', () => {
    expect(
      ingress((app, data) => {
        const group = groupIn(data);
        serverIn(data, group);
        new ec2.CfnSecurityGroupIngress(new Stack(app, 'Consumer'), 'Rule', { groupId: group.attrGroupId, ...world });
      }),
    ).toEqual(['Consumer/Rule']);
  });

  test('nested stacks give and take groups too', () => {
    expect(ingress((_app, data) => serverIn(new NestedStack(data, 'Inner'), groupIn(data, [world])))).toEqual([
      'Data/Group',
    ]);
    expect(ingress((_app, data) => serverIn(data, groupIn(new NestedStack(data, 'Inner'), [world])))).toEqual([
      'Data/Inner/Group',
    ]);
  });

  test('a group that no server stands behind may let in everybody', () => {
    expect(
      ingress((app, data) => {
        serverIn(data, groupIn(data));
        groupIn(new Stack(app, 'Web'), [{ ...world, fromPort: 443, toPort: 443 }]);
      }),
    ).toEqual([]);
  });
});
