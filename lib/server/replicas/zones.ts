import { Token, aws_ec2 as ec2 } from 'aws-cdk-lib';

/** The zones that nodes are put into by name. Undefined: RDS chooses. */
export function checkZones(
  path: string,
  vpc: ec2.IVpc,
  vpcSubnets: ec2.SubnetSelection,
  zones: string[] | undefined,
): string[] | undefined {
  if (zones === undefined) return undefined;
  if (new Set(zones).size < 2 || new Set(zones).size < zones.length) {
    throw new Error(
      `${path}: availabilityZones is [${zones.join(', ')}]; write two or more different zones, or leave it out`,
    );
  }
  const selected = vpc.selectSubnets(vpcSubnets);
  const known = selected.availabilityZones;
  if (
    selected.isPendingLookup ||
    Token.isUnresolved(known) ||
    [...known, ...zones].some((zone) => Token.isUnresolved(zone))
  )
    return zones;
  const foreign = zones.filter((zone) => !known.includes(zone));
  if (foreign.length > 0) {
    throw new Error(
      `${path}: availabilityZones names ${foreign.join(', ')}, where no subnet of the server is; its subnets are in ${[...new Set(known)].join(', ')}`,
    );
  }
  return zones;
}
