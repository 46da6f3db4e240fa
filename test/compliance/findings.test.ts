import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, Stack, Stage, Validations } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { acknowledgeFinding, addFinding, Finding } from '../../lib/compliance';
import { dayIn } from '../support/days';

const finding = (message: string | undefined): Finding => ({
  id: 'HA-1',
  check: () => message,
  fix: 'Add a second node.',
});

beforeEach(() => void jest.spyOn(console, 'error').mockImplementation());

function report(app: App) {
  const file = join(app.outdir, 'validation-report.json');
  const json = JSON.parse(readFileSync(file, 'utf8'));
  return json.pluginReports.filter((r: { pluginName: string }) => r.pluginName === 'cdk-postgres');
}

test('a finding fails the synthesis with its id, its sentence and the fix', () => {
  const app = new App();
  const construct = new Construct(new Stack(app, 'S'), 'Server');
  addFinding(construct, finding('one node only'));
  expect(() => app.synth()).toThrow(/HA-1[\s\S]*one node only|one node only[\s\S]*HA-1/);
  expect(report(app)[0].violations[0]).toMatchObject({
    ruleName: 'HA-1',
    suggestedFix: 'Add a second node.',
    violatingConstructs: [{ constructPath: 'S/Server' }],
  });
});

test('a finding fails Template.fromStack, with and without an app', () => {
  const inApp = new Stack(new App(), 'S');
  const alone = new Stack();
  for (const stack of [inApp, alone]) {
    addFinding(new Construct(stack, 'Server'), finding('one node only'));
    expect(() => Template.fromStack(stack)).toThrow(/one node only/);
  }
});

test('a finding inside a stage fails the synthesis of the app', () => {
  const app = new App();
  addFinding(new Construct(new Stack(new Stage(app, 'Prod'), 'S'), 'Server'), finding('one node only'));
  expect(() => app.synth()).toThrow(/Prod\/S\/Server/);
});

test('the check runs when everything has been declared', () => {
  const stack = new Stack();
  let nodes = 1;
  addFinding(new Construct(stack, 'Server'), {
    ...finding(undefined),
    check: () => (nodes < 2 ? 'one node only' : undefined),
  });
  nodes = 2;
  expect(() => Template.fromStack(stack)).not.toThrow();
});

test('an acknowledgement lets its own construct pass, and no sibling', () => {
  const app = new App();
  const stack = new Stack(app, 'S');
  const [a, b] = ['A', 'B'].map((id) => new Construct(stack, id));
  addFinding(a!, finding('one node only'));
  addFinding(b!, finding('one node only'));
  acknowledgeFinding(a!, { id: 'HA-1', reason: 'a test system' });
  expect(() => app.synth()).toThrow(/S\/B/);
  const [pluginReport] = report(app);
  expect(pluginReport.violations.map((v: any) => v.violatingConstructs[0].constructPath)).toEqual(['S/B']);
  expect(JSON.stringify(pluginReport)).toContain('a test system');
});

test('several constructs of one app share one plugin', () => {
  const app = new App();
  const stack = new Stack(app, 'S');
  addFinding(new Construct(stack, 'A'), finding(undefined));
  addFinding(new Construct(stack, 'B'), finding('one node only'));
  expect(() => app.synth()).toThrow();
  expect(report(app)).toHaveLength(1);
});

test('an acknowledgement of a guard that the construct does not have is reported, and does not fail the synthesis', () => {
  const app = new App();
  const stack = new Stack(app, 'S');
  const construct = new Construct(stack, 'Server');
  addFinding(construct, finding(undefined));
  acknowledgeFinding(construct, { id: 'BK-1', reason: 'of another server' });
  app.synth();
  expect(report(app)[0].violations[0]).toMatchObject({ ruleName: 'LIB-11', severity: 'warning' });
});

test('an acknowledgement of what is no guard throws and lists those that there are', () => {
  const construct = new Construct(new Stack(), 'Server');
  const acknowledging = (id: string) => () => acknowledgeFinding(construct, { id, reason: 'a typing mistake' });
  expect(acknowledging('HA-l')).toThrow(/Server: acknowledge\({ id: 'HA-l' }\) names no guard.*BK-1, .*HA-1.*SEC-21/);
  expect(acknowledging('cdk-postgres::toString')).toThrow(/names no guard/);
  expect(acknowledging('cdk-postgres::HA-1')).not.toThrow();
});

test('an acknowledgement without a reason throws', () => {
  const construct = new Construct(new Stack(), 'Server');
  expect(() => acknowledgeFinding(construct, { id: 'HA-1', reason: ' ' })).toThrow(/Server.*HA-1.*reason/);
});

