import { PostgresVersion } from '../../lib/server/postgres-version';

test.each([
  [PostgresVersion.V16, '16', 16, false],
  [PostgresVersion.V17, '17', 17, false],
  [PostgresVersion.V18, '18', 18, false],
  [PostgresVersion.of('17.6'), '17.6', 17, true],
])('%s', (version, full, major, pinned) => {
  expect([version.fullVersion, version.majorVersion, version.isMinorPinned]).toEqual([full, major, pinned]);
});

test.each(['15', '19', '18.', 'latest', '', '18.1.2'])('refuses %s', (text) =>
  expect(() => PostgresVersion.of(text)).toThrow(`PostgresVersion.of('${text}')`),
);
