import { cluster, ephemeral, quiet, Resources } from './support';

quiet();

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../state/fake-bundles').fakeBundle(),
  poolerImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
  clusterImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
}));

const MEMBERS = ['pg-1', 'pg-2', 'pg-3'];
const ETCD = ['etcd-1', 'etcd-2', 'etcd-3'];

describe('three members', () => {
  let resources: Resources;
  beforeAll(() => {
    jest.spyOn(console, 'error').mockImplementation();
    resources = new Resources(cluster().stack);
  });
  const container = (name: string) => resources.taskOf(name).ContainerDefinitions[0];

  test.each([...MEMBERS, ...ETCD])('%s is a service of one task, which ends before another one begins', (name) => {
    const { Properties } = resources.service(name)[1];
    expect(Properties.DesiredCount).toBe(1);
    expect(Properties.DeploymentConfiguration).toEqual({
      MinimumHealthyPercent: 0,
      MaximumPercent: 100,
      DeploymentCircuitBreaker: { Enable: true, Rollback: true },
    });
    expect(Properties.AvailabilityZoneRebalancing).toBe('DISABLED');
  });

  test.each([...MEMBERS, ...ETCD])('%s has a name of its own in DNS, which is forgotten after five seconds', (name) => {
    const [{ RegistryArn }] = resources.service(name)[1].Properties.ServiceRegistries;
    const record = resources.all[RegistryArn['Fn::GetAtt'][0]]!.Properties;
    expect(record.Name).toBe(name);
    expect(record.DnsConfig.DnsRecords).toEqual([{ TTL: 5, Type: 'A' }]);
    expect(record.HealthCheckCustomConfig).toEqual({ FailureThreshold: 1 });
    expect(resources.all[record.NamespaceId['Fn::GetAtt'][0]]!.Properties.Name).toBe('orders.internal');
  });

  test('a deployment goes etcd-1, etcd-2, etcd-3, pg-1, pg-2, pg-3, router, each after the one before', () => {
    const order = [...ETCD, ...MEMBERS, 'router'].map((name) => resources.service(name)[0]);
    order.slice(1).forEach((service, index) => {
      expect(resources.waitsFor(service, order[index]!)).toBe(true);
      expect(resources.waitsFor(order[index]!, service)).toBe(false);
    });
  });

  test('between members, and before the routers, a gate waits until all stream, and asks again when a member was deployed', () => {
    const gates = resources.of('Custom::CdkPostgresClusterGate');
    expect(gates.map(([, { Properties }]) => Properties.Through)).toEqual(MEMBERS);
    const next = ['pg-2', 'pg-3', 'router'];
    gates.forEach(([id, { Properties }], index) => {
      expect(Properties.Members).toEqual(MEMBERS);
      expect(Properties.Deployed).toEqual(resources.service(MEMBERS[index]!)[1].Properties.TaskDefinition);
      expect(Properties.ServiceTimeout).toBe('3600');
      expect(resources.all[id]!.DependsOn).toContain(resources.service(MEMBERS[index]!)[0]);
      expect(resources.waitsFor(resources.service(next[index]!)[0], id)).toBe(true);
    });
  });

  test('each member is bound to a host of its own, in a zone of its own, by a capacity provider that ECS does not scale', () => {
    const zones = MEMBERS.map((name, index) => {
      const { Properties } = resources.service(name)[1];
      expect(Properties.LaunchType).toBeUndefined();
      expect(Properties.CapacityProviderStrategy).toEqual(
        resources.service(ETCD[index]!)[1].Properties.CapacityProviderStrategy,
      );
      const [{ CapacityProvider }] = Properties.CapacityProviderStrategy;
      const provider = resources.all[CapacityProvider.Ref]!.Properties.AutoScalingGroupProvider;
      expect(provider).toMatchObject({
        ManagedScaling: { Status: 'DISABLED' },
        ManagedTerminationProtection: 'DISABLED',
        ManagedDraining: 'ENABLED',
      });
      const group = resources.all[provider.AutoScalingGroupArn.Ref]!.Properties;
      expect([group.MinSize, group.MaxSize]).toEqual(['1', '1']);
      expect(group.VPCZoneIdentifier).toEqual(Properties.NetworkConfiguration.AwsvpcConfiguration.Subnets);
      expect(group.VPCZoneIdentifier).toHaveLength(1);
      return resources.all[group.VPCZoneIdentifier[0].Ref]!.Properties.AvailabilityZone;
    });
    expect(new Set(zones).size).toBe(3);
  });

  test('a new launch template replaces no host by itself', () => {
    for (const [, group] of resources.of('AWS::AutoScaling::AutoScalingGroup'))
      expect((group as { UpdatePolicy?: unknown }).UpdatePolicy).toEqual({
        AutoScalingScheduledAction: { IgnoreUnmodifiedGroupSizeProperties: true },
      });
  });

  test('a member says that it is alive, and not whether it is ready, and has five minutes to begin', () => {
    for (const name of MEMBERS)
      expect(container(name).HealthCheck).toEqual({
        Command: ['CMD', 'python3', '-B', '/opt/cdk-postgres/entrypoint.py', 'health'],
        Interval: 10,
        Timeout: 5,
        Retries: 3,
        StartPeriod: 300,
      });
  });

  test('etcd has no health check, which would take its peers out of DNS when there is no quorum', () => {
    for (const name of ETCD) expect(container(name).HealthCheck).toBeUndefined();
  });

  test('a member has 300 seconds to stop, etcd 30, and the agent waits as long', () => {
    for (const name of MEMBERS) expect(container(name).StopTimeout).toBe(300);
    for (const name of ETCD) expect(container(name).StopTimeout).toBe(30);
    for (const [, { Properties }] of resources.of('AWS::EC2::LaunchTemplate'))
      expect(JSON.stringify(Properties.LaunchTemplateData.UserData)).toContain('ECS_CONTAINER_STOP_TIMEOUT=300s');
  });

  test('a member has a quarter of the memory as shared memory, an init, a tmpfs for secrets, and the watchdog', () => {
    for (const name of MEMBERS) {
      const { LinuxParameters } = container(name);
      expect(LinuxParameters.SharedMemorySize).toBe(4096);
      expect(LinuxParameters.InitProcessEnabled).toBe(true);
      expect(LinuxParameters.Tmpfs).toContainEqual({
        ContainerPath: '/run/cdk-postgres',
        Size: 64,
        MountOptions: ['nosuid', 'nodev'],
      });
      expect(LinuxParameters.Devices).toEqual([{ HostPath: '/dev/watchdog', Permissions: ['read', 'write'] }]);
    }
    for (const name of ETCD) expect(container(name).LinuxParameters.Devices).toBeUndefined();
  });

  test('limits are on files and core dumps, and on memory there is none that would end the whole server', () => {
    for (const name of [...MEMBERS, ...ETCD]) {
      expect(container(name).Ulimits).toEqual([
        { Name: 'nofile', SoftLimit: 65536, HardLimit: 65536 },
        { Name: 'core', SoftLimit: 0, HardLimit: 0 },
        { Name: 'memlock', SoftLimit: -1, HardLimit: -1 },
      ]);
      expect(container(name).Memory).toBeUndefined();
      expect(resources.taskOf(name).Memory).toBeUndefined();
    }
    expect(container('pg-1').MemoryReservation + container('etcd-1').MemoryReservation).toBeLessThan(16_384 * 0.8);
  });

  test('no root file system can be written to, nobody is root, and every privilege is dropped', () => {
    for (const [, { Properties }] of resources.of('AWS::ECS::TaskDefinition'))
      for (const one of Properties.ContainerDefinitions) {
        expect(one.ReadonlyRootFilesystem).toBe(true);
        expect(one.User).toMatch(/^1000[234]:1000[234]$/);
        expect(one.LinuxParameters.Capabilities.Drop).toEqual(['ALL']);
        expect(one.Privileged).toBeUndefined();
      }
  });

  test('the metadata of a host are one hop away, by version 2 alone, and tasks do not reach them', () => {
    for (const [, { Properties }] of resources.of('AWS::EC2::LaunchTemplate')) {
      const { MetadataOptions, UserData } = Properties.LaunchTemplateData;
      expect(MetadataOptions).toEqual({ HttpTokens: 'required', HttpPutResponseHopLimit: 1 });
      expect(JSON.stringify(UserData)).toContain('ECS_AWSVPC_BLOCK_IMDS=true');
    }
  });

  test('volumes are encrypted, stay when the stack goes, and carry the tag by which their host may attach them', () => {
    const volumes = resources.of('AWS::EC2::Volume');
    expect(volumes).toHaveLength(6);
    for (const [, { Properties, DeletionPolicy, UpdateReplacePolicy }] of volumes) {
      expect([DeletionPolicy, UpdateReplacePolicy]).toEqual(['Retain', 'Retain']);
      expect(Properties.Encrypted).toBe(true);
      expect(Properties.KmsKeyId).toBeDefined();
      expect(Properties.Tags).toContainEqual({
        Key: 'cdk-postgres:member',
        Value: expect.stringMatching(/^orders\/pg-[123]$/),
      });
    }
    expect(volumes.map(([, { Properties }]) => Properties.Size).sort()).toEqual([100, 100, 100, 4, 4, 4].sort());
  });

  test('a host attaches its own volumes', () => {
    for (const [id, { Properties }] of resources.of('AWS::EC2::LaunchTemplate')) {
      const host = /Host(\d)/.exec(id)![1];
      const text = JSON.stringify(Properties.LaunchTemplateData.UserData);
      const named = [...text.matchAll(/PostgresHost(\d)(Data|Etcd)Volume/g)].map((found) => found.slice(1).join(' '));
      expect(named.sort()).toEqual([`${host} Data`, `${host} Etcd`]);
    }
  });

  test('a task mounts the volume of its host where the image expects it', () => {
    expect(resources.taskOf('pg-1').Volumes).toEqual([
      { Name: 'data', Host: { SourcePath: '/mnt/cdk-postgres/member' } },
    ]);
    expect(container('pg-1').MountPoints).toEqual([
      { SourceVolume: 'data', ContainerPath: '/var/lib/pg', ReadOnly: false },
    ]);
    expect(container('etcd-1').MountPoints[0].ContainerPath).toBe('/var/lib/etcd');
  });

  test('no secret is in a task definition: what a task reads is named by its ARN', () => {
    for (const name of [...MEMBERS, ...ETCD]) {
      expect(container(name).Secrets).toBeUndefined();
      const secrets = container(name).Environment.find((one: any) => one.Name === 'CDK_POSTGRES_SECRETS');
      expect(JSON.stringify(secrets.Value)).toContain('certificate');
    }
    expect(JSON.stringify(resources.all)).not.toContain('resolve:secretsmanager');
  });

  test('certificates are for the name of their member and for that of the load balancer, which passes TLS on', () => {
    const certificates = resources.of('Custom::CdkPostgresPoolerCertificate').map(([, { Properties }]) => Properties);
    expect(certificates.map(({ Subject }) => Subject).sort()).toEqual([
      'backup',
      ...ETCD,
      'operator',
      ...MEMBERS,
      'router',
    ]);
    const balancer = resources.of('AWS::ElasticLoadBalancingV2::LoadBalancer')[0]![0];
    for (const { Subject, Hosts, Client, Authority } of certificates) {
      expect([Client, Authority]).toEqual([true, 'orders']);
      expect(Hosts[0]).toBe(`${Subject}.orders.internal`);
      if (MEMBERS.includes(Subject)) expect(Hosts[1]).toEqual({ 'Fn::GetAtt': [balancer, 'DNSName'] });
    }
  });

  test('one certificate is made before the others, since two at once would make two authorities', () => {
    const [[first], ...others] = resources.of('Custom::CdkPostgresPoolerCertificate');
    for (const [id] of others) expect(resources.waitsFor(id, first!)).toBe(true);
  });

  test('the load balancer leads to writers and readers, and asks a router whether it is well, not whether there is a leader', () => {
    expect(resources.of('AWS::ElasticLoadBalancingV2::Listener').map(([, { Properties }]) => Properties.Port)).toEqual([
      5432, 5433,
    ]);
    for (const [, { Properties }] of resources.of('AWS::ElasticLoadBalancingV2::TargetGroup'))
      expect(Properties).toMatchObject({
        Protocol: 'TCP',
        HealthCheckProtocol: 'HTTP',
        HealthCheckPath: '/health',
        HealthCheckPort: '8404',
      });
    // ECS would stop the members that a load balancer finds unhealthy.
    for (const name of MEMBERS) expect(resources.service(name)[1].Properties.LoadBalancers).toBeUndefined();
  });

  test('everything that was made before is there when the inside of the server is declared', () => {
    const { stack, server } = cluster();
    server.addDatabase('app');
    const more = new Resources(stack);
    const [[state]] = more.of('Custom::CdkPostgresState');
    for (const name of [...MEMBERS, 'router']) expect(more.waitsFor(state!, more.service(name)[0])).toBe(true);
    for (const [listener] of more.of('AWS::ElasticLoadBalancingV2::Listener'))
      expect(more.waitsFor(state!, listener)).toBe(true);
  });
});

