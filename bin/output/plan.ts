import { Plan, Risk, Step } from '../../lib/runtime/reconcile';
import { Colors, Output } from './terminal';

const RISKS: readonly Risk[] = ['add', 'widen', 'narrow', 'disruptive', 'destructive'];
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

/** `12 steps: 9 add, 2 widen, 1 narrow`. */
export function countSteps(steps: readonly Step[]): string {
  if (steps.length === 0) return 'nothing to do';
  const counts = RISKS.map((risk) => [risk, steps.filter((step) => step.risk === risk).length] as const);
  const words = counts.filter(([, count]) => count > 0).map(([risk, count]) => `${count} ${risk}`);
  return `${steps.length} ${steps.length === 1 ? 'step' : 'steps'}: ${words.join(', ')}`;
}

/** The steps with their SQL and risk, then what is withheld and how it is let through, then notes. */
export function showPlan(output: Output, plan: Plan): void {
  showSteps(output, plan.steps);
  if (plan.withheld.length > 0) showWithheld(output, plan);
  for (const note of plan.notes) output.wrapped(`Note: ${note}`, '  ', output.colors.dim);
}

export function showSteps(output: Output, steps: readonly Step[]): void {
  let database: string | undefined;
  for (const step of steps) {
    if (step.database !== database) {
      if (database !== undefined) output.line();
      output.line(output.colors.dim(`  in the database ${step.database}`));
      database = step.database;
    }
    showStep(output, step);
  }
}

function showStep(output: Output, step: Step): void {
  const { colors } = output;
  const color = paint(colors, step.risk);
  const label = `${SIGN[step.risk]} ${step.risk.padEnd(11)}`;
  const reason = step.reason && step.reason !== step.object ? `  ${step.reason}` : '';
  const fits = 4 + label.length + step.object.length + reason.length <= output.width;
  output.line(`  ${color(label)} ${colors.bold(step.object)}${fits ? colors.dim(reason) : ''}`);
  if (!fits) output.wrapped(reason.trim(), ' '.repeat(16), colors.dim);
  for (const { sql, as } of step.statements) {
    const role = as === undefined ? '' : `  -- as ${as}`;
    output.wrapped(`${sql.replace(/;?\s*$/, ';')}${role}`, ' '.repeat(16));
  }
}

function showWithheld(output: Output, plan: Plan): void {
  const { colors } = output;
  output.line();
  output.line(`  ${colors.yellow(`Withheld, and not run: ${countSteps(plan.withheld)}`)}`);
  for (const step of plan.withheld) {
    showStep(output, step);
    output.wrapped(`withheld: ${step.withheld}`, ' '.repeat(16), colors.yellow);
  }
  if (plan.hash === undefined) return;
  output.line();
  output.wrapped(
    `To let exactly these run: server.acknowledgePlan('${plan.hash}', 'why') in the app, or cdk-postgres apply --acknowledge ${plan.hash}`,
    '  ',
    colors.dim,
  );
}
