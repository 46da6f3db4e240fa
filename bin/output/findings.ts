import { Assembly, PackFinding, PackFindings } from '../../lib/runtime/preview/assembly';
import { counted } from '../../lib/runtime/counted';
import { showTable } from './table';
import { Output } from './terminal';

/** What the app's rule packs say, one line a pack; what they found in full below. */
export function showFindings(output: Output, { findings }: Assembly): void {
  if (findings.length === 0) output.line('  No rule pack has checked this app.');
  else
    showTable(
      output,
      ['rule pack', 'result', 'acknowledged'],
      findings.map((pack) => [pack.pack, result(pack), String(pack.acknowledged.length)]),
    );
  for (const { errors, warnings } of findings) {
    errors.forEach((finding) => showFinding(output, 'ERROR', finding));
    warnings.forEach((finding) => showFinding(output, 'WARNING', finding));
  }
}

function result({ errors, warnings }: PackFindings): string {
  const found = [
    ...(errors.length > 0 ? [counted(errors.length, 'error')] : []),
    ...(warnings.length > 0 ? [counted(warnings.length, 'warning')] : []),
  ];
  return `ran, found ${found.join(' and ') || 'nothing'}`;
}

function showFinding(output: Output, level: 'ERROR' | 'WARNING', finding: PackFinding): void {
  const { colors } = output;
  output.line();
  output.line(`  ${(level === 'ERROR' ? colors.red : colors.yellow)(level)} ${colors.bold(finding.rule)}`);
  output.wrapped(finding.description, '    ');
  if (finding.fix) output.wrapped(finding.fix, '    ');
  for (const construct of finding.constructs) output.line(colors.dim(`    ${construct}`));
}
