import {
  DesiredExtension,
  DesiredIsolation,
  DesiredPublication,
  DesiredSlot,
  DesiredState,
  DesiredSubscription,
  PublishedOperation,
  PUBLISHED_OPERATIONS,
  SubscriptionOption,
  TenantType,
} from '../../contract';
import { Session } from '../reconcile/session';
import { observeExtensions } from '../reconcile/observe-extensions';
import { observeIsolation } from '../reconcile/observe-isolations';
import { observeReplication } from '../reconcile/observe-replication';
import { isAllTenantsPolicy, isTenantPolicy, observes, readTenantPolicy } from '../reconcile/isolation-policies';
import { Inside, Observed } from '../reconcile/observed';
import { PublishableTable, tableKey } from '../reconcile/replication';

/** What a database has besides its schemas, as a declaration would say it; whether it can be declared, a plan tells. */
export interface Found {
  readonly extensions: readonly DesiredExtension[];
  readonly isolations: readonly DesiredIsolation[];
  readonly publications: readonly DesiredPublication[];
  readonly subscriptions: readonly DesiredSubscription[];
  readonly slots: readonly DesiredSlot[];
  /** What not even a plan could be asked about: why, by `publication name`. */
  readonly unfit: ReadonlyMap<string, string>;
}

type Server = Pick<Observed, 'user' | 'roles' | 'memberships' | 'databases'>;
type Base = DesiredState['databases'][number];

interface Names {
  readonly extensions: { name: string; schema: string }[] | null;
  readonly publications: string[] | null;
  readonly subscriptions: string[] | null;
  readonly slots: (Omit<DesiredSlot, 'consumer'> & { consumer: string | null })[] | null;
  readonly policies: PolicyRow[] | null;
}

interface PolicyRow {
  readonly schema: string;
  readonly name: string;
  readonly roles: (string | null)[];
  readonly using: string | null;
  readonly rowSecurity: boolean;
  readonly forced: boolean;
}

/** Slots of a subscription's first copy are PostgreSQL's own, and go by themselves. Who reads from a slot, only its session tells. */
const NAMES = `
  SELECT (SELECT json_agg(json_build_object('name', extname, 'schema', nspname) ORDER BY extname)
          FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname <> 'plpgsql') AS extensions,
    (SELECT json_agg(pubname ORDER BY pubname) FROM pg_publication) AS publications,
    (SELECT json_agg(subname ORDER BY subname) FROM pg_subscription
     WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())) AS subscriptions,
    (SELECT json_agg(json_build_object('name', slot_name, 'plugin', plugin, 'twoPhase', two_phase,
              'failover', coalesce((to_jsonb(s) ->> 'failover')::boolean, false), 'consumer', a.usename) ORDER BY slot_name)
     FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
     WHERE s.database = current_database() AND slot_type = 'logical' AND NOT temporary
       AND slot_name !~ '^pg_[0-9]+_sync_[0-9]+_[0-9]+$') AS slots,
    (SELECT json_agg(json_build_object('schema', n.nspname, 'name', p.polname, 'using', pg_get_expr(p.polqual, p.polrelid),
              'roles', ARRAY(SELECT CASE WHEN r <> 0 THEN pg_get_userbyid(r) END FROM unnest(p.polroles) AS r),
              'rowSecurity', c.relrowsecurity, 'forced', c.relforcerowsecurity) ORDER BY n.nspname, c.relname, p.polname)
     FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE p.polname LIKE 'cdk\\_postgres\\_%') AS policies`;

