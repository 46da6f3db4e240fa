import { Template } from 'aws-cdk-lib/assertions';
import { AuroraPostgres, PostgresProfile, PostgresVersion, RdsPostgres } from '../../lib';
import { DEPLOY_GUARD_TYPE } from '../../lib/contract/deploy-guard';
import { OBJECTIVES, cleanStack, quiet } from './support';
import { dayIn } from '../support/days';

quiet();

function make(kind: typeof RdsPostgres | typeof AuroraPostgres, profile?: PostgresProfile) {
  const { stack, vpc } = cleanStack();
  const server = new kind(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, profile });
  return { server, stack, template: () => Template.fromStack(stack) };
}

describe.each([
  ['rds', RdsPostgres, 1],
  ['aurora', AuroraPostgres, 3],
] as const)('%s', (_name, kind, count) => {
  test('waits for the guard with every resource that holds a server, each asked for by its exact name', () => {
    const template = make(kind).template();
    const guard = Object.keys(template.findResources(DEPLOY_GUARD_TYPE));
    expect(guard).toHaveLength(1);
    const servers = ['AWS::RDS::DBInstance', 'AWS::RDS::DBCluster'].flatMap((type) =>
      Object.values(template.findResources(type)),
    );
    expect(servers).toHaveLength(count);
    for (const server of servers) expect(server.DependsOn).toContain(guard[0]);

    const names = servers.map(({ Properties }) => Properties.DBInstanceIdentifier ?? Properties.DBClusterIdentifier);
    const [{ Properties: asked }] = Object.values(template.findResources(DEPLOY_GUARD_TYPE)) as [{ Properties: any }];
    expect(asked.Servers.map((one: { Identifier: string }) => one.Identifier).sort()).toEqual([...names].sort());
    const statements = Object.values(template.findResources('AWS::IAM::ManagedPolicy')).flatMap(
      (p) => p.Properties.PolicyDocument.Statement,
    );
    const allowed = statements
      .filter((s) => JSON.stringify(s.Action).includes('rds:Describe'))
      .map((s) => JSON.stringify(s.Resource));
    for (const name of names) expect(allowed.some((arn) => arn.includes(`:${name}"`))).toBe(true);
    expect(allowed.join()).not.toContain('*');
  });

  test('passes an acknowledgement for a time on to the guard', () => {
    const { server, template } = make(kind);
    const expires = dayIn(30);
    server.acknowledge({ id: 'guard:replacement', reason: 'moves to another key on Sunday', expires });
    template().hasResourceProperties(DEPLOY_GUARD_TYPE, {
      Acknowledgements: [{ Id: 'guard:replacement', Reason: 'moves to another key on Sunday', Expires: expires }],
    });
  });

  test('refuses an acknowledgement without a last day, also where no guard stands', () => {
    for (const profile of [undefined, PostgresProfile.development()]) {
      const { server } = make(kind, profile);
      expect(() => server.acknowledge({ id: 'guard:replacement', reason: 'r' })).toThrow(
        /Test\/Postgres.*guard:replacement.*expires/,
      );
    }
  });

  test('has no guard in the development profile', () =>
    make(kind, PostgresProfile.development()).template().resourceCountIs(DEPLOY_GUARD_TYPE, 0));
});
