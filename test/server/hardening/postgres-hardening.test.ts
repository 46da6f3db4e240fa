import {
  App,
  Fn,
  Mixins,
  Stack,
  Token,
  Validations,
  aws_ec2 as ec2,
  aws_kms as kms,
  aws_rds as rds,
} from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HardeningItem, PostgresHardening } from '../../../lib';
import { HARDENING_TEXTS } from '../../../lib/contract/hardening';
import { CREATE_ONLY } from '../../../lib/server/guard/create-only';
import { quiet } from '../support';

quiet();

const ENV = { account: '123456789012', region: 'eu-west-1' };
const REASON = 'tried on staging for a week';
const enforce = (...items: HardeningItem[]) =>
  new PostgresHardening({ enforce: items.map((item) => ({ item, reason: REASON })) });

const engineOf = (kind: 'rds' | 'aurora', version = '16.4') => {
  const [major] = version.split('.') as [string];
  return kind === 'rds'
    ? rds.DatabaseInstanceEngine.postgres({ version: rds.PostgresEngineVersion.of(version, major) })
    : rds.DatabaseClusterEngine.auroraPostgres({ version: rds.AuroraPostgresEngineVersion.of(version, major) });
};

interface Options {
  readonly version?: string;
  /** Parameters of a group of its own; undefined: the engine's default group. */
  readonly parameters?: Record<string, string>;
  readonly more?: object;
}

/** What a team has that wrote plain aws-rds. */
function plain(kind: 'rds' | 'aurora', { version, parameters, more }: Options = {}) {
  const app = new App({ context: { '@aws-cdk/core:failSynthOnValidationErrors': false } });
  const stack = new Stack(app, 'Plain', { env: ENV });
  const vpc = new ec2.Vpc(stack, 'Vpc', { natGateways: 1, maxAzs: 2 });
  const engine = engineOf(kind, version);
  const group = (id: string, own: Record<string, string>) =>
    parameters && new rds.ParameterGroup(stack, id, { engine, parameters: own });
  const server =
    kind === 'rds'
      ? new rds.DatabaseInstance(stack, 'Db', {
          engine: engine as rds.IInstanceEngine,
          vpc,
          parameterGroup: group('Group', parameters ?? {}),
          ...more,
        })
      : new rds.DatabaseCluster(stack, 'Db', {
          engine: engine as rds.IClusterEngine,
          vpc,
          writer: rds.ClusterInstance.provisioned('Writer', { parameterGroup: group('NodeGroup', parameters ?? {}) }),
          parameterGroup: group('Group', {}),
          ...more,
        });
  return { app, stack, vpc, server };
}

interface Found {
  readonly rule: string;
  readonly severity: string;
  readonly description: string;
  readonly fix: string;
}

function findings(app: App): Found[] {
  app.synth();
  const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8'));
  return report.pluginReports
    .filter((r: { pluginName: string }) => r.pluginName === 'cdk-postgres')
    .flatMap((r: { violations: Record<string, string>[] }) =>
      r.violations.map((v) => ({
        rule: v.ruleName!.replace('hardening.', ''),
        severity: v.severity!,
        description: v.description!,
        fix: v.suggestedFix!,
      })),
    );
}

const rules = (app: App) => findings(app).map(({ rule }) => rule);
const errors = (app: App) => findings(app).filter(({ severity }) => severity === 'error');
const resources = (stack: Stack) => Template.fromStack(stack).toJSON().Resources as Record<string, any>;

/** The parameters that a level of the server ends up with. */
function parametersOf(stack: Stack, level: 'cluster' | 'instance'): Record<string, string> {
  const all = resources(stack);
  const [holder] = Object.values(all).filter(({ Type }) =>
    level === 'cluster' ? Type === 'AWS::RDS::DBCluster' : Type === 'AWS::RDS::DBInstance',
  );
  const name =
    level === 'cluster' ? holder.Properties.DBClusterParameterGroupName : holder.Properties.DBParameterGroupName;
  return all[name.Ref].Properties.Parameters ?? {};
}

