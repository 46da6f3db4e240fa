import {
  ArnFormat,
  RemovalPolicy,
  Stack,
  Token,
  aws_backup as backup,
  aws_iam as iam,
  aws_kms as kms,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { refuseManagedKey, rememberVault } from './backup-copy';
import { VaultLock } from './vault-lock';

/** Properties of `BackupCopyVault`. */
export interface BackupCopyVaultProps {
  /** The vault's name, so that a stack in another region or account can name it: letters, digits, hyphens and underscores, 2 to 50. */
  readonly vaultName: string;

  /**
   * The accounts whose backups are copied here.
   *
   * @default - the vault's own account alone
   */
  readonly sourceAccounts?: string[];

  /**
   * The vault's lock.
   *
   * @default VaultLock.governance()
   */
  readonly vaultLock?: VaultLock;

  /**
   * The customer key of the copies (BK-14). It is in the vault's own account and region.
   *
   * @default - a key of its own with yearly rotation
   */
  readonly encryptionKey?: kms.IKey;
}

/**
 * A vault for second copies, in a stack of another region or another account than the servers' (BK-13): locked, under a customer key,
 * with a policy by which nobody deletes a recovery point. It stays when its stack goes.
 */
export class BackupCopyVault extends Construct {
  /** The vault by its name alone, for `backupCopies` of a server in a stack of another environment, which is deployed after this one. */
  public readonly vault: backup.IBackupVault;

  /** The customer key of the copies. */
  public readonly encryptionKey: kms.IKey;

  /**
   * Makes the vault and its key.
   *
   * @param scope a stack in another region or account than the server's
   * @param id its name in the scope
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: BackupCopyVaultProps) {
    super(scope, id);
    const path = this.node.path;
    if (Token.isUnresolved(props.vaultName) || !/^[A-Za-z0-9_-]{2,50}$/.test(props.vaultName)) {
      throw new Error(
        `${path}: vaultName '${props.vaultName}' must have 2 to 50 letters, digits, hyphens and underscores`,
      );
    }
    const { account, region } = Stack.of(this);
    if (Token.isUnresolved(account) || Token.isUnresolved(region)) {
      throw new Error(
        `${path}: the stack ${Stack.of(this).stackName} has no env with account and region, by which servers elsewhere name the vault; set it`,
      );
    }
    const accounts = (props.sourceAccounts ?? []).filter((source) => source !== account);
    for (const source of accounts) {
      if (!Token.isUnresolved(source) && !/^\d{12}$/.test(source)) {
        throw new Error(`${path}: sourceAccounts has '${source}'; an account is twelve digits`);
      }
    }
    if (props.encryptionKey) {
      refuseManagedKey(
        path,
        'encryptionKey',
        props.encryptionKey,
        'AWS Backup copies nothing across accounts under it',
      );
    }
    this.encryptionKey =
      props.encryptionKey ??
      new kms.Key(this, 'Key', {
        description: `Copies of backups in ${props.vaultName}`,
        enableKeyRotation: true,
        removalPolicy: RemovalPolicy.RETAIN,
      });
    const lock = props.vaultLock ?? VaultLock.governance();
    const vault = new backup.BackupVault(this, 'Vault', {
      backupVaultName: props.vaultName,
      encryptionKey: this.encryptionKey,
      lockConfiguration: lock._configuration(),
      blockRecoveryPointDeletion: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    if (accounts.length > 0) {
      vault.addToAccessPolicy(
        new iam.PolicyStatement({
          principals: accounts.map((source) => new iam.AccountPrincipal(source)),
          actions: ['backup:CopyIntoBackupVault'],
          resources: ['*'],
        }),
      );
    }
    // A reference across environments would tie the two stacks together; a name and an environment are all there is to know.
    this.vault = backup.BackupVault.fromBackupVaultArn(
      this,
      'Named',
      Stack.of(this).formatArn({
        service: 'backup',
        resource: 'backup-vault',
        resourceName: props.vaultName,
        arnFormat: ArnFormat.COLON_RESOURCE_NAME,
      }),
    );
    rememberVault(this.vault, { path, lock, sourceAccounts: accounts });
  }
}
