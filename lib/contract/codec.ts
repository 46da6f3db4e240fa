import { CONTRACT_VERSION, DesiredDatabase, DesiredState } from './desired-state';
import {
  readComment,
  readDefaultPrivilege,
  readDrop,
  readExtension,
  readGrant,
  readIsolation,
  readMembership,
  readPublication,
  readRole,
  readSetting,
  readSlot,
  readSubscription,
  writeComment,
  writeDefaultPrivilege,
  writeDrop,
  writeExtension,
  writeGrant,
  writeIsolation,
  writeMembership,
  writePublication,
  writeRole,
  writeSetting,
  writeSlot,
  writeSubscription,
} from './lines';
import { Fields } from './fields';
import { stateProblems } from './problems';

/**
 * The form in which a desired state travels: in CloudFormation properties, in a file asset, on disk. `desired-state.schema.json`
 * describes it. Lists are sorted, so that the same declaration always gives the same document. Empty lists and maps are left out,
 * since CloudFormation drops them on the way.
 */
export interface StateDocument {
  readonly version: number;
  readonly name: string;
  readonly profile: string;
  readonly defaults: string;
  readonly acknowledgedPlans?: readonly string[];
  readonly roles?: readonly string[];
  readonly memberships?: readonly string[];
  readonly settings?: readonly string[];
  readonly comments?: readonly string[];
  readonly drops?: readonly string[];
  readonly databases?: Readonly<Record<string, DatabaseDocument>>;
}

export interface DatabaseDocument {
  readonly owner: string;
  readonly connectionLimit?: number;
  readonly encoding?: string;
  readonly locale?: string;
  readonly public: string;
  /** Schema name to owner. */
  readonly schemas?: Readonly<Record<string, string>>;
  readonly grants?: readonly string[];
  readonly defaultPrivileges?: readonly string[];
  readonly extensions?: readonly string[];
  readonly isolations?: readonly string[];
  readonly publications?: readonly string[];
  readonly subscriptions?: readonly string[];
  readonly slots?: readonly string[];
}

/** A document that is not a desired state, with the place of every problem. */
export class ContractError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(`The desired state is not valid: ${problems.join('; ')}`);
    this.name = 'ContractError';
  }
}

export function encodeState(state: DesiredState): StateDocument {
  return compact({
    version: state.version,
    name: state.name,
    profile: state.profile,
    defaults: state.defaults,
    acknowledgedPlans: sorted(state.acknowledgedPlans, String),
    roles: sorted(state.roles, writeRole),
    memberships: sorted(state.memberships, writeMembership),
    settings: sorted(state.settings, writeSetting),
    comments: sorted(state.comments, writeComment),
    drops: sorted(state.drops, writeDrop),
    databases: map(state.databases, (database) =>
      compact({
        owner: database.owner,
        connectionLimit: database.connectionLimit,
        encoding: database.encoding,
        locale: database.locale,
        public: database.public,
        schemas: map(database.schemas, (schema) => schema.owner),
        grants: sorted(database.grants, writeGrant),
        defaultPrivileges: sorted(database.defaultPrivileges, writeDefaultPrivilege),
        extensions: sorted(database.extensions, writeExtension),
        isolations: sorted(database.isolations, writeIsolation),
        publications: sorted(database.publications, writePublication),
        subscriptions: sorted(database.subscriptions, writeSubscription),
        slots: sorted(database.slots, writeSlot),
      }),
    ),
  });
}

/**
 * Reads a document strictly: an unknown key, a wrong type, a bad line or a name that PostgreSQL would change is an error with
 * its place. Scalars may be strings, as CloudFormation makes them, or what they were, as an emulator leaves them.
 */
export function decodeState(document: unknown): DesiredState {
  const problems: string[] = [];
  const top = new Fields(document, 'the state', problems);
  const version = top.integer('version');
  if (version !== undefined && version !== CONTRACT_VERSION) {
    throw new ContractError([
      `version is ${version}, and this code reads version ${CONTRACT_VERSION}: deploy it with the version of cdk-postgres that wrote it`,
    ]);
  }
  const state = {
    version: CONTRACT_VERSION,
    name: top.string('name') ?? '',
    profile: top.choice('profile', ['production', 'development']) ?? 'production',
    defaults: top.choice('defaults', ['V1', 'V2']) ?? 'V1',
    acknowledgedPlans: top.lines('acknowledgedPlans', String),
    roles: top.lines('roles', readRole),
    memberships: top.lines('memberships', readMembership),
    settings: top.lines('settings', readSetting),
    comments: top.lines('comments', readComment),
    drops: top.lines('drops', readDrop),
    databases: top.entries('databases', (name, value, place): DesiredDatabase => {
      const fields = new Fields(value, place, problems);
      const database = {
        name,
        owner: fields.string('owner') ?? '',
        connectionLimit: fields.integer('connectionLimit', true),
        encoding: fields.string('encoding', true),
        locale: fields.string('locale', true),
        public: fields.choice('public', ['closed', 'kept']) ?? 'closed',
        schemas: fields.entries('schemas', (schema, owner, at) => {
          if (typeof owner !== 'string') problems.push(`${at} must be the name of its owner`);
          return { name: schema, owner: String(owner) };
        }),
        grants: fields.lines('grants', readGrant),
        defaultPrivileges: fields.lines('defaultPrivileges', readDefaultPrivilege),
        extensions: fields.lines('extensions', readExtension),
        isolations: fields.lines('isolations', readIsolation),
        publications: fields.lines('publications', readPublication),
        subscriptions: fields.lines('subscriptions', readSubscription),
        slots: fields.lines('slots', readSlot),
      };
      fields.end();
      return database;
    }),
  } satisfies DesiredState;
  top.end();
  problems.push(...stateProblems(state));
  if (problems.length > 0) throw new ContractError(problems);
  READ.add(state);
  return state;
}

/** States that came out of `decodeState()`. */
const READ = new WeakSet<DesiredState>();

/** A state as strict as if it had travelled, whoever made it. One that was decoded is not read a second time. */
export function strictState(state: DesiredState): DesiredState {
  return READ.has(state) ? state : decodeState(encodeState(state));
}

function sorted<T>(items: readonly T[], write: (item: T) => string): string[] {
  return items.map(write).sort();
}

function map<T extends { readonly name: string }, V>(items: readonly T[], value: (item: T) => V): Record<string, V> {
  const byName = [...items].sort((a, b) => (a.name < b.name ? -1 : 1));
  return Object.fromEntries(byName.map((item) => [item.name, value(item)]));
}

function compact<T extends object>(fields: T): T {
  const isEmpty = (value: unknown) =>
    value === undefined || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value))) as T;
}
