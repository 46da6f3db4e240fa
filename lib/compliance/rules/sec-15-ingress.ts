import { ResourceFacts, isMap } from '../template/resource-facts';
import { TemplateFacts } from '../template/template-facts';
import { readValue } from '../template/value';
import { Rule, RuleViolation } from './rule';

/** Nobody's own network is larger: two halves of the world are the world. */
const LARGEST_OWN_PREFIX = { v4: 8, v6: 16 };

export const SEC_15_INGRESS: Rule = {
  id: 'SEC-15.ingress',
  level: 'error',
  acrossStacks: true,
  asks: 'the security groups of a server let in named peers, not everybody',
  fix: 'Let in the security group of each consumer (connections.allowDefaultPortFrom(consumer)).',
  check: (template) => {
    // Of the whole app: a group, or a rule of it, often stands in the stack of the network or of a consumer.
    const groups = new Set(template.allServers.flatMap((one) => groupsOf(one.template, one.server.resource)));
    const own = template.resources.filter((resource) => groups.has(resource));
    return [...own.flatMap(inline), ...separate(template, groups)];
  },
};

/** The security groups of the app that stand before a server. */
function groupsOf(template: TemplateFacts, server: ResourceFacts): ResourceFacts[] {
  const listed = server.list('VpcSecurityGroupIds') ?? server.list('VPCSecurityGroups') ?? [];
  return listed.flatMap((item) => template.meant(item) ?? []);
}

function inline(group: ResourceFacts): RuleViolation[] {
  return (group.list('SecurityGroupIngress') ?? []).flatMap((rule) =>
    isMap(rule) ? world(group, rule, 'SecurityGroupIngress') : [],
  );
}

function separate(template: TemplateFacts, groups: ReadonlySet<ResourceFacts>): RuleViolation[] {
  return template
    .ofType('AWS::EC2::SecurityGroupIngress')
    .filter((rule) => {
      const group = template.meant(rule.rawOf('GroupId'));
      return group !== undefined && groups.has(group);
    })
    .flatMap((rule) => world(rule, { CidrIp: rule.rawOf('CidrIp'), CidrIpv6: rule.rawOf('CidrIpv6') }, 'CidrIp'));
}

function world(resource: ResourceFacts, rule: Readonly<Record<string, unknown>>, property: string): RuleViolation[] {
  const peer = [rule.CidrIp, rule.CidrIpv6].map((cidr) => String(readValue(cidr))).find(isWorld);
  return peer === undefined
    ? []
    : [{ resource, property, reason: `it lets in everybody (${peer}) at a PostgreSQL server` }];
}

function isWorld(cidr: string): boolean {
  const prefix = /^[0-9a-f.:]+\/(\d{1,3})$/i.exec(cidr)?.[1];
  return prefix !== undefined && Number(prefix) < LARGEST_OWN_PREFIX[cidr.includes(':') ? 'v6' : 'v4'];
}
