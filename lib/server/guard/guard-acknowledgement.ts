import { requireLastDay } from '../../compliance';
import { GUARD_IDS, GuardAcknowledgementLine } from '../../contract/deploy-guard';

/** A reasoned exception from the deploy guard, for a time. */
export interface GuardAcknowledgement {
  /** What may pass: `guard:replacement`, `guard:major-version` and so on, as the refused deployment named it. */
  readonly id: string;
  /** Why it is meant. CloudFormation's events and the function's log show it. */
  readonly reason: string;
  /**
   * The last day on which it holds, as `yyyy-mm-dd` in UTC. It is checked when the deployment runs, so that an exception for one
   * evening does not stand open for years.
   */
  readonly expires: string;
}

/** True for the id of something that the deploy guard refuses, and not one of a finding. */
export function isGuardId(id: string): boolean {
  return id.startsWith('guard:');
}

/** Checks what was written by hand, with the place in the error. */
export function readGuardAcknowledgement(path: string, given: GuardAcknowledgement): GuardAcknowledgementLine {
  const { id, reason, expires } = given;
  const place = `${path}: acknowledge({ id: '${id}' })`;
  if (!Object.hasOwn(GUARD_IDS, id)) {
    throw new Error(
      `${place} names nothing that the deploy guard refuses; it knows ${Object.keys(GUARD_IDS).join(', ')}`,
    );
  }
  if (typeof reason !== 'string' || reason.trim() === '') {
    throw new Error(`${place} has no reason; say why the server may be touched in this way`);
  }
  return { Id: id, Reason: reason, Expires: requireLastDay(place, expires) };
}
