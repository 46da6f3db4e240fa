import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Stands in for the folder of the pooler's image, so that the construct can be tested without a build. */
export function fakeImage(): string {
  const folder = mkdtempSync(join(tmpdir(), 'cdk-postgres-image-'));
  writeFileSync(join(folder, 'Dockerfile'), 'FROM scratch\n');
  return folder;
}
