import { DesiredDatabase, DesiredExtension } from '../../contract';
import { lendCreate } from './lend-create';
import { AvailableVersion, ObservedExtension, ObservedExtensions } from './observed';
import { PlanBuilder } from './plan-builder';
import { Previous } from './previous';
import { ident, literal } from './sql';
import { Statement } from './types';

/** Extensions that do nothing, or cannot even be created, unless their library is loaded when the server starts. */
const PRELOADED: Readonly<Record<string, string>> = {
  apg_plan_mgmt: 'apg_plan_mgmt',
  citus: 'citus',
  pg_cron: 'pg_cron',
  pg_qualstats: 'pg_qualstats',
  pg_squeeze: 'pg_squeeze',
  pg_stat_kcache: 'pg_stat_kcache',
  pg_stat_monitor: 'pg_stat_monitor',
  pg_stat_statements: 'pg_stat_statements',
  pg_tle: 'pg_tle',
  pg_wait_sampling: 'pg_wait_sampling',
  pgactive: 'pgactive',
  pgaudit: 'pgaudit',
  pglogical: 'pglogical',
  plprofiler: 'plprofiler',
  set_user: 'set_user',
  timescaledb: 'timescaledb',
};

export function planExtensions(builder: PlanBuilder, previous: Previous, database: DesiredDatabase): void {
  if (database.extensions.length === 0) return;
  const observed = builder.observed.inside.get(database.name)?.extensions;
  // In a database that is to be made, what the server has shows once it is there.
  if (!observed) return;
  new ExtensionPlanner(builder, previous, database, observed).plan();
}

class ExtensionPlanner {
  private readonly declared: ReadonlyMap<string, DesiredExtension>;
  private readonly planned = new Set<string>();

  constructor(
    private readonly builder: PlanBuilder,
    private readonly previous: Previous,
    private readonly database: DesiredDatabase,
    private readonly observed: ObservedExtensions,
  ) {
    this.declared = new Map(database.extensions.map((extension) => [extension.name, extension]));
  }

  plan(): void {
    for (const extension of this.database.extensions) this.planOne(extension);
  }

  private planOne(extension: DesiredExtension): void {
    if (this.planned.has(extension.name)) return;
    this.planned.add(extension.name);
    const installed = this.observed.installed.get(extension.name);
    this.checkPreloaded(extension, installed);
    if (installed) this.planInstalled(extension, installed);
    else this.planNew(extension);
  }

  private planNew(extension: DesiredExtension): void {
    const version = this.versionToInstall(extension);
    if (!version || !this.isAllowed(extension)) return;
    const missing = version.requires.filter((name) => !this.observed.installed.has(name) && !this.declared.has(name));
    if (missing.length > 0) {
      return this.refuse(
        extension,
        `requires ${missing.join(', ')}, which is neither declared nor there: declare it with addExtension() too`,
      );
    }
    // What it requires comes first; nothing is installed by way of CASCADE, where nobody chose its schema or version.
    for (const name of version.requires) if (this.declared.has(name)) this.planOne(this.declared.get(name)!);
    const schema = this.schemaToInstallIn(extension, version);
    if (schema === 'refused') return;
    const words = [
      `CREATE EXTENSION ${ident(extension.name)}`,
      ...(schema === undefined ? [] : [`SCHEMA ${ident(schema)}`]),
      ...(extension.version === undefined ? [] : [`VERSION ${literal(extension.version)}`]),
    ];
    const statements = this.asInstaller(extension, version, { sql: words.join(' ') });
    if (!statements) return;
    this.builder.add({
      phase: 'extensions',
      database: this.database.name,
      risk: 'add',
      object: `extension ${extension.name}`,
      reason: `declared, and not there${extension.version === undefined ? `; version ${version.version} is the server's default` : ''}`,
      statements,
      subjects: [{ kind: 'extension', name: extension.name, database: this.database.name }],
    });
  }

  private versionToInstall(extension: DesiredExtension): AvailableVersion | undefined {
    const versions = this.observed.available.filter(({ name }) => name === extension.name);
    const found = versions.find((v) =>
      extension.version === undefined ? v.isDefault : v.version === extension.version,
    );
    if (found) return found;
    this.refuse(
      extension,
      versions.length === 0
        ? `is not available on this server, which is PostgreSQL ${this.builder.observed.version}: look for a misspelling, or for a server that has it`
        : `is declared with the version ${extension.version}, and this server has ${versions.map((v) => v.version).join(', ')}: declare one of these, or none for the server's default`,
    );
    return undefined;
  }

