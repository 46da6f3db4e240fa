import { Construct } from 'constructs';
import { requireLiteral, requireName } from '../server/state/literals';
import { refuseMisspelt } from '../server/known-props';
import { ServerState } from '../server/state/server-state';
import type { Database } from './database';
import { IRole, requireKnownRole } from './role';

/** How a slot is made. */
export interface SlotOptions {
  /** The role that reads from it. A slot that nobody reads from keeps WAL until the disk is full (LR-17). */
  readonly consumer: IRole;

  /**
   * The output plugin.
   *
   * @default 'pgoutput' - what subscriptions and Debezium read
   */
  readonly plugin?: string;

  /**
   * Whether standbys keep it too, so that the consumer goes on after a failover, from PostgreSQL 17 on. The server needs
   * `sync_replication_slots` for it (HA-19). On Aurora slots survive a failover anyway.
   *
   * @default false
   */
  readonly failover?: boolean;

  /**
   * Whether prepared transactions are decoded when they are prepared.
   *
   * @default false
   */
  readonly twoPhase?: boolean;
}

/** Properties of `Slot`. */
export interface SlotProps extends SlotOptions {
  /** The database whose changes it gives. */
  readonly database: Database;

  /** The name of the slot: lower case letters, digits and _, and one for the whole server. */
  readonly slotName: string;
}

/** A logical replication slot: the place up to which a consumer has read. It is kept when it leaves the app, and reported then. */
export class Slot extends Construct {
  /** The name of the slot. */
  public readonly slotName: string;

  /**
   * Makes the declaration.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. What is in the server is known by its PostgreSQL name, not by this
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: SlotProps) {
    super(scope, id);
    refuseMisspelt(this.node.path, this, props);
    const state = ServerState.of(props.database.server);
    this.slotName = requireName(this, 'slotName', 'object', props.slotName);
    if (!/^[a-z0-9_]+$/.test(this.slotName))
      throw new Error(
        `${this.node.path}: slotName ${JSON.stringify(this.slotName)} may have lower case letters, digits and _ alone`,
      );
    const major = state.props.majorVersion;
    if (props.failover && major !== undefined && major < 17) {
      throw new Error(
        `${this.node.path}: failover exists from PostgreSQL 17 on, and the server is of version ${major}`,
      );
    }
    const declared = {
      name: this.slotName,
      plugin: requireLiteral(this, 'plugin', props.plugin ?? 'pgoutput'),
      consumer: requireKnownRole(this, state, props.consumer),
      failover: props.failover ?? false,
      twoPhase: props.twoPhase ?? false,
    };
    state.declare((declaration) =>
      declaration.addInside(this, props.database.databaseName, 'slots', this.slotName, declared),
    );
    if (declared.failover) state.noteFailoverSlot();
  }
}
