import { SupportedMajor } from '../postgres-version';
import catalogue from './pg-settings.json';

/** A row of `pg_settings`; absent values are null. The built-in default of a text is left out: it differs by build. */
export type SettingRow = readonly [
  type: string,
  context: string,
  unit: string | null,
  min: string | null,
  max: string | null,
  values: readonly string[] | null,
  builtIn: string | null,
];

export interface SettingsOfServer {
  /** The release that the rows were read from, such as `18.4`. */
  readonly version: string;
  readonly settings: Readonly<Record<string, SettingRow>>;
}

/** What real servers say about their parameters, by major version. `scripts/catalogue-parameters.ts` writes the data. */
export const PG_SETTINGS = catalogue as unknown as Readonly<Record<SupportedMajor, SettingsOfServer>>;
