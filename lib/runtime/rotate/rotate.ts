import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import {
  completeSecret,
  fitsVerifier,
  readSecret,
  SecretError,
  SecretStore,
  StoredSecret,
  verifierOf,
} from '../secrets';
import { RotationEvent } from './event';
import { canLogIn, logIn, RotationServer, setOwnPassword, tryLoginOnce } from './role-login';
import { otherLogin, setPasswordOfOther } from './turns';

export interface RotationContext {
  readonly store: SecretStore;
  readonly server: RotationServer;
  /** The administrator's secret, for secrets in which two logins take turns. */
  readonly adminSecret?: string;
  /** Milliseconds in which poolers that let clients in by a verifier of their own read that of the next login. Default: 0. */
  readonly pickup?: number;
  /** Told what was done, without any secret. */
  readonly onProgress?: (message: string) => void;
}

interface Versions {
  readonly currentId: string;
  readonly current: StoredSecret;
  /** The new version's value; absent until createSecret has made it. */
  readonly next?: StoredSecret;
  /** The new version is the current one already. */
  readonly isFinished: boolean;
}

/**
 * One step of a rotation. A role has one password, so between the server's change and the secret's no order keeps both in agreement. To
 * keep that moment as short as it can be, the last step does both: it sets the password, proves it by a login, moves AWSCURRENT, and
 * takes the password back when one of these fails. The steps before change nothing that anybody uses. Each step can be repeated, and
 * finds out by logging in what an interrupted one has done. Source: reconciler cases 38 to 40.
 *
 * Where two logins take turns there is no such moment: the new version is about the other one, whose password is set by the
 * administrator, and whoever works with the current version never notices. The last step does all of it there too, so that a rotation
 * that fails before does not end the version that is the previous one now.
 */
export async function rotate(event: RotationEvent, context: RotationContext): Promise<void> {
  const versions = await readVersions(event, context.store);
  switch (event.step) {
    case 'createSecret':
      return createSecret(event, context, versions);
    case 'setSecret':
      return trySecret(event, context, versions);
    case 'testSecret':
      requireNext(event, versions);
      return waitForPoolers(context, versions);
    case 'finishSecret':
      return finishSecret(event, context, versions);
  }
}

/** Only the verifier of a login that nobody uses yet can be known to a pooler before it is that of the server. */
async function waitForPoolers(
  { pickup = 0, onProgress }: RotationContext,
  { current, isFinished }: Versions,
): Promise<void> {
  if (pickup === 0 || isFinished || current.group === undefined) return;
  onProgress?.(`poolers have ${pickup / 1000} s to read the verifier of the next login`);
  await new Promise((resolve) => setTimeout(resolve, pickup));
}

async function readVersions({ secret, token }: RotationEvent, store: SecretStore): Promise<Versions> {
  const { rotation, stages } = await store.describe(secret);
  if (!rotation) throw new SecretError(secret, 'is not set up for rotation');
  const own = stages.get(token);
  if (!own) throw new SecretError(secret, 'has no version with the id of this event');
  const isFinished = own.includes('AWSCURRENT');
  if (!isFinished && !own.includes('AWSPENDING')) {
    throw new SecretError(secret, 'has another version pending than the one of this event');
  }
  const { versionId, text } = await store.get(secret);
  const current = readSecret(secret, text);
  if (isFinished) return { currentId: versionId, current, next: current, isFinished };
  const pending = await store.find(secret, { id: token, stage: 'AWSPENDING' });
  const next = pending && readSecret(secret, pending.text, loginOfNext(current));
  if (next && next.group !== current.group) {
    throw new SecretError(secret, 'was changed while it is rotated; cancel the rotation and start it again');
  }
  return { currentId: versionId, current, next, isFinished };
}

/** Who logs in with the version after this one. */
function loginOfNext(current: StoredSecret): string {
  return current.group === undefined ? current.username : otherLogin(current.group, current.username);
}

/** Makes the new password, and with it all that the secret says besides. */
async function createSecret(event: RotationEvent, context: RotationContext, versions: Versions): Promise<void> {
  if (versions.next) return;
  const { host, port, readerHost } = context.server;
  const password = randomBytes(32).toString('base64url');
  const next = { ...versions.current, username: loginOfNext(versions.current), password };
  const complete = completeSecret(next, { host, readerHost, port, dbname: next.dbname }) ?? next;
  await context.store.put(event.secret, complete, event.token, 'AWSPENDING');
  context.onProgress?.('a new password is made');
}

/** Finds out whether the last step can succeed: somebody can log in, and may change the password. Nothing stays of it. */
async function trySecret(event: RotationEvent, context: RotationContext, versions: Versions): Promise<void> {
  const next = requireNext(event, versions);
  if (versions.isFinished || (await canLogIn(context.server, next))) return;
  if (next.group !== undefined) {
    await setPasswordOfOther(event.secret, context, versions.current, next, 'ROLLBACK');
    context.onProgress?.(`the administrator may change the password of ${next.username}`);
    return;
  }
  const { client } = await logInWithEarlier(event, context, versions);
  try {
    await client.query('BEGIN');
    await setOwnPassword(client, next.verifier);
    await client.query('ROLLBACK');
  } finally {
    await client.end();
  }
  context.onProgress?.('the role may change its password');
}

