import { aws_events as events, aws_sns as sns } from 'aws-cdk-lib';
import { CfnDBCluster, CfnDBInstance } from 'aws-cdk-lib/aws-rds';
import { Construct } from 'constructs';
import { addFinding } from '../compliance';
import { letPublish } from './alarm-topic';

/**
 * What RDS says before it rotates the certificate of a server by a restart: that a rotation is due, and that it is scheduled for the next
 * maintenance window ("Amazon RDS event categories and event messages").
 */
const ROTATION_EVENTS = ['RDS-EVENT-0501', 'RDS-EVENT-0502'];

/** How AWS tells an account months before that an authority of RDS expires; whatever lifecycle it is about concerns an operator. */
const LIFECYCLE_EVENT = 'AWS_RDS_PLANNED_LIFECYCLE_EVENT';

/**
 * The certificate of a server (SEC-13): it comes from an authority that the template names, and who operates the server hears of its rotation
 * before it happens. Clients trust all authorities of RDS by the bundle that this library ships.
 */
export function watchCertificates(
  server: Construct,
  resources: readonly (CfnDBInstance | CfnDBCluster)[],
  options: { readonly topic?: sns.ITopic; readonly identifier: string },
): void {
  addFinding(server, {
    id: 'SEC-13',
    check: () => {
      const open = resources.filter((one) => one instanceof CfnDBInstance && one.caCertificateIdentifier === undefined);
      return open.length === 0
        ? undefined
        : `${server.node.path}: no certificate authority is named for ${open.map(({ node }) => node.path).join(', ')}; it is then the account's default of that day`;
    },
    fix: 'Leave caCertificateIdentifier as this library sets it, or name another authority such as rds-ca-ecc384-g1.',
  });
  const { topic, identifier } = options;
  if (!topic) return;
  const ready = letPublish(server, topic, 'events.amazonaws.com');
  notify(server, 'CertificateRotation', topic, ready, {
    description: `RDS is about to rotate the certificate of ${server.node.path}`,
    eventPattern: {
      source: ['aws.rds'],
      detailType: ['RDS DB Instance Event'],
      detail: {
        EventID: ROTATION_EVENTS,
        // Nodes and replicas have the name of the server before their own.
        SourceIdentifier: [identifier, { prefix: `${identifier}-` }],
      },
    },
  });
  notify(server, 'CertificateAuthority', topic, ready, {
    description: `AWS announces a change for servers of this account, such as ${server.node.path}: an authority that expires, or a version`,
    eventPattern: {
      source: ['aws.health'],
      detailType: ['AWS Health Event'],
      detail: { service: ['RDS'], eventTypeCode: [LIFECYCLE_EVENT] },
    },
  });
}

function notify(
  scope: Construct,
  id: string,
  topic: sns.ITopic,
  ready: ReturnType<typeof letPublish>,
  props: events.RuleProps,
): void {
  const rule = new events.Rule(scope, id, props);
  // The target of aws-events-targets would add a policy of its own for the topic.
  rule.addTarget({ bind: () => ({ arn: topic.topicArn }) });
  rule.node.addDependency(...ready);
}
