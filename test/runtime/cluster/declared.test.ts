import { expectedMembers, readClusterReference, readDeclared, readEndpoints } from '../../../lib/runtime/cluster';
import { readCommand } from '../../../lib/runtime/cluster/commands';
import { patchOf } from '../../../lib/runtime/cluster/parameters';
import { ClusterMemory } from '../../../lib/runtime/cluster/watch';

describe('whom the gate waits for', () => {
  const all = ['pg-1', 'pg-2', 'pg-3'];
  test.each([
    ['the first of a new cluster', 'pg-1', all, [], ['pg-1']],
    ['the last of a new cluster', 'pg-3', all, [], all],
    ['the first of one that is there', 'pg-1', all, all, all],
    ['the first where two are added', 'pg-1', all, ['pg-1'], ['pg-1']],
    ['the only one that stays of three', 'pg-1', ['pg-1'], all, ['pg-1']],
  ])('%s', (_, through, members, before, expected) => {
    expect(expectedMembers(through, members, before)).toEqual(expected);
  });

  test('refuses one that is none', () => {
    expect(() => expectedMembers('pg-4', all)).toThrow('the member pg-4 is none of pg-1, pg-2, pg-3');
  });
});

describe('the patch of a configuration', () => {
  const there = { ttl: 20, postgresql: { use_slots: true, parameters: { work_mem: '4MB', max_connections: 100 } } };

  test('is empty where all is so, whether as text or as number', () => {
    expect(patchOf(there, {}, there)).toEqual({});
    expect(patchOf({ postgresql: { parameters: { max_connections: '100' } } }, {}, there)).toEqual({});
  });

  test('has what differs, and takes back what was declared and is not any longer', () => {
    const before = { postgresql: { parameters: { work_mem: '4MB' } } };
    expect(patchOf({ ttl: 30, postgresql: { parameters: { max_connections: '200' } } }, before, there)).toEqual({
      ttl: 30,
      postgresql: { parameters: { work_mem: null, max_connections: '200' } },
    });
  });

  test('leaves what nobody declared, and does not take back what is gone', () => {
    expect(patchOf({}, {}, there)).toEqual({});
    expect(patchOf({}, { gone: 1, postgresql: { parameters: { gone: '1' } } }, there)).toEqual({});
  });

  test('takes an object back as a whole, unless somebody has added to it', () => {
    const slot = { type: 'logical', database: 'app' };
    expect(patchOf({}, { slots: { cdc: slot } }, { slots: { cdc: slot, other: slot } })).toEqual({
      slots: { cdc: null },
    });
    expect(patchOf({}, { slots: { cdc: slot } }, { slots: { cdc: slot } })).toEqual({ slots: null });
    expect(patchOf({}, { slots: { cdc: slot } }, { slots: { cdc: { ...slot, plugin: 'x' } } })).toEqual({
      slots: { cdc: { type: null, database: null } },
    });
  });

  test('compares lists as a whole', () => {
    expect(patchOf({ pg_hba: ['a', 'b'] }, {}, { pg_hba: ['a', 'b'] })).toEqual({});
    expect(patchOf({ pg_hba: ['a'] }, {}, { pg_hba: ['a', 'b'] })).toEqual({ pg_hba: ['a'] });
  });
});

describe('what is read strictly', () => {
  test('a declaration: parameters are text whatever their name, settings are JSON', () => {
    const declared = readDeclared({
      Parameters: { 'pg_stat_statements.max': 5000 },
      Settings: { ttl: '30', 'slots.cdc': '{"type":"logical"}' },
      Restart: 'ordered',
    });
    expect(declared).toEqual({
      restart: true,
      configuration: {
        ttl: 30,
        slots: { cdc: { type: 'logical' } },
        postgresql: { parameters: { 'pg_stat_statements.max': '5000' } },
      },
    });
    expect(() => readDeclared({ Settings: { ttl: 'thirty' } })).toThrow('Settings.ttl is not JSON: thirty');
    expect(() => readDeclared({ Restart: 'now' })).toThrow('Restart must be "report" or "ordered", and is "now"');
  });

  test('a reference and its endpoints', () => {
    const reference = {
      Identity: 'i',
      Scope: 's',
      Members: ['pg-1=pg-1.x'],
      Synchronous: 'true',
      CertificateSecret: 'a',
    };
    expect(readClusterReference(reference)).toMatchObject({
      members: [{ name: 'pg-1', host: 'pg-1.x', port: 8008 }],
      synchronous: true,
    });
    expect(() => readClusterReference({ ...reference, Members: [] })).toThrow('at least one member');
    expect(() => readClusterReference({ ...reference, Scope: '' })).toThrow('Cluster.Scope');
    expect(() => readEndpoints('--members', ['pg-1'], 1)).toThrow(
      '--members must be a list of NAME=HOST:PORT, and has "pg-1"',
    );
    expect(() => readEndpoints('x', ['a=b', 'a=c'], 1)).toThrow('x names a twice');
  });

  test('a command', () => {
    expect(readCommand({ command: 'switchover', to: 'pg-2' })).toEqual({ command: 'switchover', to: 'pg-2' });
    expect(() => readCommand({ command: 'drop' })).toThrow('the command must be one of');
    expect(() => readCommand({ command: 'status', to: 'pg-2' })).toThrow('status knows no "to"');
    expect(() => readCommand(undefined)).toThrow('the command must be one of');
    expect(() => readCommand({ command: 'switchover', to: 2 })).toThrow(
      '"to" of switchover must be a string, and is 2',
    );
    expect(() => readCommand({ command: 'restart', pending: 'yes' })).toThrow('"pending" of restart must be a boolean');
  });
});

test('the memory of the watch counts what is new, and a counter that was reset from nothing', () => {
  const memory = new ClusterMemory();
  expect([5, 5, 7, 1].map((count) => memory.failuresSince('pg-1', count))).toEqual([0, 0, 2, 1]);
  expect(['pg-1/1', 'pg-1/1', 'pg-2/2', 'pg-2/2'].map((one) => memory.leaderChanged(one))).toEqual([0, 0, 1, 0]);
});
