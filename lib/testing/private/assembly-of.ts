import { App, CfnElement, Stack, Stage } from 'aws-cdk-lib';
import { Construct, IConstruct } from 'constructs';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Assembly, AssemblyStack, readAssembly } from '../../runtime/preview/assembly';

/**
 * Synthesises the app of a stack as it is now, and reads the result. Findings do not matter here, and CDK's own check of the templates is
 * left to the tests that are about it, since it takes seconds.
 */
export function assemblyOf(stack: Stack): { readonly assembly: Assembly; readonly own: AssemblyStack } {
  const before = process.env.CDK_VALIDATION;
  process.env.CDK_VALIDATION = 'false';
  try {
    synthesise(stack);
  } finally {
    if (before === undefined) delete process.env.CDK_VALIDATION;
    else process.env.CDK_VALIDATION = before;
  }
  const assembly = readAssembly(appOf(stack).outdir);
  // Two stages may have stacks of one name, for two accounts: the name alone is not enough where the path is known.
  const own =
    assembly.stacks.find(({ id }) => id === stack.node.path) ??
    assembly.stacks.find(({ stackName }) => stackName === stack.stackName);
  if (!own)
    throw new Error(
      `${stack.node.path} is not in ${assembly.directory}: a nested stack is tested with the stack that it is in`,
    );
  return { assembly, own };
}

/** The stack that is deployed, for one that is nested in it. */
export function outermost(stack: Stack): Stack {
  return stack.nestedStackParent ? outermost(stack.nestedStackParent) : stack;
}

/**
 * A stack, or one that is nested in `deployed`, as it is deployed. The template of a nested one is an asset, which the assembly does not list as a stack, and its
 * logical ids may be those of the stack around it: so the paths are those of the constructs.
 */
export function deployedAs(stack: Stack, deployed: AssemblyStack): AssemblyStack {
  const elements = stack.node.findAll().filter((one) => CfnElement.isCfnElement(one) && one.stack === stack);
  const pathOf = (one: IConstruct) => one.node.path.replace(/\/Default$/, '');
  const file = join(Stage.of(stack)!.outdir, stack.templateFile);
  return {
    ...deployed,
    id: stack.node.path,
    template: JSON.parse(readFileSync(file, 'utf8')) as AssemblyStack['template'],
    paths: new Map(elements.map((one) => [String(stack.resolve((one as CfnElement).logicalId)), pathOf(one)])),
  };
}

/** Writes the app's assembly, and its report of findings, which do not end the test here. */
export function synthesise(stack: Stack): void {
  try {
    appOf(stack).synth({ force: true });
  } catch (error) {
    if ((error as Error).name !== 'ValidationFailed') throw error;
  }
}

/** `caller` is the function that a test calls, for the message. Tests are often not compiled with types. */
export function requireStack(caller: string, stack: unknown): void {
  if (Stack.isStack(stack)) return;
  const what =
    App.isApp(stack) || Stage.isStage(stack)
      ? 'an app or a stage'
      : Construct.isConstruct(stack)
        ? `the construct ${stack.node.path}`
        : String(stack);
  throw new Error(`${caller}() got ${what}; pass a Stack, such as ${caller}(stack), once for each stack of an app`);
}

export function appOf(stack: Stack): App {
  const { root } = stack.node;
  if (!App.isApp(root)) throw new Error(`${stack.node.path} is in no App; make one (new App()) and the stack in it`);
  return root as App;
}