const property = (stack: Stack, type: string, name: string) =>
  Object.values(resources(stack)).find(({ Type }) => Type === type)!.Properties[name];

describe.each(['rds', 'aurora'] as const)('the report of a plain %s server', (kind) => {
  test('changes nothing in the template', () => {
    const before = plain(kind, { parameters: {} });
    const after = plain(kind, { parameters: {} });
    expect(after.server.with(new PostgresHardening())).toBe(after.server);
    expect(resources(after.stack)).toEqual(resources(before.stack));
    // Control: the same mixin with one item does.
    const enforced = plain(kind, { parameters: {} });
    enforced.server.with(enforce(HardeningItem.REFUSE_MD5));
    expect(resources(enforced.stack)).not.toEqual(resources(before.stack));
  });

  test('says of each item what is missing, whom it breaks and when it takes effect, and lets the synthesis pass', () => {
    const { app, server } = plain(kind, { parameters: {}, version: '14.9' });
    server.with(new PostgresHardening());
    const found = findings(app);
    expect(found.map(({ rule }) => rule)).toEqual([
      'force-tls',
      'scram-passwords',
      'refuse-md5',
      'audit',
      'log-connections',
      'log-statements',
      'idle-transactions',
      'slot-limit',
      'log-export',
      'deletion-protection',
      'backup-retention',
      'iam-login',
      'encryption',
      'port',
    ]);
    expect(found.filter(({ severity }) => severity !== 'warning')).toEqual([]);
    for (const { rule, description, fix } of found) {
      const text = HARDENING_TEXTS[rule as keyof typeof HARDENING_TEXTS];
      if (!text) continue;
      expect(description).toContain(`Plain/Db: ${text.requirement}: `);
      expect(description).toContain(text.breaks);
      expect(fix).toContain(`HardeningItem.${rule.toUpperCase().replaceAll('-', '_')}`);
    }
    expect(found[0]!.description).toBe(
      'Plain/Db: SEC-11: rds.force_ssl is not set. Enforced, it takes effect for new connections. Clients without TLS are refused ' +
        'from their next connection on; those that are connected stay.',
    );
  });

  test('SEC-11: a version that forces TLS by default lacks nothing', () => {
    const report = (version: string) => {
      const { app, server } = plain(kind, { parameters: {}, version });
      server.with(new PostgresHardening());
      return rules(app);
    };
    expect(report('17.4')).not.toContain('force-tls');
    expect(report('14.9')).toContain('force-tls');
    // Aurora does from 17 on, RDS from 15.
    expect(report('16.4').includes('force-tls')).toBe(kind === 'aurora');
  });

  test('is acknowledged item by item', () => {
    const { app, server } = plain(kind, { parameters: {} });
    server.with(new PostgresHardening());
    Validations.of(server).acknowledge({ id: 'cdk-postgres::hardening.port', reason: 'behind a security group' });
    const found = rules(app);
    expect(found).not.toContain('port');
    expect(found).toContain('encryption');
  });

  test('LIB-2: of a server with the default group of its engine asks for a group first', () => {
    const { app, server } = plain(kind);
    server.with(new PostgresHardening());
    const found = findings(app);
    expect(found.map(({ rule }) => rule)).toContain('own-parameter-group');
    expect(found.find(({ rule }) => rule === 'refuse-md5')!.description).toContain(
      'It cannot be enforced as it stands: the server uses the default group of its engine, which nobody can change: enforce HardeningItem.OWN_PARAMETER_GROUP as well.',
    );
  });
});

