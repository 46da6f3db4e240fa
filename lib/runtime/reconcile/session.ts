import { Client, QueryResultRow } from 'pg';
import { Statement } from './types';
import { ident } from './sql';

/** Counts over all sessions of a run. */
export interface Counters {
  reads: number;
  writes: number;
}

/** A server's warning where success was expected: GRANT and REVOKE report what they did not do as a warning. */
export class WarningError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = 'WarningError';
  }
}

/** The statement that failed, without the error's own details where those could show a secret. */
export class StatementError extends Error {
  constructor(
    readonly database: string,
    readonly statement: string,
    readonly code: string | undefined,
    message: string,
    readonly object?: string,
    readonly constraint?: string,
  ) {
    super(
      `${object === undefined ? '' : `${object}: `}${message} (in the database ${database}, at: ${statement.length > 300 ? `${statement.slice(0, 300)} …` : statement})`,
    );
    this.name = 'StatementError';
  }
}

/** Not RESET ROLE: that would go back to what `ALTER ROLE … SET role` made the session start with. */
const OWN_ROLE = 'SET LOCAL ROLE NONE';

/** One connection of a run, with its reads and writes counted and its warnings heard. */
export class Session {
  private warnings: { code: string; message: string; routine: string }[] = [];

  constructor(
    readonly client: Client,
    readonly database: string,
    private readonly counters: Counters,
  ) {
    client.on('notice', (notice) => {
      // The level that is not translated is a field of the protocol that pg leaves out; every warning has a code of class 01.
      const { code = '', message = '', routine = '' } = notice;
      if (code.startsWith('01')) this.warnings.push({ code, message, routine });
    });
  }

  async read<T extends QueryResultRow>(sql: string, params: unknown[] = []): Promise<T[]> {
    this.counters.reads++;
    return (await this.client.query<T>(sql, params)).rows;
  }

  /** What a statement would do, found out in a transaction that is rolled back; the rows are those of the last of `sql`. */
  async undone<T extends QueryResultRow>(sql: string): Promise<T[]> {
    this.counters.reads++;
    await this.client.query('BEGIN');
    try {
      const results = (await this.client.query<T>(sql)) as unknown as { rows: T[] } | { rows: T[] }[];
      return (Array.isArray(results) ? results.at(-1)! : results).rows;
    } finally {
      await this.client.query('ROLLBACK').catch(() => undefined); // the connection may be what failed
    }
  }

  /** Writes to the library's own ledger. */
  async write(sql: string, params: unknown[] = []): Promise<void> {
    this.counters.writes++;
    try {
      await this.client.query(sql, params);
    } catch (error) {
      const { code, message, constraint } = error as { code?: string; message: string; constraint?: string };
      throw new StatementError(this.database, sql, code, message, 'the ledger', constraint);
    }
  }

  /** BEGIN, `body`, COMMIT; ROLLBACK when it throws. */
  async transaction(body: () => Promise<void>): Promise<void> {
    await this.client.query('BEGIN');
    try {
      await body();
      await this.client.query('COMMIT');
    } catch (error) {
      await this.client.query('ROLLBACK').catch(() => undefined); // the connection may be what failed
      throw error;
    }
  }

  /**
   * Runs the statements of a plan. In `batch` they go in a few messages, which is fast, and a failure does not say which one
   * it was; otherwise one by one, with the failing one in the error.
   */
  async run(statements: readonly PreparedStatement[], how: 'batch' | 'single'): Promise<void> {
    let role: string | undefined;
    let batch: string[] = [];
    const flush = async () => {
      if (batch.length > 0) await this.send(batch.join(';\n'), 'a batch of statements');
      batch = [];
    };
    for (const statement of statements) {
      this.counters.writes++;
      if (statement.params) {
        await flush();
        await this.send(statement.text, statement.sql, statement.object, statement.params);
        continue;
      }
      if (statement.as !== role) {
        batch.push(statement.as === undefined ? OWN_ROLE : `SET LOCAL ROLE ${ident(statement.as)}`);
        role = statement.as;
      }
      batch.push(statement.text);
      if (how === 'single') {
        await this.send(batch.join(';\n'), statement.sql, statement.object);
        batch = [];
      } else if (batch.length >= 200) await flush();
    }
    if (role !== undefined) batch.push(OWN_ROLE);
    await flush();
  }

  /** Outside a transaction each statement is a message of its own, with the role of the session in place of SET LOCAL ROLE. */
  async runAlone(statements: readonly PreparedStatement[]): Promise<void> {
    let role: string | undefined;
    try {
      for (const statement of statements) {
        this.counters.writes++;
        if (statement.as !== role) {
          await this.send(statement.as === undefined ? 'SET ROLE NONE' : `SET ROLE ${ident(statement.as)}`, 'SET ROLE');
          role = statement.as;
        }
        await this.send(statement.text, statement.sql, statement.object, statement.params);
      }
    } finally {
      if (role !== undefined) await this.client.query('SET ROLE NONE').catch(() => undefined); // the first error is the one to tell
    }
  }

  private async send(text: string, shown: string, object?: string, params?: readonly string[]): Promise<void> {
    this.warnings = [];
    try {
      await (params ? this.client.query(text, [...params]) : this.client.query(text));
    } catch (error) {
      const { code, message, constraint } = error as { code?: string; message: string; constraint?: string };
      throw new StatementError(this.database, shown, code, message, object, constraint);
    }
    const failed = this.warnings.find(({ code, routine }) => DID_NOTHING.has(`${code} ${routine}`));
    if (failed)
      throw new WarningError(
        failed.code,
        `${object ?? shown}: the server did not do it: ${failed.message} (at: ${shown})`,
      );
  }
}

/**
 * What the server warns of when a GRANT or REVOKE did nothing, with success as its status, by the code and by the place in its source:
 * 01000 is the code of any warning, an event trigger may give what it raises every code, and the text is in any language.
 */
const DID_NOTHING = new Set([
  '01006 restrict_and_check_grant', // privilege not revoked
  '01007 restrict_and_check_grant', // privilege not granted
  '01000 DelRoleMems', // "has not been granted membership"
]);

/** A statement with the text that really runs; `sql` is what may be shown. */
export interface PreparedStatement extends Statement {
  readonly text: string;
  /** Travel beside the text, which a server's log of statements does not show. */
  readonly params?: readonly string[];
  readonly object?: string;
}
