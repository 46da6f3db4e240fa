import { Duration } from 'aws-cdk-lib';
import { Database, LoginRole, Schema } from 'cdk-postgres';
import { IConstruct } from 'constructs';

/** Whether the app is synthesized as it looks some weeks later: `-c saas:change=true`. */
export function isChanged(scope: IConstruct): boolean {
  return String(scope.node.tryGetContext('saas:change')) === 'true';
}

/** A later change to the example: identities move to a service of their own, so `api` only reads them, and a role is new. */
export function declareChange(inside: { app: Database; identity: Schema; api: LoginRole }): void {
  const { app, identity, api } = inside;
  identity.grantRead(api);
  const signup = app.addLoginRole('signup', { statementTimeout: Duration.seconds(15), connectionLimit: 20 });
  identity.grantReadWrite(signup);
}
