/**
 * Writes lib/server/parameters/pg-settings.json: what `pg_settings` of a real server of each supported major version says about its
 * parameters; and lib/server/reserved-words.json, the key words that `pg_get_keywords()` of any of them calls reserved. Run it with `npx tsx scripts/catalogue-parameters.ts` after a new release of the embedded servers; a test compares
 * the files with live servers.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { EMBEDDED_VERSIONS, EmbeddedVersion } from '../lib/runtime/preview/binaries';
import { startEmbeddedServer, stopEmbeddedServer } from '../lib/runtime/preview/embedded-server';
import { SettingRow, SettingsOfServer } from '../lib/server/parameters/pg-settings';

const SERVER = join(__dirname, '..', 'lib', 'server');
const SETTINGS_FILE = join(SERVER, 'parameters', 'pg-settings.json');
const WORDS_FILE = join(SERVER, 'reserved-words.json');

/** Extensions whose parameters a server knows only once their library is loaded. */
const LIBRARIES = 'pg_stat_statements,auto_explain';

export interface Catalogue extends SettingsOfServer {
  /** No name without quotes, also not of a role. */
  readonly reservedWords: readonly string[];
}

export async function readCatalogue(version: EmbeddedVersion): Promise<Catalogue> {
  const server = await startEmbeddedServer({
    version,
    flavour: 'plain',
    settings: { shared_preload_libraries: LIBRARIES },
  });
  const client = new Client({ host: server.host, port: server.port, ...server.superuser, database: 'postgres' });
  try {
    await client.connect();
    const { rows } = await client.query(
      `SELECT name, vartype, context, unit, min_val, max_val, enumvals, CASE WHEN vartype <> 'string' THEN boot_val END AS boot_val
         FROM pg_settings ORDER BY name COLLATE "C"`,
    );
    const words = await client.query(
      `SELECT word FROM pg_get_keywords() WHERE catcode = 'R' ORDER BY word COLLATE "C"`,
    );
    const release = await client.query('SHOW server_version');
    return {
      reservedWords: words.rows.map(({ word }) => String(word)),
      version: String(release.rows[0].server_version).split(' ')[0],
      settings: Object.fromEntries(
        rows.map((row): [string, SettingRow] => [
          row.name,
          [row.vartype, row.context, row.unit, row.min_val, row.max_val, row.enumvals, row.boot_val],
        ]),
      ),
    };
  } finally {
    await client.end();
    await stopEmbeddedServer(server);
  }
}

async function main(): Promise<void> {
  const servers: Record<string, SettingsOfServer> = {};
  const reserved = new Set<string>();
  for (const one of EMBEDDED_VERSIONS) {
    const { reservedWords, ...settings } = await readCatalogue(one);
    servers[one] = settings;
    reservedWords.forEach((word) => reserved.add(word));
  }
  const { format, resolveConfig } = await import('prettier');
  for (const [file, content] of [
    [SETTINGS_FILE, servers],
    [WORDS_FILE, [...reserved].sort()],
  ] as const)
    writeFileSync(file, await format(JSON.stringify(content), { ...(await resolveConfig(file)), parser: 'json' }));
}

if (require.main === module) void main();
