import { Construct } from 'constructs';
import type { PostgresServerBase } from '../server/postgres-server';
import { requireKnownOptions } from '../server/known-props';
import { requireProps } from '../server/required';
import { ServerState } from '../server/state/server-state';
import { ExternalPooler, ExternalPoolerOptions } from './external-pooler';
import { PgBouncer, PgBouncerOptions } from './pgbouncer';
import { PoolerEndpoint } from './pooler-endpoint';
import { RdsProxy, RdsProxyOptions } from './rds-proxy';

/** What stands between applications and a server, and lends them its connections (CP-1): for `server.addPooler()`. */
export class Pooler {
  /** What fits the server: RDS Proxy before RDS and Aurora, PgBouncer before others that are reached from a VPC. */
  public static recommended(): Pooler {
    return new Pooler((scope, id, server) => {
      if (typeof server._proxyTarget() !== 'string') return Pooler.rdsProxy()._make(scope, id, server);
      if (ServerState.of(server).props.vpc) return Pooler.pgBouncer()._make(scope, id, server);
      throw new Error(
        `${server.node.path}: addPooler('${id}') has nothing to put before a server that is reached over the internet; pass the vpc ` +
          'from which it is reached, for PgBouncer there, or Pooler.external() for a pooler that somebody else runs',
      );
    });
  }

  /**
   * RDS Proxy, which AWS runs. It knows failovers, lets roles in by IAM token end to end, and pins a connection where a session has state.
   *
   * @param options how it is set up
   */
  public static rdsProxy(options: RdsProxyOptions = {}): Pooler {
    requireProps('Pooler.rdsProxy()', options, '{ maxConnectionsPercent: 50 }');
    requireKnownOptions('Pooler.rdsProxy()', 'RdsProxyOptions', options);
    return new Pooler((scope, id, server) => {
      const target = server._proxyTarget();
      if (typeof target === 'string') throw new Error(`${server.node.path}: Pooler.rdsProxy(): ${target}`);
      return new RdsProxy(scope, id, server, target, options);
    });
  }

  /**
   * PgBouncer on ECS Fargate, behind a load balancer of its own. It works before every server, and takes passwords alone.
   *
   * @param options how it is set up
   */
  public static pgBouncer(options: PgBouncerOptions = {}): Pooler {
    requireProps('Pooler.pgBouncer()', options, '{ tasks: 2 }');
    requireKnownOptions('Pooler.pgBouncer()', 'PgBouncerOptions', options);
    return new Pooler((scope, id, server) => new PgBouncer(scope, id, server, options));
  }

  /**
   * A pooler that somebody else runs, such as Supavisor or PgCat (CP-20).
   *
   * @param options where it is, and what it can do
   */
  public static external(options: ExternalPoolerOptions): Pooler {
    requireProps('Pooler.external()', options, "{ host: 'pool.example.com' }");
    requireKnownOptions('Pooler.external()', 'ExternalPoolerOptions', options);
    return new Pooler((scope, id, server) => new ExternalPooler(scope, id, server, options));
  }

  private constructor(
    private readonly make: (scope: Construct, id: string, server: PostgresServerBase) => PoolerEndpoint,
  ) {}

  /** @internal */
  public _make(scope: Construct, id: string, server: PostgresServerBase): PoolerEndpoint {
    return this.make(scope, id, server);
  }
}
