import { Duration } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { sessionSettingProblem } from '../server/parameters/session-settings';
import { requireDuration } from '../server/required';
import { requireText } from '../server/state/literals';
import { ServerState } from '../server/state/server-state';

const REFUSED = new Map([
  ['role', 'use actsAs, which makes the role a member as well'],
  ['session_authorization', 'only a superuser may set it'],
  ['search_path', 'use searchPath, which quotes each schema'],
]);

/** Declares defaults of a role or a database. They apply to sessions that begin after the deployment. */
export function addSettings(
  by: Construct,
  state: ServerState,
  target: { readonly role?: string; readonly database?: string },
  settings: Readonly<Record<string, string>> = {},
): void {
  const { platform, majorVersion, leastVersion } = state.props;
  for (const [name, value] of Object.entries(settings)) {
    if (!/^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$/i.test(name)) {
      throw new Error(`${by.node.path}: settings has ${JSON.stringify(name)}, which is not the name of a setting`);
    }
    const refused =
      REFUSED.get(name.toLowerCase()) ??
      sessionSettingProblem(name.toLowerCase(), platform, leastVersion ? undefined : majorVersion);
    if (refused) throw new Error(`${by.node.path}: settings cannot have ${name}: ${refused}`);
    state.declare((declaration) =>
      declaration.addSetting(by, {
        ...target,
        name: name.toLowerCase(),
        values: [requireText(by, `settings.${name}`, value)],
      }),
    );
  }
}

/** A duration as PostgreSQL shows it, in its largest whole unit. */
export function toSetting(by: Construct, prop: string, duration: Duration): string {
  requireDuration(by.node.path, prop, duration, 'Duration.seconds(15)');
  if (duration.isUnresolved()) throw new Error(`${by.node.path}: ${prop} must be a literal duration, not a token`);
  const milliseconds = duration.toMilliseconds();
  if (milliseconds > 2_147_483_647) {
    throw new Error(`${by.node.path}: ${prop} is ${duration.toString()}; PostgreSQL takes at most 24 days`);
  }
  if (milliseconds > 0 && milliseconds % 60_000 === 0) return `${milliseconds / 60_000}min`;
  return milliseconds % 1000 === 0 ? `${milliseconds / 1000}s` : `${milliseconds}ms`;
}
