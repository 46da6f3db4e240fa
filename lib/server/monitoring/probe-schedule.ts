import {
  Duration,
  aws_events as events,
  aws_events_targets as targets,
  aws_secretsmanager as secretsmanager,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { requireName } from '../state/literals';
import { ServerState } from '../state/server-state';

/** The role that the probe logs in as, its secret, its function and its schedule. */
export class ProbeSchedule extends Construct {
  constructor(
    scope: Construct,
    state: ServerState,
    options: { roleName: string; sequences: boolean; every: Duration; mostDatabases: number },
  ) {
    super(scope, 'Probe');
    const path = state.server.node.path;
    const roleName = requireName(this, 'roleName', 'role', options.roleName);
    this.declareRole(state, roleName, options.sequences);
    const secret = new secretsmanager.Secret(this, 'Secret', {
      description: `PostgreSQL role ${roleName} of ${path}, which the probe logs in as`,
      encryptionKey: state.props.encryptionKey,
      generateSecretString: {
        secretStringTemplate: JSON.stringify({ username: roleName }),
        generateStringKey: 'password',
        passwordLength: 40,
        excludePunctuation: true,
      },
    });
    state.addSecret(this, roleName, secret, 'postgres');
    const { function: target, ready } = state.probeFunction(this, secret, options.mostDatabases);
    const rule = new events.Rule(this, 'Schedule', {
      description: `Looks into the PostgreSQL server ${path}`.slice(0, 512),
      schedule: events.Schedule.rate(options.every),
      // A look that was missed is worth nothing: the next one is newer.
      targets: [new targets.LambdaFunction(target, { retryAttempts: 0, maxEventAge: Duration.minutes(1) })],
    });
    rule.node.addDependency(state.applied, ...ready);
  }

  /** The settings are a second line: the function sets the same in its session. */
  private declareRole(state: ServerState, role: string, sequences: boolean): void {
    state.declare((declaration) => {
      declaration.addRole(this, {
        name: role,
        login: true,
        authentication: 'password',
        inherit: true,
        createDatabase: false,
        createRole: false,
        connectionLimit: 5,
      });
      declaration.addMembership(this, { role: 'pg_monitor', member: role, inherit: true, set: false, admin: false });
      for (const [name, value] of [
        ['default_transaction_read_only', 'on'],
        ['statement_timeout', '10s'],
        ['lock_timeout', '1s'],
        ['idle_in_transaction_session_timeout', '10s'],
      ])
        declaration.addSetting(this, { role, name, values: [value] });
      declaration.addWatcher(role, sequences);
    });
  }
}
