import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { Client } from 'pg';
import { HbaRule } from '../../lib';
import { issueCertificate } from '../../lib/runtime/certificates';
import { clusterFolder, clusterProblem } from '../cluster/availability.js';
import { Lab, PASSWORDS, Region, ROUTER, until } from '../cluster/self-managed/lab';
import { Task } from '../cluster/self-managed/task';
import { TestIssuer } from '../support/oauth-issuer';

const suite = clusterProblem() === undefined ? describe : describe.skip;

/** The validator knows the first; the issuer gives either. */
const TOKENS = { 'client-of-api': 'token-of-api-31d8', 'client-of-a-stranger': 'token-of-a-stranger-90c2' };
const SCOPE = ['openid', 'db'];
const ISSUER = 'issuer.orders.internal';
const PARTS = path.join(clusterFolder(), 'oauth');

/** Compiles the validator into a library of a user's image. */
function compile(library: string, ...definitions: string[]): void {
  const headers = path.join(PARTS, 'headers', 'usr', 'include');
  const machine = execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim();
  const folders = [path.join(headers, 'postgresql', '18', 'server'), headers, path.join(headers, machine)];
  const source = path.join(__dirname, '..', 'support', 'oauth-validator.c');
  fs.mkdirSync(path.dirname(library), { recursive: true });
  execFileSync('gcc', [
    ...['-shared', '-fPIC', '-O2', '-Wall', '-Werror', ...folders.map((folder) => `-I${folder}`)],
    ...[...definitions.map((definition) => `-D${definition}`), '-o', library, source],
  ]);
}

