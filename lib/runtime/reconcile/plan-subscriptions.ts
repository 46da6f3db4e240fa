import { DesiredDatabase, DesiredSubscription, SUBSCRIPTION_OPTIONS, SubscriptionOption } from '../../contract';
import { lendCreate } from './lend-create';
import { Draft, PlanBuilder } from './plan-builder';
import { connectStatements, NOWHERE } from './publisher';
import { connectionKey, ObservedSubscription, Replication, ReplicationFacts } from './replication';
import { ident, literal } from './sql';
import { Statement } from './types';

/** First majors of options, and what only the server's superuser may change. */
const OPTION_SINCE: Partial<Record<SubscriptionOption, number>> = { failover: 17 };

/** These PostgreSQL changes only while no worker of the subscription runs. */
const NEEDS_DISABLED: readonly SubscriptionOption[] = ['two_phase', 'failover'];

/**
 * A subscription is made with a connection to nowhere, gets its own in the same transaction without a trace in the server's log, and
 * is started by a step of its own, which PostgreSQL allows in no transaction. It reads from a slot that is there, since only a
 * CREATE SUBSCRIPTION with the password in its text would make one.
 */
export function planSubscription(
  builder: PlanBuilder,
  database: DesiredDatabase,
  facts: ReplicationFacts,
  replication: Replication,
  desired: DesiredSubscription,
  before: DesiredSubscription | undefined,
): void {
  const { observed, power } = builder;
  const major = Math.floor(observed.versionNumber / 10_000);
  const refuse = (problem: string) =>
    builder.refuse(
      `the subscription ${JSON.stringify(desired.name)} of the database ${JSON.stringify(database.name)} ${problem}`,
    );
  if (observed.flavour === 'rds' && facts.walLevel !== 'logical')
    return refuse(
      `needs rds.logical_replication = 1 in the parameter group, and wal_level is ${facts.walLevel}: set it, and restart the server`,
    );
  if (facts.applyWorkers === 0)
    return refuse('needs workers, and max_logical_replication_workers is 0: raise it, and restart the server');
  for (const option of SUBSCRIPTION_OPTIONS) {
    const since = OPTION_SINCE[option];
    if (desired.options[option] !== undefined && since !== undefined && major < since)
      return refuse(
        `has the option ${option}, which exists from PostgreSQL ${since} on; this server is ${observed.version}`,
      );
  }
  if (desired.options.password_required === 'false' && !power.superuser)
    return refuse(`has password_required = false, which is for superusers alone; ${power.user} is none`);
  const there = replication.subscriptions.get(desired.name);
  if (!there && !power.inherits('pg_create_subscription'))
    return refuse(
      `cannot be made by ${power.user}, which does not have the privileges of pg_create_subscription: GRANT pg_create_subscription TO ${ident(power.user)}`,
    );
  const { owner } = desired;
  const role = builder.desired.roles.find(({ name }) => name === owner) ?? observed.roles.get(owner);
  if (!role?.login)
    return refuse(
      `belongs to ${JSON.stringify(owner)}, which ${role ? 'may not log in, as its worker has to' : 'is neither declared nor there'}: name a login role that is a member of the owners of the tables, with INHERIT and SET`,
    );
  new SubscriptionPlanner(builder, database, desired, before, there).plan();
}

class SubscriptionPlanner {
  private readonly common: Pick<Draft, 'database' | 'object' | 'subjects'>;

  constructor(
    private readonly builder: PlanBuilder,
    private readonly database: DesiredDatabase,
    private readonly desired: DesiredSubscription,
    private readonly before: DesiredSubscription | undefined,
    private readonly there: ObservedSubscription | undefined,
  ) {
    this.common = {
      database: database.name,
      object: `subscription ${desired.name}`,
      subjects: [{ kind: 'subscription', name: desired.name, database: database.name }],
    };
  }

