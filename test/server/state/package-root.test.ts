import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../lib/server/package-root';

const exists = jest.fn<boolean, [string]>();
jest.mock('node:fs', () => {
  const real = jest.requireActual('node:fs');
  return { ...real, existsSync: (path: string) => exists(path) ?? real.existsSync(path) };
});

test('finds the package from its sources', () => {
  expect(existsSync(join(packageRoot(), 'lib', 'contract', 'index.ts'))).toBe(true);
});

test('a missing bundle says how to make it', () => {
  const { functionBundle } = jest.requireActual('../../../lib/server/package-root');
  exists.mockImplementation((path) => (path.endsWith('index.js') ? false : (undefined as unknown as boolean)));
  expect(() => functionBundle('rotate')).toThrow(/bundle of the rotate function is missing .* run `npm run bundle`/);
});
