import { decodePooler, PoolerDocument, PoolerDocumentError } from '../../lib/contract';

const ARN = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:';
const document: PoolerDocument = {
  version: 1,
  server: { host: 'db.example.com', port: 5432, trust: 'rds' },
  databases: { app: { poolSize: 10, maxConnections: 20, sessionConnections: 4 } },
  secrets: { api: `${ARN}api-AbCdEf` },
  certificateSecret: `${ARN}certificate-AbCdEf`,
};

const problemsOf = (changes: object): readonly string[] => {
  try {
    decodePooler({ ...document, ...changes });
    return [];
  } catch (error) {
    return (error as PoolerDocumentError).problems;
  }
};

describe('the document of a pooler', () => {
  test('says the same with texts in the place of numbers, and gets the defaults', () => {
    const texts = JSON.parse(
      JSON.stringify(document, (_, value) => (typeof value === 'number' ? String(value) : value)),
    );
    expect(decodePooler(texts)).toEqual(decodePooler(document));
    expect(decodePooler(document)).toMatchObject({
      processes: 1,
      port: 6432,
      maxClientConnections: 5000,
      maxPreparedStatements: 200,
      stopTimeout: 120,
      secretsInterval: 60,
      timeouts: {
        queryWait: 10,
        clientIdle: 0,
        idleTransaction: 60,
        transaction: 0,
        serverLifetime: 1800,
        serverIdle: 300,
        reservePool: 3,
      },
    });
    expect(problemsOf({ metrics: { dimensions: { Server: 'a' }, interval: '30' } })).toEqual([]);
  });

  test.each([
    ['an unknown key', { maxClients: 1 }, 'the configuration has a key that this version does not know: "maxClients"'],
    ['an unknown timeout', { timeouts: { query: 1 } }, 'timeouts has a key that this version does not know: "query"'],
    ['no number', { processes: 'two' }, 'processes of the configuration must be a whole number'],
    ['a number out of range', { port: 80 }, 'port of the configuration must be a whole number from 1024 to 65535'],
    ['no database', { databases: {} }, 'there is no database'],
    [
      'a pool without a connection for each process',
      { processes: 4, databases: { app: { poolSize: 2, maxConnections: 8 } } },
      'poolSize of databases.app of the configuration must be a whole number from 4 to 10000',
    ],
    [
      'a session pool that PgBouncer would take for one without a limit',
      { processes: 4, databases: { app: { poolSize: 4, maxConnections: 8, sessionConnections: 2 } } },
      'sessionConnections of databases.app of the configuration must be 0, or at least one for each of 4 processes',
    ],
    [
      'a database that has the name of an alias',
      { databases: { ...document.databases, app_session: { poolSize: 1, maxConnections: 1 } } },
      'the database "app_session" has the name of an alias of "app"',
    ],
    [
      'the console',
      { databases: { pgbouncer: { poolSize: 1, maxConnections: 1 } } },
      'the database "pgbouncer" has the name of the console of PgBouncer',
    ],
    [
      'a name that the parser would read as more',
      { databases: { 'app = host=evil\n[pgbouncer]\nauth_type': { poolSize: 1, maxConnections: 1 } } },
      'which PgBouncer does not serve',
    ],
    ['a role with a line break', { secrets: { 'a\n"b" "c"': `${ARN}x` } }, 'contains a control character'],
    ['several hosts', { server: { host: 'a,b', port: 1, trust: 'rds' } }, 'the host "a,b" is none'],
    ['a folder of sockets', { server: { host: '/tmp', port: 1, trust: 'rds' } }, 'the host "/tmp" is none'],
    ['no root', { server: { host: 'a', port: 1, trust: 'all' } }, 'trust of server must be rds, public or a PEM text'],
    ['no secret', { secrets: { api: 'password' } }, 'secrets.api of the configuration must be the ARN of a secret'],
    ['no time for the last transactions', { stopTimeout: 15 }, 'stopTimeout of the configuration must be'],
    ['no dimension', { metrics: { dimensions: {} } }, 'dimensions of metrics must be 1 to 30'],
  ])('%s is refused', (_, changes, problem) => {
    expect(problemsOf(changes).join('; ')).toContain(problem);
  });

  test('of another version is refused before anything else is looked at', () => {
    expect(problemsOf({ version: 2, nonsense: true })).toEqual([
      'version is 2, and this image reads version 1: deploy the image of the same version of cdk-postgres',
    ]);
  });
});
