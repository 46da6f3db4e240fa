import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defaultsV1 } from '../../../lib/server/parameters/defaults-v1';

const page = readFileSync(join(__dirname, '../../../docs/parameters.md'), 'utf8');
const rows = page.split('\n').filter((line) => line.startsWith('| `'));

test.each([16, 17, 18] as const)(
  'the page has every default of %d with its value and requirement, and no other',
  (major) => {
    for (const engine of ['rds', 'aurora'] as const) {
      for (const { name, value, requirement } of defaultsV1(engine, major, 100)) {
        const row = rows.find((line) => line.startsWith(`| \`${name}\` `));
        expect([name, row]).toEqual([name, expect.stringContaining(` | ${requirement} | `)]);
        if (name !== 'max_slot_wal_keep_size' || engine === 'aurora') expect(row).toContain(`\`${value}\``);
      }
    }
    expect(rows).toHaveLength(defaultsV1('rds', 18, 100).length);
  },
);
