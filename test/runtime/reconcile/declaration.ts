import { DesiredState } from '../../../lib/contract';
import { NOTHING_INSIDE } from '../../support/nothing-inside';

/** A small complete declaration; tests say what differs. */
export function declaration(changes: Partial<DesiredState> = {}): DesiredState {
  return {
    version: 1,
    name: 'test',
    profile: 'production',
    defaults: 'V1',
    acknowledgedPlans: [],
    roles: [owner('app_owner'), group('app_readonly'), login('api')],
    memberships: [{ role: 'app_readonly', member: 'api', inherit: true, set: false, admin: false }],
    settings: [{ role: 'api', name: 'statement_timeout', values: ['15s'] }],
    comments: [],
    drops: [],
    databases: [
      {
        ...NOTHING_INSIDE,
        name: 'app',
        owner: 'app_owner',
        public: 'closed',
        schemas: [{ name: 'billing', owner: 'app_owner' }],
        grants: [
          { privileges: ['CONNECT'], on: { kind: 'database' }, to: 'api' },
          { privileges: ['USAGE'], on: { kind: 'schema', schema: 'billing' }, to: 'app_readonly' },
          { privileges: ['SELECT'], on: { kind: 'allTables', schema: 'billing' }, to: 'app_readonly' },
        ],
        defaultPrivileges: [
          { creator: 'app_owner', schema: 'billing', objects: 'tables', privileges: ['SELECT'], to: 'app_readonly' },
        ],
      },
    ],
    ...changes,
  };
}

type Role = DesiredState['roles'][number];

export function role(name: string, changes: Partial<Role> = {}): Role {
  return {
    name,
    login: false,
    authentication: 'none',
    inherit: true,
    createDatabase: false,
    createRole: false,
    ...changes,
  };
}

export const owner = (name: string) => role(name);
export const group = (name: string) => role(name);
export const login = (name: string, changes: Partial<Role> = {}) => role(name, { login: true, ...changes });
