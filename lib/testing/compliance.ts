import {
  IPolicyValidationContext,
  IPolicyValidationPlugin,
  PolicyValidationPluginReport,
  Stack,
  Validations,
} from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { PostgresChecks } from '../compliance/postgres-checks';
import { appOf, requireStack, synthesise } from './private/assembly-of';

/** The packs of cdk-nag 3, by the name that stands before their rules, and the checks of this library. */
const NAG_CLASSES = {
  AwsSolutions: 'AwsSolutionsChecks',
  'HIPAA.Security': 'HIPAASecurityChecks',
  'NIST.800.53.R4': 'NIST80053R4Checks',
  'NIST.800.53.R5': 'NIST80053R5Checks',
  'PCI.DSS.321': 'PCIDSS321Checks',
  Serverless: 'ServerlessChecks',
} as const;

/** A rule pack: one of cdk-nag's, or the checks of this library. */
export type PackName = keyof typeof NAG_CLASSES | 'PostgresChecks';

const DEFAULT_PACKS: readonly PackName[] = [
  'AwsSolutions',
  'HIPAA.Security',
  'NIST.800.53.R4',
  'NIST.800.53.R5',
  'PCI.DSS.321',
  'PostgresChecks',
];

/** A finding that the test accepts. The stack itself stays as it is. */
export interface AcknowledgedFinding {
  /** The rule as the report names it, such as `AwsSolutions-RDS10` or `BK-3`. */
  readonly rule: string;
  /** The construct path, or the beginning of it. Default: anywhere in the stack. */
  readonly at?: string;
  /** Why it is right here. */
  readonly reason: string;
}

export interface ComplianceOptions {
  /** The packs to check with, by name or as plugins of your own. Default: the five packs of cdk-nag, and PostgresChecks. */
  readonly packs?: readonly (PackName | IPolicyValidationPlugin)[];
  /** Findings that are accepted. One that is found no more fails the test, so that the list does not outlive its reasons. */
  readonly acknowledged?: readonly AcknowledgedFinding[];
  /** Whether warnings fail the test too. Default: false, errors alone. */
  readonly warnings?: boolean;
}

/** What was found and did not fail the test, each as `path rule`, sorted, for a snapshot. */
export interface ComplianceReport {
  readonly warnings: readonly string[];
  /** What the app's own code acknowledges, with the reason. */
  readonly acknowledged: readonly string[];
}

interface Finding {
  readonly rule: string;
  readonly at: string;
  readonly isError: boolean;
  readonly description: string;
  readonly fix?: string;
}

/**
 * Fails with every finding of error level in a stack, its path, reason and remedy. The guards of this library are always part of it, and
 * so are the plugins that the app has registered.
 */
export function expectCompliant(stack: Stack, options: ComplianceOptions = {}): ComplianceReport {
  requireStack('expectCompliant', stack);
  const { packs = DEFAULT_PACKS, acknowledged = [], warnings = false } = options;
  for (const { rule, reason } of acknowledged)
    if (typeof reason !== 'string' || reason.trim() === '')
      throw new Error(`acknowledged: ${rule} has no reason; say why the finding is right here`);
  const app = appOf(stack);
  const gates = packs.map((pack) => gateOf(app, pack));
  gates.forEach((gate) => (gate.open = true));
  try {
    synthesise(stack);
  } finally {
    gates.forEach((gate) => (gate.open = false));
  }
  const { findings, suppressed } = readReport(join(app.outdir, 'validation-report.json'), stack);
  const accepts = (finding: Finding) => acknowledged.filter((entry) => matches(entry, finding));
  const left = findings.filter((finding) => (finding.isError || warnings) && accepts(finding).length === 0);
  const idle = acknowledged.filter((entry) => !findings.some((finding) => matches(entry, finding)));
  if (left.length + idle.length > 0) throw new Error(complaint(stack, left, idle));
  const lines = (list: readonly Finding[]) => list.map(({ at, rule }) => `${at} ${rule}`);
  return { warnings: lines(findings.filter(({ isError }) => !isError)), acknowledged: suppressed };
}

/** A pack that is asked in the syntheses of `expectCompliant` alone: a later `Template.fromStack` is none of its business. */
class Gate implements IPolicyValidationPlugin {
  readonly name: string;
  readonly version?: string;
  readonly ruleIds?: string[];
  open = false;

  constructor(private readonly pack: IPolicyValidationPlugin) {
    this.name = pack.name;
    this.version = pack.version;
    this.ruleIds = pack.ruleIds;
  }

  validate(context: IPolicyValidationContext): PolicyValidationPluginReport {
    return this.open ? this.pack.validate(context) : { success: true, violations: [] };
  }
}

const GATES = new WeakMap<IConstruct, Map<unknown, Gate>>();

function gateOf(app: IConstruct, pack: PackName | IPolicyValidationPlugin): Gate {
  const known = GATES.get(app) ?? new Map<unknown, Gate>();
  GATES.set(app, known);
  const gate = known.get(pack) ?? new Gate(typeof pack === 'string' ? packOf(pack, app) : pack);
  if (!known.has(pack)) Validations.of(app).addPlugins(gate);
  known.set(pack, gate);
  return gate;
}

