import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

const IMAGE = path.resolve(__dirname, '..', '..', 'lib', 'images', 'postgres');

/** A data directory, in which a script of the image runs with a pgBackRest that ends as the test wants it. */
class Archive {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'archive-'));

  constructor(readonly histories: Readonly<Record<string, string>> = {}) {
    fs.mkdirSync(path.join(this.folder, 'pg_wal'));
    for (const [name, text] of Object.entries(histories))
      fs.writeFileSync(path.join(this.folder, 'pg_wal', name), text);
  }

  run(
    script: string,
    args: readonly string[],
    code: number,
  ): { status: number | null; stderr: string; called: string } {
    const called = path.join(this.folder, 'called');
    const stub = path.join(this.folder, 'pgbackrest');
    fs.writeFileSync(stub, `#!/bin/sh\necho "$@" >${called}\nexit ${code}\n`, { mode: 0o755 });
    const text = fs.readFileSync(path.join(IMAGE, script), 'utf8');
    expect(text).toContain('/usr/bin/pgbackrest ');
    const copy = path.join(this.folder, script);
    fs.writeFileSync(
      copy,
      text.replaceAll('/usr/bin/pgbackrest ', `${stub} `).replaceAll('/run/cdk-postgres', this.folder),
      { mode: 0o755 },
    );
    const { status, stderr } = spawnSync('sh', [copy, ...args], {
      cwd: this.folder,
      env: { PATH: process.env.PATH!, CDK_POSTGRES_STANZA: 'orders' },
      encoding: 'utf8',
    });
    return { status, stderr, called: fs.readFileSync(called, 'utf8').trim() };
  }
}

/** Of a server on timeline 3: the first ended in segment 4, the second in segment 0x1_00000A. */
const HISTORY = {
  '00000002.history': '1\t0/4A5B6C8\tno recovery target specified\n',
  '00000003.history': '1\t0/4A5B6C8\tno recovery target specified\n\n2\t1/A000028\tno recovery target specified\n',
};

describe('a segment goes to the archive', () => {
  const push = (name: string, code: number, histories = HISTORY) =>
    new Archive(histories as Record<string, string>).run('pgbackrest-archive-push', [`pg_wal/${name}`], code);

  test('by pgBackRest, whose answer is the answer', () => {
    const { status, called } = push('000000030000000100000010', 0);
    expect(called).toBe('--stanza=orders archive-push pg_wal/000000030000000100000010');
    expect(status).toBe(0);
    expect(push('000000030000000100000010', 103).status).toBe(103);
  });

  test.each(['000000010000000000000004', '00000002000000010000000A'])(
    '%s is taken as archived though another is there, since its timeline ended in it',
    (name) => {
      const { status, stderr } = push(name, 45);
      expect(status).toBe(0);
      expect(stderr).toContain(`${name} is in the archive with other bytes after`);
    },
  );

  test.each([
    ['of the timeline that the server is on', '000000030000000100000010'],
    ['before the end of its timeline', '000000010000000000000003'],
    ['after the end of its timeline', '000000010000000000000005'],
    ['of another timeline at the same place', '000000020000000000000004'],
    ['that is a history', '00000002.history'],
    ['that is unfinished by its name', '000000010000000000000004.partial'],
  ])('and stays refused when another is there and it is one %s', (_, name) => {
    const { status, stderr } = push(name, 45);
    expect(status).toBe(45);
    expect(stderr).not.toContain('taken as archived');
  });

  test('the end of a timeline by which the server did not come is no reason', () => {
    const histories = {
      '00000002.history': '1\t0/5000028\tanother way that ended\n',
      '00000003.history': '1\t0/4A5B6C8\tno recovery target specified\n',
    };
    expect(push('000000010000000000000005', 45, histories as never).status).toBe(45);
    expect(push('000000010000000000000004', 45, histories as never).status).toBe(0);
  });

  test('on the first timeline nothing is excused', () => {
    expect(push('000000010000000000000004', 45, {} as never).status).toBe(45);
  });
});

describe('a segment comes from the archive', () => {
  const get = (code: number, signal?: string) => {
    const archive = new Archive();
    if (signal) fs.writeFileSync(path.join(archive.folder, signal), '');
    return archive.run('pgbackrest-archive-get', ['000000010000000000000004', 'pg_wal/RECOVERYXLOG'], code).status;
  };

  test.each([[0], [1]])('to a server that recovers: %i is the answer', (code) => {
    expect(get(code, 'recovery.signal')).toBe(code);
  });

  test('an archive that cannot be read is no end of the archive: recovery ends, instead of taking writes too early', () => {
    expect(get(39, 'recovery.signal')).toBe(255);
    expect(get(124, 'recovery.signal')).toBe(255);
  });

  test('to a standby it is just not there, and the leader is asked', () => {
    expect(get(39, 'standby.signal')).toBe(39);
  });

  test('the last that a standby asks for before it leads, when its signal is gone, ends nothing', () => {
    expect(get(39)).toBe(39);
  });

  test('a standby that waited five seconds for nothing does not ask again for half a minute', () => {
    const archive = new Archive();
    const args = ['00000002.history', 'pg_wal/RECOVERYHISTORY'];
    const called = path.join(archive.folder, 'called');
    expect(fs.readFileSync(path.join(IMAGE, 'pgbackrest-archive-get'), 'utf8')).toContain(
      '  timeout 5 /usr/bin/pgbackrest',
    );
    expect(archive.run('pgbackrest-archive-get', args, 124).status).toBe(124);
    fs.writeFileSync(called, '');
    expect(archive.run('pgbackrest-archive-get', args, 0)).toMatchObject({ status: 1, called: '' });
    // It is another matter for a server that recovers.
    fs.writeFileSync(path.join(archive.folder, 'recovery.signal'), '');
    expect(archive.run('pgbackrest-archive-get', args, 0).status).toBe(0);
    fs.rmSync(path.join(archive.folder, 'recovery.signal'));
    const before = Date.now() / 1000 - 31;
    fs.utimesSync(path.join(archive.folder, 'archive-away'), before, before);
    expect(archive.run('pgbackrest-archive-get', args, 0).status).toBe(0);
  });
});
