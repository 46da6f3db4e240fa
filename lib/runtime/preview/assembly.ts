import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { BUDGET_METADATA, BudgetDocument, RULE_PACKS_METADATA } from '../../contract';

export interface Template {
  readonly Parameters?: Readonly<Record<string, { readonly Type: string; readonly Default?: unknown }>>;
  readonly Mappings?: Readonly<Record<string, Record<string, Record<string, unknown>>>>;
  readonly Conditions?: Readonly<Record<string, unknown>>;
  readonly Resources?: Readonly<Record<string, TemplateResource>>;
  readonly Outputs?: Readonly<
    Record<string, { readonly Value: unknown; readonly Export?: { readonly Name: unknown } }>
  >;
}

export interface TemplateResource {
  readonly Type: string;
  readonly Properties?: Readonly<Record<string, unknown>>;
  readonly Metadata?: Readonly<Record<string, unknown>>;
}

/** A stack of a synthesised app. */
export interface AssemblyStack {
  /** The construct path, which `--stack` takes; CloudFormation's name of the stack does as well. */
  readonly id: string;
  readonly stackName: string;
  readonly account: string;
  readonly region: string;
  /** Absent: the stack goes wherever it is deployed to, and a preview says us-east-1. */
  readonly statedRegion?: string;
  readonly template: Template;
  /** Where a resource stands in the app, by its logical id. */
  readonly paths: ReadonlyMap<string, string>;
  /** What the connections of each server are taken by. */
  readonly budgets: readonly BudgetDocument[];
}

/** What a rule pack that was asked has found; nothing, where the lists are empty. */
export interface PackFindings {
  readonly pack: string;
  readonly errors: readonly PackFinding[];
  readonly warnings: readonly PackFinding[];
  readonly acknowledged: readonly PackFinding[];
}

export interface PackFinding {
  readonly rule: string;
  /** Of an acknowledged finding: the reason that was given. */
  readonly description: string;
  readonly fix?: string;
  readonly constructs: readonly string[];
}

/** What synthesis leaves in `cdk.out`: templates, assets and the report of the validation plugins. */
export interface Assembly {
  readonly directory: string;
  readonly stacks: readonly AssemblyStack[];
  readonly findings: readonly PackFindings[];
  /** The file or folder of a file asset, by the key that it has in its bucket. */
  readonly assets: ReadonlyMap<string, string>;
}

export interface SynthesisOptions {
  /** The command that runs the app, as in the `app` of cdk.json. */
  readonly command: string;
  /** Where it runs; its cdk.json and cdk.context.json count. Default: the current directory. */
  readonly directory?: string;
  readonly context?: Readonly<Record<string, unknown>>;
}

/** What a POSIX shell ends with when there is no such program. */
const COMMAND_NOT_FOUND = 127;

/**
 * Runs a CDK app as the CDK CLI does, into a folder of our own. Findings of validation plugins do not end it: they are part of what
 * is read. Throws with the app's own words when it fails.
 */
export async function synthesise(options: SynthesisOptions): Promise<Assembly> {
  const directory = path.resolve(options.directory ?? '.');
  const output = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-synth-'));
  process.once('exit', () => fs.rmSync(output, { recursive: true, force: true }));
  const context = {
    ...readJsonIfThere(path.join(directory, 'cdk.json')).context,
    ...readJsonIfThere(path.join(directory, 'cdk.context.json')),
    '@aws-cdk/core:failSynthOnValidationErrors': false,
    ...options.context,
  };
  const { code, text } = await run(options.command, directory, {
    CDK_OUTDIR: output,
    CDK_CONTEXT_JSON: JSON.stringify(context),
  });
  if (code === COMMAND_NOT_FOUND) {
    throw new Error(
      `${options.command} is neither a folder with a synthesised app nor a command: ${lastLines(text, 1)}`,
    );
  }
  if (code !== 0) throw new Error(`The app \`${options.command}\` ended with code ${code}:\n${lastLines(text, 30)}`);
  if (!fs.existsSync(path.join(output, 'manifest.json'))) {
    throw new Error(
      `The app \`${options.command}\` ended without synthesising: it must make an App of aws-cdk-lib and call its synth(). It said:\n${lastLines(text, 30)}`,
    );
  }
  return readAssembly(output);
}

