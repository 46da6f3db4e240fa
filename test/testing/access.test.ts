import { App, NestedStack, Stack, Stage, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { SaasStack } from '../../examples/saas/saas-stack';
import { ExternalPostgres } from '../../lib';
import { expectAccess } from '../../lib/testing';
import { quiet } from '../server/support';
import { shop } from './app';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

test('says who will be able to do what, in lines that a reviewer reads', () => {
  expect(expectAccess(shop().stack)).toMatchInlineSnapshot(`
   "Test/Postgres
     api: logs in by password, 20 connections at most
     report: logs in by IAM
     database shop
       api: CONNECT on the database
       api: EXECUTE on routines of billing.* (future too)
       api: SELECT, INSERT, UPDATE, DELETE on billing.* (future too)
       api: USAGE on schema billing
       api: USAGE, SELECT on sequences of billing.* (future too)
       report: CONNECT on the database
       report: SELECT on billing.* (future too)
       report: SELECT on sequences of billing.* (future too)
       report: USAGE on schema billing
       shop_owner: owns schema billing and what is in it
       shop_owner: owns the database"
  `);
});

test('of the example', () => {
  expect(expectAccess(new SaasStack(new App(), 'Saas'))).toMatchSnapshot();
});

test('an added grant is an added line, and nothing else changes', () => {
  const before = expectAccess(shop().stack).split('\n');
  const after = expectAccess(shop({ addedGrant: true }).stack).split('\n');
  expect(after.filter((line) => !before.includes(line))).toMatchInlineSnapshot(`
   [
     "    report: EXECUTE on routines of billing.* (future too)",
     "    report: SELECT, INSERT, UPDATE, DELETE on billing.* (future too)",
     "    report: USAGE, SELECT on sequences of billing.* (future too)",
   ]
  `);
  expect(before.filter((line) => !after.includes(line))).toMatchInlineSnapshot(`
   [
     "    report: SELECT on billing.* (future too)",
     "    report: SELECT on sequences of billing.* (future too)",
   ]
  `);
});

test('it does not matter whether the stack was synthesised before, and whether it has findings', () => {
  const { app, stack } = shop({ props: { multiAz: false } });
  expect(() => app.synth()).toThrow(/HA-1/);
  expect(expectAccess(stack)).toBe(expectAccess(shop().stack));
});

test('a stack of a stage, and one that was made without an app, are found', () => {
  const declare = (stack: Stack) => {
    const adminSecret = new secretsmanager.Secret(stack, 'Admin');
    const server = ExternalPostgres.fromEndpoint(stack, 'Db', { host: 'db.example.com', identity: 'one', adminSecret });
    server.addDatabase('shop').addLoginRole('api');
    return expectAccess(stack);
  };
  const staged = new Stack(new Stage(new App(), 'Prod'), 'Shop');
  expect(declare(staged)).toMatch(/^Prod\/Shop\/Db\n {2}api: logs in by password/);
  expect(declare(new Stack())).toMatch(/^Default\/Db\n {2}api: logs in by password/);
});

test('several servers of a stack are said one after the other', () => {
  const stack = new Stack(new App(), 'S');
  const adminSecret = new secretsmanager.Secret(stack, 'Admin');
  for (const id of ['B', 'A']) {
    const server = ExternalPostgres.fromEndpoint(stack, id, { host: 'db.example.com', identity: id, adminSecret });
    server.addDatabase('shop');
  }
  expect(
    expectAccess(stack)
      .split('\n')
      .filter((line) => !line.startsWith(' ')),
  ).toEqual(['S/A', '', 'S/B']);
});

test('a stack that declares nothing is an error', () => {
  expect(() => expectAccess(new Stack(new App(), 'S'))).toThrow('S declares nothing inside a PostgreSQL server');
});

const external = (stack: Stack, id: string, role: string) => {
  const adminSecret = new secretsmanager.Secret(stack, `${id}Admin`);
  const server = ExternalPostgres.fromEndpoint(stack, id, { host: 'db.example.com', identity: role, adminSecret });
  server.addDatabase('shop').addLoginRole(role);
};

test('of stages with stacks of one name, each is read by its path', () => {
  const app = new App();
  const [dev, prod] = ['Dev', 'Prod'].map((stage) => {
    const stack = new Stack(new Stage(app, stage), 'Shop', { stackName: 'shop' });
    external(stack, 'Db', `of_${stage.toLowerCase()}`);
    return stack;
  });
  expect(expectAccess(dev!)).toContain('Dev/Shop/Db\n  of_dev: ');
  expect(expectAccess(prod!)).toContain('Prod/Shop/Db\n  of_prod: ');
});

test('the servers of nested stacks are said with those of the stack that they are in, and alone', () => {
  const stack = new Stack(new App(), 'S');
  external(stack, 'Db', 'api');
  const inner = new NestedStack(stack, 'Inner');
  external(inner, 'Db', 'worker');
  external(new NestedStack(inner, 'Deep'), 'Db', 'clerk');
  const text = expectAccess(stack);
  expect(text.match(/^S.*$/gm)).toEqual(['S/Db', 'S/Inner/Db', 'S/Inner/Deep/Db']);
  for (const role of ['api', 'worker', 'clerk']) expect(text).toContain(`  ${role}: logs in by password`);
  expect(expectAccess(inner).match(/^S.*$/gm)).toEqual(['S/Inner/Db', 'S/Inner/Deep/Db']);
  expect(() => expectAccess(new NestedStack(stack, 'Empty'))).toThrow(/^S\/Empty declares nothing inside/);
});

test('called again after app.synth(), it sees what was declared since', () => {
  const app = new App();
  const stack = new Stack(app, 'S');
  external(stack, 'Db', 'api');
  const before = expectAccess(stack);
  app.synth();
  expect(expectAccess(stack)).toBe(before);
  external(stack, 'Later', 'late');
  expect(expectAccess(stack)).toContain('late: ');
});

// What no compiler has looked at: plain JavaScript, tsx, `as any`.
test('what is no stack is refused, with what to pass', () => {
  const app = new App();
  const refused = (what: unknown) => () => expectAccess(what as Stack);
  expect(refused(app)).toThrow(
    /^expectAccess\(\) got an app or a stage; pass a Stack, such as expectAccess\(stack\), once for each/,
  );
  expect(refused(new Construct(new Stack(app, 'S'), 'Part'))).toThrow(
    /^expectAccess\(\) got the construct S\/Part; pass/,
  );
  expect(refused(undefined)).toThrow(/^expectAccess\(\) got undefined; pass a Stack/);
});
