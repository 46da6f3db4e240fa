/** One thing that makes a server that exists safer, and what a server that is in use may feel of it. */
export interface HardeningText {
  /** The requirement's id. */
  readonly requirement: string;
  /** What it asks for, in half a sentence. */
  readonly asks: string;
  /** Whom it breaks on a server in use, in one sentence. */
  readonly breaks: string;
  /** When it takes effect, in half a sentence. */
  readonly takesEffect: string;
}

/** In the order in which they are enforced. */
export const HARDENING_TEXTS = {
  'own-parameter-group': {
    requirement: 'LIB-2',
    asks: 'the server has a parameter group of its own, since nobody can change the engine’s default one',
    breaks: 'Another group means a restart of each node, by the deployment or waiting for somebody.',
    takesEffect: 'after a restart',
  },
  'force-tls': {
    requirement: 'SEC-11',
    asks: 'the server takes TLS connections alone',
    breaks: 'Clients without TLS are refused from their next connection on; those that are connected stay.',
    takesEffect: 'for new connections',
  },
  'scram-passwords': {
    requirement: 'SEC-9',
    asks: 'a new password is kept as a SCRAM verifier',
    breaks:
      'Passwords that are there stay as they are. A role whose password is set from now on needs a driver that knows SCRAM (libpq 10, JDBC 42.2).',
    takesEffect: 'for passwords that are set from then on',
  },
  'refuse-md5': {
    requirement: 'SEC-10',
    asks: 'a password that is kept as MD5 does not log in',
    breaks: 'Roles whose password is kept as MD5 no longer log in, until it has been set anew.',
    takesEffect: 'for new connections',
  },
  audit: {
    requirement: 'SEC-20',
    asks: 'changes of objects, roles and grants are audited, and statements are counted',
    breaks: 'Nobody is refused, but the libraries load only when the server starts, and the log grows.',
    takesEffect: 'after a restart, which CloudFormation does not do',
  },
  'log-connections': {
    requirement: 'SEC-21',
    asks: 'the log shows who connected, for how long, and who copied the server',
    breaks: 'Nobody is refused. Clients that connect for each request write two lines each time.',
    takesEffect: 'for new connections',
  },
  'log-statements': {
    requirement: 'OPS-5',
    asks: 'slow statements, waits for locks, spills to disk and long vacuums are in the log',
    breaks: 'Nobody is refused. The log gets the text of slow statements, with the values in it.',
    takesEffect: 'at once',
  },
  'idle-transactions': {
    requirement: 'CP-16',
    asks: 'a forgotten transaction ends by itself',
    breaks: 'A session that does nothing for five minutes inside a transaction is ended, and its work rolled back.',
    takesEffect: 'at once, for sessions that have no value of their own',
  },
  'slot-limit': {
    requirement: 'HA-8',
    asks: 'an abandoned replication slot loses its place before it fills the volume',
    breaks: 'A consumer that is further behind than the limit loses its place, and has to copy everything again.',
    takesEffect: 'at the next checkpoint',
  },
  'log-export': {
    requirement: 'LIB-6',
    asks: 'the logs are kept in CloudWatch',
    breaks:
      'Nobody is refused. RDS makes the log groups without an end and without a key of yours; make them beforehand to have both.',
    takesEffect: 'at once',
  },
  'deletion-protection': {
    requirement: 'BK-15',
    asks: 'the server cannot be deleted by mistake',
    breaks: 'Deleting or replacing the server fails until somebody takes the protection off.',
    takesEffect: 'at once',
  },
  'backup-retention': {
    requirement: 'BK-3',
    asks: 'any moment of the last seven days or more can be restored',
    breaks: 'Nobody is refused. Backups cost storage; an instance that had none is restarted when they are turned on.',
    takesEffect: 'at once, and reaches back as far as the next days allow',
  },
  'iam-login': {
    requirement: 'SEC-16',
    asks: 'roles may log in with IAM tokens',
    breaks: 'Nobody is refused: roles log in as before until one is given rds_iam.',
    takesEffect: 'at once',
  },
  'not-public': {
    requirement: 'SEC-15',
    asks: 'no node has a public address',
    breaks: 'Whoever comes over the internet loses the way in, and the name resolves to another address.',
    takesEffect: 'at once, for new connections',
  },
} as const satisfies Readonly<Record<string, HardeningText>>;

export type HardeningId = keyof typeof HARDENING_TEXTS;

/** What cannot be changed on a server that runs, and what to do instead. */
export const FIXED_TEXTS = {
  encryption: {
    requirement: 'SEC-22',
    instead: 'Copy a snapshot with a key, restore it beside the old server, and move over.',
  },
  'customer-key': {
    requirement: 'BK-14',
    instead: 'Copy a snapshot with a customer key, restore it beside the old server, and move over.',
  },
  port: {
    requirement: 'SEC-15',
    instead: 'Leave it: security groups decide who reaches it. A new server takes another port.',
  },
  subnets: {
    requirement: 'SEC-15',
    instead:
      'Restore a snapshot into isolated subnets, and move over. Until then security groups alone stand before it.',
  },
} as const;

export type FixedId = keyof typeof FIXED_TEXTS;
