import { Duration, Names, Token, aws_ec2 as ec2 } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { RecoveryObjectives } from '../objectives';
import { PostgresVersion } from '../postgres-version';
import { requireDuration } from '../required';

export function requireMembers(path: string, members: number): 1 | 3 {
  if (members === 1 || members === 3) return members;
  throw new Error(
    members === 2
      ? `${path}: members is 2; of two neither may go on alone when it does not see the other, so that either one's loss stops both. Write 3, or 1`
      : `${path}: members is ${Token.isUnresolved(members) ? 'a token' : String(members)}; write 3, or 1`,
  );
}

export function requireMajor(path: string, version: PostgresVersion): PostgresVersion {
  if (!version.isMinorPinned) return version;
  throw new Error(
    `${path}: version is ${version}, and the minor version is that of the image; write PostgresVersion.V${version.majorVersion}, or images.postgres with an image of your own`,
  );
}

/** One subnet of each zone, for as many members as there are. */
export function zonesOf(path: string, vpc: ec2.IVpc, selection: ec2.SubnetSelection, members: number): ec2.ISubnet[] {
  const selected = vpc.selectSubnets(selection);
  const byZone = new Map<string, ec2.ISubnet>();
  for (const subnet of selected.subnets)
    if (!byZone.has(subnet.availabilityZone)) byZone.set(subnet.availabilityZone, subnet);
  const zones = [...byZone.values()];
  if (zones.length < members) {
    // CDK synthesises once more when the lookup is done.
    if (selected.isPendingLookup && zones.length > 0) return Array.from({ length: members }, () => zones[0]!);
    throw new Error(
      `${path}: its subnets are in ${zones.length} zone${zones.length === 1 ? '' : 's'} (${[...byZone.keys()].map(shownZone).join(', ')}), and ${members} members need ${members}; ` +
        'select subnets of more zones, and give the stack an env with account and region, without which CDK knows two zones alone',
    );
  }
  return zones.slice(0, members);
}

function shownZone(zone: string): string {
  return Token.isUnresolved(zone) ? 'a token' : zone;
}

export function retentionDays(
  path: string,
  given: Duration | undefined,
  { history }: RecoveryObjectives,
  usual: number,
): number {
  if (given !== undefined) requireDuration(path, 'pointInTimeRecovery', given, 'Duration.days(14)');
  const chosen = given ?? Duration.days(Math.max(usual, history?.toDays({ integral: false }) ?? 0));
  const days = chosen.isUnresolved() ? NaN : chosen.toDays({ integral: false });
  if (!Number.isInteger(days) || days < 1)
    throw new Error(
      `${path}: ${given ? 'pointInTimeRecovery' : 'objectives.history'} is ${Number.isNaN(days) ? 'a token' : `${days} days`}; write a whole number of days, 1 or more`,
    );
  if (history && days < history.toDays({ integral: false }))
    throw new Error(
      `${path}: pointInTimeRecovery is ${days} days, and objectives.history ${history.toHumanString()}; leave pointInTimeRecovery out, or make it as long`,
    );
  return days;
}

export function clusterNameOf(scope: Construct, given: string | undefined): string {
  if (given === undefined) {
    const name = Names.uniqueResourceName(scope, { maxLength: 39, separator: '-' });
    const tidy = name.toLowerCase().replace(/-+/g, '-').replace(/^-|-$/g, '');
    return /^[a-z]/.test(tidy) ? tidy : `p-${tidy}`;
  }
  if (Token.isUnresolved(given) || !/^[a-z](-?[a-z0-9])*$/.test(given) || given.length > 41)
    throw new Error(
      `${scope.node.path}: clusterName is ${Token.isUnresolved(given) ? 'a token' : `'${given}'`}; write at most 41 lower-case letters, digits and single hyphens, a letter first`,
    );
  return given;
}
