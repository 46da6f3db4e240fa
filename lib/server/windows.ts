/** The weekly and daily windows of a server, in UTC (OPS-11). */
export interface Windows {
  /** `hh:mm-hh:mm` */
  readonly backup: string;
  /** `ddd:hh:mm-ddd:hh:mm` */
  readonly maintenance: string;
}

export const DEFAULT_WINDOWS: Windows = { backup: '01:00-02:00', maintenance: 'sun:03:00-sun:04:00' };

const DAY = 24 * 60;
const WEEK = 7 * DAY;
const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
const SHORTEST = 30;

/** Throws where RDS would refuse the windows at deployment: malformed, shorter than 30 minutes, or overlapping. */
export function checkWindows(path: string, { backup, maintenance }: Windows): void {
  const daily = parseBackup(path, backup);
  const weekly = parseMaintenance(path, maintenance);
  for (const [prop, value, { length }] of [
    ['backupWindow', backup, daily],
    ['maintenanceWindow', maintenance, weekly],
  ] as const) {
    if (length < SHORTEST)
      throw new Error(`${path}: ${prop} '${value}' has ${length} minutes; RDS needs at least ${SHORTEST}`);
  }
  const clash = DAYS.some((_, day) => overlap({ ...daily, start: daily.start + day * DAY }, weekly, WEEK));
  if (clash) {
    throw new Error(
      `${path}: maintenanceWindow '${maintenance}' overlaps backupWindow '${backup}', which RDS refuses; move one of them`,
    );
  }
}

/**
 * The hour (UTC) at which AWS Backup may start every day. AWS Backup cannot start on RDS inside either window, nor in the hour before.
 */
export function backupPlanHour(path: string, { backup, maintenance }: Windows): number {
  const daily = parseBackup(path, backup);
  const weekly = parseMaintenance(path, maintenance);
  const maintenanceDaily = { start: weekly.start % DAY, length: weekly.length };
  const first = Math.ceil((daily.start + daily.length) / 60) + 1;
  for (let hour = first; hour < first + 24; hour++) {
    // One hour in which the job starts, one in which it must not meet a window.
    const start = { start: (hour * 60) % DAY, length: 120 };
    if (!overlap(start, daily, DAY) && !overlap(start, maintenanceDaily, DAY)) return hour % 24;
  }
  throw new Error(
    `${path}: backupWindow '${backup}' and maintenanceWindow '${maintenance}' leave no hour for AWS Backup`,
  );
}

interface Interval {
  /** Minutes since the start of the day or week. */
  readonly start: number;
  readonly length: number;
}

function parseBackup(path: string, window: string): Interval {
  const match = /^(\d\d):(\d\d)-(\d\d):(\d\d)$/.exec(window);
  if (!match)
    throw new Error(`${path}: backupWindow '${window}' is not of the form hh:mm-hh:mm in UTC, such as 01:00-02:00`);
  const [start, end] = [minutes(match[1], match[2]), minutes(match[3], match[4])];
  return { start, length: (end - start + DAY) % DAY };
}

function parseMaintenance(path: string, window: string): Interval {
  const match = /^([a-z]{3}):(\d\d):(\d\d)-([a-z]{3}):(\d\d):(\d\d)$/.exec(window.toLowerCase());
  const [from, to] = [DAYS.indexOf(match?.[1] ?? ''), DAYS.indexOf(match?.[4] ?? '')];
  if (!match || from < 0 || to < 0) {
    throw new Error(
      `${path}: maintenanceWindow '${window}' is not of the form ddd:hh:mm-ddd:hh:mm in UTC, such as sun:03:00-sun:04:00`,
    );
  }
  const start = from * DAY + minutes(match[2], match[3]);
  const end = to * DAY + minutes(match[5], match[6]);
  return { start, length: (end - start + WEEK) % WEEK };
}

function minutes(hours: string | undefined, mins: string | undefined): number {
  return Number(hours) * 60 + Number(mins);
}

function overlap(a: Interval, b: Interval, period: number): boolean {
  const distance = (from: number, to: number) => (((to - from) % period) + period) % period;
  return distance(a.start, b.start) < a.length || distance(b.start, a.start) < b.length;
}
