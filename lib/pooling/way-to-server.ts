import { aws_ec2 as ec2 } from 'aws-cdk-lib';
import { Construct, IDependable } from 'constructs';

/**
 * The way from a pooler to the server. The rules are resources of their own, so that something can wait for exactly these; see
 * `ServerFunction.allowTo()`.
 */
export function allowToServer(
  scope: Construct,
  from: ec2.ISecurityGroup,
  server: readonly ec2.ISecurityGroup[],
  port: number,
): IDependable[] {
  if (server.length === 0) {
    return [
      new ec2.CfnSecurityGroupEgress(scope, 'ToServer', {
        ipProtocol: 'tcp',
        fromPort: port,
        toPort: port,
        groupId: from.securityGroupId,
        cidrIp: '0.0.0.0/0',
        description: 'PostgreSQL outside this app',
      }),
    ];
  }
  return server.flatMap((group, index) => {
    const suffix = index === 0 ? '' : String(index);
    const rule = { ipProtocol: 'tcp', fromPort: port, toPort: port };
    return [
      new ec2.CfnSecurityGroupEgress(scope, `ToServer${suffix}`, {
        ...rule,
        groupId: from.securityGroupId,
        destinationSecurityGroupId: group.securityGroupId,
        description: 'PostgreSQL',
      }),
      new ec2.CfnSecurityGroupIngress(scope, `FromPooler${suffix}`, {
        ...rule,
        groupId: group.securityGroupId,
        sourceSecurityGroupId: from.securityGroupId,
        description: 'Pooler',
      }),
    ];
  });
}
