import { HbaRule, modelProblems } from '../../../../lib/server/ecs/configuration';
import { hbaLine, hbaProblems } from '../../../../lib/server/ecs/configuration/hba';
import { hbaLines } from '../../../../lib/server/ecs/configuration/patroni';
import { model } from './cluster-model';

const RULE: HbaRule = { databases: ['app'], roles: ['api'], address: '10.0.0.0/16', method: 'scram-sha-256' };
const OAUTH = { issuer: 'https://issuer.example.com', scope: ['openid', 'db'] };

test('a rule that names its database, its role and its network has nothing wrong', () => {
  expect(hbaProblems([RULE], 18)).toEqual([]);
  expect(hbaLine(RULE)).toBe('hostssl "app" "api" 10.0.0.0/16 scram-sha-256');
});

test.each<[string, object, string]>([
  ['trust', { method: 'trust' }, '[0]: method: trust lets in whoever asks; take scram-sha-256 (SEC-14)'],
  [
    'md5',
    { method: 'md5' },
    '[0]: method: md5 gives the password, or what is as good as it, away; take scram-sha-256 (SEC-14)',
  ],
  [
    'a clear password',
    { method: 'password' },
    '[0]: method: password gives the password, or what is as good as it, away; take scram-sha-256 (SEC-14)',
  ],
  ['an unknown method', { method: 'gss' }, '[0]: method: "gss" is none of scram-sha-256, cert, oauth, reject'],
  [
    'everybody everywhere',
    { databases: ['all'], roles: ['all'] },
    '[0]: every role in every database; name the databases or the roles (SEC-14)',
  ],
  [
    'the whole internet',
    { address: '0.0.0.0/0' },
    '[0]: address: 0.0.0.0/0 is everywhere; name the network of the clients (SEC-14)',
  ],
  [
    'the whole internet of IPv6',
    { address: '::/0' },
    '[0]: address: ::/0 is everywhere; name the network of the clients (SEC-14)',
  ],
  ['a host name', { address: 'samenet' }, '[0]: address: "samenet" is no CIDR block, such as 10.0.0.0/16'],
  [
    'replication',
    { databases: ['replication'] },
    "[0]: databases: 'replication' is for members alone, which the cluster's own lines let in",
  ],
  ['no role', { roles: [] }, "[0]: roles is empty; name some, or 'all'"],
  [
    'a second line in a name',
    { roles: ['a\nhost all all all trust'] },
    '[0]: roles: "a\\nhost all all all trust" cannot be written in pg_hba.conf',
  ],
  ['oauth without an issuer', { method: 'oauth' }, '[0]: oauth: name the issuer and the scope'],
  [
    'oauth without TLS',
    { method: 'oauth', oauth: { ...OAUTH, validator: 'checker', issuer: 'http://i' } },
    '[0]: oauth.issuer: "http://i" must be a URL that begins with https://',
  ],
  [
    'any token',
    { method: 'oauth', oauth: { ...OAUTH, validator: 'checker', scope: [] } },
    '[0]: oauth.scope: name at least one scope, or any token of the issuer is let in',
  ],
  [
    'oauth beside another method',
    { oauth: OAUTH },
    '[0]: oauth: belongs to the method oauth, and this is scram-sha-256',
  ],
  [
    'none of two validators',
    { method: 'oauth', oauth: OAUTH },
    '[0]: oauth.validator: name one of checker, other, which oauth_validator_libraries has',
  ],
  [
    'a validator that is not loaded',
    { method: 'oauth', oauth: { ...OAUTH, validator: 'chekcer' } },
    '[0]: oauth.validator: "chekcer" is not in oauth_validator_libraries, which has checker, other',
  ],
  [
    'a second line in a map',
    { method: 'cert', map: 'a"\nhost all all all trust' },
    '[0]: map: "a\\"\\nhost all all all trust" cannot be written in pg_hba.conf',
  ],
  [
    'a second line in a map of oauth',
    { method: 'oauth', oauth: { ...OAUTH, validator: 'checker', map: 'a\nb' } },
    '[0]: oauth.map: "a\\nb" cannot be written in pg_hba.conf',
  ],
])('%s is refused (SEC-14)', (_, changes, problem) => {
  const rule = { ...RULE, ...changes } as HbaRule;
  const parameters = { oauth_validator_libraries: 'checker, "other"' };
  expect(hbaProblems([rule], 18, ['checker', 'other'])).toEqual([problem]);
  expect(modelProblems(model({ hba: [rule], parameters }))).toEqual([`hba${problem}`]);
});

test('whoever is turned away may be everybody', () => {
  expect(hbaProblems([{ databases: ['all'], roles: ['all'], address: '0.0.0.0/0', method: 'reject' }], 18)).toEqual([]);
});

test('OAuth comes with 18 (SEC-17)', () => {
  const rule: HbaRule = { ...RULE, method: 'oauth', oauth: { ...OAUTH, validator: 'checker', map: 'people' } };
  expect(hbaProblems([rule], 17)).toEqual(['[0]: method: oauth comes with 18, and this is 17']);
  expect(hbaProblems([rule], 18, ['checker'])).toEqual([]);
  expect(hbaLine(rule)).toBe(
    'hostssl "app" "api" 10.0.0.0/16 oauth issuer="https://issuer.example.com" scope="openid db" validator="checker" map="people"',
  );
});

test('a rule of OAuth needs a library, since PostgreSQL would not start with its line (SEC-17)', () => {
  const hba: HbaRule[] = [{ ...RULE, method: 'oauth', oauth: OAUTH }];
  expect(modelProblems(model({ hba }))).toEqual([
    'hba[0]: oauth: name the library that looks at tokens in the parameter oauth_validator_libraries',
  ]);
  expect(modelProblems(model({ hba, parameters: { oauth_validator_libraries: 'checker' } }))).toEqual([]);
});

test('keywords are quoted as names but for all, and groups are groups', () => {
  expect(hbaLine({ ...RULE, databases: ['sameuser', 'all'], roles: ['+readers', 'my role'] })).toBe(
    'hostssl "sameuser",all +"readers","my role" 10.0.0.0/16 scram-sha-256',
  );
});

test('the superuser comes over the local socket alone, members by certificate, and who is not named is turned away', () => {
  const lines = hbaLines(model({ hba: [RULE] }));
  const first = (pattern: RegExp) => lines.findIndex((line) => pattern.test(line));
  expect(lines.filter((line) => /\bpostgres\b/.test(line))).toEqual([
    'local all postgres peer map=local',
    'host all postgres,replicator,rewinder all reject',
  ]);
  expect(lines.filter((line) => /^host\S* replication/.test(line))).toEqual([
    'hostssl replication replicator 10.0.0.0/16 cert map=members',
    'host replication all all reject',
  ]);
  expect(first(/postgres,replicator,rewinder all reject/)).toBeLessThan(first(/"api"/));
  expect(lines.at(-1)).toBe('host all all all reject');
  expect(lines.filter((line) => /^(host|hostnossl) /.test(line) && !line.endsWith('reject'))).toEqual([]);
});

test('without rules, roles come by password from the networks of the cluster', () => {
  expect(hbaLines(model()).slice(-2)).toEqual(['hostssl all all 10.0.0.0/16 scram-sha-256', 'host all all all reject']);
});
