import { Construct } from 'constructs';
import { DesiredDrop, DropTarget, NameKind } from '../contract';
import { requireLiteral, requireName } from '../server/state/literals';
import { ServerState } from '../server/state/server-state';
import { IRole, requireDeclaredRole } from './role';

/** On what terms something is dropped. */
export interface DropOptions {
  /** Why. It stands in the plan and in the ledger. */
  readonly reason: string;

  /**
   * Whether it may go although this app did not make it: it was there before, or the ledger does not know it.
   *
   * @default false
   */
  readonly adopted?: boolean;

  /**
   * Of a role: who gets what it owns, in every database of the server.
   *
   * @default - nobody; a role that owns something is refused with a list of it
   */
  readonly reassignTo?: IRole;

  /**
   * Of a database: whether the sessions in it are ended.
   *
   * @default false
   */
  readonly force?: boolean;

  /**
   * Of a schema: whether it goes with all that is in it, and with all in other schemas that depends on that. The plan lists it.
   *
   * @default false
   */
  readonly cascade?: boolean;
}

/** Something on a server that is to be gone for good. Nothing is ever dropped because it left the app; this is the way to say so. */
export class DroppedObject {
  /**
   * A role. What it owns goes to an heir, and its privileges, default privileges and memberships go in every database.
   *
   * @param name its name
   */
  public static role(name: string): DroppedObject {
    return new DroppedObject({ kind: 'role', name });
  }

  /**
   * A database, with everything in it.
   *
   * @param name its name
   */
  public static database(name: string): DroppedObject {
    return new DroppedObject({ kind: 'database', name });
  }

  /**
   * A schema.
   *
   * @param database the name of its database
   * @param name its name
   */
  public static schema(database: string, name: string): DroppedObject {
    return new DroppedObject({ kind: 'schema', database, name });
  }

  /**
   * An extension, which nothing else may use any more.
   *
   * @param database the name of its database
   * @param name its name
   */
  public static extension(database: string, name: string): DroppedObject {
    return new DroppedObject({ kind: 'extension', database, name });
  }

  /**
   * A publication.
   *
   * @param database the name of its database
   * @param name its name
   */
  public static publication(database: string, name: string): DroppedObject {
    return new DroppedObject({ kind: 'publication', database, name });
  }

  /**
   * A subscription. Its slot stays on the publisher, which may be gone; the plan names it.
   *
   * @param database the name of its database
   * @param name its name
   */
  public static subscription(database: string, name: string): DroppedObject {
    return new DroppedObject({ kind: 'subscription', database, name });
  }

  /**
   * A logical replication slot, which nobody reads from any more.
   *
   * @param database the name of its database
   * @param name its name
   */
  public static slot(database: string, name: string): DroppedObject {
    return new DroppedObject({ kind: 'slot', database, name });
  }

  private constructor(
    /** @internal */
    public readonly _target: DropTarget,
  ) {}

  /** @internal */
  public _declare(by: Construct, options: DropOptions): void {
    const state = ServerState.of(by);
    const { _target: target } = this;
    const { kind } = target;
    const call = `DroppedObject.${kind}()`;
    const nameKind: NameKind = kind === 'role' || kind === 'database' || kind === 'schema' ? kind : 'object';
    if ('database' in target) requireName(by, `${call} database`, 'database', target.database);
    const name = requireName(by, `${call} name`, nameKind, target.name);
    const reason = requireLiteral(by, 'reason', options.reason);
    if (reason.trim() === '' || reason.includes('\0')) {
      throw new Error(`${by.node.path}: drop(${call}) of "${name}" needs a reason, for who reads the plan`);
    }
    const only = (option: 'reassignTo' | 'force' | 'cascade', of: DropTarget['kind'], advice: string) => {
      if (options[option] && kind !== of)
        throw new Error(
          `${by.node.path}: drop() of the ${kind} "${name}" has ${option}, which only a ${of} has: ${advice}`,
        );
    };
    only('reassignTo', 'role', 'leave it out');
    only('force', 'database', 'leave it out');
    only('cascade', 'schema', 'drop what depends on it first');
    const drop: DesiredDrop = {
      ...target,
      reason,
      adopted: options.adopted ?? false,
      reassignTo: options.reassignTo && requireDeclaredRole(by, state, options.reassignTo),
      force: options.force ?? false,
      cascade: options.cascade ?? false,
    };
    state.declare((declaration) => declaration.addDrop(by, drop));
  }
}