/** Reads what a database has, in as few queries whatever there is of it, and what a plan of its declaration looks at. */
export async function readInside(
  session: Session,
  base: Base,
  server: Server,
  inside: Inside,
): Promise<{ found: Found; inside: Inside }> {
  const [names] = await session.read<{ [K in keyof Names]: Names[K] }>(NAMES);
  const unfit = new Map<string, string>();
  const extensions = names.extensions ?? [];
  const slots = (names.slots ?? []).flatMap(({ consumer, ...slot }): DesiredSlot[] => {
    if (consumer !== null) return [{ ...slot, consumer }];
    unfit.set(
      `slot ${slot.name}`,
      `nobody reads from it now, and a declared slot has a consumer by name; it has the plugin ${slot.plugin}`,
    );
    return [];
  });
  const isolations = readIsolations(names.policies ?? [], unfit);
  const stubs = {
    ...base,
    slots,
    publications: (names.publications ?? []).map((name) => publicationStub(name)),
    subscriptions: (names.subscriptions ?? []).map((name) => subscriptionStub(name, base.name)),
  };
  // Once to know what there is, and once with that as what is declared.
  const first = await observeReplication(session, stubs, server, true);
  const declared = {
    ...stubs,
    publications: [...(first?.publications.values() ?? [])].map((publication): DesiredPublication => ({
      ...publication,
      operations: PUBLISHED_OPERATIONS.filter((operation) => publication.operations.includes(operation)),
    })),
    subscriptions: [...(first?.subscriptions.values() ?? [])].map((there): DesiredSubscription => {
      for (const [option, usual] of Object.entries(USUAL_ALONE)) {
        if (there.options[option] !== usual)
          unfit.set(`subscription ${there.name}`, `its option ${option} = ${there.options[option]} has no construct`);
      }
      return {
        ...subscriptionStub(there.name, base.name),
        owner: there.owner,
        publications: [...there.publications].sort(),
        slot: there.slot === undefined || there.slot === there.name ? undefined : there.slot,
        enabled: there.enabled,
        options: optionsOf(there.options),
      };
    }),
  };
  const replication = await observeReplication(session, declared, server, true);
  return {
    found: {
      extensions,
      isolations,
      publications: declared.publications.map((publication) => withIdentities(publication, replication?.tables)),
      subscriptions: declared.subscriptions.filter(({ name }) => !unfit.has(`subscription ${name}`)),
      slots,
      unfit,
    },
    inside: {
      ...inside,
      extensions: await observeExtensions(session, extensions),
      isolation: await observeIsolation(session, isolations, [...server.roles.values()].map(declaredAs)),
      replication,
    },
  };
}

const declaredAs = ({ name, login, inherit, createDatabase, createRole }: Roles) => ({
  name,
  login,
  inherit,
  createDatabase,
  createRole,
  authentication: 'none' as const,
});
type Roles = Server['roles'] extends ReadonlyMap<string, infer Role> ? Role : never;

function publicationStub(name: string): DesiredPublication {
  const operations: readonly PublishedOperation[] = PUBLISHED_OPERATIONS;
  return {
    name,
    owner: '',
    operations,
    viaRoot: false,
    generatedColumns: false,
    tables: [],
    schemas: [],
    allTables: false,
  };
}

/** What the tables have, so that the declaration holds it too. */
function withIdentities(
  publication: DesiredPublication,
  known: ReadonlyMap<string, PublishableTable> | undefined,
): DesiredPublication {
  const tables = publication.tables.map((table) => {
    const there = known?.get(tableKey(table));
    if (there?.identity === 'full') return { ...table, identity: { kind: 'full' as const } };
    return there?.identity === 'index' && there.identityIndex !== undefined
      ? { ...table, identity: { kind: 'index' as const, index: there.identityIndex } }
      : table;
  });
  return { ...publication, tables };
}

function subscriptionStub(name: string, database: string): DesiredSubscription {
  return { name, owner: '', secret: `${database}.${name}`, publications: [], enabled: true, options: {} };
}

/** What a subscription has unless it is told otherwise; only what differs is declared, and the rest stays as it is. */
const USUAL: Readonly<Partial<Record<SubscriptionOption, string>>> = {
  streaming: 'off',
  two_phase: 'false',
  failover: 'false',
  origin: 'any',
  disable_on_error: 'false',
  run_as_owner: 'false',
};

/** Options that no construct has. */
const USUAL_ALONE: Readonly<Record<string, string>> = { password_required: 'true', synchronous_commit: 'off' };

function optionsOf(options: Readonly<Record<string, string>>): DesiredSubscription['options'] {
  const differs = Object.entries(USUAL).filter(
    ([option, usual]) => options[option] !== undefined && options[option] !== usual,
  );
  return Object.fromEntries(differs.map(([option]) => [option, options[option]]));
}

/** Isolations are known by their policies, whose form is this library's own. */
function readIsolations(policies: readonly PolicyRow[], unfit: Map<string, string>): DesiredIsolation[] {
  const schemas = [...new Set(policies.map(({ schema }) => schema))];
  return schemas.flatMap((schema): DesiredIsolation[] => {
    const here = policies.filter((policy) => policy.schema === schema);
    const ofTenant = here.find(isTenantPolicy);
    const read = ofTenant && readTenantPolicy(ofTenant.using);
    if (!read) {
      unfit.set(`isolation of the schema ${schema}`, 'its policies are not as this library makes them');
      return [];
    }
    const namesOf = (policy: PolicyRow | undefined) =>
      (policy?.roles ?? []).filter((role): role is string => role !== null);
    const isolated = here.filter(isTenantPolicy);
    const stage = here.some(observes)
      ? 'observed'
      : isolated.some(({ rowSecurity, forced }) => rowSecurity && forced)
        ? 'enforced'
        : 'prepared';
    return [
      {
        schema,
        column: read.column,
        type: read.type as TenantType,
        setting: read.setting,
        stage,
        roles: namesOf(ofTenant).sort(),
        allTenants: namesOf(here.find(isAllTenantsPolicy)).sort(),
      },
    ];
  });
}
