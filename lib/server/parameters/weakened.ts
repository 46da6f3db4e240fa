import { addFinding, FindingId } from '../../compliance';
import type { BuildParametersOptions } from './build-parameters';

interface Weakening {
  readonly id: FindingId;
  readonly parameter: string;
  /** Whether a value gives up what the requirement asks for. Undefined: the parameter is not in the group. */
  readonly isWeak: (value: string | undefined) => boolean;
  readonly consequence: string;
  /** Holds in the development profile too. */
  readonly always?: boolean;
}

const lacks = (library: string) => (value: string | undefined) =>
  value !== undefined && !value.split(',').includes(library);

const WEAKENINGS: readonly Weakening[] = [
  {
    id: 'SEC-11',
    parameter: 'rds.force_ssl',
    isWeak: (value) => value === '0',
    consequence: 'clients may connect without TLS',
    always: true,
  },
  {
    id: 'SEC-11',
    parameter: 'ssl_min_protocol_version',
    isWeak: (value) => value === 'TLSv1' || value === 'TLSv1.1',
    consequence: 'clients may use a broken version of TLS',
    always: true,
  },
  {
    id: 'SEC-10',
    parameter: 'rds.accepted_password_auth_method',
    isWeak: (value) => value === 'md5+scram',
    consequence: 'passwords kept as MD5 still log in',
    always: true,
  },
  {
    id: 'SEC-10',
    parameter: 'password_encryption',
    isWeak: (value) => value === 'md5',
    consequence: 'new passwords are kept as MD5',
    always: true,
  },
  {
    id: 'SEC-20',
    parameter: 'shared_preload_libraries',
    isWeak: lacks('pgaudit'),
    consequence: 'pgaudit is not loaded, and nothing is audited',
  },
  {
    id: 'OPS-5',
    parameter: 'shared_preload_libraries',
    isWeak: lacks('pg_stat_statements'),
    consequence: 'pg_stat_statements is not loaded, and slow statements stay unseen',
  },
  {
    id: 'SEC-21',
    parameter: 'log_connections',
    isWeak: (value) => value === '0' || value === '',
    consequence: 'the log does not show who connected',
  },
  {
    id: 'SEC-21',
    parameter: 'log_statement',
    isWeak: (value) => value !== undefined && value !== 'none',
    consequence: 'the log gets the text of CREATE ROLE and ALTER ROLE with its password; pgaudit leaves it out',
  },
  {
    id: 'OPS-7',
    parameter: 'autovacuum',
    isWeak: (value) => value === '0',
    consequence: 'tables bloat, and the server stops at transaction ID wraparound',
  },
  {
    id: 'HA-5',
    parameter: 'synchronous_commit',
    isWeak: (value) => value === '0' || value === 'off' || value === 'local',
    consequence:
      'a commit is confirmed before it is safe, and a failover loses it; set it for the roles alone that bear that',
  },
  {
    id: 'HA-8',
    parameter: 'max_slot_wal_keep_size',
    isWeak: (value) => value === '-1',
    consequence: 'an abandoned replication slot fills the volume, and the server stops',
  },
];

/**
 * One finding per parameter, so that each is acknowledged by its requirement with a reason of its own. It is there where it has nothing to
 * say too, so that an acknowledgement of it is not taken for a mistake.
 */
export function guardParameters(options: BuildParametersOptions, values: ReadonlyMap<string, string>): void {
  const { scope, profile } = options;
  for (const { id, parameter, isWeak, consequence, always } of WEAKENINGS) {
    const value = values.get(parameter);
    const holds = always || profile.isProduction;
    addFinding(scope, {
      id,
      check: () =>
        holds && isWeak(value)
          ? `${scope.node.path}: parameter ${parameter} = ${JSON.stringify(value)}: ${consequence}`
          : undefined,
      fix: `Leave ${parameter} as this library sets it.`,
    });
  }
}