  /** Amazon RDS has a list of its own, in a parameter; the server would refuse the rest without naming it. */
  private isAllowed(extension: DesiredExtension): boolean {
    const allowed = this.observed.settings.get('rds.allowed_extensions')?.trim();
    if (!allowed || allowed === '*' || list(allowed).includes(extension.name)) return true;
    this.refuse(
      extension,
      `is not in rds.allowed_extensions, which has ${allowed}: add it to that parameter in the parameter group`,
    );
    return false;
  }

  private checkPreloaded(extension: DesiredExtension, installed: ObservedExtension | undefined): void {
    const library = PRELOADED[extension.name];
    const loaded = this.observed.settings.get('shared_preload_libraries');
    if (library === undefined || (loaded !== undefined && list(loaded).includes(library))) {
      const home = this.observed.settings.get('cron.database_name');
      if (extension.name === 'pg_cron' && home !== undefined && home !== this.database.name && !installed)
        this.refuse(
          extension,
          `can only be in the database that the parameter cron.database_name names, which is ${home}: declare it there, or change the parameter`,
        );
      return;
    }
    const need = `needs ${library} in the parameter shared_preload_libraries`;
    if (loaded === undefined)
      this.builder.notes.push(
        `the extension ${extension.name} ${need}, which ${this.builder.power.user} may not see: make sure that it is there`,
      );
    else if (installed)
      this.builder.notes.push(
        `the extension ${extension.name} of the database ${this.database.name} does not work: it ${need}, and a restart`,
      );
    else this.refuse(extension, `${need}, which is ${JSON.stringify(loaded)}: add it there, and restart the server`);
  }

  /** Undefined: where its control file says. Never left to the search path, which is that of this library's own session. */
  private schemaToInstallIn(extension: DesiredExtension, version: AvailableVersion): string | undefined | 'refused' {
    if (version.schema !== undefined) {
      if (extension.schema === undefined || extension.schema === version.schema) return undefined;
      this.refuse(
        extension,
        `is declared in the schema ${JSON.stringify(extension.schema)}, and goes into ${JSON.stringify(version.schema)} always: leave the schema out`,
      );
      return 'refused';
    }
    const schema = extension.schema ?? 'public';
    const isDeclared = this.database.schemas.some(({ name }) => name === schema);
    if (isDeclared || this.observed.schemas.has(schema)) return schema;
    this.refuse(
      extension,
      `is to go into the schema ${JSON.stringify(schema)}, which is neither declared nor there: declare it with addSchema()`,
    );
    return 'refused';
  }

  /** The statement as whoever may run it: the owner of the database if it can be one that owns it, else the connected role. */
  private asInstaller(
    extension: DesiredExtension,
    version: AvailableVersion,
    statement: Statement,
  ): Statement[] | undefined {
    const { power, observed } = this.builder;
    const needsSuperuser = version.superuser && !version.trusted;
    if (power.superuser || power.looksOnly) return [statement];
    if (needsSuperuser) {
      if (this.isAdministratorOfRds()) return [statement];
      this.refuse(
        extension,
        `is not a trusted one, and ${power.user} is no superuser: have a superuser run ${statement.sql} in the database, and it is taken over as it is`,
      );
      return undefined;
    }
    const owner = observed.databases.get(this.database.name)?.owner ?? this.database.owner;
    const asOwner = this.mayCreate(owner) ? power.actAs(owner, [statement]) : undefined;
    if (asOwner) return asOwner;
    if (this.mayCreate(power.user)) return [statement];
    this.refuse(
      extension,
      `cannot be created: ${power.user} can neither act as the database's owner ${owner} nor has CREATE on the database: GRANT ${ident(owner)} TO ${ident(power.user)} WITH INHERIT FALSE, SET TRUE`,
    );
    return undefined;
  }

  /** Amazon RDS lets its administrators install untrusted extensions too, and says no itself to those that it does not have. */
  private isAdministratorOfRds(): boolean {
    return this.builder.observed.flavour === 'rds' && this.builder.power.inherits('rds_superuser');
  }

  private mayCreate(role: string): boolean {
    const acl = this.builder.observed.databases.get(this.database.name)?.acl ?? [];
    return acl.some((entry) => entry.privilege === 'CREATE' && (entry.grantee === role || entry.grantee === null));
  }

