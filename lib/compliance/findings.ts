import {
  IPolicyValidationPlugin,
  IPolicyValidationContext,
  PolicyValidationPluginReport,
  PolicyViolation,
  Validations,
} from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { FindingAcknowledgement } from './acknowledgement';
import { isOver, requireLastDay } from './expiry';
import { FINDING_IDS, FindingId } from './finding-ids';
import { recordRulePacks } from './rule-packs';

/** The plugin's name: a rule is acknowledged as `cdk-postgres::HA-1`. */
export const PLUGIN_NAME = 'cdk-postgres';

/** A guard: what a construct may not be unless somebody says why. */
export interface Finding {
  /** The requirement's id, such as `HA-1`. */
  readonly id: FindingId;
  /** Evaluated when the app is complete. What is wrong, in one sentence with its values, or undefined: nothing. */
  readonly check: () => string | undefined;
  /** What to write instead, in one sentence. */
  readonly fix: string;
  /** `error` fails synthesis; `warning` is shown. Default: error. */
  readonly severity?: 'error' | 'warning';
}

/** Adds a guard to a construct. It is evaluated once per synthesis, after everything else has been declared. */
export function addFinding(scope: IConstruct, finding: Finding): void {
  registryOf(scope).findings.push({ scope, ...finding });
}

/**
 * Acknowledges a finding of this library on a construct and everything below it.
 *
 * An id that no guard of the construct carries is itself reported, since it silences nothing while its author believes that it does.
 */
export function acknowledgeFinding(scope: IConstruct, acknowledgement: FindingAcknowledgement): void {
  const id = acknowledgement.id.startsWith(`${PLUGIN_NAME}::`)
    ? acknowledgement.id.slice(PLUGIN_NAME.length + 2)
    : acknowledgement.id;
  if (typeof acknowledgement.reason !== 'string' || acknowledgement.reason.trim().length === 0) {
    throw new Error(
      `${scope.node.path}: acknowledge({ id: '${id}' }) has no reason; say why the exception is right here`,
    );
  }
  if (!(FINDING_IDS as readonly string[]).includes(id)) {
    throw new Error(
      `${scope.node.path}: acknowledge({ id: '${id}' }) names no guard of this library; there are ${FINDING_IDS.join(', ')}`,
    );
  }
  const registry = registryOf(scope);
  const { expires } = acknowledgement;
  if (expires !== undefined && isOver(requireLastDay(`${scope.node.path}: acknowledge({ id: '${id}' })`, expires))) {
    registry.expired.push({ scope, id, expires });
    return;
  }
  registry.acknowledged.push({ scope, id });
  Validations.of(scope).acknowledge({ id: `${PLUGIN_NAME}::${id}`, reason: acknowledgement.reason });
}

/** Whether a guard with this id judges the construct, or one that it belongs to, whatever it has to say. */
export function isGuarded(construct: IConstruct, id: FindingId): boolean {
  const plugin = (construct.node.root as IConstruct & { [REGISTRY]?: FindingsPlugin })[REGISTRY];
  return plugin?.findings.some((finding) => finding.id === id && isWithin(construct, finding.scope)) ?? false;
}

interface PlacedFinding extends Finding {
  readonly scope: IConstruct;
}

/** The one validation plugin of an app: all guards of all servers report through it. */
class FindingsPlugin implements IPolicyValidationPlugin {
  public readonly name = PLUGIN_NAME;
  public readonly findings: PlacedFinding[] = [];
  public readonly acknowledged: { readonly scope: IConstruct; readonly id: string }[] = [];
  public readonly expired: { readonly scope: IConstruct; readonly id: string; readonly expires: string }[] = [];

  public validate(_context: IPolicyValidationContext): PolicyValidationPluginReport {
    const violations: PolicyViolation[] = [];
    for (const finding of this.findings) {
      try {
        const description = finding.check();
        if (description !== undefined) violations.push(violationOf(finding, description));
      } catch (error) {
        violations.push(uncheckedRule(finding.id, finding.scope.node.path, error));
      }
    }
    violations.push(...this.uselessAcknowledgements(), ...this.expiredAcknowledgements());
    return { violations, success: violations.every((violation) => violation.severity !== 'error') };
  }

  /** The finding is back, if there still is one; who reads the line believes that it holds. */
  private expiredAcknowledgements(): PolicyViolation[] {
    return this.expired.map(({ scope, id, expires }) => ({
      ruleName: 'LIB-11',
      description: `${scope.node.path}: acknowledge({ id: '${id}' }) held until ${expires}, and acknowledges nothing any more`,
      fix: 'Remove it, or give it a new day if its reason still holds.',
      severity: 'warning',
      violatingResources: [{ constructPath: scope.node.path, locations: [] }],
    }));
  }

  /** A misspelt id acknowledges nothing, while its author believes that it does. */
  private uselessAcknowledgements(): PolicyViolation[] {
    return this.acknowledged
      .filter(({ scope, id }) => !this.findings.some((f) => f.id === id && isWithin(f.scope, scope)))
      .map(({ scope, id }) => ({
        ruleName: 'LIB-11',
        description: `${scope.node.path}: acknowledge({ id: '${id}' }) names no guard of this construct`,
        fix: `Remove it, or use the id that the report shows after "${PLUGIN_NAME}::".`,
        severity: 'warning',
        violatingResources: [{ constructPath: scope.node.path, locations: [] }],
      }));
  }
}

function violationOf(finding: PlacedFinding, description: string): PolicyViolation {
  return {
    ruleName: finding.id,
    description,
    fix: finding.fix,
    severity: finding.severity ?? 'error',
    violatingResources: [{ constructPath: finding.scope.node.path, locations: [] }],
  };
}

/**
 * What stands for a rule that could not be asked. CDK takes a plugin that throws for one without findings and lets the synthesis pass, so
 * that one broken check would switch off all others. It has an id of its own: who acknowledges the rule has not acknowledged this.
 */
export function uncheckedRule(id: string, path: string, error: unknown): PolicyViolation {
  const reason = error instanceof Error ? error.message : String(error);
  return {
    ruleName: `${id}.unchecked`,
    description: `${path}: ${id} could not be checked: ${reason}`,
    fix: 'Look for a property of the construct that is missing or of another type than declared; if there is none, the check itself is at fault.',
    severity: 'error',
    violatingResources: [{ constructPath: path, locations: [] }],
  };
}

function isWithin(inner: IConstruct, outer: IConstruct): boolean {
  return inner.node.scopes.includes(outer);
}

const REGISTRY = Symbol.for('cdk-postgres.findings');

function registryOf(scope: IConstruct): FindingsPlugin {
  const root = scope.node.root as IConstruct & { [REGISTRY]?: FindingsPlugin };
  let plugin = root[REGISTRY];
  if (!plugin) {
    plugin = new FindingsPlugin();
    Validations.of(root).addPlugins(plugin);
    recordRulePacks(scope);
    Object.defineProperty(root, REGISTRY, { value: plugin, enumerable: false });
  }
  return plugin;
}
