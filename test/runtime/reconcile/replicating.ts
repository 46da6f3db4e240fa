import { ConnectionSource, PublisherConnection, Report } from '../../../lib/runtime/reconcile';
import { DesiredPublication, DesiredSlot, DesiredSubscription, DesiredState } from '../../../lib/contract';
import { TestServer } from '../../support/postgres';
import { declaration, login } from './declaration';
import { apply, appWith, asOwner, asSuperuser } from './runs';

/** The tables that the tests publish, owned by app_owner. */
export const TABLES = [
  'CREATE TABLE billing.invoice (id int PRIMARY KEY, customer text NOT NULL, amount int)',
  'CREATE TABLE billing.line (invoice int, position int, PRIMARY KEY (invoice, position))',
  'CREATE TABLE billing.event (at timestamptz, what text)',
];

export function publication(changes: Partial<DesiredPublication> = {}): DesiredPublication {
  return {
    name: 'cdc',
    owner: 'app_owner',
    operations: ['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'],
    viaRoot: false,
    generatedColumns: false,
    tables: [{ schema: 'billing', name: 'invoice' }],
    schemas: [],
    allTables: false,
    ...changes,
  };
}

export const publishing = (changes: Partial<DesiredPublication> = {}, rest: Partial<DesiredState> = {}) =>
  appWith({ publications: [publication(changes)] }, rest);

export function slot(changes: Partial<DesiredSlot> = {}): DesiredSlot {
  return { name: 'debezium', plugin: 'pgoutput', consumer: 'api', failover: false, twoPhase: false, ...changes };
}

export function subscription(changes: Partial<DesiredSubscription> = {}): DesiredSubscription {
  return {
    name: 'orders',
    owner: 'applier',
    secret: 'app.orders',
    publications: ['cdc'],
    enabled: true,
    options: {},
    ...changes,
  };
}

/** The declared application with the tables in it. */
export async function withTables(server: TestServer): Promise<void> {
  await apply(server, appWith({}));
  await asOwner(server, ...TABLES);
}

/** Where RDS would have rds_replication, a stock server has an attribute. */
export const mayReplicate = (server: TestServer) => asSuperuser(server, 'ALTER ROLE master REPLICATION');

export const of =
  (connection: PublisherConnection): ConnectionSource =>
  async () =>
    connection;

export const withheldOf = (report: Report) =>
  report.plan.withheld.map(({ object, withheld }) => `${object}: ${withheld}`);

/** Waits for what the worker of a subscription does in its own time. */
export async function eventually<T>(read: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries++) {
    const value = await read();
    if (holds(value) || tries === 200) return value;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Who owns a subscription: a role that no person and no application logs in as. */
export const subscribing = (...subscriptions: DesiredSubscription[]) =>
  appWith(
    { subscriptions },
    {
      roles: [...declaration().roles, login('applier')],
      memberships: [
        ...declaration().memberships,
        { role: 'app_owner', member: 'applier', inherit: true, set: true, admin: false },
      ],
    },
  );