  private planInstalled(extension: DesiredExtension, installed: ObservedExtension): void {
    if (extension.schema !== undefined && extension.schema !== installed.schema) {
      this.refuse(
        extension,
        `is in the schema ${JSON.stringify(installed.schema)}, and ${JSON.stringify(extension.schema)} is declared: what it consists of may belong to a superuser, who alone can ALTER EXTENSION ${ident(extension.name)} SET SCHEMA ${ident(extension.schema)}; or declare the schema that it is in`,
      );
    }
    if (extension.version === undefined || extension.version === installed.version) return;
    if (isOlder(extension.version, installed.version)) {
      return this.refuse(
        extension,
        `has the version ${installed.version}, and the older ${extension.version} is declared: an extension does not go back; declare ${installed.version}`,
      );
    }
    const version = this.versionOrUpdateTarget(extension);
    if (!version) return;
    const subject = { kind: 'extension' as const, name: extension.name, database: this.database.name };
    const sql = `ALTER EXTENSION ${ident(extension.name)} UPDATE TO ${literal(extension.version)}`;
    const before = this.previous.extension(this.database.name, extension.name);
    this.builder.add({
      phase: 'extensions',
      database: this.database.name,
      risk: 'disruptive',
      object: `extension ${extension.name}`,
      reason: `it has the version ${installed.version}, and ${extension.version} is declared`,
      statements: this.asOwnerOf(installed, version, sql),
      subjects: [subject],
      // Another pin than the one that was declared is an update that somebody asks for, of whatever origin the extension is.
      declaredBefore:
        this.builder.standing(subject) !== 'adopted' || (before !== undefined && before.version !== extension.version),
    });
  }

  private versionOrUpdateTarget(extension: DesiredExtension): AvailableVersion | undefined {
    const installed = this.observed.installed.get(extension.name)!;
    if (!this.observed.updatable.has(extension.name)) {
      const versions = this.observed.available.filter(({ name }) => name === extension.name);
      this.refuse(
        extension,
        `has the version ${installed.version}, from which this server has no update to ${extension.version}; it has the versions ${versions.map((v) => v.version).join(', ') || 'none'}`,
      );
      return undefined;
    }
    return (
      this.observed.available.find((v) => v.name === extension.name && v.version === extension.version) ?? {
        name: extension.name,
        version: extension.version!,
        isDefault: false,
        superuser: true,
        trusted: false,
        requires: [],
      }
    );
  }

  /** Undefined: withheld, since the connected role has no power to do it. */
  private asOwnerOf(installed: ObservedExtension, version: AvailableVersion, sql: string): Statement[] | undefined {
    const { power } = this.builder;
    if (power.superuser || power.looksOnly) return [{ sql }];
    if (version.superuser && !version.trusted)
      return this.isAdministratorOfRds() && power.inherits(installed.owner) ? [{ sql }] : undefined;
    // A trusted one asks for what its CREATE asked for, of whoever owns it by now.
    const acting = power.actAs(installed.owner, [{ sql }]);
    return version.superuser
      ? lendCreate(power, this.builder.observed, this.database, [installed.owner], acting)
      : acting;
  }

  private refuse(extension: DesiredExtension, problem: string): void {
    const text = `the extension ${JSON.stringify(extension.name)} of the database ${JSON.stringify(this.database.name)} ${problem}`;
    // An extension does not go back to what an earlier declaration said, and a rollback must not fail for that.
    if (this.builder.rollback) this.builder.notes.push(`${text}; a rollback leaves it as it is`);
    else this.builder.refuse(text);
  }
}

/** The elements of a list setting, as pg_settings shows it. */
function list(text: string): string[] {
  return text
    .split(',')
    .map((item) =>
      item
        .trim()
        .replace(/^"(.*)"$/, '$1')
        .replace(/^.*\//, '')
        .replace(/\.so$/, ''),
    )
    .filter((item) => item !== '');
}

/** By the numbers in them; versions that have none, or differ in other ways, are left to the server's update paths. */
function isOlder(a: string, b: string): boolean {
  const numbers = (version: string) => version.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : NaN));
  const [left, right] = [numbers(a), numbers(b)];
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const [x, y] = [left[at] ?? 0, right[at] ?? 0];
    if (Number.isNaN(x) || Number.isNaN(y)) return false;
    if (x !== y) return x < y;
  }
  return false;
}
