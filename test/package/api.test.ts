import type { Assembly, Callable, ClassType, EnumType, InterfaceType, Property, TypeReference } from '@jsii/spec';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

const ROOT = path.resolve(__dirname, '..', '..');
const assembly = JSON.parse(fs.readFileSync(path.join(ROOT, '.jsii'), 'utf8')) as Assembly;

type ApiType = ClassType | InterfaceType | EnumType;
const types = Object.values(assembly.types ?? {}) as ApiType[];

/** A property, a method or a constructor. `overridden` is the interface or class whose documentation it has where it has none. */
interface Member {
  readonly at: string;
  readonly type: ApiType;
  readonly property?: Property;
  readonly callable?: Callable & { readonly name?: string };
  readonly returns?: TypeReference;
  readonly overridden?: string;
}

const members: Member[] = types.flatMap((type) => {
  if (type.kind === 'enum') return [];
  const constructors = type.kind === 'class' && type.initializer ? [type.initializer] : [];
  return [
    ...(type.properties ?? []).map((property) => ({
      at: `${type.name}.${property.name}`,
      type,
      property,
      overridden: property.overrides,
    })),
    ...(type.methods ?? []).map((callable) => ({
      at: `${type.name}.${callable.name}()`,
      type,
      callable,
      returns: callable.returns?.type,
      overridden: callable.overrides,
    })),
    ...constructors.map((callable) => ({ at: `new ${type.name}()`, type, callable })),
  ];
});

function isUnion(reference: TypeReference): boolean {
  if ('collection' in reference) return isUnion(reference.collection.elementtype);
  return 'union' in reference || 'intersection' in reference;
}

function isDocumented(item: { readonly docs?: { readonly summary?: string } }): boolean {
  return (item.docs?.summary ?? '') !== '';
}

/** The method of the interface or class that this one overrides, where it is of this package. */
function overriddenMethod({ overridden, callable }: Member): Callable | undefined {
  const type = types.find(({ fqn }) => fqn === overridden);
  return type && type.kind !== 'enum' ? type.methods?.find(({ name }) => name === callable!.name) : undefined;
}

test('there is an API', () => {
  expect(types.map(({ name }) => name)).toEqual(expect.arrayContaining(['AuroraPostgres', 'RdsPostgres', 'Database']));
  expect(members.length).toBeGreaterThan(100);
});

test('no signature has a union, which other languages do not know', () => {
  const unions = members.filter(({ property, callable, returns }) =>
    [property?.type, returns, ...(callable?.parameters ?? []).map(({ type }) => type)].some(
      (reference) => reference !== undefined && isUnion(reference),
    ),
  );
  expect(unions.map(({ at }) => at)).toEqual([]);
});

test('every type, property, method and parameter is documented', () => {
  const undocumented = [
    ...types.filter((type) => !isDocumented(type)).map(({ name }) => name),
    ...types.flatMap((type) =>
      type.kind === 'enum'
        ? type.members.filter((one) => !isDocumented(one)).map(({ name }) => `${type.name}.${name}`)
        : [],
    ),
    ...members.filter(({ property, callable }) => !isDocumented((property ?? callable)!)).map(({ at }) => at),
    ...members.flatMap((member) =>
      (member.callable?.parameters ?? [])
        .filter(
          (parameter, index) =>
            !isDocumented(parameter) && !isDocumented(overriddenMethod(member)?.parameters?.[index] ?? {}),
        )
        .map(({ name }) => `${member.at}: ${name}`),
    ),
  ];
  expect(undocumented).toEqual([]);
});

test('every optional prop says what happens without it', () => {
  const silent = members.filter(
    ({ type, property }) => type.kind === 'interface' && type.datatype && property?.optional && !property.docs?.default,
  );
  expect(silent.map(({ at }) => at)).toEqual([]);
});

test('API.md is what `npm run docgen` makes of the sources', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-api-'));
  const file = path.join(folder, 'API.md');
  try {
    execFileSync('npx', ['jsii-docgen', '-o', file], {
      cwd: ROOT,
      stdio: 'pipe',
      env: { ...process.env, JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION: '20' },
    });
    expect(fs.readFileSync(path.join(ROOT, 'API.md'), 'utf8') === fs.readFileSync(file, 'utf8')).toBe(true);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});
