import { cluster, quiet, Resources } from './support';

quiet();

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../state/fake-bundles').fakeBundle(),
  poolerImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
  clusterImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
}));

test('is made', () => {
  const { stack } = cluster();
  const resources = new Resources(stack);
  const counts: Record<string, number> = {};
  for (const { Type } of Object.values(resources.all)) counts[Type] = (counts[Type] ?? 0) + 1;
  console.log(JSON.stringify(counts), Object.keys(resources.all).length);
  console.log(JSON.stringify(resources.taskOf('pg-1'), undefined, 1));
});
