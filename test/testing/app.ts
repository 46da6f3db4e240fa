import { App, Stack } from 'aws-cdk-lib';
import { Authentication, RdsPostgres, RdsPostgresProps, PostgresVersion } from '../../lib';
import { cleanStack, OBJECTIVES } from '../server/support';

export interface ShopOptions {
  readonly props?: Partial<RdsPostgresProps>;
  /** `report` may write too. */
  readonly addedGrant?: boolean;
}

/** A small app as a team has it: a database, a schema, roles that write, read, log in by IAM and look on. */
export function shop({ props, addedGrant }: ShopOptions = {}): { app: App; stack: Stack; server: RdsPostgres } {
  const { app, stack, vpc } = cleanStack(new App());
  const server = new RdsPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: OBJECTIVES,
    ...props,
  });
  server.acknowledge({ id: 'OPS-4', reason: 'nobody looks at this app' });
  const database = server.addDatabase('shop');
  const billing = database.addSchema('billing');
  const api = database.addLoginRole('api', { connectionLimit: 20 });
  const report = database.addLoginRole('report', { authentication: Authentication.iam() });
  billing.grantReadWrite(api);
  if (addedGrant) billing.grantReadWrite(report);
  else billing.grantRead(report);
  return { app, stack, server };
}