function packOf(name: PackName, app: IConstruct): IPolicyValidationPlugin {
  if (name === 'PostgresChecks') return new PostgresChecks();
  const className = NAG_CLASSES[name];
  if (className === undefined)
    throw new Error(
      `there is no pack ${String(name)}; there are ${[...Object.keys(NAG_CLASSES), 'PostgresChecks'].join(', ')}`,
    );
  const Pack = cdkNag(name)[className] as (new (scope: IConstruct) => IPolicyValidationPlugin) | undefined;
  const pack = Pack && new Pack(app);
  if (typeof pack?.validate !== 'function') throw new Error(`the pack ${name} needs cdk-nag 3: npm i -D cdk-nag@^3`);
  return pack;
}

/** It belongs to the user's project; this package does not depend on it. */
function cdkNag(pack: string): Record<string, unknown> {
  for (const folder of [process.cwd(), __dirname]) {
    try {
      return createRequire(join(folder, 'package.json'))('cdk-nag') as Record<string, unknown>;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'MODULE_NOT_FOUND' || !message.includes("'cdk-nag'")) throw error;
    }
  }
  throw new Error(
    `the pack ${pack} is one of cdk-nag 3, which this project does not have: npm i -D cdk-nag@^3, or name other packs, as in expectCompliant(stack, { packs: ['PostgresChecks'] })`,
  );
}

interface ReportedViolation {
  readonly ruleName: string;
  readonly description: string;
  readonly suggestedFix?: string;
  readonly severity: string;
  readonly reason?: string;
  readonly violatingConstructs: readonly { readonly constructPath?: string; readonly templatePath?: string }[];
}

interface PluginReport {
  readonly pluginName: string;
  readonly metadata?: { readonly error?: string };
  readonly violations?: readonly ReportedViolation[];
  readonly suppressedViolations?: readonly ReportedViolation[];
}

function readReport(file: string, stack: Stack): { findings: readonly Finding[]; suppressed: readonly string[] } {
  const { pluginReports } = JSON.parse(readFileSync(file, 'utf8')) as { pluginReports: readonly PluginReport[] };
  const failed = pluginReports.find(({ metadata }) => metadata?.error !== undefined);
  if (failed) throw new Error(failed.metadata!.error);
  const inStack = ({ violatingConstructs }: ReportedViolation) =>
    violatingConstructs.filter(
      ({ constructPath, templatePath }) =>
        constructPath === stack.node.path ||
        constructPath?.startsWith(`${stack.node.path}/`) ||
        (!constructPath && templatePath === stack.templateFile),
    );
  const findings = new Map<string, Finding>();
  for (const violation of pluginReports.flatMap((report) => report.violations ?? [])) {
    for (const { constructPath } of inStack(violation)) {
      const at = constructPath ?? stack.node.path;
      const { ruleName: rule, description, suggestedFix: fix, severity } = violation;
      const isError = !['warning', 'info'].includes(severity);
      // A pack that the app has registered too says everything twice.
      findings.set(`${at} ${rule}`, { rule, at, isError, description, fix });
    }
  }
  // Packs of cdk-nag leave out what is acknowledged; CDK's own record of it has all.
  const suppressed = acknowledgements(stack);
  return { findings: [...findings].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, finding]) => finding), suppressed };
}

function acknowledgements(stack: Stack): string[] {
  const found = stack.node.findAll().flatMap((construct) =>
    construct.node.metadata
      .filter(({ type }) => type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY)
      .flatMap(({ data }) => Object.entries(data as Record<string, string>))
      // What CDK's own constructs acknowledge of CDK's own checks is nobody's exception.
      .filter(([id]) => !id.startsWith('CloudFormation-Validate::'))
      .map(([id, reason]) => `${construct.node.path} ${id.replace(/^Annotation::/, '')}: ${reason}`),
  );
  return [...new Set(found)].sort();
}

function matches({ rule, at }: AcknowledgedFinding, finding: Finding): boolean {
  return rule === finding.rule && (at === undefined || finding.at === at || finding.at.startsWith(`${at}/`));
}

function complaint(stack: Stack, left: readonly Finding[], idle: readonly AcknowledgedFinding[]): string {
  const found = left.map(
    ({ rule, at, isError, description, fix }) =>
      `  ${isError ? 'error' : 'warning'} ${rule} at ${at}\n    ${description}${fix ? `\n    ${fix}` : ''}`,
  );
  const gone = idle.map(
    ({ rule, at }) => `  ${rule}${at === undefined ? '' : ` at ${at}`} is acknowledged, and found no more: remove it`,
  );
  return [
    `${stack.node.path} is not compliant: ${left.length} ${left.length === 1 ? 'finding' : 'findings'}${idle.length > 0 ? `, ${idle.length} acknowledged without need` : ''}`,
    ...found,
    ...gone,
  ].join('\n');
}
