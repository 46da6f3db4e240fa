import { countSteps, heldByWords, Plan, Report, Risk, Step } from '../../lib/runtime/reconcile';
import { Colors, Output, wrap } from './terminal';

const SIGN: Readonly<Record<Risk, string>> = { add: '+', widen: '+', narrow: '-', disruptive: '!', destructive: '!' };

function paint(colors: Colors, risk: Risk): (text: string) => string {
  switch (risk) {
    case 'add':
      return colors.green;
    case 'widen':
      return colors.cyan;
    case 'narrow':
      return colors.yellow;
    default:
      return colors.red;
  }
}

/** The steps with their SQL and risk, then what is withheld and how it is let through, then notes. */
export function showPlan(output: Output, plan: Plan, sessions: Report['sessions'] = {}): void {
  showSteps(output, plan.steps);
  if (plan.steps.length > 0 && plan.withheld.length > 0) output.line();
  if (plan.withheld.length > 0) showWithheld(output, plan, sessions);
  for (const note of plan.notes) output.wrapped(`Note: ${note}`, '  ', output.colors.dim);
}

/** The same below a line that says how it went: with a blank line between, where there is anything to show. */
export function showPlanBelow(output: Output, plan: Plan, sessions: Report['sessions'] = {}): void {
  if (plan.steps.length + plan.withheld.length + plan.notes.length > 0) output.line();
  showPlan(output, plan, sessions);
}

/** What an added thing always has as its reason, and nobody needs to read. */
const PLAIN_REASON = /^declared, and /;

export function showSteps(output: Output, steps: readonly Step[]): void {
  let place: string | undefined;
  for (const step of steps) {
    const role = step.statements[0]?.as;
    const here = `in the database ${step.database}${role === undefined ? '' : `, as ${role}`}`;
    if (here !== place) {
      if (place !== undefined) output.line();
      output.line(output.colors.dim(`  ${here}`));
      place = here;
    }
    showStep(output, step);
  }
}

/** An addition is its SQL; whatever takes something away, or has more to say, is introduced by what changes and why. */
function showStep(output: Output, step: Step): void {
  const { colors } = output;
  const label = paint(colors, step.risk)(`${SIGN[step.risk]} ${step.risk.padEnd(11)}`);
  const statements = step.statements.map(({ sql }) => `${sql.replace(/;?\s*$/, '')};`);
  const [first, ...rest] = wrapStatements(output, statements);
  if (step.risk === 'add' && PLAIN_REASON.test(step.reason)) {
    output.line(`  ${label} ${first}`);
    rest.forEach((line) => output.line(INDENT + line));
    return;
  }
  output.line(`  ${label} ${colors.bold(step.object)}`);
  if (step.reason && step.reason !== step.object) output.wrapped(step.reason, INDENT, colors.dim);
  [first, ...rest].filter(Boolean).forEach((line) => output.line(INDENT + line));
}

const INDENT = ' '.repeat(16);

function wrapStatements(output: Output, statements: readonly string[]): string[] {
  return statements.flatMap((sql) => wrap(sql, output.width - INDENT.length));
}

function showWithheld(output: Output, plan: Plan, sessions: Report['sessions']): void {
  const { colors } = output;
  output.line(`  ${colors.yellow(`Withheld, and not run: ${countSteps(plan.withheld)}`)}`);
  output.line();
  for (const step of plan.withheld) {
    showStep(output, step);
    output.wrapped(`withheld: ${step.withheld}`, INDENT, colors.yellow);
    const held = heldByWords(step, sessions);
    if (held !== undefined) output.wrapped(`held now by: ${held}`, INDENT, colors.yellow);
  }
  if (plan.hash === undefined) return;
  output.line();
  output.wrapped(
    `To let exactly these run: server.acknowledgePlan('${plan.hash}', 'why') in the app, or cdk-postgres apply --acknowledge ${plan.hash}`,
    '  ',
    colors.dim,
  );
}