/** The command of a project's cdk.json. */
export function appOfProject(directory: string): string | undefined {
  const { app } = readJsonIfThere(path.join(directory, 'cdk.json'));
  return typeof app === 'string' ? app : undefined;
}

export function readAssembly(directory: string): Assembly {
  const stacks: AssemblyStack[] = [];
  const assets = new Map<string, string>();
  const acknowledged: PackFinding[] = [];
  const asked: string[] = [];
  const read = (folder: string) => {
    const manifest = readJson(path.join(folder, 'manifest.json'), 'a synthesised app');
    for (const [id, artifact] of Object.entries((manifest.artifacts ?? {}) as Record<string, Artifact>)) {
      const { properties } = artifact;
      if (artifact.type === 'aws:cloudformation:stack') {
        const metadata = readMetadata(folder, artifact);
        const [account, region] = environmentOf(artifact);
        const { templateFile } = properties ?? {};
        if (typeof templateFile !== 'string')
          throw new Error(
            `${path.join(folder, 'manifest.json')} names no template of the stack ${id}: run cdk synth again`,
          );
        stacks.push({
          id: artifact.displayName?.split(' ')[0] ?? id,
          stackName: (properties?.stackName as string | undefined) ?? id,
          account: account.startsWith('unknown') ? '123456789012' : account,
          region: region.startsWith('unknown') ? 'us-east-1' : region,
          statedRegion: region.startsWith('unknown') ? undefined : region,
          template: readJson(path.join(folder, templateFile), 'a template') as Template,
          paths: readPaths(metadata),
          budgets: readBudgets(metadata),
        });
        acknowledged.push(...readAcknowledged(metadata));
        asked.push(...readAsked(metadata));
      } else if (artifact.type === 'cdk:asset-manifest') {
        readAssets(folder, properties!.file as string, assets);
      } else if (artifact.type === 'cdk:cloud-assembly') {
        read(path.join(folder, properties!.directoryName as string));
      }
    }
  };
  read(directory);
  return { directory, stacks, assets, ...readFindings(directory, asked, acknowledged) };
}

interface Artifact {
  readonly type: string;
  readonly environment?: string;
  readonly displayName?: string;
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly metadata?: Metadata;
  readonly additionalMetadataFile?: string;
}

/** Account and region; a stack that is bound to neither says so, or says nothing. */
function environmentOf({ environment }: Artifact): [account: string, region: string] {
  const [account, region] = (environment ?? '').replace('aws://', '').split('/');
  return [account || 'unknown-account', region || 'unknown-region'];
}

type Metadata = Readonly<Record<string, readonly { readonly type: string; readonly data?: unknown }[]>>;

function readMetadata(folder: string, artifact: Artifact): Metadata {
  const file = artifact.additionalMetadataFile;
  return file === undefined
    ? (artifact.metadata ?? {})
    : (readJson(path.join(folder, file), 'the metadata of a stack') as Metadata);
}

function readPaths(metadata: Metadata): Map<string, string> {
  const paths = Object.entries(metadata).flatMap(([construct, entries]) =>
    entries
      .filter(({ type }) => type === 'aws:cdk:logicalId')
      .map(({ data }) => [String(data), construct.slice(1).replace(/\/Default$/, '')] as const),
  );
  return new Map(paths);
}

function readBudgets(metadata: Metadata): BudgetDocument[] {
  return Object.values(metadata).flatMap((entries) =>
    entries.filter(({ type }) => type === BUDGET_METADATA).map(({ data }) => data as BudgetDocument),
  );
}

/** Packs leave acknowledged findings out of their report; what was acknowledged stands in the metadata of the stack. */
function readAcknowledged(metadata: Metadata): PackFinding[] {
  return Object.entries(metadata).flatMap(([construct, entries]) =>
    entries
      .filter(({ type }) => type === 'aws:cdk:acknowledged-rules')
      .flatMap(({ data }) => Object.entries(data as Record<string, string>))
      .map(([rule, description]) => ({
        rule: rule.replace(/^Annotation::/, ''),
        description,
        constructs: [construct.slice(1)],
      }))
      // Warnings of CDK's constructs, and what these acknowledge of CDK's own checks, are of no rule pack.
      .filter(({ rule }) => !rule.startsWith('CloudFormation-Validate::') && !rule.startsWith('@')),
  );
}

