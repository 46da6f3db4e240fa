import { App, IPolicyValidationPlugin, Stack, Validations, aws_rds as rds, aws_s3 as s3 } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { Template } from 'aws-cdk-lib/assertions';
import { SaasStack } from '../../examples/saas/saas-stack';
import { expectCompliant, PackName } from '../../lib/testing';
import { quiet } from '../server/support';
import { shop, ShopOptions } from './app';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

const weakened = (options?: ShopOptions) => {
  const made = shop(options);
  (made.server.instance.node.defaultChild as rds.CfnDBInstance).storageEncrypted = false;
  return made;
};

test('the example complies with the five packs and the checks of this library', () => {
  const { warnings, acknowledged } = expectCompliant(new SaasStack(new App(), 'Saas'));
  expect(warnings).toEqual([]);
  expect(acknowledged.map((line) => line.split(':')[0])).toContain(
    'Saas/Postgres/Resource HIPAA.Security-RDSInBackupPlan',
  );
  for (const line of acknowledged) expect(line).toMatch(/^Saas\/\S+ \S+: .{20}/);
});

test('what does not comply is said with rule, path, reason and remedy, by every pack', () => {
  const { stack } = weakened();
  const complaint = () => expectCompliant(stack);
  expect(complaint).toThrow(/^Test is not compliant: \d+ findings\n/);
  expect(complaint).toThrow('  error AwsSolutions-RDS2 at Test/Postgres/Resource/Resource\n');
  expect(complaint).toThrow('  error NIST.800.53.R5-RDSStorageEncrypted at Test/Postgres/Resource/Resource\n');
  expect(complaint).toThrow(
    /error SEC-22 at Test\/Postgres\/Resource\/Resource\n {4}Test\/Postgres\/Resource\/Resource: storage is not encrypted.*\n {4}Set storageEncrypted: true/,
  );
});

test('only the packs that are named are asked', () => {
  const { stack } = weakened();
  const rules = (packs: PackName[]) => {
    try {
      expectCompliant(stack, { packs });
      return [];
    } catch (error) {
      return [...(error as Error).message.matchAll(/^ {2}error (\S+)/gm)].map(([, rule]) => rule);
    }
  };
  expect(rules(['PostgresChecks'])).toEqual(['SEC-22']);
  expect(rules(['AwsSolutions'])).toEqual(['AwsSolutions-RDS2']);
  expect(rules([])).toEqual([]);
});

test('a guard of this library counts, whatever the packs', () => {
  expect(() => expectCompliant(shop({ props: { multiAz: false } }).stack, { packs: [] })).toThrow(
    /error HA-1 at Test\/Postgres/,
  );
});

test('a finding is accepted by rule and place, with a reason', () => {
  const { stack } = weakened();
  const accept = (at: string) => () =>
    expectCompliant(stack, {
      packs: ['PostgresChecks'],
      acknowledged: [{ rule: 'SEC-22', at, reason: 'a copy without data' }],
    });
  expect(accept('Test/Postgres')).not.toThrow();
  expect(accept('Test/Other')).toThrow(
    /error SEC-22[^]*SEC-22 at Test\/Other is acknowledged, and found no more: remove it/,
  );
  expect(() => expectCompliant(stack, { acknowledged: [{ rule: 'SEC-22', reason: ' ' }] })).toThrow(
    /SEC-22 has no reason/,
  );
});

test('warnings are handed back, and fail on demand', () => {
  const { stack } = shop({ props: { vpcSubnets: undefined } });
  const { warnings } = expectCompliant(stack);
  expect(warnings).toContain('Test/Vpc/Resource HIPAA.Security-VPCDefaultSecurityGroupClosed');
  expect(() => expectCompliant(stack, { warnings: true })).toThrow(
    /warning HIPAA\.Security-VPCDefaultSecurityGroupClosed/,
  );
});

test('findings of another stack of the app do not count', () => {
  const { app, stack } = shop();
  new s3.Bucket(new Stack(app, 'TestOther'), 'Bucket');
  expect(() => expectCompliant(stack)).not.toThrow();
});

test('a pack is asked in this call alone, and a change after it is seen by the next', () => {
  const { stack, server } = shop();
  expectCompliant(stack, { packs: ['PostgresChecks'] });
  (server.instance.node.defaultChild as rds.CfnDBInstance).storageEncrypted = false;
  expect(() => Template.fromStack(stack)).not.toThrow();
  expect(() => expectCompliant(stack, { packs: ['PostgresChecks'] })).toThrow(/SEC-22/);
});

test('an app that was synthesised before is checked all the same', () => {
  const { app, stack } = weakened();
  app.synth();
  expect(() => expectCompliant(stack, { packs: ['AwsSolutions'] })).toThrow(/AwsSolutions-RDS2/);
});

test('a plugin of your own takes part, and one that fails fails the test', () => {
  const { stack } = shop();
  const plugin = (validate: IPolicyValidationPlugin['validate']): IPolicyValidationPlugin => ({
    name: 'House',
    validate,
  });
  const finds = plugin(() => ({
    success: false,
    violations: [
      {
        ruleName: 'H-1',
        description: 'no',
        severity: 'error',
        violatingResources: [{ constructPath: 'Test/Postgres', locations: [] }],
      },
    ],
  }));
  expect(() => expectCompliant(stack, { packs: [finds] })).toThrow(/error H-1 at Test\/Postgres/);
  const fails = plugin(() => {
    throw new Error('out of order');
  });
  expect(() => expectCompliant(shop().stack, { packs: [fails] })).toThrow(/out of order/);
});

test('what the app acknowledges is handed back with its reason', () => {
  const { stack, server } = weakened();
  Validations.of(server).acknowledge({ id: 'PostgresChecks::SEC-22', reason: 'a copy without data' });
  expect(expectCompliant(stack, { packs: ['PostgresChecks'] }).acknowledged).toContain(
    'Test/Postgres PostgresChecks::SEC-22: a copy without data',
  );
});

test('an unknown pack is refused with those that there are', () => {
  expect(() => expectCompliant(shop().stack, { packs: ['Nist' as PackName] })).toThrow(
    /no pack Nist; there are AwsSolutions, /,
  );
});

// What no compiler has looked at: plain JavaScript, tsx, `as any`.
test('what is no stack is refused, with what to pass', () => {
  const app = new App();
  const refused = (what: unknown) => () => expectCompliant(what as Stack);
  expect(refused(app)).toThrow(
    /^expectCompliant\(\) got an app or a stage; pass a Stack, such as expectCompliant\(stack\), once for each/,
  );
  expect(refused(new Construct(new Stack(app, 'S'), 'Part'))).toThrow(
    /^expectCompliant\(\) got the construct S\/Part; pass/,
  );
  expect(refused(undefined)).toThrow(/^expectCompliant\(\) got undefined; pass a Stack/);
});
