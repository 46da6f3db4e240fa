import { isDay } from '../contract/deploy-guard';

/** How far ahead an exception may reach: one that nobody looks at once a year is no exception any more. */
const LONGEST_DAYS = 366;

const DAY_MS = 24 * 60 * 60 * 1000;

const dayOf = (time: number) => new Date(time).toISOString().slice(0, 10);

/** Fails for a last day that is none, or further away than a year. `place` says where it stands. */
export function requireLastDay(place: string, expires: unknown): string {
  if (typeof expires !== 'string' || !isDay(expires)) {
    const given = typeof expires === 'string' ? `'${expires}'` : String(expires);
    throw new Error(`${place} has expires ${given}; write the last day on which it holds, such as '2027-01-31'`);
  }
  const latest = dayOf(Date.now() + LONGEST_DAYS * DAY_MS);
  if (expires > latest) {
    throw new Error(
      `${place} has expires '${expires}', which is more than a year away; write a day up to '${latest}', and look at it again when that has come`,
    );
  }
  return expires;
}

/** Whether the last day of an exception is over, in UTC. */
export function isOver(expires: string): boolean {
  return expires < dayOf(Date.now());
}
