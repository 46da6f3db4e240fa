import { Client } from 'pg';
import { approvalText, heldByWords, Plan, summarize, summaryLine } from '../../../lib/runtime/reconcile';
import { startServer, TestServer } from '../../support/postgres';
import { declaration } from './declaration';
import { apply, asOwner, asSuperuser, loginAs, plan } from './runs';

let server: TestServer;
beforeEach(async () => {
  server = await startServer({ version: 18 });
  await apply(server, declaration());
  await asOwner(server, 'CREATE TABLE billing.invoice (id int)');
  await apply(server, declaration());
});

/** What somebody gave by hand at night: to a group, whose members have it too. */
async function byHand(): Promise<void> {
  await asSuperuser(
    server,
    [
      'CREATE ROLE helper LOGIN',
      'GRANT app_readonly TO helper WITH INHERIT FALSE, SET TRUE',
      'GRANT INSERT ON billing.invoice TO app_readonly',
    ],
    'app',
  );
}

const words = ({ plan: { withheld }, sessions }: Awaited<ReturnType<typeof plan>>) =>
  withheld.map((step) => heldByWords(step, sessions));

test('case 120: a withheld step says who holds what it takes away, through which path, and who works with it now', async () => {
  await byHand();
  const sessions: Client[] = [await loginAs(server, 'api'), await loginAs(server, 'api')];
  const report = await plan(server, declaration());
  expect(report.plan.withheld.map((step) => step.object)).toEqual([
    'grant on 1 table in schema billing to app_readonly',
  ]);
  expect(words(report)).toEqual([
    'api via app_readonly (2 sessions now); helper only after SET ROLE app_readonly; app_readonly directly (does not log in)',
  ]);
  await Promise.all(sessions.map((client) => client.end()));
  // The run that finds nothing changed knows it too, and counts anew.
  await apply(server, declaration());
  const again = await apply(server, declaration());
  expect(again.outcome).toBe('unchanged');
  expect(words(again)[0]).toContain('api via app_readonly;');
});

test('case 120: what PUBLIC has, everybody has; a membership is held by its member; an owner by the owner', async () => {
  await asSuperuser(server, ['CREATE ROLE other', 'GRANT other TO api', 'GRANT CONNECT ON DATABASE app TO PUBLIC']);
  await asSuperuser(server, 'ALTER SCHEMA billing OWNER TO other', 'app');
  const report = await plan(server, declaration());
  const held = Object.fromEntries(
    report.plan.withheld.map((step) => [step.object, heldByWords(step, report.sessions)]),
  );
  expect(held).toMatchObject({
    'grant on database app to PUBLIC': 'every role, through PUBLIC',
    'membership of api in other': 'api directly',
    'schema billing': 'api via other; other directly (does not log in)',
  });
});

test('a run in which nothing is withheld asks nobody who works with what', async () => {
  const statements = await server.recordStatements(() => plan(server, declaration()));
  expect(statements.filter(({ sql }) => sql.includes('count(*)::int AS count FROM pg_stat_activity'))).toEqual([]);
  await byHand();
  const control = await server.recordStatements(() => plan(server, declaration()));
  expect(control.filter(({ sql }) => sql.includes('count(*)::int AS count FROM pg_stat_activity'))).toHaveLength(1);
});

test('an acknowledged hash that is of another plan is not passed over in silence', async () => {
  await byHand();
  const { hash } = (await plan(server, declaration())).plan;
  const { notes, withheld } = (await apply(server, declaration(), { acknowledge: ['0123456789abcdef'] })).plan;
  expect(withheld).toHaveLength(1);
  expect(notes).toContain(`0123456789abcdef is not of this plan: the hash is ${hash}`);
  const right = (await apply(server, declaration(), { acknowledge: [hash!] })).plan;
  expect(right.notes.join()).not.toContain('is not of this plan');
});

test('of many holders the first are named, and all are counted', async () => {
  await asSuperuser(
    server,
    [
      'DO $$ BEGIN FOR i IN 10..49 LOOP EXECUTE format($f$CREATE ROLE m%s LOGIN IN ROLE app_readonly$f$, i); END LOOP; END $$',
      'GRANT INSERT ON billing.invoice TO app_readonly',
    ],
    'app',
  );
  const report = await plan(server, declaration());
  const [step] = report.plan.withheld;
  expect([step.heldBy!.count, step.heldBy!.roles.length]).toEqual([42, 20]);
  expect(heldByWords(step, report.sessions, 2)).toBe('api via app_readonly; m10 via app_readonly; and 40 more');
});

test('the summary counts by risk, always with the same keys', async () => {
  await byHand();
  const { plan: planned } = await plan(server, declaration());
  expect(summarize(planned)).toEqual({
    steps: { add: 0, widen: 0, narrow: 0, disruptive: 0, destructive: 0 },
    withheld: { add: 0, widen: 0, narrow: 1, disruptive: 0, destructive: 0 },
    hash: planned.hash,
  });
  expect(summaryLine(planned)).toBe(
    `add=0 widen=0 narrow=0 disruptive=0 destructive=0 withheld-add=0 withheld-widen=0 withheld-narrow=1 withheld-disruptive=0 withheld-destructive=0 hash=${planned.hash}`,
  );
  const nothing: Plan = { steps: [], withheld: [], notes: [] };
  expect(summaryLine(nothing)).toMatch(/^add=0 .* hash=none$/);
  expect(approvalText({ plan: nothing, sessions: {} })).toBeUndefined();
});

test('the text of an approval names the hash, the steps and the holders', async () => {
  await byHand();
  const report = await plan(server, declaration());
  expect(approvalText(report)).toBe(
    `Withheld, and not run: 1 step: 1 narrow. To let exactly these run: server.acknowledgePlan('${report.plan.hash}', 'why'). narrow: grant on 1 table in schema billing to app_readonly, held by api via app_readonly; helper only after SET ROLE app_readonly; app_readonly directly (does not log in)`,
  );
});
