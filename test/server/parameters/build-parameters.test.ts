import { App, CfnParameter, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { Construct } from 'constructs';
import { acknowledgeFinding } from '../../../lib/compliance';
import { buildParameters, BuildParametersOptions } from '../../../lib/server/parameters';
import { Defaults, PostgresProfile } from '../../../lib/server/postgres-profile';

beforeEach(() => void jest.spyOn(console, 'error').mockImplementation());

function server(): Construct {
  return new Construct(new Stack(new App(), 'App'), 'Postgres');
}

function build(options: Partial<BuildParametersOptions> = {}): Record<string, string> {
  return buildParameters({
    scope: server(),
    engine: 'rds',
    major: 18,
    level: 'instance',
    profile: PostgresProfile.production(),
    ...options,
  });
}

const CLUSTER_LEVEL = {
  'rds.force_ssl': '1',
  password_encryption: 'scram-sha-256',
  'rds.accepted_password_auth_method': 'scram',
  log_autovacuum_min_duration: '60000',
};

const INSTANCE_LEVEL = {
  shared_preload_libraries: 'pg_stat_statements,pgaudit',
  'pgaudit.log': 'ddl,role',
  'pgaudit.role': 'rds_pgaudit',
  log_disconnections: '1',
  log_replication_commands: '1',
  log_lock_waits: '1',
  log_min_duration_statement: '1000',
  log_temp_files: '10240',
  track_io_timing: '1',
  idle_in_transaction_session_timeout: '300000',
};

const BY_MAJOR = {
  16: { log_connections: '1' },
  17: { log_connections: '1' },
  18: { log_connections: 'all' },
} as const;

describe.each([16, 17, 18] as const)('the defaults of PostgreSQL %d', (major) => {
  test('of an RDS instance', () => {
    expect(build({ major, allocatedStorageGiB: 200 })).toEqual({
      ...CLUSTER_LEVEL,
      ...INSTANCE_LEVEL,
      ...BY_MAJOR[major],
      max_slot_wal_keep_size: '51200',
    });
  });

  test('of an Aurora cluster', () => {
    expect(build({ engine: 'aurora', level: 'cluster', major })).toEqual(CLUSTER_LEVEL);
  });

  test('of the instances of an Aurora cluster', () => {
    expect(build({ engine: 'aurora', major })).toEqual({
      ...INSTANCE_LEVEL,
      ...BY_MAJOR[major],
      max_slot_wal_keep_size: '102400',
    });
  });

  test('are the same in the development profile', () => {
    expect(build({ major, profile: PostgresProfile.development() })).toEqual(build({ major }));
  });
});

describe('what came with a version is set where the version has it, and by the app alone', () => {
  const generations = [Defaults.V1, Defaults.V2];
  const byDefault = (major: 16 | 17 | 18) =>
    generations.flatMap((defaults) => [
      ...Object.keys(build({ major, defaults })),
      ...Object.keys(build({ engine: 'aurora', major, defaults })),
    ]);

  test.each<[string, string, string, (16 | 17 | 18)[]]>([
    ['HA-9', 'idle_replication_slot_timeout', '604800', [18]],
    ['CP-5', 'reserved_connections', '5', [16, 17, 18]],
    ['OPS-8', 'io_method', 'worker', [18]],
    ['OPS-8', 'io_workers', '6', [18]],
    ['OPS-7', 'autovacuum_worker_slots', '32', [18]],
    ['HA-19', 'sync_replication_slots', '1', [17, 18]],
  ])('%s: %s', (_requirement, name, value, majors) => {
    for (const major of [16, 17, 18] as const) {
      expect(byDefault(major)).not.toContain(name);
      const set = () => build({ major, overrides: { [name]: value } });
      if (majors.includes(major)) expect(set()[name]).toBe(value);
      else expect(set).toThrow(`${name} = "${value}" is not a parameter of postgres${major}`);
    }
  });
});

test('the slots of a small volume may still hold a gibibyte', () => {
  expect(build({ allocatedStorageGiB: 1 }).max_slot_wal_keep_size).toBe('1024');
});

test('an override wins, and engine-default leaves the parameter out', () => {
  const parameters = build({ overrides: { log_min_duration_statement: '250', log_temp_files: 'engine-default' } });
  expect(parameters.log_min_duration_statement).toBe('250');
  expect(parameters).not.toHaveProperty('log_temp_files');
});

test('a token passes, since only the deployment knows its value', () => {
  const stack = new Stack();
  const value = new CfnParameter(stack, 'P').valueAsString;
  expect(build({ overrides: { work_mem: value } }).work_mem).toBe(value);
});

test('a name is found in every spelling', () => {
  expect(build({ overrides: { TimeZone: 'UTC' } }).timezone).toBe('UTC');
});

describe('an override that cannot be is an error with construct, parameter, value and what to do:', () => {
  test.each<[string, Partial<BuildParametersOptions>, RegExp]>([
    [
      'a misspelt name',
      { overrides: { log_min_duration_statment: '1' } },
      /^App\/Postgres: parameter log_min_duration_statment = "1" is not a parameter of postgres18: did you mean log_min_duration_statement\?/,
    ],
    [
      'a name that nothing resembles',
      { overrides: { zzz_nothing: '1' } },
      /postgres18: check the spelling; .*addParameter/,
    ],
    [
      'a name of a newer version',
      { major: 17, overrides: { idle_replication_slot_timeout: '60' } },
      /idle_replication_slot_timeout = "60" is not a parameter of postgres17; PostgreSQL has it in 18/,
    ],
    [
      'a name of an older version',
      { major: 17, overrides: { old_snapshot_threshold: '60' } },
      /not a parameter of postgres17; PostgreSQL has it in 16/,
    ],
    [
      'a name of Aurora',
      { overrides: { apg_ccm_enabled: '1' } },
      /not a parameter of postgres18, only of aurora-postgresql18/,
    ],
    [
      'a cluster parameter among those of the instance',
      { engine: 'aurora', overrides: { 'rds.force_ssl': '1' } },
      /rds.force_ssl = "1" is a parameter of the cluster in aurora-postgresql18.*move it to parameters/,
    ],
    [
      'an instance parameter among those of the cluster, where Aurora ignores it',
      { engine: 'aurora', level: 'cluster', overrides: { log_min_duration_statement: '500' } },
      /log_min_duration_statement = "500" is a parameter of the instance.*would never apply it: move it to instanceParameters/,
    ],
    ['a cluster group of an instance', { level: 'cluster' }, /RDS instance has no cluster parameter group/],
    [
      'what RDS keeps to itself',
      { overrides: { wal_level: 'logical' } },
      /cannot be set on RDS: set rds.logical_replication to 1/,
    ],
    [
      'what is fixed when the server is made',
      { overrides: { block_size: '8192' } },
      /cannot be set on RDS: the server fixes it/,
    ],
    ['a number out of range', { overrides: { max_connections: '0' } }, /max_connections = "0": it must be 1 to 262143/],
    ['a number with a unit', { overrides: { statement_timeout: '30s' } }, /plain numbers in ms: write 30000/],
    ['no number', { overrides: { work_mem: 'much' } }, /work_mem = "much": write a whole number in kB, or a formula/],
    [
      'a choice that is none',
      { overrides: { synchronous_commit: 'maybe' } },
      /must be one of local, remote_write, remote_apply, on, off/,
    ],
    ['a boolean that is none', { overrides: { autovacuum: 'sometimes' } }, /autovacuum = "sometimes": write 1 or 0/],
    [
      'the list of 18 in the words of 17',
      { overrides: { log_connections: '1' } },
      /"1" is not one of receipt, authentication/,
    ],
    [
      'the words of 18 in 17',
      { major: 17, overrides: { log_connections: 'all' } },
      /log_connections = "all": write 1 or 0/,
    ],
    [
      'the upstream spelling of an RDS value',
      { overrides: { 'rds.accepted_password_auth_method': 'scram-sha-256' } },
      /must be one of scram, md5\+scram/,
    ],
    [
      'a misspelt library',
      { overrides: { shared_preload_libraries: 'pgaduit' } },
      /"pgaduit" is not one of .*did you mean pgaudit\?/,
    ],
    [
      'a formula with an unknown variable',
      { overrides: { max_connections: '{DBInstanceMemory/1}' } },
      /names DBInstanceMemory, which RDS does not know/,
    ],
    ['a formula with an open brace', { overrides: { max_connections: '{DBInstanceClassMemory/1' } }, /not balanced/],
    ['a formula where RDS takes none', { overrides: { synchronous_commit: '{DBInstanceVCPU}' } }, /must be one of/],
    ['one parameter twice', { overrides: { TimeZone: 'UTC', timezone: 'UTC' } }, /set twice, in two spellings/],
    [
      'TLS limits the wrong way round',
      { overrides: { ssl_min_protocol_version: 'TLSv1.3', ssl_max_protocol_version: 'TLSv1.2' } },
      /nobody could connect/,
    ],
    [
      'passwords that nobody can log in with',
      { overrides: { password_encryption: 'md5', 'rds.accepted_password_auth_method': 'scram' } },
      /nobody can log in with/,
    ],
  ])('%s', (_, options, message) => {
    expect(() => build(options)).toThrow(message);
  });

  test('a value that is no text', () => {
    expect(() => build({ overrides: { work_mem: 64 as unknown as string } })).toThrow(
      /work_mem = 64 must be a text: write '64'/,
    );
  });
});

test('a parameter whose level no source states is taken at both levels of Aurora', () => {
  const overrides = { lock_timeout: '60000' };
  expect(build({ engine: 'aurora', overrides }).lock_timeout).toBe('60000');
  expect(build({ engine: 'aurora', level: 'cluster', overrides }).lock_timeout).toBe('60000');
});

describe('what RDS takes only together comes together (LIB-3):', () => {
  test.each<[Record<string, string>, Record<string, string | undefined>]>([
    [
      { ssl_min_protocol_version: 'TLSv1.3' },
      { ssl_min_protocol_version: 'TLSv1.3', ssl_max_protocol_version: 'TLSv1.3' },
    ],
    [
      { ssl_max_protocol_version: 'TLSv1.2' },
      { ssl_min_protocol_version: 'TLSv1.2', ssl_max_protocol_version: 'TLSv1.2' },
    ],
    [{ password_encryption: 'md5' }, { 'rds.accepted_password_auth_method': 'md5+scram' }],
    [{ 'rds.accepted_password_auth_method': 'md5+scram' }, { password_encryption: 'scram-sha-256' }],
    [
      { password_encryption: 'engine-default' },
      { password_encryption: undefined, 'rds.accepted_password_auth_method': undefined },
    ],
  ])('%j', (overrides, expected) => {
    const parameters = build({ overrides });
    for (const [name, value] of Object.entries(expected)) expect(parameters[name]).toBe(value);
  });
});

describe('a value that weakens the server is a finding:', () => {
  const found = (overrides: Record<string, string>, profile = PostgresProfile.production()) => {
    const scope = server();
    build({ scope, overrides, profile });
    return () => Template.fromStack(Stack.of(scope));
  };
  test.each([
    [{ 'rds.force_ssl': '0' }, /rds.force_ssl = "0": clients may connect without TLS/],
    [{ ssl_min_protocol_version: 'TLSv1.1' }, /broken version of TLS/],
    [{ 'rds.accepted_password_auth_method': 'md5+scram' }, /passwords kept as MD5 still log in/],
    [{ password_encryption: 'md5' }, /new passwords are kept as MD5/],
    [{ shared_preload_libraries: 'pg_stat_statements' }, /nothing is audited/],
    [{ shared_preload_libraries: 'pgaudit' }, /slow statements stay unseen/],
    [{ log_statement: 'ddl' }, /with its password/],
    [{ autovacuum: 'off' }, /wraparound/],
    [{ max_slot_wal_keep_size: '-1' }, /fills the volume/],
  ])('%j', (overrides, message) => {
    expect(found(overrides as unknown as Record<string, string>)).toThrow(message);
  });

  test('log_connections = 0 before 18', () => {
    const scope = server();
    build({ scope, major: 17, overrides: { log_connections: '0' } });
    expect(() => Template.fromStack(Stack.of(scope))).toThrow(/does not show who connected/);
  });

  test('in the development profile only what opens the server', () => {
    const development = PostgresProfile.development();
    expect(found({ autovacuum: '0' }, development)).not.toThrow();
    expect(found({ 'rds.force_ssl': '0' }, development)).toThrow(/without TLS/);
  });

  test.each([PostgresProfile.production(), PostgresProfile.development()])(
    'that can be acknowledged with a reason, in every profile (%j)',
    (profile) => {
      const scope = server();
      build({ scope, overrides: { autovacuum: '0' }, profile });
      acknowledgeFinding(scope, { id: 'OPS-7', reason: 'a test of an override' });
      const warnings = jest.spyOn(console, 'error').mockImplementation();
      expect(() => Template.fromStack(Stack.of(scope))).not.toThrow();
      expect(JSON.stringify(warnings.mock.calls)).not.toContain('names no guard');
    },
  );

  test('the defaults are none', () => {
    expect(found({})).not.toThrow();
  });
});