describe.each([
  ['rds', 'SEC-11', HardeningItem.FORCE_TLS, 'instance', { 'rds.force_ssl': '1' }],
  ['aurora', 'SEC-11', HardeningItem.FORCE_TLS, 'cluster', { 'rds.force_ssl': '1' }],
  ['rds', 'SEC-9', HardeningItem.SCRAM_PASSWORDS, 'instance', { password_encryption: 'scram-sha-256' }],
  ['aurora', 'SEC-9', HardeningItem.SCRAM_PASSWORDS, 'cluster', { password_encryption: 'scram-sha-256' }],
  [
    'aurora',
    'SEC-10, LIB-3',
    HardeningItem.REFUSE_MD5,
    'cluster',
    { password_encryption: 'scram-sha-256', 'rds.accepted_password_auth_method': 'scram' },
  ],
  [
    'aurora',
    'SEC-20',
    HardeningItem.AUDIT,
    'instance',
    {
      shared_preload_libraries: 'pg_stat_statements,pgaudit',
      'pgaudit.log': 'ddl,role',
      'pgaudit.role': 'rds_pgaudit',
    },
  ],
  [
    'rds',
    'SEC-21',
    HardeningItem.LOG_CONNECTIONS,
    'instance',
    { log_connections: '1', log_disconnections: '1', log_replication_commands: '1' },
  ],
  ['rds', 'CP-16', HardeningItem.IDLE_TRANSACTIONS, 'instance', { idle_in_transaction_session_timeout: '300000' }],
  ['rds', 'HA-8', HardeningItem.SLOT_LIMIT, 'instance', { max_slot_wal_keep_size: '25600' }],
  ['aurora', 'HA-8', HardeningItem.SLOT_LIMIT, 'instance', { max_slot_wal_keep_size: '102400' }],
  [
    'aurora',
    'OPS-5, DDL-23',
    HardeningItem.LOG_STATEMENTS,
    'instance',
    { log_min_duration_statement: '1000', log_lock_waits: '1', log_temp_files: '10240', track_io_timing: '1' },
  ],
] as const)('%s: %s: %s', (kind, _requirement, item, level, expected) => {
  test('is set in the group that the server has, with nothing else', () => {
    const { app, stack, server } = plain(kind, { parameters: {}, version: '14.9' });
    server.with(enforce(item));
    expect(parametersOf(stack, level)).toEqual(
      item === HardeningItem.LOG_STATEMENTS ? expect.objectContaining(expected) : expected,
    );
    expect(rules(app)).not.toContain(item.name);
    expect(errors(app)).toEqual([]);
  });

  test('is an error where the server has the default group of its engine', () => {
    const { app, server, stack } = plain(kind, { version: '14.9' });
    const before = resources(plain(kind, { version: '14.9' }).stack);
    server.with(enforce(item));
    expect(resources(stack)).toEqual(before);
    expect(errors(app)).toEqual([
      expect.objectContaining({
        rule: item.name,
        description: expect.stringMatching(
          /^Plain\/Db: .* is enforced, and is not in place: .* is not set.*enforce HardeningItem.OWN_PARAMETER_GROUP as well$/,
        ),
      }),
    ]);
  });

  test('is set in a new group together with OWN_PARAMETER_GROUP, whatever the order', () => {
    const { app, stack, server } = plain(kind, { version: '14.9' });
    server.with(enforce(item, HardeningItem.OWN_PARAMETER_GROUP));
    expect(parametersOf(stack, level)).toEqual(expect.objectContaining(expected));
    expect(errors(app)).toEqual([]);
    expect(property(stack, 'AWS::RDS::DBParameterGroup', 'Family')).toBe(
      kind === 'rds' ? 'postgres14' : 'aurora-postgresql14',
    );
  });
});

test.each(['rds', 'aurora'] as const)(
  '%s: two mixins do what one would, whichever comes first, and one that is applied twice does it once',
  (kind) => {
    const applied = (...mixins: PostgresHardening[]) => {
      const { app, stack, server } = plain(kind);
      for (const mixin of mixins) server.with(mixin);
      expect(errors(app)).toEqual([]);
      return resources(stack);
    };
    const [tls, group] = [enforce(HardeningItem.FORCE_TLS), enforce(HardeningItem.OWN_PARAMETER_GROUP)];
    const both = applied(enforce(HardeningItem.OWN_PARAMETER_GROUP, HardeningItem.FORCE_TLS));
    expect(applied(tls, group)).toEqual(both);
    expect(applied(group, tls)).toEqual(both);
    expect(applied(tls, tls, group, group, new PostgresHardening())).toEqual(both);
  },
);

