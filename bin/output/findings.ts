import { Assembly, PackFinding } from '../../lib/runtime/preview/assembly';
import { showTable } from './table';
import { Output } from './terminal';

/** What the app's validation plugins say, pack by pack; errors in full. */
export function showFindings(output: Output, { findings, unreported }: Assembly): void {
  if (findings.length === 0) {
    output.line('  No rule pack had anything to say.');
  } else {
    showTable(
      output,
      ['rule pack', 'errors', 'warnings', 'acknowledged'],
      findings.map((pack) => [
        pack.pack,
        String(pack.errors.length),
        String(pack.warnings.length),
        String(pack.acknowledged.length),
      ]),
    );
  }
  if (unreported.length > 0) {
    const packs = unreported.map(({ pack, acknowledged }) => `${pack} (${acknowledged.length})`).join(', ');
    output.wrapped(
      `Acknowledged for packs that reported nothing: ${packs}. They found nothing else, or are no part of this app.`,
      '  ',
    );
  }
  for (const { errors, warnings } of findings) {
    errors.forEach((finding) => showFinding(output, 'ERROR', finding));
    warnings.forEach((finding) => showFinding(output, 'WARNING', finding));
  }
}

function showFinding(output: Output, level: 'ERROR' | 'WARNING', finding: PackFinding): void {
  const { colors } = output;
  output.line();
  output.line(`  ${(level === 'ERROR' ? colors.red : colors.yellow)(level)} ${colors.bold(finding.rule)}`);
  output.wrapped(finding.description, '    ');
  if (finding.fix) output.wrapped(finding.fix, '    ');
  for (const construct of finding.constructs) output.line(colors.dim(`    ${construct}`));
}
