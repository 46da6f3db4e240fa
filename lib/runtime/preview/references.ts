import { EmbeddedServer } from './embedded-server';
import { generateSecret, GenerateSecretString } from './generated-password';
import { LocalSecretsManager } from './local-secrets-manager';
import { AssemblyStack } from './assembly';
import { ReferenceSource } from './template-values';

/** What a preview puts for the references that a state resource makes: the embedded server, and secrets with generated passwords. */
export function previewReferences(postgres: EmbeddedServer, secrets: LocalSecretsManager): ReferenceSource {
  const source: ReferenceSource = (stack, logicalId, attribute) => {
    const resource = stack.template.Resources?.[logicalId];
    if (!resource) return undefined;
    const properties = resource.Properties ?? {};
    const key = `${resource.Type}${attribute === undefined ? '' : `.${attribute}`}`;
    switch (key) {
      case 'AWS::SecretsManager::Secret':
      case 'AWS::SecretsManager::Secret.Id':
        return secretArn(stack, logicalId, properties, secrets);
      case 'AWS::SecretsManager::SecretTargetAttachment': {
        const { Ref } = (properties.SecretId ?? {}) as { Ref?: string };
        return Ref === undefined ? undefined : source(stack, Ref);
      }
      case 'AWS::RDS::DBCluster.Endpoint.Address':
      case 'AWS::RDS::DBCluster.ReadEndpoint.Address':
      case 'AWS::RDS::DBInstance.Endpoint.Address':
        return postgres.host;
      case 'AWS::RDS::DBCluster.Endpoint.Port':
      case 'AWS::RDS::DBInstance.Endpoint.Port':
        return String(postgres.port);
      case 'AWS::RDS::DBCluster.DBClusterResourceId':
        return 'cluster-PREVIEW';
      case 'AWS::RDS::DBInstance.DbiResourceId':
        return 'db-PREVIEW';
      case 'AWS::RDS::DBProxy.Endpoint':
      case 'AWS::RDS::DBProxyEndpoint.Endpoint':
      case 'AWS::ElasticLoadBalancingV2::LoadBalancer.DNSName':
        // A preview has no pooler: what would go through one goes to the server.
        return postgres.host;
      case 'AWS::Lambda::Function.Arn':
        return `arn:aws:lambda:${stack.region}:${stack.account}:function:${logicalId}`;
      default:
        return undefined;
    }
  };
  return source;
}

function secretArn(
  stack: AssemblyStack,
  logicalId: string,
  properties: Readonly<Record<string, unknown>>,
  secrets: LocalSecretsManager,
): string {
  const arn = `arn:aws:secretsmanager:${stack.region}:${stack.account}:secret:${logicalId}-AbCdEf`;
  if (!secrets.has(arn)) {
    const { GenerateSecretString, SecretString } = properties;
    secrets.create(
      arn,
      typeof SecretString === 'string'
        ? (JSON.parse(SecretString) as object)
        : generateSecret((GenerateSecretString ?? {}) as GenerateSecretString),
    );
  }
  return arn;
}
