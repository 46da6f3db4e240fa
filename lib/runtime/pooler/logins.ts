import { fitsVerifier, readSecret, requireVerifier, SecretStore, StoredSecret } from '../secrets';

/** What is known of one secret after a look at it. */
interface Known {
  /** By the id of the version, which never gets another value. No password is kept. */
  readonly versions: Map<string, Login>;
  logins: readonly Login[];
}

interface Login {
  readonly username: string;
  readonly verifier: string;
}

export interface LoginsLook {
  /** Login to verifier, of every secret that could be read now or at an earlier look. */
  readonly verifiers: ReadonlyMap<string, string>;
  /** Roles whose secret could not be read, or holds no verifier yet, with the reason. Nothing secret. */
  readonly problems: ReadonlyMap<string, string>;
}

/** The earlier of them wins where two versions are of the same login. */
const STAGES = ['AWSCURRENT', 'AWSPENDING', 'AWSPREVIOUS'] as const;

/**
 * Who may log in, from the secrets of the roles. Where two logins take turns, the pending version is the other login's and the previous
 * one still logs in, so that all three are let in; of the login that is the current one only the current password is.
 */
export class RoleLogins {
  private readonly known = new Map<string, Known>();

  constructor(
    private readonly store: SecretStore,
    private readonly secrets: Readonly<Record<string, string>>,
  ) {}

  async look(): Promise<LoginsLook> {
    const problems = new Map<string, string>();
    const entries = Object.entries(this.secrets);
    // A few at a time: Secrets Manager throttles, and nothing is urgent here.
    for (let at = 0; at < entries.length; at += 5) {
      await Promise.all(
        entries.slice(at, at + 5).map(async ([role, arn]) => {
          try {
            await this.lookAt(role, arn);
          } catch (error) {
            problems.set(role, (error as Error).message);
          }
        }),
      );
    }
    const verifiers = new Map<string, string>();
    for (const [, { logins }] of [...this.known].sort(([a], [b]) => (a < b ? -1 : 1)))
      for (const { username, verifier } of logins) verifiers.set(username, verifier);
    return { verifiers, problems };
  }

  private async lookAt(role: string, arn: string): Promise<void> {
    const known = this.known.get(role) ?? { versions: new Map<string, Login>(), logins: [] };
    const { stages } = await this.store.describe(arn);
    const logins: Login[] = [];
    let problem: unknown;
    for (const stage of STAGES) {
      const [versionId] = [...stages].find(([, names]) => names.includes(stage)) ?? [];
      if (versionId === undefined) continue;
      try {
        const login = known.versions.get(versionId) ?? (await this.read(role, arn, versionId));
        if (login === undefined) continue;
        known.versions.set(versionId, login);
        if (!logins.some(({ username }) => username === login.username)) logins.push(login);
      } catch (error) {
        // A rotation that has just begun is no reason to lock anybody out, and neither is a version that is on its way out.
        if (stage === 'AWSCURRENT') problem = error;
      }
    }
    if (problem !== undefined) throw problem as Error;
    known.logins = logins;
    for (const id of known.versions.keys()) if (!stages.has(id)) known.versions.delete(id);
    this.known.set(role, known);
  }

  private async read(role: string, arn: string, id: string): Promise<Login | undefined> {
    const version = await this.store.find(arn, { id });
    return version === undefined ? undefined : loginOf(readSecret(arn, version.text, role));
  }
}

function loginOf({ username, password, verifier }: StoredSecret): Login {
  if (verifier === undefined)
    throw new Error('its secret has no verifier yet; the deployment of what is declared in the server writes it');
  if (!fitsVerifier(password, verifier))
    throw new Error('its secret has a verifier of another password; a deployment or a rotation writes the right one');
  return { username, verifier: requireVerifier(verifier) };
}
