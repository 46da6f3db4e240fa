import { DesiredState } from '../../contract';
import { declarationHash, FREED, Ledger, ledgerKey, LedgerObject } from './ledger';
import { ManagedKind } from './types';
import { dropKey } from './observe-drops';
import { exists, Observed } from './observed';
import { isEnforced, isPartlyEnforced } from './plan-isolations';
import { replicated } from './replication';

/** What the ledger should say once a run begins, and once it has come to its end. */
export interface ClaimChanges {
  readonly record: LedgerObject[];
  readonly forget: LedgerObject[];
}

/**
 * When a run begins: each declared object that the ledger does not know is noted as created (it is not there yet) or adopted,
 * before anything is made, so that a run that dies half way is still known to have made it. What another state has given up is
 * adopted; only on a copy of its server does the word `created` still mean us.
 */
export function claimsAtStart(
  desired: DesiredState,
  ledger: Ledger,
  observed: Observed,
  rehomed: boolean,
): ClaimChanges {
  const record: LedgerObject[] = [];
  for (const { kind, name, database } of declared(desired, ledger, observed)) {
    // A database that could not be entered may well have what is declared inside: it is noted when it was seen.
    if (database !== '' && observed.databases.has(database) && !observed.inside.has(database)) continue;
    const known = ledger.objects.get(ledgerKey(kind, name, database));
    const isThere = exists(observed, { kind, name, database });
    if (!known)
      record.push({
        kind,
        database,
        name,
        state: desired.name,
        origin: isThere ? 'adopted' : 'created',
        established: false,
      });
    // An object that was dropped behind our back and is made again now is a new one.
    else if (!isThere && (known.origin !== 'created' || known.established))
      record.push({
        ...known,
        state: desired.name,
        origin: 'created',
        established: false,
        removedAt: undefined,
        removedBy: undefined,
      });
    else if (known.state !== desired.name || known.removedAt !== undefined)
      record.push({ ...takenOver(known, desired, rehomed), removedAt: undefined, removedBy: undefined });
  }
  return { record, forget: [] };
}

function takenOver(known: LedgerObject, desired: DesiredState, rehomed: boolean): LedgerObject {
  if (known.state === desired.name || rehomed) return { ...known, state: desired.name };
  return { ...known, state: desired.name, origin: 'adopted', established: false };
}

/** When a run ends: what was declared is established; what is not declared any more is marked, or let go if it was adopted. */
export function claimsAtEnd(desired: DesiredState, ledger: Ledger, observed: Observed, rehomed: boolean): ClaimChanges {
  const record: LedgerObject[] = [];
  const forget: LedgerObject[] = [];
  const keys = new Set<string>();
  for (const { kind, name, database } of declared(desired, ledger, observed)) {
    const key = ledgerKey(kind, name, database);
    keys.add(key);
    const known = ledger.objects.get(key);
    if (!known || !known.established || known.removedAt !== undefined || known.state !== desired.name) {
      const origin = known === undefined ? 'adopted' : takenOver(known, desired, rehomed).origin;
      record.push({ kind, database, name, state: desired.name, origin, established: true });
    }
  }
  const hash = declarationHash(desired);
  for (const [key, known] of ledger.objects) {
    if (known.state !== desired.name || known.removedBy === FREED || keys.has(key)) continue;
    const gone = (known.kind === 'role' && !observed.roles.has(known.name)) || isDropped(desired, observed, known);
    if (known.origin === 'adopted' || gone) forget.push(known);
    else if (known.removedAt === undefined) record.push({ ...known, removedAt: observed.now, removedBy: hash });
    else if (known.kind === 'role' && observed.connected.has(known.name) && known.removedBy !== hash) {
      record.push({ ...known, removedAt: observed.now, removedBy: hash }); // a session in the grace starts it anew
    }
  }
  return { record, forget };
}

/** It, or the database that it was in, was to be dropped and is not there any more. */
function isDropped(desired: DesiredState, observed: Observed, known: LedgerObject): boolean {
  return desired.drops.some((drop) => {
    const database = 'database' in drop ? drop.database : '';
    const isMeant =
      (drop.kind === known.kind && drop.name === known.name && database === known.database) ||
      (drop.kind === 'database' && drop.name === known.database);
    return isMeant && observed.drops !== undefined && !observed.drops.has(dropKey(drop));
  });
}

export function withChanges(ledger: Ledger, changes: ClaimChanges): Ledger {
  const objects = new Map(ledger.objects);
  for (const object of changes.record) objects.set(ledgerKey(object.kind, object.name, object.database), object);
  for (const object of changes.forget) objects.delete(ledgerKey(object.kind, object.name, object.database));
  return { ...ledger, objects };
}

function* declared(
  desired: DesiredState,
  ledger: Ledger,
  observed: Observed,
): Generator<{ kind: ManagedKind; name: string; database: string }> {
  for (const role of desired.roles) yield { kind: 'role', name: role.name, database: '' };
  for (const database of desired.databases) {
    yield { kind: 'database', name: database.name, database: '' };
    for (const schema of database.schemas) yield { kind: 'schema', name: schema.name, database: database.name };
    for (const isolation of database.isolations) {
      // Once it was enforced, it is remembered as long as any of it is, whatever is declared now.
      const inside = observed.inside.get(database.name);
      const known = ledger.objects.get(ledgerKey('isolation', isolation.schema, database.name));
      const isKnown = known?.established && known.removedAt === undefined;
      if (
        isolation.stage === 'enforced'
          ? isKnown || isEnforced(isolation, inside)
          : isKnown && isPartlyEnforced(isolation, inside)
      )
        yield { kind: 'isolation', name: isolation.schema, database: database.name };
    }
    for (const { name } of database.extensions) yield { kind: 'extension', name, database: database.name };
    for (const { kind, name } of replicated(database)) yield { kind, name, database: database.name };
  }
}