/** The rule packs that this library's constructs saw registered when the app was synthesised. */
function readAsked(metadata: Metadata): string[] {
  return Object.values(metadata)
    .flat()
    .filter(({ type }) => type === RULE_PACKS_METADATA)
    .flatMap(({ data }) => data as readonly string[]);
}

function readAssets(folder: string, file: string, assets: Map<string, string>): void {
  const manifest = readJson(path.join(folder, file), 'an asset manifest') as {
    files?: Record<string, { source: { path?: string }; destinations: Record<string, { objectKey: string }> }>;
  };
  for (const { source, destinations } of Object.values(manifest.files ?? {})) {
    if (source.path === undefined) continue;
    for (const { objectKey } of Object.values(destinations)) assets.set(objectKey, path.resolve(folder, source.path));
  }
}

interface ReportedViolation {
  readonly ruleName: string;
  readonly description: string;
  readonly suggestedFix?: string;
  readonly severity: string;
  readonly violatingConstructs?: readonly { readonly constructPath: string }[];
}

interface PluginReport {
  readonly pluginName: string;
  readonly conclusion?: string;
  readonly metadata?: { readonly error?: string };
  readonly violations: readonly ReportedViolation[];
}

/** CDK's report has the packs that had something to say. Those that were asked and are not in it ran clean. */
function readFindings(
  directory: string,
  asked: readonly string[],
  acknowledged: readonly PackFinding[],
): Pick<Assembly, 'findings'> {
  const report = readJsonIfThere(path.join(directory, 'validation-report.json')) as {
    pluginReports?: readonly PluginReport[];
  };
  const { pluginReports = [] } = report;
  // Without a report nothing was asked, whatever had been registered.
  const known = report.pluginReports === undefined ? [] : asked;
  const ran = [...new Set([...pluginReports.map(({ pluginName }) => pluginName), ...known])].sort();
  return {
    findings: ran.map((pack) => {
      const reports = pluginReports.filter(({ pluginName }) => pluginName === pack);
      const violations = reports.flatMap((report) => report.violations);
      return {
        pack,
        errors: [
          ...violations.filter(({ severity }) => isError(severity)).map(findingOf),
          ...reports.flatMap(failureWithoutFinding),
        ],
        warnings: violations.filter(({ severity }) => !isError(severity)).map(findingOf),
        // The library states its exceptions from packs that this app may not use: those are left out.
        acknowledged: acknowledged.filter(({ rule }) => packOf(rule) === pack),
      };
    }),
  };
}

function findingOf(violation: ReportedViolation): PackFinding {
  return {
    rule: violation.ruleName,
    description: violation.description,
    fix: violation.suggestedFix,
    constructs: (violation.violatingConstructs ?? []).map(({ constructPath }) => constructPath),
  };
}

/**
 * CDK deploys nothing when a plugin says that it failed, whatever it found: one that threw found nothing, and packs of cdk-nag fail for a warning.
 */
function failureWithoutFinding({ pluginName, conclusion, metadata, violations }: PluginReport): PackFinding[] {
  if (conclusion !== 'failure' || violations.some(({ severity }) => isError(severity))) return [];
  const why =
    violations.length > 0
      ? `the rule pack ${pluginName} fails for its warnings alone, and CDK then deploys nothing: solve or acknowledge them`
      : `the validation plugin ${pluginName} failed, and names no finding`;
  return [{ rule: pluginName, description: metadata?.error ?? why, constructs: [] }];
}

/** `HIPAA.Security-RDSInBackupPlan`, `cdk-postgres::HA-1`. */
function packOf(rule: string): string {
  return rule.includes('::') && !rule.includes('[') ? rule.split('::')[0] : rule.split('-')[0];
}

const isError = (severity: string) => severity === 'error' || severity === 'fatal';

function run(command: string, cwd: string, env: Record<string, string>): Promise<{ code: number; text: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, {
      cwd,
      shell: true,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? 1, text }));
  });
}

function lastLines(text: string, count: number): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}

function readJson(file: string, what: string): Record<string, unknown> {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`${file} cannot be read as ${what} (${(error as NodeJS.ErrnoException).code})`);
  }
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new Error(`${file} is not JSON: ${(error as Error).message}`);
  }
}

function readJsonIfThere(file: string): Record<string, object | undefined> {
  return fs.existsSync(file) ? (readJson(file, 'JSON') as Record<string, object | undefined>) : {};
}
