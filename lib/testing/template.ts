import { Template } from 'aws-cdk-lib/assertions';

const HASH = '[0-9a-f]{64}';

/** An asset in its bucket: `<hash>.zip`, alone or at the end of an ARN or a URL. */
const OBJECT_KEY = new RegExp(`(?<![0-9a-zA-Z])${HASH}(?=\\.[0-9a-z]{2,8}$)`);

/** An asset in the assembly, as the metadata of a resource names it. */
const STAGED = new RegExp(`^asset\\.${HASH}`);

/** An image in the repository of assets. */
const IMAGE = new RegExp(`(container-assets.*:)${HASH}$`);

/** The parameters that old synthesizers make for each asset. */
const PARAMETER = new RegExp(`AssetParameters${HASH}`, 'g');

/** Resources whose logical ids CDK makes anew with their content, so that they are replaced. */
const NAMED_BY_CONTENT = ['AWS::Lambda::Version', 'AWS::ApiGateway::Deployment'];

type Json = Readonly<Record<string, unknown>>;

/**
 * A template for a snapshot, in which the hashes of assets and the names that CDK makes from content are masked, and nothing else: a
 * changed logical id is a replaced server, and stays visible. So does the hash of a declaration that is too long for the template.
 */
export function maskTemplate(template: Template | object): object {
  const json = jsonOf(template);
  const names = generatedNames(json);
  const kept = declarations(json);
  const isKept = (text: string) => kept.some((hash) => text.includes(hash));
  const maskText = (text: string) => {
    if (isKept(text)) return text;
    const masked = text
      .replace(OBJECT_KEY, '<asset>')
      .replace(STAGED, 'asset.<asset>')
      .replace(IMAGE, '$1<asset>')
      .replace(PARAMETER, 'AssetParameters<asset>');
    return [...names].reduce((so, [name, mask]) => so.replaceAll(name, mask), masked);
  };
  const mask = (value: unknown): unknown => {
    if (typeof value === 'string') return maskText(value);
    if (Array.isArray(value)) return value.map(mask);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [maskText(key), mask(item)]));
  };
  return mask(json) as object;
}

/** A snapshot serializer for Jest: `expect.addSnapshotSerializer(templateSerializer)`, then `expect(Template.fromStack(stack)).toMatchSnapshot()`. */
export const templateSerializer = {
  test(value: unknown): boolean {
    return isTemplate(value) && !MASKED.has(value as object);
  },

  serialize<Config, Refs>(
    value: unknown,
    config: Config,
    indentation: string,
    depth: number,
    refs: Refs,
    printer: (value: unknown, config: Config, indentation: string, depth: number, refs: Refs) => string,
  ): string {
    const masked = maskTemplate(value as object);
    MASKED.add(masked);
    return printer(masked, config, indentation, depth, refs);
  },
};

/** They are handed back to the printer, which asks again. */
const MASKED = new WeakSet<object>();

function isTemplate(value: unknown): boolean {
  if (isAssertionsTemplate(value)) return true;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const { Resources } = value as Json;
  if (typeof Resources !== 'object' || Resources === null) return false;
  const resources: unknown[] = Object.values(Resources);
  return resources.length > 0 && resources.every((resource) => typeof (resource as Json | null)?.Type === 'string');
}

function isAssertionsTemplate(value: unknown): value is Template {
  return value instanceof Template;
}

function jsonOf(template: Template | object): Json {
  return (isAssertionsTemplate(template) ? template.toJSON() : template) as Json;
}

function generatedNames({ Resources }: Json): Map<string, string> {
  const found = Object.entries((Resources ?? {}) as Readonly<Record<string, Json>>)
    .filter(([id, { Type }]) => NAMED_BY_CONTENT.includes(String(Type)) && /[0-9a-f]{32}$/.test(id))
    .map(([id]) => [id, id.replace(/[0-9a-f]{32}$/, '<generated>')] as const);
  return new Map(found);
}

/** The hash of a declared state that travels as a file is the only trace that it leaves in the template. */
function declarations({ Resources }: Json): string[] {
  return Object.values((Resources ?? {}) as Readonly<Record<string, Json>>).flatMap(({ Properties }) => {
    const { StateAsset } = (Properties ?? {}) as { StateAsset?: { Key?: unknown } };
    const hash = typeof StateAsset?.Key === 'string' ? new RegExp(HASH).exec(StateAsset.Key)?.[0] : undefined;
    return hash === undefined ? [] : [hash];
  });
}
