import { aws_ec2 as ec2 } from 'aws-cdk-lib';
import { instanceMemoryGiB } from '../instance-memory';
import { SupportedMajor } from '../postgres-version';
import { ParameterEngine } from './catalogue';
import { defaultsV1, ParameterDefault } from './defaults-v1';

/** No server gets faster by more sessions than this at once; a pooler is what takes more clients. */
export const MOST_CONNECTIONS = 2000;

/**
 * Memory for each connection. RDS gives a quarter of the memory to shared_buffers, Aurora three quarters, so that a session there has less to
 * share.
 */
const MIB_PER_CONNECTION: Readonly<Record<ParameterEngine, number>> = { rds: 16, aurora: 32 };

/**
 * The second generation: the first, with what follows from the class of the nodes, and timeouts that end what clogs. Frozen as the first.
 */
export function defaultsV2(
  engine: ParameterEngine,
  major: SupportedMajor,
  allocatedStorageGiB: number | undefined,
  instanceType: ec2.InstanceType | undefined,
): readonly ParameterDefault[] {
  const added: ParameterDefault[] = [
    // The service derives it for a serverless node, whose memory changes.
    ...(instanceType
      ? [
          {
            name: 'max_connections',
            value: connections(engine, instanceType),
            requirement: 'CP-2',
            why: 'a share of the memory for each connection, and no more than help',
          },
        ]
      : []),
    {
      name: 'idle_in_transaction_session_timeout',
      value: '60000',
      requirement: 'CP-16',
      why: 'a forgotten transaction holds its locks, and vacuum back, for a minute at most',
    },
    {
      name: 'autovacuum_vacuum_scale_factor',
      value: '0.05',
      requirement: 'OPS-7',
      why: 'a table is vacuumed when a twentieth of it is dead, and not a tenth',
    },
    {
      name: 'autovacuum_analyze_scale_factor',
      value: '0.025',
      requirement: 'OPS-7',
      why: 'statistics of a large table are renewed twice as often as it is vacuumed',
    },
    {
      name: 'tcp_keepalives_idle',
      value: '60',
      requirement: 'CP-19',
      why: 'a client that vanished is asked after a minute',
    },
    { name: 'tcp_keepalives_interval', value: '10', requirement: 'CP-19', why: 'and every ten seconds from then on' },
    { name: 'tcp_keepalives_count', value: '6', requirement: 'CP-19', why: 'and is given up after a minute more' },
    {
      name: 'client_connection_check_interval',
      value: '10000',
      requirement: 'CP-19',
      why: 'a statement whose client is gone ends within ten seconds, and not at its end',
    },
  ];
  const names = new Set(added.map(({ name }) => name));
  return [...defaultsV1(engine, major, allocatedStorageGiB).filter(({ name }) => !names.has(name)), ...added];
}

/** The number for a class whose memory was verified, or the formula by which RDS finds it. */
export function connections(engine: ParameterEngine, instanceType: ec2.InstanceType): string {
  const memory = instanceMemoryGiB(instanceType);
  const share = MIB_PER_CONNECTION[engine];
  if (memory === undefined) return `LEAST({DBInstanceClassMemory/${share * 1024 ** 2}},${MOST_CONNECTIONS})`;
  return String(Math.min(MOST_CONNECTIONS, Math.floor((memory * 1024) / share)));
}

/** How many a value means: a number, or a share of the memory where that is known. Undefined: only RDS can say. */
export function connectionsOfValue(value: string, instanceType: ec2.InstanceType): number | undefined {
  if (/^\d+$/.test(value)) return Number(value);
  const [, divisor, least] = /^(?:LEAST\()?\{DBInstanceClassMemory\/(\d+)\}(?:,(\d+)\))?$/i.exec(value) ?? [];
  const memory = instanceMemoryGiB(instanceType);
  if (divisor === undefined || memory === undefined) return undefined;
  return Math.min(Math.floor((memory * 1024 ** 3) / Number(divisor)), Number(least ?? Infinity));
}
