import * as fs from 'node:fs';
import * as path from 'node:path';
import { POOLER_METRICS } from '../../../lib/contract';

test('docs/pgbouncer.md has every metric of the pooler, and no other', () => {
  const text = fs.readFileSync(path.join(__dirname, '../../../docs/pgbouncer.md'), 'utf8');
  const section = text.slice(text.indexOf('## Metrics'), text.indexOf('## The console'));
  const named = [...section.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, names]) =>
    [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name),
  );
  expect(named.sort()).toEqual([...POOLER_METRICS].sort());
});