test('an override of the template has the last word, and what it takes back is an error', () => {
  const { app, stack, server } = plain('rds', { parameters: {} });
  const resource = server.node.defaultChild as rds.CfnDBInstance;
  resource.addPropertyOverride('DeletionProtection', false);
  resource.addPropertyOverride('EnableIAMDatabaseAuthentication', false);
  server.with(enforce(HardeningItem.DELETION_PROTECTION, HardeningItem.IAM_LOGIN, HardeningItem.FORCE_TLS));
  const group = stack.node.findAll().find((one) => rds.CfnDBParameterGroup.isCfnDBParameterGroup(one))!;
  (group as rds.CfnDBParameterGroup).addPropertyOverride('Parameters.rds\\.force_ssl', '0');
  expect(
    errors(app)
      .map(({ rule }) => rule)
      .sort(),
  ).toEqual(['deletion-protection', 'force-tls', 'iam-login']);
});

test('BK-3: an instance that is restored to a moment is no replica, and its backups are its own', () => {
  const reported = (props: rds.CfnDBInstanceProps) => {
    const app = new App({ context: { '@aws-cdk/core:failSynthOnValidationErrors': false } });
    const stack = new Stack(app, 'Plain', { env: ENV });
    const source = { engine: 'postgres', sourceDbInstanceIdentifier: 'orders' };
    new rds.CfnDBInstance(stack, 'Db', { ...source, ...props }).with(new PostgresHardening());
    return rules(app);
  };
  expect(reported({ restoreTime: '2026-01-01T00:00:00Z' })).toContain('backup-retention');
  expect(reported({ useLatestRestorableTime: true })).toContain('backup-retention');
  expect(reported({})).not.toContain('backup-retention');
  // It is encrypted as its source is.
  for (const props of [{ useLatestRestorableTime: true }, {}]) expect(reported(props)).not.toContain('encryption');
});

test('BK-3: the primary of a global database is no replica, and each secondary is one', () => {
  const reported = (props: Partial<rds.CfnDBClusterProps>) => {
    const app = new App({ context: { '@aws-cdk/core:failSynthOnValidationErrors': false } });
    const stack = new Stack(app, 'Plain', { env: ENV });
    const member = { engine: 'aurora-postgresql', globalClusterIdentifier: 'orders' };
    new rds.CfnDBCluster(stack, 'Db', { ...member, ...props }).with(new PostgresHardening());
    return rules(app);
  };
  expect(reported({ masterUsername: 'postgres', manageMasterUserPassword: true })).toContain('backup-retention');
  expect(reported({ snapshotIdentifier: 'orders-before-global' })).toContain('backup-retention');
  expect(reported({})).not.toContain('backup-retention');
});

test('OPS-10: from 18 on log_connections is a list', () => {
  const { stack, server } = plain('rds', { parameters: {}, version: '18.1' });
  server.with(enforce(HardeningItem.LOG_CONNECTIONS));
  expect(parametersOf(stack, 'instance').log_connections).toBe('all');
});

test('what a team chose itself stays, if it does what is asked', () => {
  const { stack, server } = plain('rds', {
    parameters: { log_min_duration_statement: '250', idle_in_transaction_session_timeout: '60000', work_mem: '65536' },
  });
  server.with(enforce(HardeningItem.LOG_STATEMENTS, HardeningItem.IDLE_TRANSACTIONS));
  expect(parametersOf(stack, 'instance')).toMatchObject({
    log_min_duration_statement: '250',
    idle_in_transaction_session_timeout: '60000',
    work_mem: '65536',
    log_lock_waits: '1',
  });
});

