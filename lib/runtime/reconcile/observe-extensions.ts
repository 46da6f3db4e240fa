import { DesiredExtension } from '../../contract';
import { AvailableVersion, ObservedExtension, ObservedExtensions } from './observed';
import { Session } from './session';

/**
 * What decides whether an extension may be installed and works, besides the catalog. pg_settings leaves out what the connected role
 * may not see, where current_setting() fails; it leaves out too what only some servers have.
 */
const SETTINGS = `
  SELECT name, setting FROM pg_settings WHERE name = 'shared_preload_libraries'
  UNION ALL SELECT name, current_setting(name, true) FROM unnest(ARRAY['rds.allowed_extensions', 'cron.database_name']) AS name
    WHERE current_setting(name, true) IS NOT NULL`;

/**
 * Reads which extensions a database has, and of the declared ones all that could be installed. The versions come from files on the
 * server and not from the catalog: a new minor version of the server brings new ones.
 */
export async function observeExtensions(
  session: Session,
  declared: readonly DesiredExtension[],
): Promise<ObservedExtensions | undefined> {
  if (declared.length === 0) return undefined;
  const [row] = await session.read<{
    installed: ObservedExtension[] | null;
    available: (Omit<AvailableVersion, 'schema' | 'requires'> & { schema: string | null; requires: string[] | null })[];
    updatable: string[];
    schemas: string[];
    settings: Record<string, string> | null;
  }>(
    `WITH wanted AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS w(name text, schema text, version text))
     SELECT (SELECT json_agg(json_build_object('name', extname, 'version', extversion, 'schema', nspname,
                      'owner', pg_get_userbyid(extowner)) ORDER BY extname)
             FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace) AS installed,
            (SELECT coalesce(json_agg(json_build_object('name', v.name, 'version', v.version, 'isDefault', v.version = a.default_version,
                      'superuser', v.superuser, 'trusted', v.trusted, 'schema', v.schema, 'requires', v.requires) ORDER BY v.name, v.version), '[]')
             FROM pg_available_extension_versions v JOIN pg_available_extensions a ON a.name = v.name
             WHERE v.name IN (SELECT name FROM wanted)) AS available,
            ARRAY(SELECT w.name FROM wanted w JOIN pg_extension e ON e.extname = w.name
                  WHERE w.version <> e.extversion AND EXISTS (SELECT FROM pg_extension_update_paths(e.extname) p
                    WHERE p.source = e.extversion AND p.target = w.version AND p.path IS NOT NULL)) AS updatable,
            ARRAY(SELECT nspname::text FROM pg_namespace WHERE nspname IN (SELECT coalesce(schema, 'public') FROM wanted)) AS schemas,
            (SELECT json_object_agg(name, setting) FROM (${SETTINGS}) s) AS settings`,
    [JSON.stringify(declared)],
  );
  return {
    installed: new Map((row.installed ?? []).map((extension) => [extension.name, extension])),
    available: row.available.map((version) => ({
      ...version,
      schema: version.schema ?? undefined,
      requires: version.requires ?? [],
    })),
    updatable: new Set(row.updatable),
    schemas: new Set(row.schemas),
    settings: new Map(Object.entries(row.settings ?? {})),
  };
}