  plan(): void {
    const { there } = this;
    if (!there) {
      this.create();
      if (this.desired.enabled) this.start('declared, and new');
      return;
    }
    if (there.owner !== this.desired.owner) {
      this.builder.add({
        ...this.common,
        phase: 'subscriptions',
        risk: 'disruptive',
        reason: `it belongs to ${there.owner}, as which its worker applies changes`,
        statements: [{ sql: `ALTER SUBSCRIPTION ${this.name} OWNER TO ${ident(this.desired.owner)}` }],
        impossible:
          'who applies the changes of a subscription is not changed unseen: run the statement as an administrator',
      });
    }
    this.planConnection();
    this.planOptions(there);
    this.planSlot(there);
    this.planPublications(there);
    this.planEnabled(there);
  }

  private get name(): string {
    return ident(this.desired.name);
  }

  private get slot(): string {
    return this.desired.slot ?? this.desired.name;
  }

  private get publications(): string {
    return [...this.desired.publications].sort().map(ident).join(', ');
  }

  /** As whoever owns it, which is not always whom the declaration names. */
  private as(statements: readonly Statement[]): Statement[] | undefined {
    return this.builder.power.actAs(this.there?.owner ?? this.desired.owner, statements);
  }

  private create(): void {
    const { power, observed } = this.builder;
    const { desired } = this;
    const options = SUBSCRIPTION_OPTIONS.flatMap((option) => {
      const value = desired.options[option];
      return value === undefined || option === 'copy_data' ? [] : [`${option} = ${literal(value)}`];
    });
    const withOptions = ['connect = false', `slot_name = ${literal(this.slot)}`, ...options].join(', ');
    const { before, connect } = connectStatements(desired.name, desired.secret);
    const statements: Statement[] = [
      {
        sql: `CREATE SUBSCRIPTION ${this.name} CONNECTION ${NOWHERE} PUBLICATION ${this.publications} WITH (${withOptions})`,
      },
      ...before,
      connect,
    ];
    const give =
      desired.owner === power.user
        ? statements
        : lendCreate(power, observed, this.database, [desired.owner], this.withSet(desired.owner, statements));
    this.builder.add({
      ...this.common,
      phase: 'subscriptions',
      risk: 'add',
      reason: `declared, and not there; it reads from the slot ${this.slot}, which the publisher must have`,
      statements: lendCreate(power, observed, this.database, [power.user], give),
      alone: true,
    });
  }

  /** To give an object away, the connected role must be able to act as who gets it. */
  private withSet(owner: string, statements: readonly Statement[]): Statement[] | undefined {
    const sql = `ALTER SUBSCRIPTION ${this.name} OWNER TO ${ident(owner)}`;
    const acting = this.builder.power.actAs(owner, [{ sql }]);
    return (
      acting && [
        ...acting.filter((s) => s.as === undefined && s.sql.startsWith('GRANT')),
        ...statements,
        { sql },
        ...acting.filter((s) => s.as === undefined && s.sql.startsWith('REVOKE')),
      ]
    );
  }

  /** Outside a transaction: it asks the publisher for its tables, and begins to copy them. */
  private start(reason: string): void {
    const copy = this.desired.options.copy_data ?? 'true';
    this.builder.add({
      ...this.common,
      phase: 'subscriptionStarts',
      risk: 'add',
      reason: `${reason}: it begins to copy and to follow`,
      statements: this.as([
        { sql: `ALTER SUBSCRIPTION ${this.name} ENABLE` },
        { sql: `ALTER SUBSCRIPTION ${this.name} REFRESH PUBLICATION WITH (copy_data = ${literal(copy)})` },
      ]),
      transactional: false,
    });
  }

  private planConnection(): void {
    const { observed } = this.builder;
    const key = connectionKey(this.database.name, this.desired.name);
    const version = observed.connectionVersions.get(key);
    if (version === undefined) {
      this.builder.notes.push(
        `whether the subscription ${this.desired.name} connects by what is in its secret now is not known`,
      );
      return;
    }
    const known = observed.connectedVersions.get(key);
    if (known === version) return;
    const { before, connect } = connectStatements(this.desired.name, this.desired.secret);
    const acting = this.as([connect]);
    this.builder.add({
      ...this.common,
      object: `connection of subscription ${this.desired.name}`,
      phase: 'subscriptions',
      // One of ours connects by its secret by declaration; one that was there before may connect to somewhere else.
      risk: this.builder.standing(this.common.subjects![0]) === 'adopted' ? 'disruptive' : 'add',
      reason: known === undefined ? 'what it connects by was not set by this library' : 'its secret has a new version',
      statements: acting && [...before, ...acting],
      alone: true,
    });
  }

