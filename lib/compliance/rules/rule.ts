import { ResourceFacts } from '../template/resource-facts';
import { TemplateFacts } from '../template/template-facts';
import { FindingId } from '../finding-ids';

/** What a rule found at a resource. */
export interface RuleViolation {
  readonly resource: ResourceFacts;
  /** What is wrong, with its value, in half a sentence that goes on after the construct's path. */
  readonly reason: string;
  /** The property that it stands in. */
  readonly property?: string;
}

/** A requirement that a template can be checked for, whoever wrote it. */
export interface Rule {
  /** The requirement's id, such as `BK-3`. */
  readonly id: string;
  /** `error` fails the synthesis; `warning` is shown. */
  readonly level: 'error' | 'warning';
  /** What it asks for, in one line. */
  readonly asks: string;
  /** What to write instead. */
  readonly fix: string;
  /** The guard by which this library judges its own servers for the same, knowing their profile and objectives. */
  readonly guard?: FindingId;
  /** It looks at what belongs to the servers of other templates too, and so also at templates without a server. */
  readonly acrossStacks?: boolean;
  readonly check: (template: TemplateFacts) => readonly RuleViolation[];
}
