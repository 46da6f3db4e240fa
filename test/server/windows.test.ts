import { backupPlanHour, checkWindows } from '../../lib/server/windows';

const check = (backup: string, maintenance: string) => () => checkWindows('App/Server', { backup, maintenance });

test.each([
  ['01:00-02:00', 'sun:03:00-sun:04:00'],
  ['01:00-02:00', 'sun:02:00-sun:03:00'],
  ['23:30-00:30', 'sun:00:30-sun:01:00'],
  ['05:00-05:30', 'Sun:23:30-Mon:00:30'],
])('%s beside %s is fine', (backup, maintenance) => expect(check(backup, maintenance)).not.toThrow());

test.each<[string, string, RegExp]>([
  [
    '01:00-02:00',
    'sun:01:30-sun:02:30',
    /App\/Server: maintenanceWindow 'sun:01:30-sun:02:30' overlaps backupWindow '01:00-02:00'/,
  ],
  ['23:30-00:30', 'mon:00:00-mon:01:00', /overlaps/],
  ['00:00-01:00', 'sun:23:30-mon:00:30', /overlaps/],
  ['01:00-01:20', 'sun:03:00-sun:04:00', /backupWindow '01:00-01:20' has 20 minutes/],
  ['01:00-02:00', 'sun:03:00-sun:03:10', /maintenanceWindow .* has 10 minutes/],
  ['1am', 'sun:03:00-sun:04:00', /backupWindow '1am' is not of the form/],
  ['01:00-02:00', 'son:03:00-son:04:00', /maintenanceWindow 'son:03:00-son:04:00' is not of the form/],
])('%s beside %s is refused', (backup, maintenance, message) => expect(check(backup, maintenance)).toThrow(message));

test.each<[string, string, number]>([
  ['01:00-02:00', 'sun:03:00-sun:04:00', 4],
  ['01:00-02:00', 'sun:12:00-sun:13:00', 3],
  ['22:00-23:30', 'sun:01:00-sun:02:00', 2],
])('AWS Backup keeps away from %s and %s', (backup, maintenance, hour) =>
  expect(backupPlanHour('App/Server', { backup, maintenance })).toBe(hour),
);

test('no hour is left beside a maintenance window of a day', () => {
  expect(() => backupPlanHour('App/Server', { backup: '00:00-00:30', maintenance: 'sun:00:30-mon:00:00' })).toThrow(
    /leave no hour/,
  );
});
