import { decodeState, DesiredDrop, encodeState } from '../../lib/contract';
import { declaration } from '../runtime/reconcile/declaration';

const TERMS = { reason: 'over', adopted: false, force: false, cascade: false };
const decoded = (...drops: DesiredDrop[]) => decodeState(encodeState(declaration({ drops })));

test('a drop reads like what it does, and says why', () => {
  const drops: DesiredDrop[] = [
    { ...TERMS, kind: 'role', name: 'old', reassignTo: 'app_owner', adopted: true },
    { ...TERMS, kind: 'schema', database: 'app', name: 'Old', cascade: true, reason: "it's over" },
  ];
  expect(encodeState(declaration({ drops })).drops).toEqual([
    "ROLE old ADOPTED REASSIGN TO app_owner BECAUSE 'over'",
    "SCHEMA app.\"Old\" CASCADE BECAUSE 'it''s over'",
  ]);
  expect(decoded(...drops).drops).toEqual(drops);
});

test.each<[string, DesiredDrop[], string]>([
  ['declared', [{ ...TERMS, kind: 'role', name: 'api' }], 'the role "api" is declared and to be dropped'],
  ['declared', [{ ...TERMS, kind: 'schema', database: 'app', name: 'billing' }], 'is declared and to be dropped'],
  [
    'an heir as well',
    [
      { ...TERMS, kind: 'role', name: 'a', reassignTo: 'b' },
      { ...TERMS, kind: 'role', name: 'b' },
    ],
    'the role "b" is to be dropped and a declaration still names it',
  ],
  ['its own heir', [{ ...TERMS, kind: 'role', name: 'a', reassignTo: 'a' }], 'cannot inherit from itself'],
  ['a role of the server', [{ ...TERMS, kind: 'role', name: 'rdsadmin' }], 'which Amazon RDS reserves'],
  ['a database of the server', [{ ...TERMS, kind: 'database', name: 'template1' }], 'belongs to the server itself'],
  ['the ledger', [{ ...TERMS, kind: 'schema', database: 'app', name: 'cdk_postgres' }], 'or to this library'],
  [
    'in a database that goes',
    [
      { ...TERMS, kind: 'database', name: 'old' },
      { ...TERMS, kind: 'schema', database: 'old', name: 's' },
    ],
    'the schema "s" goes with the database "old"',
  ],
  [
    'to be dropped twice',
    [
      { ...TERMS, kind: 'role', name: 'a' },
      { ...TERMS, kind: 'role', name: 'a', adopted: true },
    ],
    'the drop of the role "a" is declared twice',
  ],
])('what is %s is not dropped', (_, drops, problem) => {
  expect(() => decoded(...drops)).toThrow(problem);
});

test('a role that something else needs is not dropped', () => {
  const state = declaration({ drops: [{ ...TERMS, kind: 'role', name: 'gone' }] });
  const memberships = [{ role: 'gone', member: 'api', inherit: true, set: false, admin: false }];
  expect(() => decodeState(encodeState({ ...state, memberships }))).toThrow('a declaration still names it');
  expect(() => decodeState(encodeState(state))).not.toThrow();
});