suite('logins by tokens of OAuth (SEC-17)', () => {
  let region: Region;
  let issuer: TestIssuer;
  let lab: Lab;
  let clientLayer: string;

  beforeAll(async () => {
    execFileSync(path.join(__dirname, 'oauth-parts.sh'), [clusterFolder()], { stdio: ['ignore', 'ignore', 'inherit'] });
    region = await Region.start();
    region.register(ISSUER, [region.network.own]);
    issuer = await TestIssuer.start({
      certificate: issueCertificate(region.authority, [ISSUER], { validDays: 30 }),
      host: ISSUER,
      address: region.network.own,
      tokens: TOKENS,
    });

    // FROM the image of the members, COPY of the libraries.
    const layer = path.join(region.folder, 'layer-member');
    const libraries = path.join(layer, 'usr', 'lib', 'postgresql', '18', 'lib');
    compile(path.join(libraries, 'api_validator.so'), `TOKEN="${TOKENS['client-of-api']}"`, 'IDENTITY="api"');
    compile(path.join(libraries, 'nobody_validator.so'));
    // The client has libpq's module, and trusts the issuer as it trusts any other server.
    clientLayer = path.join(region.folder, 'layer-client');
    fs.cpSync(path.join(PARTS, 'client'), clientLayer, { recursive: true });
    fs.mkdirSync(path.join(clientLayer, 'etc', 'ssl', 'certs'), { recursive: true });
    fs.writeFileSync(path.join(clientLayer, 'etc/ssl/certs/ca-certificates.crt'), region.authority.certificate);

    const from = { address: region.network.cidr, issuer: issuer.url, scope: SCOPE };
    const rules = [
      HbaRule.oauth({ ...from, databases: ['app'], validator: 'api_validator' }),
      HbaRule.oauth({ ...from, databases: ['delegated'], validator: 'api_validator', delegateIdentMapping: true }),
      HbaRule.oauth({ ...from, databases: ['closed'], validator: 'nobody_validator' }),
    ];
    lab = await Lab.start(region, {
      members: 1,
      layer,
      hba: rules.map((rule) => rule._model),
      parameters: { oauth_validator_libraries: 'api_validator, nobody_validator' },
    });
    await asAdmin([
      'CREATE ROLE api LOGIN',
      'CREATE ROLE owner LOGIN',
      ...['app', 'delegated', 'closed', 'unnamed'].map((name) => `CREATE DATABASE ${name}`),
    ]);
  }, 300_000);
  afterAll(async () => {
    await lab?.stop();
    await issuer?.stop();
    await region?.stop();
  }, 120_000);

  /** Through the router, as soon as it knows the leader. */
  async function asAdmin(statements: readonly string[]): Promise<void> {
    let client!: Client;
    await until(60_000, 'the router leads to the member', async () => {
      client = new Client({
        host: lab.router.address,
        user: 'postgres_admin',
        password: PASSWORDS.admin,
        database: 'postgres',
        ssl: { ca: region.authority.certificate, servername: ROUTER },
      });
      await client.connect();
      return true;
    });
    for (const statement of statements) await client.query(statement);
    await client.end();
  }

  /** What psql of Debian says, which comes through the router, fetches a token from the issuer and logs in with it. */
  async function psql(
    at: { readonly database: string; readonly role?: string; readonly client?: keyof typeof TOKENS },
    more: Readonly<Record<string, string>> = {},
  ): Promise<{ readonly code: number | null; readonly said: string }> {
    const { database, role = 'api', client = 'client-of-api' } = at;
    const settings = {
      host: ROUTER,
      hostaddr: lab.router.address,
      dbname: database,
      user: role,
      sslmode: 'verify-full',
      sslrootcert: '/etc/ssl/certs/ca-certificates.crt',
      oauth_issuer: issuer.url,
      oauth_client_id: client,
      ...more,
    };
    const sql = "SELECT current_user, system_user, 'TLS' FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()";
    const task = new Task({
      name: 'client',
      network: region.network,
      layer: clientLayer,
      command: [
        ...['psql', '-wAtX', '-c', sql],
        Object.entries(settings)
          .map(([name, value]) => `${name}='${value}'`)
          .join(' '),
      ],
      user: 10001,
      environment: {},
      resolv: region.resolv,
    });
    task.start();
    const code = await task.end();
    return { code, said: task.lines.join('\n') };
  }

  test('lets in who brings a token that the validator takes, as the identity in it', async () => {
    const found = await psql({ database: 'app' });
    expect(found).toEqual({ code: 0, said: expect.stringContaining('api|oauth:api|TLS') as string });
    expect(found.said).toContain(`Visit ${issuer.url}/browser and enter the code: ABCD-EFGH`);
    // The client has the scopes from the line of pg_hba.conf.
    expect(issuer.asked.at(-1)).toEqual({ client: 'client-of-api', scope: SCOPE.join(' ') });
  });

  test('refuses the token of somebody else', async () => {
    const before = issuer.asked.length;
    const { code, said } = await psql({ database: 'app', client: 'client-of-a-stranger' });
    expect(code).toBe(2);
    expect(said).toContain('OAuth bearer authentication failed for user "api"');
    expect(issuer.asked.slice(before)).toEqual([{ client: 'client-of-a-stranger', scope: SCOPE.join(' ') }]);
  });

  test('refuses a role that is not the identity, unless the validator decides about roles', async () => {
    const refused = await psql({ database: 'app', role: 'owner' });
    expect(refused.code).toBe(2);
    expect(refused.said).toContain('OAuth bearer authentication failed for user "owner"');
    const accepted = await psql({ database: 'delegated', role: 'owner' });
    expect(accepted).toEqual({ code: 0, said: expect.stringContaining('owner|oauth:api|TLS') as string });
  });

  test('refuses the same token where the validator takes none, and where no line is about the database', async () => {
    const closed = await psql({ database: 'closed' });
    expect(closed.code).toBe(2);
    expect(closed.said).toContain('OAuth bearer authentication failed for user "api"');
    const unnamed = await psql({ database: 'unnamed' });
    expect(unnamed.code).toBe(2);
    expect(unnamed.said).toContain('pg_hba.conf rejects connection');
  });

  test('lets no token come in clear, and writes none into a log', async () => {
    const clear = await psql({ database: 'app' }, { sslmode: 'disable' });
    expect(clear.code).toBe(2);
    expect(clear.said).toContain('pg_hba.conf rejects connection');
    const [member] = lab.members;
    await until(10_000, 'the refusals are in the log', () =>
      member.lines.some((line) => line.includes('OAuth bearer authentication failed')),
    );
    const logged = [...member.lines, ...lab.router.lines].join('\n');
    for (const token of Object.values(TOKENS)) expect(logged).not.toContain(token);
  });

  test('has the lines of pg_hba.conf that were declared, without an error', async () => {
    const found = await lab.psql(
      lab.members[0],
      "SELECT coalesce(error, database[1] || ' ' || array_to_string(options, ' ')) FROM pg_hba_file_rules " +
        "WHERE error IS NOT NULL OR auth_method = 'oauth' ORDER BY line_number",
    );
    const line = `issuer=${issuer.url} scope=openid db validator=`;
    expect(found.split('\n')).toEqual([
      `app ${line}api_validator`,
      `delegated ${line}api_validator delegate_ident_mapping=true`,
      `closed ${line}nobody_validator`,
    ]);
  });
});