test('what does not is replaced, and libraries stay beside ours', () => {
  const { stack, server } = plain('rds', {
    parameters: {
      'rds.force_ssl': '0',
      idle_in_transaction_session_timeout: '86400000',
      shared_preload_libraries: 'pg_cron, pgaudit',
    },
  });
  server.with(enforce(HardeningItem.FORCE_TLS, HardeningItem.IDLE_TRANSACTIONS, HardeningItem.AUDIT));
  expect(parametersOf(stack, 'instance')).toMatchObject({
    'rds.force_ssl': '1',
    idle_in_transaction_session_timeout: '300000',
    shared_preload_libraries: 'pg_cron,pgaudit,pg_stat_statements',
  });
});

test('parameters given to the server itself are in a group of its own, too', () => {
  const { stack, server } = plain('rds', { more: { parameters: { work_mem: '65536' } } });
  server.with(enforce(HardeningItem.FORCE_TLS, HardeningItem.REFUSE_MD5));
  expect(parametersOf(stack, 'instance')).toMatchObject({
    work_mem: '65536',
    'rds.accepted_password_auth_method': 'scram',
  });
});

test('a token as a value is not judged, and stays', () => {
  const value = Fn.importValue('Timeout');
  const { app, stack, server } = plain('rds', { parameters: { idle_in_transaction_session_timeout: value } });
  server.with(enforce(HardeningItem.IDLE_TRANSACTIONS));
  expect(parametersOf(stack, 'instance').idle_in_transaction_session_timeout).toEqual({ 'Fn::ImportValue': 'Timeout' });
  expect(errors(app)).toEqual([]);
});

test('a group of another stack of the app is merged into as well', () => {
  const { app, stack, vpc } = plain('rds');
  const platform = new Stack(app, 'Platform', { env: ENV });
  const engine = engineOf('rds') as rds.IInstanceEngine;
  const parameterGroup = new rds.ParameterGroup(platform, 'Group', { engine, parameters: { work_mem: '65536' } });
  new rds.DatabaseInstance(stack, 'Other', { engine, vpc, parameterGroup }).with(enforce(HardeningItem.REFUSE_MD5));
  Template.fromStack(platform).hasResourceProperties('AWS::RDS::DBParameterGroup', {
    Parameters: { work_mem: '65536', 'rds.accepted_password_auth_method': 'scram' },
  });
});

test('L1 resources are hardened as well, with their plain parameters', () => {
  const app = new App({ context: { '@aws-cdk/core:failSynthOnValidationErrors': false } });
  const stack = new Stack(app, 'Plain', { env: ENV });
  const group = new rds.CfnDBParameterGroup(stack, 'Group', {
    family: 'postgres16',
    description: 'Ours',
    parameters: { work_mem: '65536' },
  });
  const server = new rds.CfnDBInstance(stack, 'Db', {
    engine: 'postgres',
    engineVersion: '16.4',
    dbParameterGroupName: group.ref,
  });
  server.with(enforce(HardeningItem.REFUSE_MD5, HardeningItem.DELETION_PROTECTION));
  expect(parametersOf(stack, 'instance')).toEqual({
    work_mem: '65536',
    password_encryption: 'scram-sha-256',
    'rds.accepted_password_auth_method': 'scram',
  });
  expect(property(stack, 'AWS::RDS::DBInstance', 'DeletionProtection')).toBe(true);
});

