import { Annotations, Stack, aws_iam as iam, aws_kms as kms, aws_sns as sns } from 'aws-cdk-lib';
import { Construct, IDependable } from 'constructs';
import { addFinding } from '../compliance';

/** A service that publishes to the topic of a server. */
export type Publisher = 'cloudwatch.amazonaws.com' | 'events.rds.amazonaws.com' | 'events.amazonaws.com';

/** The topic of a server's alarms: encrypted, TLS only, and a warning as long as nobody listens (OPS-4). */
export function serverAlarmTopic(scope: Construct, encryptionKey: kms.IKey): sns.Topic {
  const topic = new sns.Topic(scope, 'AlarmTopic', { masterKey: encryptionKey, enforceSSL: true });
  // The policy that asks for TLS takes the place of the one that SNS makes, by which alarms of the account may publish.
  letPublish(scope, topic, 'cloudwatch.amazonaws.com', { key: false });
  addFinding(topic, {
    id: 'OPS-4',
    severity: 'warning',
    check: () =>
      hasSubscriber(topic) ? undefined : `${scope.node.path}: nobody is subscribed to the alarms of the server`,
    fix: 'Subscribe to server.alarmTopic, or pass the topic that your operators read as alarmTopic.',
  });
  return topic;
}

const LET_IN = new WeakMap<sns.ITopic, Map<Publisher, IDependable[]>>();

/**
 * Lets a service publish to a topic and use the topic's key, and gives what must be there before it tries. `key: false`: the key's policy
 * lets it in already.
 */
export function letPublish(
  scope: Construct,
  topic: sns.ITopic,
  publisher: Publisher,
  options: { readonly key?: boolean } = {},
): IDependable[] {
  const known = LET_IN.get(topic) ?? new Map<Publisher, IDependable[]>();
  LET_IN.set(topic, known);
  const earlier = known.get(publisher);
  if (earlier) return earlier;
  const ready: IDependable[] = [];
  const principals = [new iam.ServicePrincipal(publisher)];
  const { statementAdded, policyDependable } = topic.addToResourcePolicy(
    new iam.PolicyStatement({
      principals,
      actions: ['sns:Publish'],
      resources: [topic.topicArn],
      // Of EventBridge no source says that it names the account; a condition that never holds would lose every notice.
      ...(publisher === 'events.amazonaws.com'
        ? {}
        : { conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(scope).account } } }),
    }),
  );
  if (!statementAdded) {
    Annotations.of(scope).addWarningV2(
      `cdk-postgres:topicPolicy:${publisher}`,
      `The alarm topic ${topic.node.path} is another app's: its policy must let ${publisher} publish (sns:Publish), and the policy of its key, if it ` +
        'has one, must let it use the key (kms:Decrypt and kms:GenerateDataKey*).',
    );
  }
  if (policyDependable) ready.push(policyDependable);
  if (topic.masterKey && options.key !== false) {
    topic.masterKey.addToResourcePolicy(
      new iam.PolicyStatement({ principals, actions: ['kms:Decrypt', 'kms:GenerateDataKey*'], resources: ['*'] }),
    );
    ready.push(topic.masterKey);
  }
  known.set(publisher, ready);
  return ready;
}

function hasSubscriber(topic: sns.Topic): boolean {
  return topic.node.root.node
    .findAll()
    .some(
      (child) =>
        child instanceof sns.CfnSubscription &&
        topic.stack.resolve(child.topicArn)?.Ref === topic.stack.resolve(topic.topicArn).Ref,
    );
}