  private planOptions(there: ObservedSubscription): void {
    const differing = SUBSCRIPTION_OPTIONS.filter(
      (option) =>
        option !== 'copy_data' &&
        this.desired.options[option] !== undefined &&
        this.desired.options[option] !== there.options[option],
    );
    const major = Math.floor(this.builder.observed.versionNumber / 10_000);
    const add = (options: readonly SubscriptionOption[], impossible?: string) => {
      if (options.length === 0) return;
      const words = options.map((option) => `${option} = ${literal(this.desired.options[option]!)}`);
      this.builder.add({
        ...this.common,
        phase: 'subscriptions',
        risk: 'disruptive',
        reason: `${options.map((option) => `${option} is ${there.options[option]}`).join(', ')}; its worker starts anew`,
        statements: this.as([{ sql: `ALTER SUBSCRIPTION ${this.name} SET (${words.join(', ')})` }]),
        declaredBefore: options.every(
          (option) => this.before !== undefined && this.before.options[option] !== this.desired.options[option],
        ),
        alone: true,
        impossible,
      });
    };
    add(differing.filter((option) => !NEEDS_DISABLED.includes(option)));
    for (const option of differing.filter((each) => NEEDS_DISABLED.includes(each))) {
      const since = option === 'two_phase' ? 18 : 17;
      add(
        [option],
        major < since
          ? `PostgreSQL changes ${option} of a subscription from version ${since} on: make a new one`
          : there.enabled || there.hasWorker
            ? `PostgreSQL changes ${option} only while no worker of the subscription runs: disable it (enabled: false), deploy, and enable it again`
            : undefined,
      );
    }
  }

  private planSlot(there: ObservedSubscription): void {
    if (there.slot === this.slot) return;
    this.builder.add({
      ...this.common,
      phase: 'subscriptions',
      risk: 'disruptive',
      reason: `it reads from the slot ${there.slot ?? 'of nobody'}`,
      statements: this.as([{ sql: `ALTER SUBSCRIPTION ${this.name} SET (slot_name = ${literal(this.slot)})` }]),
      alone: true,
      impossible:
        'another slot stands at another place, and rows would be lost or come twice: make a new subscription, or run the statement once both slots agree',
    });
  }

  private planPublications(there: ObservedSubscription): void {
    const { desired } = this;
    const missing = desired.publications.filter((name) => !there.publications.includes(name));
    const extra = there.publications.filter((name) => !desired.publications.includes(name));
    if (missing.length + extra.length === 0) return;
    const options = there.enabled ? `copy_data = ${literal(desired.options.copy_data ?? 'true')}` : 'refresh = false';
    this.builder.add({
      ...this.common,
      phase: 'subscriptionStarts',
      risk: extra.length > 0 ? 'narrow' : 'widen',
      reason: `it subscribes to ${there.publications.join(', ')}`,
      statements: this.as([
        { sql: `ALTER SUBSCRIPTION ${this.name} SET PUBLICATION ${this.publications} WITH (${options})` },
      ]),
      declaredBefore: extra.every((name) => this.before?.publications.includes(name)),
      transactional: false,
    });
  }

  private planEnabled(there: ObservedSubscription): void {
    const isNew = this.builder.standing(this.common.subjects![0]) === 'new';
    if (this.desired.enabled) {
      if (!there.enabled) this.start('it is disabled');
      else if (isNew && there.tables === 0) this.start('it was not started to its end');
      else if (!there.hasWorker)
        this.builder.notes.push(
          `the subscription ${this.desired.name} has no worker now: the server's log says why, such as a slot ${this.slot} that the publisher does not have, or rows in conflict`,
        );
      return;
    }
    if (!there.enabled) return;
    this.builder.add({
      ...this.common,
      phase: 'subscriptionStarts',
      risk: 'disruptive',
      reason: 'it is enabled; its slot at the publisher keeps WAL meanwhile',
      statements: this.as([{ sql: `ALTER SUBSCRIPTION ${this.name} DISABLE` }]),
      declaredBefore: this.before?.enabled,
      alone: true,
    });
  }
}
