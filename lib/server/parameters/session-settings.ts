import type { Platform } from '../../contract';
import { SupportedMajor } from '../postgres-version';
import { nearest } from './nearest';
import { PG_SETTINGS } from './pg-settings';
import { PLATFORM_PARAMETERS } from './platform-parameters';

const MAJORS = Object.keys(PG_SETTINGS).map((major) => Number(major) as SupportedMajor);

/** The contexts of `pg_settings` in which `ALTER ROLE … SET` and `ALTER DATABASE … SET` are refused, and what holds instead. */
const NOT_OF_SESSIONS: Readonly<Record<string, string>> = {
  internal: 'the server fixes it when it is built or initialized; leave it out',
  postmaster: 'the whole server has one value, read when it starts; set it in the parameters of the server',
  sighup: 'the whole server has one value; set it in the parameters of the server',
  'superuser-backend':
    'a session takes it when it connects, from the client or the server; set it in the parameters of the server',
  backend: 'a session takes it when it connects, from the client or the server; set it in the options of the client',
};

/** The server calls it a setting of a user, and takes it inside a transaction alone. */
const OF_ONE_TRANSACTION = 'transaction_deferrable';

/** By major version, the context of each setting by its name in lower case. Built when it is first asked for. */
const contexts = new Map<SupportedMajor, ReadonlyMap<string, string>>();

function contextsOf(major: SupportedMajor): ReadonlyMap<string, string> {
  let known = contexts.get(major);
  if (!known) {
    const { settings } = PG_SETTINGS[major];
    known = new Map(Object.entries(settings).map(([name, [, context]]) => [name.toLowerCase(), context]));
    contexts.set(major, known);
  }
  return known;
}

/**
 * Why a role or a database cannot have a default of this setting, in words that continue "settings cannot have …: ", with what to do.
 * Undefined: it can, as far as the catalogue knows. Names with a dot belong to extensions and applications, and are not judged.
 *
 * @param name in lower case
 * @param majorVersion undefined: any version that this library knows
 */
export function sessionSettingProblem(name: string, platform: Platform, majorVersion?: number): string | undefined {
  if (name.includes('.')) return undefined;
  if (name === OF_ONE_TRANSACTION) return 'it is of one transaction; use default_transaction_deferrable';
  const having = MAJORS.filter((major) => contextsOf(major).has(name));
  const judged = MAJORS.filter((major) => majorVersion === undefined || major === majorVersion);
  const found = judged.flatMap((major) => contextsOf(major).get(name) ?? []);
  // What one of the versions takes may be right.
  if (found.length > 0)
    return found.every((context) => context in NOT_OF_SESSIONS) ? NOT_OF_SESSIONS[found[0]!] : undefined;
  if (PLATFORM_PARAMETERS.some((parameter) => parameter.name === name && platform !== 'external')) return undefined;
  if (having.length > 0)
    return `PostgreSQL ${majorVersion} does not know it, and ${having.join(' and ')} do; leave it out, or use such a version`;
  const known = judged.flatMap((major) =>
    [...contextsOf(major)].flatMap(([each, context]) => (context in NOT_OF_SESSIONS ? [] : each)),
  );
  const similar = nearest(name, new Set(known), Math.max(2, Math.floor(name.length / 4))).slice(0, 3);
  return `PostgreSQL${majorVersion === undefined ? '' : ` ${majorVersion}`} knows no such setting: ${
    similar.length > 0
      ? `did you mean ${similar.join(' or ')}?`
      : 'check the spelling; a setting of an extension or of the application has a prefix and a dot, as in app.tenant'
  }`;
}
