import { Duration, IResource, Stack, Token, aws_backup as backup, aws_iam as iam, aws_kms as kms } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { addFinding } from '../../compliance';
import { VaultLock } from './vault-lock';

/** A second copy of every daily snapshot, outside the blast radius of the server (BK-13). */
export interface BackupCopy {
  /**
   * Where the copies go: a vault in another region or another account, such as that of a `BackupCopyVault`. One that this app does not
   * make comes in by `BackupVault.fromBackupVaultArn()`.
   */
  readonly vault: backup.IBackupVault;

  /**
   * How long a copy is kept.
   *
   * @default - as long as the snapshot it is made from
   */
  readonly retention?: Duration;
}

/** Copies of a server's daily snapshots. */
export interface SecondCopyOptions {
  /**
   * Copies of the daily snapshots in other regions or accounts (BK-13). The server's key lets the account of each vault use it (BK-14).
   *
   * @default - none: snapshots and server are lost together with the account or the region
   */
  readonly backupCopies?: BackupCopy[];
}

/** What a daily backup plan gets of the server. */
export interface CopiedBackups {
  readonly copies?: BackupCopy[];
  readonly lock?: VaultLock;
  readonly encryptionKey: kms.IKey;
  readonly retention: Duration;
}

/** The copy actions of a plan's rule; throws for a copy that could never be made or used. */
export function copyActions(
  scope: IConstruct,
  { copies, encryptionKey, retention: own }: CopiedBackups,
): backup.BackupPlanCopyActionProps[] | undefined {
  if (!copies?.length) return undefined;
  return copies.map(({ vault, retention }) => {
    const path = scope.node.path;
    const stack = Stack.of(scope);
    const { account, region } = placeOf(vault);
    const otherAccount = differs(account, stack.account);
    const otherRegion = differs(region, stack.region);
    if (otherAccount === false && otherRegion === false) {
      throw new Error(
        `${path}: backupCopies names ${vault.node.path}, a vault in the account and region of the server, which is lost with it; use another region or account`,
      );
    }
    addFinding(scope, {
      id: 'BK-13',
      check: () =>
        otherAccount && otherRegion
          ? `${path}: backupCopies goes to ${account} and ${region} in one step, and AWS Backup documents for RDS and Aurora either another account or another region`
          : undefined,
      fix: 'Copy to the other account in this region, and from there on to the other region; or to the other region of this account.',
    });
    checkKnownVault(path, vault, { account: stack.account, otherAccount, retention: retention ?? own });
    if (otherAccount !== false) shareKey(scope, encryptionKey, account);
    return { destinationBackupVault: vault, deleteAfter: retention ?? own };
  });
}

/** What is known of a vault that this app makes for copies. */
export interface KnownVault {
  readonly path: string;
  readonly lock: VaultLock;
  readonly sourceAccounts: readonly string[];
}

/** By the construct that names the vault: it is an import of its own app, and says no more than its ARN. */
const KNOWN_VAULTS = new WeakMap<backup.IBackupVault, KnownVault>();

export function rememberVault(vault: backup.IBackupVault, known: KnownVault): void {
  KNOWN_VAULTS.set(vault, known);
}

/** Each copy job would fail, night after night, while the snapshots themselves are made. */
function checkKnownVault(
  path: string,
  vault: backup.IBackupVault,
  copy: { readonly account: string; readonly otherAccount: boolean | undefined; readonly retention: Duration },
): void {
  const known = KNOWN_VAULTS.get(vault);
  if (!known) return;
  const refused = copy.retention.isUnresolved() ? undefined : known.lock._refused(copy.retention);
  if (refused) {
    throw new Error(
      `${path}: backupCopies keeps copies in ${known.path} for ${copy.retention.toDays()} days, and the lock of that vault takes ${refused}: every copy ` +
        'would fail. Set retention of the copy within them, or vaultLock of the vault',
    );
  }
  if (
    copy.otherAccount === true &&
    !known.sourceAccounts.includes(copy.account) &&
    !known.sourceAccounts.some((account) => Token.isUnresolved(account))
  ) {
    throw new Error(
      `${path}: backupCopies names ${known.path}, whose sourceAccounts ${known.sourceAccounts.length === 0 ? 'is empty' : `has ${known.sourceAccounts.join(', ')} alone`}: ` +
        `account ${copy.account} may copy nothing into it. Add '${copy.account}' to sourceAccounts`,
    );
  }
}

/** A server for development has no backup plan whose snapshots could be copied or locked. */
export function refuseCopies(
  path: string,
  options: SecondCopyOptions & { readonly backupVaultLock?: VaultLock },
): void {
  for (const prop of ['backupCopies', 'backupVaultLock'] as const) {
    if (options[prop] !== undefined) {
      throw new Error(
        `${path}: ${prop} is set, and the development profile has no backup plan; leave it out, or use PostgresProfile.production()`,
      );
    }
  }
}

/** Throws for the key that AWS manages, whose policy nobody can change and no other account and region can use (BK-14). */
export function refuseManagedKey(path: string, prop: string, key: kms.IKey, why: string): void {
  const arn: unknown = Stack.of(key).resolve(key.keyArn);
  if (/alias\/aws\//.test(JSON.stringify(arn))) {
    throw new Error(
      `${path}: ${prop} is a key that AWS manages, whose policy cannot be changed: ${why}. Use a customer key; a server that has the ` +
        'other one for life is restored from a copy of its snapshot that was made with a customer key',
    );
  }
}

/** What AWS Backup of another account needs to read a snapshot under this key, and nothing by which to change the key. */
function shareKey(scope: IConstruct, key: kms.IKey, account: string): void {
  const path = scope.node.path;
  refuseManagedKey(path, 'encryptionKey', key, `account ${account} could make no copy that it can read`);
  const principals = [new iam.AccountPrincipal(account)];
  const { statementAdded } = key.addToResourcePolicy(
    new iam.PolicyStatement({
      sid: `BackupCopies${Token.isUnresolved(account) ? '' : account}`,
      principals,
      actions: ['kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey*', 'kms:ReEncrypt*'],
      resources: ['*'],
    }),
  );
  key.addToResourcePolicy(
    new iam.PolicyStatement({
      sid: `BackupCopyGrants${Token.isUnresolved(account) ? '' : account}`,
      principals,
      actions: ['kms:CreateGrant'],
      resources: ['*'],
      conditions: { Bool: { 'kms:GrantIsForAWSResource': 'true' } },
    }),
  );
  addFinding(scope, {
    id: 'BK-14',
    check: () =>
      statementAdded
        ? undefined
        : `${path}: encryptionKey is imported, so that its policy cannot be given to account ${account}, without which no copy arrives there`,
    fix:
      'Let the account use the key (kms:DescribeKey, Decrypt, Encrypt, ReEncrypt*, GenerateDataKey*, and CreateGrant with ' +
      'kms:GrantIsForAWSResource) in the policy where the key is made, and acknowledge this.',
  });
}

function placeOf(vault: backup.IBackupVault): IResource['env'] {
  // An import has its stack's environment, whatever its ARN says. Parts of an ARN, or all of it, may be tokens, which have no colon.
  const [, , , region, account] = vault.backupVaultArn.split(':');
  return { account: account || vault.env.account, region: region || vault.env.region };
}

/** Undefined: not known before the deployment. */
function differs(one: string, other: string): boolean | undefined {
  if (Token.isUnresolved(one) || Token.isUnresolved(other)) return one === other ? false : undefined;
  return one !== other;
}