describe('what cannot be done is an error that says what to do', () => {
  test('a group that this app does not make', () => {
    const { app, stack, vpc } = plain('rds');
    const engine = engineOf('rds') as rds.IInstanceEngine;
    const parameterGroup = rds.ParameterGroup.fromParameterGroupName(stack, 'Theirs', 'platform-postgres16');
    const instance = new rds.DatabaseInstance(stack, 'Other', { engine, vpc, parameterGroup });
    instance.with(enforce(HardeningItem.REFUSE_MD5));
    expect(errors(app)).toEqual([
      expect.objectContaining({
        rule: 'refuse-md5',
        description: expect.stringContaining(
          'set password_encryption to "scram-sha-256" where the parameter group platform-postgres16 is made',
        ),
      }),
    ]);
    expect(property(stack, 'AWS::RDS::DBInstance', 'DBParameterGroupName')).toBeUndefined();
  });

  test('one group for the cluster and its nodes', () => {
    const { app, stack, vpc } = plain('rds');
    const engine = engineOf('aurora') as rds.IClusterEngine;
    const parameterGroup = new rds.ParameterGroup(stack, 'Both', { engine });
    new rds.DatabaseCluster(stack, 'Other', {
      engine,
      vpc,
      parameterGroup,
      writer: rds.ClusterInstance.provisioned('Writer', { parameterGroup }),
    }).with(enforce(HardeningItem.FORCE_TLS));
    expect(errors(app)).toEqual([
      expect.objectContaining({
        description: expect.stringContaining(
          'Plain/Both serves the cluster and its nodes alike, whose parameters differ: give each a ParameterGroup of its own',
        ),
      }),
    ]);
  });

  test('a cluster without nodes in the app, for what is a parameter of the nodes', () => {
    const { app } = plain('rds');
    const stack = new Stack(app, 'Other', { env: ENV });
    const group = new rds.CfnDBClusterParameterGroup(stack, 'Group', {
      family: 'aurora-postgresql16',
      description: 'Ours',
      parameters: {},
    });
    new rds.CfnDBCluster(stack, 'Db', {
      engine: 'aurora-postgresql',
      engineVersion: '16.4',
      dbClusterParameterGroupName: group.ref,
    }).with(enforce(HardeningItem.FORCE_TLS, HardeningItem.IDLE_TRANSACTIONS));
    expect(errors(app)).toEqual([
      expect.objectContaining({
        rule: 'idle-transactions',
        description:
          'Other/Db: CP-16: idle-transactions is enforced, and is not in place: these are parameters of its nodes, and the app has none; ' +
          'set them where the nodes are made, or apply the mixin when they are',
      }),
    ]);
  });

  test('a server whose version is not stated', () => {
    const { app } = plain('rds');
    const stack = new Stack(app, 'Other', { env: ENV });
    new rds.CfnDBInstance(stack, 'Db', { engine: 'postgres' }).with(
      enforce(HardeningItem.OWN_PARAMETER_GROUP, HardeningItem.LOG_CONNECTIONS),
    );
    expect(errors(app).map(({ description }) => description)).toEqual([
      expect.stringContaining('the engine states no version, and so no family of parameters'),
      expect.stringContaining('the engine states no version, on which the values depend'),
    ]);
  });

  test('what is changed after the mixin wins, and is reported', () => {
    const { app, stack, server } = plain('rds', { parameters: {} });
    server.with(enforce(HardeningItem.DELETION_PROTECTION));
    (server.node.defaultChild as rds.CfnDBInstance).deletionProtection = false;
    expect(property(stack, 'AWS::RDS::DBInstance', 'DeletionProtection')).toBe(false);
    expect(errors(app)).toEqual([
      expect.objectContaining({
        rule: 'deletion-protection',
        description: expect.stringContaining('something that came after the mixin took it back'),
      }),
    ]);
  });
});

test('a group that another server uses as well is said', () => {
  const { app, stack, vpc } = plain('rds');
  const engine = engineOf('rds') as rds.IInstanceEngine;
  const parameterGroup = new rds.ParameterGroup(stack, 'Shared', { engine });
  const [one] = ['One', 'Two'].map((id) => new rds.DatabaseInstance(stack, id, { engine, vpc, parameterGroup }));
  one!.with(new PostgresHardening());
  const tls = findings(app).find(({ rule }) => rule === 'refuse-md5')!;
  expect(tls.description).toContain('Its parameter group is that of Plain/Two/Resource as well, which get it too.');
});

