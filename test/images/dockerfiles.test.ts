import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { USERS } from '../../lib/server/ecs/configuration';

const ROOT = path.resolve(__dirname, '..', '..');
/** The source that the base image brings: only whether it stays is looked at. */
const OF_THE_BASE = 'URIs: http://mirror.example/debian\n';
const read = (...names: string[]) => fs.readFileSync(path.join(ROOT, ...names), 'utf8');

describe.each(['postgres', 'etcd', 'router', 'pgbouncer'])('the build of %s', (name) => {
  const dockerfile = read('lib', 'images', name, 'Dockerfile');

  /** Runs what the Dockerfile runs, in a folder in the place of the image's /etc. */
  function sources(snapshot: string): string[] {
    const etc = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-sources-'));
    fs.mkdirSync(path.join(etc, 'apt', 'sources.list.d'), { recursive: true });
    fs.writeFileSync(path.join(etc, 'apt', 'sources.list.d', 'debian.sources'), OF_THE_BASE);
    const [, step] = /^ARG SNAPSHOT=\nRUN (if [^]*?fi)\n/m.exec(dockerfile)!;
    execFileSync('sh', ['-ec', step.replaceAll('/etc/', `${etc}/`)], { env: { ...process.env, SNAPSHOT: snapshot } });
    const files = fs.readdirSync(path.join(etc, 'apt'), { recursive: true, withFileTypes: true });
    const text = files
      .filter((file) => file.isFile())
      .map((file) => fs.readFileSync(path.join(file.parentPath, file.name), 'utf8'));
    fs.rmSync(etc, { recursive: true });
    return text;
  }

  test('takes the base that the build is told, by a digest for instance', () => {
    expect(dockerfile).toMatch(/^ARG DEBIAN=debian:forky-slim\nFROM \$\{DEBIAN\}$/m);
  });

  test('takes the packages of the time that it is told, and of no other source, or else the newest', () => {
    expect(sources('20261201T000000Z')).toEqual([
      'deb [check-valid-until=no] http://snapshot.debian.org/archive/debian/20261201T000000Z forky main\n',
    ]);
    expect(sources('')).toEqual([OF_THE_BASE]);
    expect(dockerfile.indexOf('SNAPSHOT')).toBeLessThan(dockerfile.indexOf('apt-get update'));
  });
});

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
