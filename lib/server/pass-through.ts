import { Validations, aws_elasticloadbalancingv2 as elb } from 'aws-cdk-lib';

/** Where TLS ends behind a load balancer that passes it through, and who logs the connections there. */
export interface PassedTo {
  readonly to: string;
  readonly logs: string;
}

/** NLB writes its access log for TLS listeners alone, and TLS ends behind it. */
export function acknowledgePassThrough(loadBalancer: elb.NetworkLoadBalancer, { to, logs }: PassedTo): void {
  for (const id of [
    'AwsSolutions-ELB2',
    ...['HIPAA.Security', 'NIST.800.53.R4', 'NIST.800.53.R5', 'PCI.DSS.321'].map((pack) => `${pack}-ELBLoggingEnabled`),
  ]) {
    Validations.of(loadBalancer).acknowledge({
      id,
      reason:
        `A network load balancer logs the connections of TLS listeners alone, and this one passes TLS through to the ${to}, so that no log would ever be ` +
        `written. ${logs} logs each connection with role and database, and the flow logs of the network have the addresses.`,
    });
  }
}

/** The certificate of the rule is one of the load balancer's, which then would end TLS and see the passwords. */
export function acknowledgePassThroughListener(listener: elb.NetworkListener, { to }: PassedTo): void {
  for (const pack of ['HIPAA.Security', 'NIST.800.53.R5', 'PCI.DSS.321']) {
    Validations.of(listener).acknowledge({
      id: `${pack}-ELBv2ACMCertificateRequired`,
      reason:
        `TLS is passed through and ends at the ${to}, which take no connection without it and show a certificate of their own. PostgreSQL begins ` +
        'TLS within its protocol, so that a listener with a certificate could not speak with its clients.',
    });
  }
}
