import * as fs from 'node:fs';
import * as path from 'node:path';
import { USERS } from '../../lib/server/ecs/configuration';

const ROOT = path.resolve(__dirname, '..', '..');
const read = (...names: string[]) => fs.readFileSync(path.join(ROOT, ...names), 'utf8');

describe.each(['postgres', 'etcd', 'router'] as const)('the image of %s', (name) => {
  const dockerfile = read('lib', 'images', name, 'Dockerfile');

  test('holds the packages that the root folder of the tests holds, from the same Debian', () => {
    const installed = [...dockerfile.matchAll(/--no-install-recommends (?:\\\n)?([^\\]*) \\\n/g)].flatMap(([, list]) =>
      list
        .trim()
        .split(/\s+/)
        .map((item) => item.replace(/"/g, '').replace('${POSTGRES_MAJOR}', '18')),
    );
    expect(installed.length).toBeGreaterThan(2);
    const script = read('test', 'cluster', 'root-folder.sh');
    // Python comes with Patroni there.
    const known = new Set([...script.split(/\s+/), 'python3-minimal', 'postgresql-common']);
    expect(installed.filter((item) => !known.has(item))).toEqual([]);
    expect(dockerfile).toContain('ARG DEBIAN=debian:forky-slim');
    expect(script).toContain('debootstrap --variant=minbase forky');
  });

  test('runs as the user to whom the volumes belong', () => {
    const id = USERS[name];
    expect(dockerfile).toContain(`USER ${id}:${id}\n`);
    expect(dockerfile).toContain(`useradd --uid ${id} --gid ${id} `);
    expect(read('test', 'cluster', 'root-folder.sh')).toContain(`\n${id} ${name}\n`);
  });

  test('is bundled with what all tasks share', () => {
    const [, json] = /^ENTRYPOINT (.*)$/m.exec(dockerfile)!;
    const script = path.basename((JSON.parse(json) as string[]).at(-1)!);
    const folder = path.join(ROOT, 'assets', name);
    expect(fs.readFileSync(path.join(folder, script), 'utf8')).toBe(read('lib', 'images', name, script));
    expect(fs.readFileSync(path.join(folder, 'task.py'), 'utf8')).toBe(read('lib', 'images', 'task', 'task.py'));
  });
});