describe('who may speak to whom', () => {
  const resources = () => new Resources(cluster().stack);
  /** `FROM -> TO PORT` of the rules between groups. */
  function ways(made: Resources): string[] {
    const name = (value: any): string => {
      const [id] = value['Fn::GetAtt'] as [string];
      return /Network(\w+?)SecurityGroup/.exec(id)?.[1] ?? (/OperationsFunction/.test(id) ? 'Function' : 'State');
    };
    return made
      .of('AWS::EC2::SecurityGroupIngress')
      .map(
        ([
          ,
          {
            Properties: { SourceSecurityGroupId: from, GroupId: to, FromPort: port },
          },
        ]) => `${name(from)} -> ${name(to)} ${port}`,
      )
      .sort();
  }

  test('rules go from group to group, and there are no others', () => {
    expect(ways(resources())).toEqual([
      'Backup -> Member 8432',
      'Etcd -> Etcd 2379',
      'Etcd -> Etcd 2380',
      'Front -> Router 5432',
      'Front -> Router 5433',
      'Front -> Router 8404',
      'Function -> Etcd 2379',
      'Function -> Member 8008',
      'Function -> Member 8009',
      'Member -> Etcd 2379',
      'Member -> Member 5432',
      'Member -> Member 8008',
      'Member -> Member 8432',
      'Router -> Member 5432',
      'Router -> Member 8008',
      'State -> Front 5432',
    ]);
  });

  test('each way has its two ends', () => {
    const made = resources();
    const out = made.of('AWS::EC2::SecurityGroupEgress').map(([, { Properties }]) => Properties.FromPort);
    const into = made.of('AWS::EC2::SecurityGroupIngress').map(([, { Properties }]) => Properties.FromPort);
    expect(out.sort()).toEqual(into.sort());
  });

  test('nothing comes in by an address', () => {
    for (const [, { Properties }] of resources().of('AWS::EC2::SecurityGroup'))
      expect((Properties.SecurityGroupIngress ?? []).filter((rule: any) => rule.CidrIp !== undefined)).toEqual([]);
  });

  test('a host listens to nobody', () => {
    const made = resources();
    const [[, host]] = made.of('AWS::EC2::SecurityGroup').filter(([id]) => id.includes('NetworkHostSecurityGroup'));
    expect(host!.Properties.SecurityGroupIngress).toBeUndefined();
    expect(ways(made).filter((way) => way.includes('-> Host'))).toEqual([]);
  });
});