describe.each(['rds', 'aurora'] as const)('properties of a %s server', (kind) => {
  const type = kind === 'rds' ? 'AWS::RDS::DBInstance' : 'AWS::RDS::DBCluster';

  test('BK-15, BK-3, SEC-16: protection, retention and IAM logins', () => {
    const { app, stack, server } = plain(kind);
    server.with(enforce(HardeningItem.DELETION_PROTECTION, HardeningItem.BACKUP_RETENTION, HardeningItem.IAM_LOGIN));
    Template.fromStack(stack).hasResourceProperties(type, {
      DeletionProtection: true,
      BackupRetentionPeriod: 14,
      EnableIAMDatabaseAuthentication: true,
    });
    expect(errors(app)).toEqual([]);
  });

  test('BK-3: a retention that is long enough stays', () => {
    const { stack, server } = plain(kind, {
      more: kind === 'rds' ? { backupRetention: days(8) } : { backup: { retention: days(8) } },
    });
    server.with(enforce(HardeningItem.BACKUP_RETENTION));
    expect(property(stack, type, 'BackupRetentionPeriod')).toBe(8);
  });

  test('LIB-6: logs are exported beside those that are', () => {
    const { stack, server } = plain(kind, { more: { cloudwatchLogsExports: ['iam-db-auth-error'] } });
    server.with(enforce(HardeningItem.LOG_EXPORT));
    expect(property(stack, type, 'EnableCloudwatchLogsExports')).toEqual(
      kind === 'rds' ? ['iam-db-auth-error', 'postgresql', 'upgrade'] : ['iam-db-auth-error', 'postgresql'],
    );
  });

  test('SEC-15: a public address is taken away', () => {
    const { app, stack, server } = plain(
      kind,
      kind === 'rds'
        ? { more: { publiclyAccessible: true } }
        : { more: { writer: rds.ClusterInstance.provisioned('Writer', { publiclyAccessible: true }) } },
    );
    server.with(enforce(HardeningItem.NOT_PUBLIC));
    expect(property(stack, 'AWS::RDS::DBInstance', 'PubliclyAccessible')).toBe(false);
    expect(errors(app)).toEqual([]);
  });

  test('LIB-12: with every item enforced no property changes that would replace the server or move it', () => {
    const server = (hardened: boolean) => {
      const { stack, server } = plain(kind, { more: { port: 6000 } });
      if (hardened) server.with(enforce(...HardeningItem.all()));
      return resources(stack);
    };
    const [before, after] = [server(false), server(true)];
    const fixed = CREATE_ONLY[type];
    for (const [id, resource] of Object.entries(before)) {
      if (!String(resource.Type).startsWith('AWS::RDS::DB')) continue;
      for (const name of [...fixed.always, ...fixed.conditional, ...fixed.interrupting, 'DBSubnetGroupName', 'Port'])
        expect({ [name]: after[id].Properties[name] }).toEqual({ [name]: resource.Properties[name] });
    }
    // Control: something did change.
    expect(after).not.toEqual(before);
    expect(Object.keys(before).filter((id) => !(id in after))).toEqual([]);
  });
});

const days = (count: number) => ({ toDays: () => count, isUnresolved: () => false, toSeconds: () => count * 86400 });

