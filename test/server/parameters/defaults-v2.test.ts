import { App, Stack, aws_ec2 as ec2 } from 'aws-cdk-lib';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Defaults, PostgresProfile, PostgresVersion, RdsPostgres, RdsPostgresProps } from '../../../lib';
import { instanceMemoryGiB } from '../../../lib/server/instance-memory';
import { buildParameters } from '../../../lib/server/parameters';
import { defaultsV1 } from '../../../lib/server/parameters/defaults-v1';
import { defaultsV2 } from '../../../lib/server/parameters/defaults-v2';
import { errorsOfFivePacks } from '../../compliance/five-packs';
import { freshServer, VERSIONS } from '../../support/postgres';
import { OBJECTIVES, cleanStack, quiet } from '../support';

quiet();

const type = (name: string) => new ec2.InstanceType(name);

function build(
  engine: 'rds' | 'aurora',
  instanceType: string | undefined,
  defaults = Defaults.V2,
): Record<string, string> {
  return buildParameters({
    scope: new Stack(new App(), 'S'),
    engine,
    major: 18,
    level: 'instance',
    profile: PostgresProfile.production(),
    defaults,
    instanceType: instanceType === undefined ? undefined : type(instanceType),
  });
}

test.each([
  ['t4g.micro', 1],
  ['t4g.medium', 4],
  ['m7g.large', 8],
  ['r7g.large', 16],
  ['r6gd.2xlarge', 64],
  ['r8g.16xlarge', 512],
  ['x2iedn.xlarge', 128],
  ['q9.large', undefined],
  ['r4.large', undefined],
])('OPS-9: the memory of %s is %p GiB, and undefined where it was not verified', (name, memory) =>
  expect(instanceMemoryGiB(type(name))).toBe(memory),
);

test.each<['rds' | 'aurora', string | undefined, string | undefined]>([
  ['rds', 't4g.micro', '64'],
  ['rds', 'm7g.large', '512'],
  ['rds', 'r7g.large', '1024'],
  ['rds', 'r7g.16xlarge', '2000'],
  ['aurora', 'r7g.large', '512'],
  ['aurora', 'r7g.16xlarge', '2000'],
  ['rds', 'q9.large', 'LEAST({DBInstanceClassMemory/16777216},2000)'],
  ['aurora', 'q9.large', 'LEAST({DBInstanceClassMemory/33554432},2000)'],
  ['aurora', undefined, undefined],
])('CP-2: max_connections of %s on %p is %p', (engine, instanceType, expected) =>
  expect(build(engine, instanceType).max_connections).toBe(expected),
);

test('CP-16, CP-19, OPS-7: the second generation ends what clogs, and vacuums earlier', () =>
  expect(build('rds', 'r7g.large')).toMatchObject({
    idle_in_transaction_session_timeout: '60000',
    client_connection_check_interval: '10000',
    tcp_keepalives_idle: '60',
    autovacuum_vacuum_scale_factor: '0.05',
    autovacuum_analyze_scale_factor: '0.025',
    max_slot_wal_keep_size: '25600',
  }));

test('the first generation knows nothing of it', () => {
  const first = build('rds', 'r7g.large', Defaults.V1);
  expect(Object.keys(first).sort()).toEqual(
    defaultsV1('rds', 18, 100)
      .map(({ name }) => name)
      .sort(),
  );
  expect(first.max_connections).toBeUndefined();
});

describe('CP-2: more connections than the memory bears', () => {
  function errors(props: Partial<RdsPostgresProps>, acknowledge = false): string[] {
    const { app, stack, vpc } = cleanStack();
    const server = new RdsPostgres(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      defaults: Defaults.V2,
      ...props,
    });
    if (acknowledge) server.acknowledge({ id: 'CP-2', reason: 'measured with 1,500 idle sessions of a legacy system' });
    return errorsOfFivePacks(app);
  }

  test('are a finding, which a reason passes', () => {
    const parameters = { max_connections: '1500' };
    expect(errors({ parameters })).toEqual(['Test/Postgres CP-2']);
    expect(errors({ parameters }, true)).toEqual([]);
    expect(errors({ parameters: { max_connections: '300' } })).toEqual([]);
    expect(errors({ parameters, defaults: Defaults.V1 })).toEqual([]);
  });
});

test('docs/parameters.md has every value that the second generation changes', () => {
  const page = readFileSync(join(__dirname, '../../../docs/parameters.md'), 'utf8');
  const first = new Map(defaultsV1('rds', 18, 100).map(({ name, value }) => [name, value]));
  for (const { name, value, requirement } of defaultsV2('rds', 18, 100, type('r7g.large'))) {
    if (first.get(name) === value) continue;
    const row = page.split('\n').find((line) => line.startsWith(`| V2 \`${name}\` `));
    expect([name, row]).toEqual([name, expect.stringContaining(` | ${requirement} | `)]);
    if (name !== 'max_connections') expect(row).toContain(`\`${value}\``);
  }
});

test.each(VERSIONS)('PostgreSQL %s takes every value that a stock server knows', async (version) => {
  const server = await freshServer({ version });
  try {
    const client = await server.connect({ superuser: true });
    for (const { name, value } of defaultsV2('rds', Number(version) as 16, 100, type('t4g.medium'))) {
      if (name.includes('.') || name === 'shared_preload_libraries') continue;
      await client.query(`ALTER SYSTEM SET ${name} = '${value}'`);
    }
    await client.end();
    await server.restart();
    const [row] = await server.query<{ v: string }>("SELECT current_setting('max_connections') AS v");
    expect(row!.v).toBe('256');
  } finally {
    await server.stop();
  }
});

test.each([
  ['r7g.large', '1024', false],
  ['r7g.large', '1025', true],
  ['r7g.large', '{DBInstanceClassMemory/16777216}', false],
  ['r7g.large', '{DBInstanceClassMemory/1048576}', true],
  ['r7g.large', 'LEAST({DBInstanceClassMemory/1048576},500)', false],
  // A class that nobody knows yet bears no more than any.
  ['r99g.large', '2000', false],
  ['r99g.large', '20000', true],
])('CP-2: on %s max_connections = %s is a finding: %p', (instanceType, value, finds) => {
  const { app, stack, vpc } = cleanStack(new App({ context: { '@aws-cdk/core:failSynthOnValidationErrors': false } }));
  new RdsPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: OBJECTIVES,
    defaults: Defaults.V2,
    instanceType: type(instanceType),
    parameters: { max_connections: value },
  });
  app.synth();
  const report = readFileSync(join(app.outdir, 'validation-report.json'), 'utf8');
  expect(report.includes('more sessions make each other slower')).toBe(finds);
});
