import { Mixin } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { addFinding } from '../../compliance';
import { FIXED_TEXTS, FixedId, HARDENING_TEXTS, HardeningId } from '../../contract/hardening';
import { HardenedServer } from './hardened-server';
import { HardeningItem } from './hardening-item';
import { Measure } from './measure';
import { OWN_GROUP, isParameterItem, parameterMeasure } from './parameter-measures';
import { otherHolders, parameterHome } from './parameter-home';
import { BACKUP_RETENTION, DELETION_PROTECTION, IAM_LOGIN, LOG_EXPORT, NOT_PUBLIC } from './property-measures';

/** An item that shall be in place from now on, and why it may be. */
export interface EnforcedHardening {
  /** The item. */
  readonly item: HardeningItem;

  /** Why nobody that must not be is broken by it, such as what `cdk-postgres hardening` has shown. Kept in the metadata of the server. */
  readonly reason: string;
}

/** Options of `PostgresHardening`. */
export interface PostgresHardeningOptions {
  /**
   * What shall be in place. Everything else is reported, and left alone.
   *
   * @default - nothing: the template stays as it is, and warnings say what is missing
   */
  readonly enforce?: EnforcedHardening[];
}

/**
 * A mixin that hardens a PostgreSQL server of `aws-cdk-lib/aws-rds` in stages: `cluster.with(new PostgresHardening())` reports what is
 * missing and whom each item would break, and changes nothing; then item by item is enforced, each with a reason.
 *
 * It applies at once, to what there is by then: what is changed later wins, and is reported. Parameters are set in the
 * `ParameterGroup` that the server refers to, beside those that are there. Encryption, user name, port and subnets are never
 * touched, since they would replace the server; those that are amiss are reported.
 */
export class PostgresHardening extends Mixin {
  private readonly enforced: Map<HardeningId, string>;

  /**
   * Makes the mixin. It may be applied to any number of servers.
   *
   * @param options what is enforced
   */
  constructor(options: PostgresHardeningOptions = {}) {
    super();
    this.enforced = new Map();
    for (const { item, reason } of options.enforce ?? []) {
      if (!(item instanceof HardeningItem))
        throw new Error(`PostgresHardening: enforce names ${String(item)}, which is no HardeningItem`);
      if (typeof reason !== 'string' || reason.trim() === '')
        throw new Error(
          `PostgresHardening: ${item.name} is enforced without a reason; say why nobody is broken who must not be`,
        );
      if (this.enforced.has(item._id)) throw new Error(`PostgresHardening: ${item.name} is enforced twice; keep one`);
      this.enforced.set(item._id, reason);
    }
  }

  /**
   * Whether the construct is the resource of a PostgreSQL server: an instance, or a cluster with its nodes.
   *
   * @param construct the construct
   */
  public supports(construct: IConstruct): boolean {
    return HardenedServer.of(construct) !== undefined;
  }

  /**
   * Hardens one server.
   *
   * @param construct the resource of the server
   */
  public applyTo(construct: IConstruct): void {
    const server = HardenedServer.of(construct);
    if (!server) return;
    const known = REPORTED.get(construct);
    const enforced = known ?? new Map<HardeningId, string>();
    if (!known) {
      REPORTED.set(construct, enforced);
      report(server, enforced);
    }
    for (const [id, reason] of this.enforced) if (!enforced.has(id)) enforced.set(id, reason);
    // Those of earlier mixins as well: this one may have made what was in their way, such as a group of its own.
    for (const id of Object.keys(HARDENING_TEXTS) as HardeningId[]) {
      const reason = enforced.get(id);
      if (reason === undefined) continue;
      const measure = measureOf(id);
      if (measure.missing(server) === undefined || measure.obstacle(server) !== undefined) continue;
      measure.enforce(server);
      server.owner.node.addMetadata('cdk-postgres:hardened', { item: id, reason });
    }
  }
}

/** By server, what is enforced on it by all mixins together, with its reason. */
const REPORTED = new WeakMap<IConstruct, Map<HardeningId, string>>();

function measureOf(id: HardeningId): Measure {
  if (isParameterItem(id)) return parameterMeasure(id);
  switch (id) {
    case 'own-parameter-group':
      return OWN_GROUP;
    case 'log-export':
      return LOG_EXPORT;
    case 'deletion-protection':
      return DELETION_PROTECTION;
    case 'backup-retention':
      return BACKUP_RETENTION;
    case 'iam-login':
      return IAM_LOGIN;
    case 'not-public':
      return NOT_PUBLIC;
  }
}

