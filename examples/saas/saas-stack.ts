import { Duration, Stack, StackProps } from 'aws-cdk-lib';
import { SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import {
  AuroraPostgres,
  Authentication,
  Consumer,
  PostgresVersion,
  PredefinedRole,
  Privilege,
  RdsPostgres,
  SchemaObject,
} from 'cdk-postgres';
import { Construct } from 'constructs';
import { declareChange, isChanged } from './change';
import { isolatedNetwork } from './network';

export interface SaasStackProps extends StackProps {
  /**
   * Where PostgreSQL runs. Everything below is the same for both.
   *
   * @default AuroraPostgres
   */
  readonly postgres?: typeof AuroraPostgres | typeof RdsPostgres;
}

/** The database of a small SaaS company: who works on it, and what each of them may do. */
export class SaasStack extends Stack {
  public readonly server: AuroraPostgres | RdsPostgres;

  constructor(scope: Construct, id: string, props: SaasStackProps = {}) {
    super(scope, id, props);

    const Postgres = props.postgres ?? AuroraPostgres;
    this.server = new Postgres(this, 'Postgres', {
      vpc: isolatedNetwork(this),
      version: PostgresVersion.V18,
      objectives: { rpo: Duration.minutes(5), rto: Duration.minutes(30) },
      pointInTimeRecovery: Duration.days(35),
    });
    this.server.alarmTopic!.addSubscription(new EmailSubscription('on-call@example.com'));
    // Nothing in this network reaches the internet, so AWS's APIs come in.
    this.server.addVpcEndpoints();

    const app = this.server.addDatabase('app');
    const identity = app.addSchema('identity');
    const billing = app.addSchema('billing');
    const audit = app.addSchema('audit');

    // Runs the migrations. Whatever it creates belongs to app_owner and carries that role's default privileges.
    app.addLoginRole('migrator', { actsAs: app.owner, lockTimeout: Duration.seconds(5) });

    // Serves customers. It adds to the audit trail, and can neither read nor change it.
    const api = app.addLoginRole('api', { statementTimeout: Duration.seconds(15), connectionLimit: 50 });
    if (isChanged(this)) {
      declareChange({ app, identity, api });
    } else {
      identity.grantReadWrite(api);
    }
    billing.grantReadWrite(api);
    audit.grant(api, SchemaObject.allTables(), Privilege.INSERT);
    audit.grant(api, SchemaObject.allSequences(), Privilege.USAGE);
    // Its services, whatever runs them, share the connections of a pooler: RDS Proxy here.
    const pool = this.server.addPooler('Pool');
    const services = new SecurityGroup(this, 'Services', {
      vpc: this.server.vpc,
      description: 'Services that connect as api',
      allowAllOutbound: false,
    });
    api.grantConnect(Consumer.securityGroup(services, 400), { through: pool });

    // Works through queues at night, on everything.
    app.addLoginRole('worker', { statementTimeout: Duration.minutes(5), memberOf: [app.readWriteRole] });

    // Reads everything.
    app.addLoginRole('report', { statementTimeout: Duration.minutes(30), memberOf: [app.readOnlyRole] });

    // Watches the server, and sees no row of it. It has no password to leak.
    app.addLoginRole('monitor', {
      authentication: Authentication.iam(),
      memberOf: [PredefinedRole.MONITOR],
      connectionLimit: 5,
    });
  }
}