async function finishSecret(event: RotationEvent, context: RotationContext, versions: Versions): Promise<void> {
  const next = requireNext(event, versions);
  if (await canLogIn(context.server, next)) {
    if (versions.isFinished) return;
    if (next.group !== undefined) await makeCurrent(event, context, versions);
    else await changePassword(event, context, versions, { next, earlier: versions.current });
    return;
  }
  if (next.group !== undefined) return finishTurn(event, context, versions, next);
  const { client, secret: earlier } = await logInWithEarlier(event, context, versions);
  try {
    await changePassword(event, context, versions, { next, earlier, client });
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Nothing has to be taken back when it fails: the current version stays valid, and a repeated step goes on from here. */
async function finishTurn(
  event: RotationEvent,
  context: RotationContext,
  versions: Versions,
  next: StoredSecret & { readonly verifier: string },
): Promise<void> {
  if (versions.isFinished) {
    throw new SecretError(
      event.secret,
      `is rotated, and somebody has changed the password of ${JSON.stringify(next.username)} since; a deployment sets it again`,
    );
  }
  await setPasswordOfOther(event.secret, context, versions.current, next, 'COMMIT');
  if (!(await canLogIn(context.server, next))) {
    throw new SecretError(
      event.secret,
      `was not rotated: the server took the new password of ${JSON.stringify(next.username)} and refuses a login with it`,
    );
  }
  context.onProgress?.(`the new password of ${next.username} is set and proven by a login`);
  await makeCurrent(event, context, versions);
}

/** Milliseconds for each thing that is waited for while the server and the secret disagree, and clients are refused. */
const WHILE_REFUSED = 5_000;

interface Change {
  readonly next: StoredSecret & { readonly verifier: string };
  readonly earlier: StoredSecret;
  /** Logged in as the role, which has the earlier password yet. Absent: it has the next one already. */
  readonly client?: Client;
}

/** Makes the next password that of the server and of the secret, or of neither. */
async function changePassword(
  event: RotationEvent,
  context: RotationContext,
  versions: Versions,
  change: Change,
): Promise<void> {
  const { next, client } = change;
  const { server, store, onProgress } = context;
  try {
    if (client) {
      await setOwnPassword(client, next.verifier);
      await prove(event.secret, server, next);
      onProgress?.('the new password is set and proven by a login');
    }
    if (versions.isFinished) return;
    await makeCurrent(event, context, versions);
  } catch (error) {
    // What is the current version already is never taken back. When nobody can tell, it was most likely not moved.
    const isCurrent = versions.isFinished || (await isCurrentVersion(event, store).catch(() => false));
    if (!isCurrent) await takeBack(context, change);
    if (!isCurrent || versions.isFinished) throw error;
  }
  // A deployment that read the secret just before may have set the password of that time.
  if ((await tryLoginOnce(server, next, WHILE_REFUSED)) !== 'fails') return;
  if (client) await setOwnPassword(client, next.verifier);
  else await finishSecret(event, context, { ...versions, isFinished: true });
}

async function makeCurrent(event: RotationEvent, context: RotationContext, versions: Versions): Promise<void> {
  await context.store.makeCurrent(event.secret, event.token, versions.currentId, WHILE_REFUSED);
  context.onProgress?.('the new password is the current one');
}

/** A limit that refuses the login comes after the password was taken, and so proves it too. */
async function prove(secret: string, server: RotationServer, next: StoredSecret): Promise<void> {
  const verdict = await tryLoginOnce(server, next, WHILE_REFUSED);
  if (verdict === 'fails')
    throw new SecretError(secret, 'was not rotated: the server took the new password and refuses a login with it');
  if (verdict === 'unknown')
    throw new SecretError(
      secret,
      'was not rotated: a login to prove the new password came to no verdict; try it again',
    );
}

async function isCurrentVersion({ secret, token }: RotationEvent, store: SecretStore): Promise<boolean> {
  return (await store.describe(secret, WHILE_REFUSED)).stages.get(token)?.includes('AWSCURRENT') ?? false;
}

/** Over the connection that is there, or over a new one with the next password; where the server refuses that, it has the earlier one. */
async function takeBack({ server, onProgress }: RotationContext, { client, next, earlier }: Change): Promise<void> {
  if (earlier.username !== next.username) return; // never the password of one role for another
  const set = (on: Client) => setOwnPassword(on, verifierOf(earlier));
  try {
    if (client && (await succeeds(set(client)))) return;
    const another = await logIn({ ...server, patience: 0 }, next);
    if (another) await set(another).finally(() => another.end().catch(() => undefined));
  } catch (error) {
    onProgress?.(
      `the password could not be taken back, so the current version may be refused until this step is repeated: ${(error as Error).message}`,
    );
  }
}

function succeeds(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}

/** With the current password, or with the one before, in case the secret got a value that the server never had. */
async function logInWithEarlier(event: RotationEvent, context: RotationContext, versions: Versions) {
  const { server, store } = context;
  const candidates = versions.isFinished ? [] : [versions.current];
  const previous = await store.find(event.secret, { stage: 'AWSPREVIOUS' });
  const role = versions.current.username;
  for (const secret of candidates) {
    const client = await logIn(server, secret);
    if (client) return { client, secret };
  }
  if (previous) {
    const secret = readSecret(event.secret, previous.text, role);
    const client = await logIn(server, secret);
    if (client) return { client, secret };
  }
  throw new SecretError(
    event.secret,
    `cannot be rotated: none of its versions (AWSPENDING, AWSCURRENT, AWSPREVIOUS) logs in as ${JSON.stringify(role)}; ` +
      'a deployment sets the current one again, for the administrator itself a change of its password on the server',
  );
}

function requireNext(event: RotationEvent, versions: Versions): StoredSecret & { readonly verifier: string } {
  const { next } = versions;
  if (!next) throw new SecretError(event.secret, 'has no value for its pending version yet; createSecret comes first');
  const { verifier } = next;
  if (verifier === undefined || !fitsVerifier(next.password, verifier)) {
    throw new SecretError(
      event.secret,
      'has a pending version whose verifier is not that of its password; cancel the rotation and start it again',
    );
  }
  return { ...next, verifier };
}