/** One finding an item, so that each is acknowledged with a reason of its own. Judged when the app is complete: the last word counts. */
function report(server: HardenedServer, enforced: ReadonlyMap<HardeningId, string>): void {
  for (const id of Object.keys(HARDENING_TEXTS) as HardeningId[]) {
    const { requirement, breaks, takesEffect } = HARDENING_TEXTS[id];
    const measure = measureOf(id);
    const constant = `HardeningItem.${id.toUpperCase().replaceAll('-', '_')}`;
    addFinding(server.owner, {
      id: `hardening.${id}`,
      severity: 'warning',
      check: () => {
        const missing = enforced.has(id) ? undefined : measure.missing(server);
        if (missing === undefined) return undefined;
        const obstacle = measure.obstacle(server);
        const shared = sharedWith(server, id);
        return (
          `${server.path}: ${requirement}: ${missing}. Enforced, it takes effect ${takesEffect}. ${breaks}` +
          (obstacle === undefined ? '' : ` It cannot be enforced as it stands: ${obstacle}.`) +
          (shared === undefined ? '' : ` ${shared}`)
        );
      },
      fix: `See whom it breaks with cdk-postgres hardening --url …, then enforce { item: ${constant}, reason }, or acknowledge cdk-postgres::hardening.${id}.`,
    });
    addFinding(server.owner, {
      id: `hardening.${id}`,
      check: () => {
        const missing = enforced.has(id) ? measure.missing(server) : undefined;
        if (missing === undefined) return undefined;
        const obstacle = measure.obstacle(server) ?? 'something that came after the mixin took it back';
        return `${server.path}: ${requirement}: ${id} is enforced, and is not in place: ${missing}; ${obstacle}`;
      },
      fix: `Do what it says, or take ${constant} out of enforce.`,
    });
  }
  for (const id of Object.keys(FIXED_TEXTS) as FixedId[]) {
    const { requirement, instead } = FIXED_TEXTS[id];
    addFinding(server.owner, {
      id: `hardening.${id}`,
      severity: 'warning',
      check: () => {
        const amiss = FIXED[id](server);
        return amiss && `${server.path}: ${requirement}: ${amiss}. No mixin changes that on a server that has data.`;
      },
      fix: instead,
    });
  }
}

/** A group that others use too hardens them as well, which their owners may not expect. */
function sharedWith(server: HardenedServer, id: HardeningId): string | undefined {
  if (!isParameterItem(id)) return undefined;
  const holders = [...new Set([server.resource, ...server.instances])];
  const others = holders.flatMap((holder) => {
    const home = parameterHome(holder);
    return home.kind === 'own' ? otherHolders(home.group, holders) : [];
  });
  if (others.length === 0) return undefined;
  return `Its parameter group is that of ${[...new Set(others.map(({ node }) => node.path))].join(', ')} as well, which get it too.`;
}

/** What is decided when a server is made. The user name is, too, but no requirement asks for another one. */
const FIXED: Readonly<Record<FixedId, (server: HardenedServer) => string | undefined>> = {
  encryption: (server) =>
    isOwnDecision(server) && server.read('storageEncrypted') !== true && !server.isUnknown('storageEncrypted')
      ? 'the storage is not encrypted'
      : undefined,
  'customer-key': (server) =>
    isOwnDecision(server) && server.read('storageEncrypted') === true && server.resource.kmsKeyId === undefined
      ? 'the storage is encrypted with the key that AWS keeps, so that no copy can be shared with another account'
      : undefined,
  port: (server) => {
    if (server.isUnknown('port')) return undefined;
    const port = Number(server.read('port') ?? 5432);
    return port === 5432 ? 'the port is 5432, which everybody tries first' : undefined;
  },
  subnets: ({ publicSubnets }) =>
    publicSubnets.length > 0 ? `it stands in public subnets (${publicSubnets.join(', ')})` : undefined,
};

/** A copy takes over how its source is encrypted. */
function isOwnDecision(server: HardenedServer): boolean {
  return !server.isReplica && !server.isRestored;
}
