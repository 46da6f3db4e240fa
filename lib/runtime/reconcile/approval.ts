import { quoted, reachWords } from '../access/words';
import { Plan, Report, Risk, Step } from './types';

/** What a person or a pipeline needs in order to let withheld steps run: how many of which risk, who has it now, the hash. */

export const RISKS: readonly Risk[] = ['add', 'widen', 'narrow', 'disruptive', 'destructive'];

export interface PlanSummary {
  /** Steps that run, by risk. */
  readonly steps: Readonly<Record<Risk, number>>;
  /** Steps that wait, by risk. */
  readonly withheld: Readonly<Record<Risk, number>>;
  /** What to acknowledge; absent when nothing waits for it. */
  readonly hash?: string;
}

export function summarize(plan: Plan): PlanSummary {
  return { steps: countByRisk(plan.steps), withheld: countByRisk(plan.withheld), hash: plan.hash };
}

function countByRisk(steps: readonly Step[]): Record<Risk, number> {
  const counts = { add: 0, widen: 0, narrow: 0, disruptive: 0, destructive: 0 };
  for (const step of steps) counts[step.risk]++;
  return counts;
}

/** One line of `key=value`, always with the same keys in the same order. */
export function summaryLine(plan: Plan): string {
  const { steps, withheld, hash } = summarize(plan);
  return [
    ...RISKS.map((risk) => `${risk}=${steps[risk]}`),
    ...RISKS.map((risk) => `withheld-${risk}=${withheld[risk]}`),
    `hash=${hash ?? 'none'}`,
  ].join(' ');
}

/** `12 steps: 9 add, 2 widen, 1 narrow`. */
export function countSteps(steps: readonly Step[]): string {
  if (steps.length === 0) return 'nothing to do';
  const counts = countByRisk(steps);
  const words = RISKS.filter((risk) => counts[risk] > 0).map((risk) => `${counts[risk]} ${risk}`);
  return `${steps.length} ${steps.length === 1 ? 'step' : 'steps'}: ${words.join(', ')}`;
}

/** `api via app_readonly (3 sessions), report directly`. Undefined: the step takes nothing from anybody. */
export function heldByWords({ heldBy }: Step, sessions: Report['sessions'], most = Infinity): string | undefined {
  if (heldBy === undefined) return undefined;
  const shown = heldBy.roles.slice(0, most).map((holder) => {
    if (holder.role === 'PUBLIC') return 'every role, through PUBLIC';
    const count = sessions[holder.role] ?? 0;
    const now = count === 0 ? '' : ` (${count} ${count === 1 ? 'session' : 'sessions'} now)`;
    return `${quoted(holder.role)} ${reachWords(holder)}${holder.login ? now : ' (does not log in)'}`;
  });
  const left = heldBy.count - shown.length;
  return `${shown.join('; ')}${left > 0 ? `; and ${left} more` : ''}`;
}

/** What waits and what it would take from whom, for the answer of a deployment; it is cut where it grows too long. */
export function approvalText({ plan, sessions }: Pick<Report, 'plan' | 'sessions'>): string | undefined {
  if (plan.withheld.length === 0) return undefined;
  const lines = plan.withheld.map((step) => {
    const held = heldByWords(step, sessions, 3);
    return `${step.risk}: ${step.object}${held === undefined ? '' : `, held by ${held}`}`;
  });
  const how =
    plan.hash === undefined ? '' : ` To let exactly these run: server.acknowledgePlan('${plan.hash}', 'why').`;
  return `Withheld, and not run: ${countSteps(plan.withheld)}.${how} ${lines.join(' | ')}`;
}
