import { Duration, aws_ec2 as ec2, aws_servicediscovery as cloudmap } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { MEMBER_WATCH_PORT } from '../../contract';
import {
  ETCD_CLIENT_PORT,
  ETCD_PEER_PORT,
  PATRONI_PORT,
  PGBACKREST_PORT,
  POSTGRES_PORT,
  READ_ONLY_PORT,
  ROUTER_HEALTH_PORT,
} from './configuration';

/** How long a resolver may remember where a member is. */
export const NAME_TTL = Duration.seconds(5);

/** The names of a cluster and who may speak to whom: a security group for each role, and rules from group to group alone (SEC-15). */
export class ClusterNetwork extends Construct {
  public readonly namespace: cloudmap.PrivateDnsNamespace;
  /** The load balancer: the one that applications enter. */
  public readonly front: ec2.SecurityGroup;
  public readonly router: ec2.SecurityGroup;
  public readonly member: ec2.SecurityGroup;
  public readonly etcd: ec2.SecurityGroup;
  public readonly backup: ec2.SecurityGroup;
  public readonly host: ec2.SecurityGroup;

  constructor(
    scope: Construct,
    id: string,
    private readonly props: { readonly vpc: ec2.IVpc; readonly namespaceName: string; readonly path: string },
  ) {
    super(scope, id);
    const { vpc, namespaceName, path } = props;
    this.namespace = new cloudmap.PrivateDnsNamespace(this, 'Namespace', {
      vpc,
      name: namespaceName,
      description: `Members of the PostgreSQL server ${path}`.slice(0, 1024),
    });
    this.front = this.group('FrontSecurityGroup', 'Load balancer');
    this.router = this.group('RouterSecurityGroup', 'Routers');
    this.member = this.group('MemberSecurityGroup', 'Members');
    this.etcd = this.group('EtcdSecurityGroup', 'etcd');
    this.backup = this.group('BackupSecurityGroup', 'Backup tasks');
    this.host = this.group('HostSecurityGroup', 'Hosts');
    for (const group of [this.router, this.member, this.etcd, this.backup, this.host])
      // The S3 gateway endpoint would need a prefix list that CloudFormation does not give; an isolated subnet has no other way out.
      group.addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(443), 'AWS APIs and the images');

    this.allow(
      this.front,
      this.router,
      [POSTGRES_PORT, 'PostgreSQL'],
      [READ_ONLY_PORT, 'PostgreSQL, reads'],
      [ROUTER_HEALTH_PORT, 'Health'],
    );
    this.allow(this.router, this.member, [POSTGRES_PORT, 'PostgreSQL'], [PATRONI_PORT, 'Patroni']);
    this.allow(
      this.member,
      this.member,
      [POSTGRES_PORT, 'Replication'],
      [PATRONI_PORT, 'Patroni'],
      [PGBACKREST_PORT, 'pgBackRest'],
    );
    this.allow(this.member, this.etcd, [ETCD_CLIENT_PORT, 'etcd']);
    this.allow(this.etcd, this.etcd, [ETCD_CLIENT_PORT, 'etcd'], [ETCD_PEER_PORT, 'etcd, peers']);
    this.allow(this.backup, this.member, [PGBACKREST_PORT, 'pgBackRest']);
  }

  /** Lets the function of the cluster ask its parts. */
  public letOperate(from: ec2.IConnectable): void {
    from.connections.allowTo(this.member, ec2.Port.tcp(PATRONI_PORT), 'Patroni');
    from.connections.allowTo(this.member, ec2.Port.tcp(MEMBER_WATCH_PORT), 'Watch of a member');
    from.connections.allowTo(this.etcd, ec2.Port.tcp(ETCD_CLIENT_PORT), 'etcd');
  }

  private allow(from: ec2.SecurityGroup, to: ec2.SecurityGroup, ...ports: [number, string][]): void {
    for (const [port, what] of ports) {
      // Not by `connections`, which makes one of the two rules alone where a group speaks to itself.
      from.addEgressRule(to, ec2.Port.tcp(port), what, true);
      to.addIngressRule(from, ec2.Port.tcp(port), what, true);
    }
  }

  private group(id: string, what: string): ec2.SecurityGroup {
    return new ec2.SecurityGroup(this, id, {
      vpc: this.props.vpc,
      description: `${what} of the PostgreSQL server ${this.props.path}`.slice(0, 255),
      allowAllOutbound: false,
    });
  }
}
