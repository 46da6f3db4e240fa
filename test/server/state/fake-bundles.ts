import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Stands in for the built bundles, so that the constructs can be tested before and without a build. */
export function fakeBundle(): string {
  const folder = mkdtempSync(join(tmpdir(), 'cdk-postgres-bundle-'));
  writeFileSync(join(folder, 'index.js'), 'exports.handler = async () => {};\n');
  return folder;
}
