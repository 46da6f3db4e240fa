import { GuardAcknowledgementLine, isDay } from '../../contract/deploy-guard';
import { Objection } from './judge';

export interface Verdict {
  readonly refused: readonly Objection[];
  readonly accepted: readonly { readonly objection: Objection; readonly reason: string; readonly expires: string }[];
  /** Acknowledgements that would have let something pass, had they not expired. */
  readonly expired: readonly GuardAcknowledgementLine[];
}

/** Divides objections by what somebody has acknowledged, with a reason and for a time. */
export function weigh(
  objections: readonly Objection[],
  acknowledgements: readonly GuardAcknowledgementLine[],
  now: Date,
): Verdict {
  const refused: Objection[] = [];
  const accepted: Verdict['accepted'][number][] = [];
  for (const objection of objections) {
    const valid = acknowledgements.find(
      ({ Id, Expires, Reason }) => Id === objection.id && Reason.trim() !== '' && holds(Expires, now),
    );
    if (valid) accepted.push({ objection, reason: valid.Reason, expires: valid.Expires });
    else refused.push(objection);
  }
  const expired = acknowledgements.filter(
    ({ Id, Expires }) => !holds(Expires, now) && refused.some(({ id }) => id === Id),
  );
  return { refused, accepted, expired };
}

/** Through the end of the day that it names. What is no date never holds. */
export function holds(expires: string, now: Date): boolean {
  return isDay(expires) && now.getTime() <= Date.parse(`${expires}T23:59:59.999Z`);
}
