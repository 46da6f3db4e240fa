import { HARDENING_TEXTS, HardeningId } from '../../contract/hardening';
import { HardeningFacts, SessionFacts, SettingName, SlotFacts } from './facts';
import { counted } from '../counted';

/** The items that a server knows of itself; the others are in its template. */
export const LIVE_ITEMS = [
  'force-tls',
  'scram-passwords',
  'refuse-md5',
  'audit',
  'log-connections',
  'log-statements',
  'idle-transactions',
  'slot-limit',
] as const satisfies readonly HardeningId[];

export type LiveItem = (typeof LIVE_ITEMS)[number];

/** `in place`; `free`: nobody was seen whom it would break; `breaks` somebody; `unknown`: it cannot be seen whom. */
export type HardeningState = 'in place' | 'free' | 'breaks' | 'unknown';

export interface HardeningVerdict {
  readonly item: LiveItem;
  readonly requirement: string;
  readonly state: HardeningState;
  /** What is not as asked. */
  readonly missing: readonly string[];
  /** Whom it would break on this server, as seen now. */
  readonly affected: readonly string[];
  /** What to do to see what is unknown. */
  readonly hint?: string;
  readonly breaks: string;
  readonly takesEffect: string;
}

export interface HardeningReport {
  readonly version: string;
  readonly role: string;
  readonly items: readonly HardeningVerdict[];
  /** Settings whose new value waits for a restart. */
  readonly pendingRestart: readonly string[];
  /** What cannot be changed on a server that runs. */
  readonly fixed: readonly string[];
}

/** Undefined: nobody can say. */
type Holds = (value: string) => boolean;

const isOn: Holds = (value) => ['on', '1', 'true'].includes(value);
const isOff = (value: string) => ['off', '0', 'false', ''].includes(value);
const has = (value: string, library: string) =>
  value.split(',').some((item) => item.trim().replace(/"/g, '') === library);
const isLimit: Holds = (value) => Number(value) !== -1;

const ASKED: Readonly<Record<LiveItem, Readonly<Partial<Record<SettingName, Holds>>>>> = {
  'force-tls': { 'rds.force_ssl': isOn },
  'scram-passwords': { password_encryption: (value) => value === 'scram-sha-256' },
  'refuse-md5': { 'rds.accepted_password_auth_method': (value) => value === 'scram' },
  audit: {
    shared_preload_libraries: (value) => has(value, 'pgaudit') && has(value, 'pg_stat_statements'),
    'pgaudit.log': (value) => !isOff(value) && value !== 'none',
    'pgaudit.role': (value) => value === 'rds_pgaudit',
  },
  'log-connections': {
    log_connections: (value) => !isOff(value),
    log_disconnections: isOn,
    log_replication_commands: isOn,
  },
  'log-statements': {
    log_min_duration_statement: isLimit,
    log_lock_waits: isOn,
    log_temp_files: isLimit,
    log_autovacuum_min_duration: isLimit,
    track_io_timing: isOn,
  },
  'idle-transactions': {
    // RDS's own default is a day, which is none.
    idle_in_transaction_session_timeout: (value) => Number(value) > 0 && Number(value) < 86_400_000,
  },
  'slot-limit': { max_slot_wal_keep_size: isLimit },
};

/** The lowest limit that this package sets for slots. */
const LOWEST_SLOT_LIMIT = 1024 ** 3;

/** What each item would break on the server that the facts are of. Pure. */
export function judgeHardening(facts: HardeningFacts): HardeningReport {
  return {
    version: facts.version,
    role: facts.role,
    items: LIVE_ITEMS.map((item) => judge(item, facts)),
    pendingRestart: facts.pendingRestart,
    fixed: facts.settings.port === '5432' ? ['port: it is 5432, which everybody tries first'] : [],
  };
}

function judge(item: LiveItem, facts: HardeningFacts): HardeningVerdict {
  const { requirement, breaks, takesEffect } = HARDENING_TEXTS[item];
  const missing = missingOf(item, facts);
  const text = { item, requirement, breaks, takesEffect, missing };
  if (missing.length === 0) return { ...text, state: 'in place', affected: [] };
  const seen = affectedBy(item, facts);
  if ('hint' in seen) return { ...text, state: 'unknown', affected: [], hint: seen.hint };
  return { ...text, state: seen.affected.length > 0 ? 'breaks' : 'free', affected: seen.affected };
}

function missingOf(item: LiveItem, { settings, ownSettings }: HardeningFacts): string[] {
  return (Object.entries(ASKED[item]) as [SettingName, Holds][]).flatMap(([name, holds]) => {
    const value = settings[name];
    if (ownSettings.includes(name)) return [`${name} of the server is not seen, since this role has its own`];
    if (value === undefined) return [`${name} is not set`];
    return holds(value) ? [] : [`${name} is ${value === '' ? 'empty' : value}`];
  });
}

type Seen = { readonly affected: readonly string[] } | { readonly hint: string };

const SEE_SESSIONS =
  'This role does not see the sessions of others: connect as the master, or as a member of pg_monitor.';
const SEE_PASSWORDS =
  'This role cannot see how passwords are kept: on RDS, CREATE EXTENSION rds_tools in this database, and run it again.';

function affectedBy(item: LiveItem, { sessions, md5Roles, slots }: HardeningFacts): Seen {
  switch (item) {
    case 'force-tls':
      if (!sessions) return { hint: SEE_SESSIONS };
      return {
        affected: sessions
          .filter(({ withoutTls }) => withoutTls > 0)
          .map((session) => `${client(session)}: ${counted(session.withoutTls, 'connection')} without TLS`),
      };
    case 'refuse-md5':
      if (!md5Roles) return { hint: SEE_PASSWORDS };
      return { affected: md5Roles.map((role) => `the role ${role}: its password is kept as MD5`) };
    case 'audit':
      return { affected: ['the server: the libraries load when it restarts'] };
    case 'idle-transactions':
      if (!sessions) return { hint: SEE_SESSIONS };
      return {
        affected: sessions
          .filter(({ idle }) => idle > 0)
          .map(
            (session) => `${client(session)}: ${counted(session.idle, 'transaction')} idle for more than five minutes`,
          ),
      };
    case 'slot-limit':
      return { affected: slots.filter(isBehind).map(slotWords) };
    case 'scram-passwords':
    case 'log-connections':
    case 'log-statements':
      return { affected: [] };
  }
}

function client({ role, application, addresses, replicates }: SessionFacts): string {
  const name = application === '' ? '' : ` (${application})`;
  return `${replicates ? 'a replica or consumer, ' : ''}the role ${role}${name} from ${addresses.join(', ')}`;
}

function isBehind({ active, retainedBytes }: SlotFacts): boolean {
  return !active || (retainedBytes ?? 0) > LOWEST_SLOT_LIMIT;
}

function slotWords({ name, active, retainedBytes, walStatus }: SlotFacts): string {
  const state = active ? 'in use' : 'used by nobody now';
  const lost = walStatus === 'lost' ? ', and has lost its place already' : '';
  return `the slot ${name}: ${state}, holds ${mebibytes(retainedBytes ?? 0)}${lost}`;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}