test('an acknowledgement holds up to its last day, and not beyond', () => {
  const expiring = (expires: string) => () => {
    const stack = new Stack();
    const construct = new Construct(stack, 'Server');
    addFinding(construct, finding('one node only'));
    acknowledgeFinding(construct, { id: 'HA-1', reason: 'until the second node is there', expires });
    Template.fromStack(stack);
  };
  expect(expiring(dayIn(365))).not.toThrow();
  expect(expiring('2020-01-31')).toThrow(/one node only/);
  expect(expiring('2026-11-31')).toThrow(/Server.*expires '2026-11-31'/);
  expect(expiring('next week')).toThrow(/Server.*expires 'next week'/);
  expect(expiring('9999-12-31')).toThrow(
    /Server: acknowledge\(\{ id: 'HA-1' \}\) has expires '9999-12-31', which is more than a year away; write a day up to/,
  );
  expect(expiring(dayIn(400))).toThrow(/more than a year away/);
});

test('an acknowledgement that is past its last day is reported, also where the finding is gone', () => {
  const app = new App();
  const construct = new Construct(new Stack(app, 'S'), 'Server');
  addFinding(construct, finding(undefined));
  acknowledgeFinding(construct, { id: 'HA-1', reason: 'until the second node is there', expires: '2020-01-31' });
  acknowledgeFinding(construct, { id: 'HA-1', reason: 'until the second node is there', expires: dayIn(0) });
  app.synth();
  expect(report(app)[0].violations).toMatchObject([
    {
      ruleName: 'LIB-11',
      severity: 'warning',
      description: "S/Server: acknowledge({ id: 'HA-1' }) held until 2020-01-31, and acknowledges nothing any more",
    },
  ]);
});

test('a warning is reported and does not fail the synthesis', () => {
  const app = new App();
  const stack = new Stack(app, 'S');
  new Bucket(stack, 'Bucket');
  addFinding(stack, { ...finding('one node only'), severity: 'warning' });
  app.synth();
  expect(report(app)[0].violations).toHaveLength(1);
});

test('a check that throws is an error of its own with the path, and all others are still asked', () => {
  const app = new App();
  const stack = new Stack(app, 'S');
  const [a, b] = ['A', 'B'].map((id) => new Construct(stack, id));
  addFinding(a!, {
    ...finding(undefined),
    check: () => {
      throw new TypeError('Cannot destructure property');
    },
  });
  addFinding(b!, finding('one node only'));
  // Who knows of the one node has not said that nobody need look.
  acknowledgeFinding(a!, { id: 'HA-1', reason: 'one node is enough' });
  expect(() => app.synth()).toThrow();
  expect(report(app)[0].violations).toMatchObject([
    {
      ruleName: 'HA-1.unchecked',
      severity: 'error',
      description: 'S/A: HA-1 could not be checked: Cannot destructure property',
      violatingConstructs: [{ constructPath: 'S/A' }],
    },
    { ruleName: 'HA-1', violatingConstructs: [{ constructPath: 'S/B' }] },
  ]);
});

test.each([
  ['cdk-postgres::HA-1.unchecked', true],
  ['cdk-postgres::HA-1', false],
])('a check that throws, with %s acknowledged, lets the synthesis pass: %s', (id, passes) => {
  const app = new App();
  const stack = new Stack(app, 'S');
  addFinding(stack, {
    ...finding(undefined),
    check: () => {
      throw new TypeError('Cannot destructure property');
    },
  });
  Validations.of(stack).acknowledge({ id, reason: 'the fault is reported' });
  if (passes) expect(() => app.synth()).not.toThrow();
  else expect(() => app.synth()).toThrow();
});

test('which plugins were asked is written into the app, without a word of their deprecated list', () => {
  const warned = jest.spyOn(console, 'warn').mockImplementation();
  const app = new App();
  addFinding(new Construct(new Stack(app, 'S'), 'Server'), finding(undefined));
  // Registered after the guards, as it is by most apps.
  Validations.of(app).addPlugins({ name: 'Later', validate: () => ({ success: true, violations: [] }) });
  app.synth();
  const metadata = JSON.parse(readFileSync(join(app.outdir, 'S.metadata.json'), 'utf8'));
  expect(metadata['/S/Server']).toContainEqual(
    expect.objectContaining({ type: 'cdk-postgres:rule-packs', data: ['Later', 'cdk-postgres'] }),
  );
  expect(warned).not.toHaveBeenCalled();
  expect(process.env.JSII_DEPRECATED).toBeUndefined();
});
