/**
 * Writes lib/server/parameters/pg-settings.json: what `pg_settings` of a real server of each supported major version says about its
 * parameters. Run it with `npx tsx scripts/catalogue-parameters.ts` after a new release of the embedded servers; a test compares
 * the file with live servers.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { EMBEDDED_VERSIONS, EmbeddedVersion } from '../lib/runtime/preview/binaries';
import { startEmbeddedServer, stopEmbeddedServer } from '../lib/runtime/preview/embedded-server';
import { SettingRow, SettingsOfServer } from '../lib/server/parameters/pg-settings';

const FILE = join(__dirname, '..', 'lib', 'server', 'parameters', 'pg-settings.json');

/** Extensions whose parameters a server knows only once their library is loaded. */
const LIBRARIES = 'pg_stat_statements,auto_explain';

export async function readSettings(version: EmbeddedVersion): Promise<SettingsOfServer> {
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
    const release = await client.query('SHOW server_version');
    return {
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
  for (const version of EMBEDDED_VERSIONS) servers[version] = await readSettings(version);
  const { format, resolveConfig } = await import('prettier');
  const options = { ...(await resolveConfig(FILE)), parser: 'json' };
  writeFileSync(FILE, await format(JSON.stringify(servers), options));
}

if (require.main === module) void main();
