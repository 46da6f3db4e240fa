import { Duration, Size, Stack, StackProps } from 'aws-cdk-lib';
import { SecurityGroup } from 'aws-cdk-lib/aws-ec2';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import { Consumer, EcsPostgres, PostgresVersion, Storage } from 'cdk-postgres';
import { Construct } from 'constructs';
import { isolatedNetwork } from '../saas/network';

/** A PostgreSQL that you run yourself: three members in three zones, nothing lost that was acknowledged, everything in the bucket. */
export class EcsStack extends Stack {
  public readonly server: EcsPostgres;

  constructor(scope: Construct, id: string, props: StackProps = {}) {
    // Three zones are known of a region that is named.
    super(scope, id, { env: { account: '111111111111', region: 'eu-central-1' }, ...props });
    const vpc = isolatedNetwork(this);

    const server = new EcsPostgres(this, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: { rpo: Duration.seconds(0), rto: Duration.seconds(60) },
      clusterName: 'orders',
      members: 3,
      storage: Storage.gp3(Size.gibibytes(200)),
      parameters: { work_mem: '16MB' },
    });
    this.server = server;
    server.alarmTopic?.addSubscription(new EmailSubscription('operations@example.com'));

    const app = server.addDatabase('app');
    const billing = app.addSchema('billing');
    const api = app.addLoginRole('api', { statementTimeout: Duration.seconds(15), connectionLimit: 100 });
    const report = app.addLoginRole('report', { connectionLimit: 10 });
    billing.grantReadWrite(api);
    billing.grantRead(report);

    // Services, whatever runs them, share the connections of a pooler, which is PgBouncer here.
    const pool = server.addPooler('Pool');
    const services = new SecurityGroup(this, 'Services', { vpc, description: 'Services', allowAllOutbound: false });
    api.grantConnect(Consumer.securityGroup(services, 400), { through: pool });

    // Reports are read from the replicas.
    const reports = new SecurityGroup(this, 'Reports', { vpc, description: 'Reports', allowAllOutbound: false });
    report.grantConnect(Consumer.securityGroup(reports, 10), { endpoint: server.readerEndpoint });

    server.addMonitoring();
    server.addDriftDetection();
    server.addVpcEndpoints();
  }
}