describe('one member of a development, on Fargate', () => {
  test('has no host, no volume, and storage that goes with its task', () => {
    const resources = new Resources(ephemeral().stack);
    for (const type of ['AWS::EC2::Volume', 'AWS::AutoScaling::AutoScalingGroup', 'AWS::ECS::CapacityProvider'])
      expect(resources.of(type)).toEqual([]);
    const { Properties } = resources.service('pg-1')[1];
    expect(Properties.LaunchType).toBe('FARGATE');
    const task = resources.taskOf('pg-1');
    expect(task.EphemeralStorage).toEqual({ SizeInGiB: 40 });
    const [container] = task.ContainerDefinitions;
    expect(container.StopTimeout).toBe(120);
    expect(container.LinuxParameters.Devices).toBeUndefined();
    expect(container.LinuxParameters.Tmpfs).toBeUndefined();
    expect(container.LinuxParameters.SharedMemorySize).toBeUndefined();
    expect(container.Ulimits).toEqual([{ Name: 'nofile', SoftLimit: 65536, HardLimit: 65536 }]);
    expect(container.MountPoints.map((mount: any) => mount.ContainerPath)).toEqual([
      '/run/cdk-postgres',
      '/tmp',
      '/var/lib/pg',
      '/var/lib/amazon',
      '/var/log/amazon',
    ]);
  });

  test('has no endpoint for reads', () => {
    expect(ephemeral().server.readerEndpoint).toBeUndefined();
    expect(cluster().server.readerEndpoint?.port).toBe(5433);
  });
});
