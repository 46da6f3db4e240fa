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
  private warnings: { code: string; message: string }[] = [];

  constructor(
    readonly client: Client,
    readonly database: string,
    private readonly counters: Counters,
  ) {
    client.on('notice', (notice) => {
      if (notice.severity === 'WARNING') this.warnings.push({ code: notice.code ?? '', message: notice.message ?? '' });
    });
  }

  async read<T extends QueryResultRow>(sql: string, params: unknown[] = []): Promise<T[]> {
    this.counters.reads++;
    return (await this.client.query<T>(sql, params)).rows;
  }

  /** Writes to the library's own ledger. */
  async write(sql: string, params: unknown[] = []): Promise<void> {
    this.counters.writes++;
    await this.client.query(sql, params);
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

  /** Runs statements that PostgreSQL takes only outside of a transaction, each in a message of its own. */
  async runAlone(statements: readonly PreparedStatement[]): Promise<void> {
    for (const statement of statements) {
      this.counters.writes++;
      if (statement.as !== undefined) await this.client.query(`SET ROLE ${ident(statement.as)}`);
      try {
        await this.send(statement.text, statement.sql, statement.object);
      } finally {
        // The connection may be what failed.
        if (statement.as !== undefined) await this.client.query('SET ROLE NONE').catch(() => undefined);
      }
    }
  }

  private async send(text: string, shown: string, object?: string): Promise<void> {
    this.warnings = [];
    try {
      await this.client.query(text);
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      throw new StatementError(this.database, shown, code, message, object);
    }
    // 01006 privilege not revoked, 01007 privilege not granted, 01000 of a GRANT or REVOKE: "has not been granted membership".
    // They mean that the statement did nothing, with success as its status.
    const failed = this.warnings.find(
      ({ code }) => code === '01006' || code === '01007' || (code === '01000' && /\b(GRANT|REVOKE)\b/.test(text)),
    );
    if (failed)
      throw new WarningError(
        failed.code,
        `${object ?? shown}: the server did not do it: ${failed.message} (at: ${shown})`,
      );
  }
}

/** A statement with the text that really runs; `sql` is what may be shown. */
export interface PreparedStatement extends Statement {
  readonly text: string;
  readonly object?: string;
}
