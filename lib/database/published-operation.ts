import { PublishedOperation as Contract } from '../contract';

/** A kind of change that a publication carries. */
export class PublishedOperation {
  /** New rows. */
  public static readonly INSERT = new PublishedOperation('INSERT');
  /** Changed rows; the table needs a replica identity. */
  public static readonly UPDATE = new PublishedOperation('UPDATE');
  /** Deleted rows; the table needs a replica identity. */
  public static readonly DELETE = new PublishedOperation('DELETE');
  /** TRUNCATE. */
  public static readonly TRUNCATE = new PublishedOperation('TRUNCATE');

  /** The word in SQL. */
  public readonly name: string;

  private constructor(name: Contract) {
    this.name = name;
  }

  /** The word in SQL. */
  public toString(): string {
    return this.name;
  }
}