describe('what cannot be changed is reported', () => {
  const reported = (more: object, kind: 'rds' | 'aurora' = 'rds') => {
    const { app, server } = plain(kind, { parameters: {}, more });
    server.with(new PostgresHardening());
    return findings(app);
  };
  const has = (found: Found[], rule: string) => found.some((finding) => finding.rule === rule);

  test('SEC-22: no encryption; BK-14: the key that AWS keeps', () => {
    const none = reported({ storageEncrypted: false });
    expect(none.find(({ rule }) => rule === 'encryption')).toMatchObject({
      severity: 'warning',
      description: 'Plain/Db: SEC-22: the storage is not encrypted. No mixin changes that on a server that has data.',
      fix: 'Copy a snapshot with a key, restore it beside the old server, and move over.',
    });
    const awsKey = reported({ storageEncrypted: true });
    expect([has(awsKey, 'encryption'), has(awsKey, 'customer-key')]).toEqual([false, true]);
    const { app, stack, vpc } = plain('rds');
    const instance = new rds.DatabaseInstance(stack, 'Keyed', {
      engine: engineOf('rds') as rds.IInstanceEngine,
      vpc,
      storageEncryptionKey: new kms.Key(stack, 'Key'),
    });
    instance.with(new PostgresHardening());
    const own = findings(app);
    expect([has(own, 'encryption'), has(own, 'customer-key')]).toEqual([false, false]);
  });

  test('SEC-15: the port that everybody tries, and public subnets', () => {
    expect(has(reported({}), 'port')).toBe(true);
    expect(has(reported({ port: 6000 }), 'port')).toBe(false);
    expect(has(reported({ port: Token.asNumber({ Ref: 'Port' }) }), 'port')).toBe(false);
    for (const kind of ['rds', 'aurora'] as const) {
      const open = reported({ vpcSubnets: { subnetType: ec2.SubnetType.PUBLIC } }, kind);
      expect(open.find(({ rule }) => rule === 'subnets')!.description).toContain(
        'it stands in public subnets (Plain/Vpc/PublicSubnet1, Plain/Vpc/PublicSubnet2)',
      );
      expect(has(reported({}, kind), 'subnets')).toBe(false);
    }
  });
});

describe('where it applies', () => {
  test('everywhere in the app where there is a PostgreSQL server, and nowhere else', () => {
    const { app, stack, vpc } = plain('rds', { parameters: {} });
    const mysql = new rds.DatabaseInstance(stack, 'MySql', {
      engine: rds.DatabaseInstanceEngine.mysql({ version: rds.MysqlEngineVersion.VER_8_0 }),
      vpc,
    });
    Mixins.of(app).apply(enforce(HardeningItem.DELETION_PROTECTION));
    expect((mysql.node.defaultChild as rds.CfnDBInstance).deletionProtection).toBeUndefined();
    Template.fromStack(stack).hasResourceProperties('AWS::RDS::DBInstance', {
      Engine: 'postgres',
      DeletionProtection: true,
    });
  });

  test('twice is once: a report, and later an item', () => {
    const { app, server } = plain('rds', { parameters: {} });
    server.with(new PostgresHardening()).with(enforce(HardeningItem.REFUSE_MD5));
    const found = rules(app);
    expect(found).not.toContain('refuse-md5');
    expect(found.filter((rule) => rule === 'audit')).toEqual(['audit']);
  });

  test('the reason is kept in the metadata of the server', () => {
    const { server } = plain('rds', { parameters: {} });
    server.with(enforce(HardeningItem.REFUSE_MD5));
    expect(server.node.metadata).toContainEqual(
      expect.objectContaining({ type: 'cdk-postgres:hardened', data: { item: 'refuse-md5', reason: REASON } }),
    );
  });
});

test.each([
  ['no reason', [{ item: HardeningItem.FORCE_TLS, reason: ' ' }], 'force-tls is enforced without a reason'],
  [
    'an item twice',
    [HardeningItem.AUDIT, HardeningItem.AUDIT].map((item) => ({ item, reason: REASON })),
    'audit is enforced twice; keep one',
  ],
  ['no item', [{ item: 'force-tls' as never, reason: REASON }], 'enforce names force-tls, which is no HardeningItem'],
])('%s is an error', (_, given, message) => {
  expect(() => new PostgresHardening({ enforce: given })).toThrow(message);
});

test('docs/existing-servers.md has every item with its requirement', () => {
  const page = readFileSync(join(__dirname, '../../../docs/existing-servers.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `([a-z0-9-]+)` \| ([A-Z]+-\d+) \|/gm)].map(([, name, requirement]) => [
    name,
    requirement,
  ]);
  expect(rows).toEqual(HardeningItem.all().map(({ name, requirement }) => [name, requirement]));
});

test('every item has a constant', () => {
  expect(HardeningItem.all().map(({ name }) => name)).toEqual(Object.keys(HARDENING_TEXTS));
});
