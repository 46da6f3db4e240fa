import { DesiredState } from '../../contract';
import { declarationHash, Ledger } from './ledger';
import { Observed } from './observed';
import { guardIam } from './guard-iam';
import { PlanBuilder } from './plan-builder';
import { planComments } from './plan-comments';
import { planDrops } from './plan-drops';
import { planExtensions } from './plan-extensions';
import { planInside } from './plan-inside';
import {
  guardCycles,
  planDatabases,
  planMemberships,
  planOwners,
  planRemovedRoles,
  planRoles,
  planSettings,
} from './plan-server';
import { Previous } from './previous';
import { Plan } from './types';

export interface PlanOptions {
  readonly acknowledged?: readonly string[];
  /** The server is a copy of another: its passwords are those of the moment it was taken. */
  readonly rehomed?: boolean;
  /** Nothing is taken away. */
  readonly rollback?: boolean;
  /** Only what gives is run. */
  readonly onlyAdd?: boolean;
  /** It will not be run by the connected role, which may have no power at all. */
  readonly toBeRead?: boolean;
}
/** The ledger is in one database alone: who connects to another would make a second one, and each would know half of the truth. */
function ledgerElsewhere(desired: DesiredState, ledger: Ledger, database: string): string | undefined {
  if (ledger.exists || database === ADMIN_DATABASE) return undefined;
  const name = JSON.stringify(database);
  if (desired.databases.some((declared) => declared.name === database)) {
    return `there is no ledger in the database ${name}, which this state declares: the ledger is in the admin database, and what it knows is not seen from here; connect to ${ADMIN_DATABASE}, or to the one that you keep the ledger in`;
  }
  return `there is no ledger in the database ${name}: if the one of this server is in another, such as ${ADMIN_DATABASE}, connect there; an apply from here makes one in ${name}`;
}

/** Where the ledger is unless the connection says otherwise. */
const ADMIN_DATABASE = 'postgres';

/**
 * From what is declared, what was declared before (the ledger) and what is there, the steps in between. Pure: the same three give the
 * same steps in the same order. Throws a RefusedError with every reason why no safe plan exists.
 */
export function makePlan(
  desired: DesiredState,
  ledger: Ledger,
  observed: Observed,
  adminDatabase: string,
  options: PlanOptions = {},
): Plan {
  const acknowledged = new Set([...desired.acknowledgedPlans, ...(options.acknowledged ?? [])]);
  const builder = new PlanBuilder(
    desired,
    observed,
    ledger,
    adminDatabase,
    acknowledged,
    options.rehomed ?? false,
    options.rollback ?? false,
    options.toBeRead ?? false,
    options.onlyAdd ?? false,
  );
  const previous = new Previous(ledger.previous);
  if (ledger.unreadable)
    builder.notes.push(`everything is treated as not made by this state, since ${ledger.unreadable}`);
  const misplaced = ledgerElsewhere(desired, ledger, adminDatabase);
  if (misplaced && options.toBeRead) builder.notes.push(misplaced);
  else if (misplaced && desired.databases.some(({ name }) => name === adminDatabase)) builder.refuse(misplaced);
  else if (ledger.unwritable && !options.toBeRead) builder.refuse(ledger.unwritable);
  planRoles(builder, previous);
  planOwners(builder);
  guardCycles(builder);
  planMemberships(builder, previous);
  guardIam(builder, previous);
  planDatabases(builder);
  planSettings(builder, previous);
  for (const database of desired.databases) {
    planInside(builder, previous, database);
    planExtensions(builder, previous, database);
  }
  planComments(builder, previous);
  planRemovedRoles(builder, declarationHash(desired));
  planDrops(builder);
  return builder.build();
}
