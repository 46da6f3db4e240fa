import { ReplicaIdentity as Contract } from '../contract';

/** How a subscriber finds the row that was changed or deleted (REPLICA IDENTITY, LR-5). Setting it locks the table for a moment. */
export class ReplicaIdentity {
  /** By the primary key. */
  public static primaryKey(): ReplicaIdentity {
    return new ReplicaIdentity({ kind: 'default' });
  }

  /**
   * By a unique index that is complete, immediate, and over columns that are NOT NULL.
   *
   * @param name the name of the index, without its schema
   */
  public static index(name: string): ReplicaIdentity {
    return new ReplicaIdentity({ kind: 'index', index: name });
  }

  /** By all columns: every change carries the whole old row, and each takes a search at the subscriber. The last resort. */
  public static full(): ReplicaIdentity {
    return new ReplicaIdentity({ kind: 'full' });
  }

  /** @internal */
  public readonly _identity: Contract;

  private constructor(identity: Contract) {
    this._identity = identity;
  }
}
