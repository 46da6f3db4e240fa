/** A privilege of PostgreSQL, as GRANT names it. Which of them an object has depends on its kind. */
export enum Privilege {
  /** Read rows, or the current value of a sequence. */
  SELECT = 'SELECT',
  /** Add rows. */
  INSERT = 'INSERT',
  /** Change rows, or set a sequence. */
  UPDATE = 'UPDATE',
  /** Remove rows. */
  DELETE = 'DELETE',
  /** Empty a table. Row security does not apply to it. */
  TRUNCATE = 'TRUNCATE',
  /** Make a foreign key to a table. */
  REFERENCES = 'REFERENCES',
  /** Make a trigger on a table. */
  TRIGGER = 'TRIGGER',
  /** VACUUM, ANALYZE, REINDEX, REFRESH MATERIALIZED VIEW, CLUSTER and LOCK TABLE; from PostgreSQL 17 on. */
  MAINTAIN = 'MAINTAIN',
  /** Look objects up in a schema, or take the next value of a sequence. */
  USAGE = 'USAGE',
  /** Make objects in a schema, or schemas in a database. */
  CREATE = 'CREATE',
  /** Connect to a database. */
  CONNECT = 'CONNECT',
  /** Make temporary tables in a database. */
  TEMPORARY = 'TEMPORARY',
  /** Call a function or a procedure. */
  EXECUTE = 'EXECUTE',
}
