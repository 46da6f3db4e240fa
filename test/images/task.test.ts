import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash, createHmac, Hash, Hmac } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { SignatureV4 } from '@smithy/signature-v4';
import { TestSecretsManager } from '../support/secrets-manager';

const IMAGES = path.resolve(__dirname, '..', '..', 'lib', 'images');

/** Runs Python with what the tasks have in common, as `task`; its tmpfs is a folder. */
function start(run: string, script: string, env: Readonly<Record<string, string>>) {
  const child = spawn(
    'python3',
    [
      '-B',
      '-c',
      `import sys\nsys.path.insert(0, sys.argv[1])\nimport task\ntask.RUN = sys.argv[2]\ntask.TLS = sys.argv[2] + "/tls"\n${script}`,
      path.join(IMAGES, 'task'),
      run,
    ],
    {
      env: { PATH: process.env.PATH!, ...env },
    },
  );
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, stdout, stderr })),
  );
  return { child, ended };
}

/** As the signer wants it. */
class Sha256 {
  private hash!: Hash | Hmac;
  constructor(private readonly key?: string | Uint8Array) {
    this.reset();
  }
  reset(): void {
    this.hash = this.key === undefined ? createHash('sha256') : createHmac('sha256', this.key);
  }
  update(data: string | Uint8Array): void {
    this.hash.update(data);
  }
  digest(): Promise<Uint8Array> {
    return Promise.resolve(this.hash.digest());
  }
}

const folder = () => fs.mkdtempSync(path.join(os.tmpdir(), 'task-'));

const hasPython = spawnSync('python3', ['--version']).status === 0;
if (!hasPython) process.stderr.write('\nThe entrypoints of the tasks are not tried: there is no python3.\n\n');

(hasPython ? describe : describe.skip)('what all tasks have in common', () => {
  test('requests are signed as the SDK signs them', async () => {
    const now = new Date('2026-03-01T12:00:00Z');
    const body = '{"SecretId": "a"}';
    const headers = { 'Content-Type': 'application/x-amz-json-1.1', 'X-Amz-Target': 'secretsmanager.GetSecretValue' };
    const keys = { AccessKeyId: 'AKIA', SecretAccessKey: 'secret', Token: 'token' };
    const signer = new SignatureV4({
      service: 'secretsmanager',
      region: 'eu-central-1',
      sha256: Sha256 as never,
      credentials: { accessKeyId: keys.AccessKeyId, secretAccessKey: keys.SecretAccessKey, sessionToken: keys.Token },
      applyChecksum: false,
    });
    const hostname = 'secretsmanager.eu-central-1.amazonaws.com';
    const request = {
      method: 'POST',
      protocol: 'https:',
      hostname,
      path: '/',
      query: {},
      headers: { ...headers, Host: hostname },
      body,
    };
    const signed = (await signer.sign(request as never, { signingDate: now })) as unknown as {
      headers: Record<string, string>;
    };

    const python = `
import datetime, json, sys
sys.path.insert(0, sys.argv[1])
import task
headers, body, keys = json.loads(sys.argv[2])
now = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.timezone.utc)
print(task.sign("eu-central-1", "secretsmanager", "${hostname}", headers, body.encode(), keys, now)["Authorization"])`;
    const ours = execFileSync(
      'python3',
      ['-B', '-c', python, path.join(IMAGES, 'task'), JSON.stringify([headers, body, keys])],
      {
        encoding: 'utf8',
      },
    );
    expect(ours.trim()).toBe(signed.headers.authorization);
  });

  describe('secrets', () => {
    let manager: TestSecretsManager;
    beforeEach(async () => {
      manager = await TestSecretsManager.start();
    });
    afterEach(() => manager.stop());

    const LOOK = 'secrets = task.Secrets({})\nsecrets.look_until_there()\n';
    const certificate = (n: number) => ({ certificate: `certificate ${n}`, privateKey: `key-of-${n}`, ca: 'root' });
    const environment = (arn: string, interval = '60') => ({
      ...manager.environment,
      CDK_POSTGRES_SECRETS: JSON.stringify({ certificate: arn }),
      CDK_POSTGRES_SECRETS_INTERVAL: interval,
    });

    test('are written for their user alone, and waited for where they are not there yet', async () => {
      const run = folder();
      const arn = manager.create('certificate', certificate(1));
      let denied = 1;
      manager.beforeCall = () => {
        manager.failing =
          denied-- > 0
            ? { operation: 'GetSecretValue', type: 'AccessDeniedException', message: 'not for you' }
            : undefined;
      };
      const { code, stdout, stderr } = await start(run, LOOK, environment(arn)).ended;
      expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
      expect(stderr).toBe('cdk-postgres: the secrets cannot be read yet: HTTP 400 AccessDeniedException\n');
      const key = path.join(run, 'tls', 'key.pem');
      expect(fs.readFileSync(key, 'utf8')).toBe('key-of-1');
      expect(fs.statSync(key).mode & 0o777).toBe(0o600);
    });

    test('are said nothing of when they are not what belongs there', async () => {
      const arn = manager.create('certificate', { certificate: 'x', privateKey: 'key-of-nobody' });
      const script =
        'secrets = task.Secrets({})\ntry:\n  secrets.look()\nexcept RuntimeError as error:\n  print(error)\n';
      const { stdout, stderr } = await start(folder(), script, environment(arn)).ended;
      expect(stdout).toBe('the secret certificate has not what belongs there; deploy the stack\n');
      expect(stdout + stderr).not.toContain('key-of-nobody');
    });

    test('are exchanged when they change, certificate and key together, and whoever uses them is told', async () => {
      const run = folder();
      const arn = manager.create('certificate', certificate(1));
      const script = `${LOOK}import threading
done = threading.Event()
def changed(names):
  print(names, open(task.TLS + "/certificate.pem").read(), open(task.TLS + "/key.pem").read())
  done.set()
secrets.keep_looking(changed)
done.wait(20)
`;
      const { ended } = start(run, script, environment(arn, '0.2'));
      while (!fs.existsSync(path.join(run, 'tls', 'key.pem'))) await new Promise((resolve) => setTimeout(resolve, 20));
      manager.replace(arn, certificate(2));
      const { stdout, stderr } = await ended;
      expect(stdout).toBe("['certificate'] certificate 2 key-of-2\n");
      expect(stderr).toBe('cdk-postgres: changed: certificate\n');
    });
  });

  test('files are written in the tmpfs and nowhere else', async () => {
    const run = folder();
    const write = (files: object) =>
      start(run, 'task.write_files()', { CDK_POSTGRES_FILES: JSON.stringify(files) }).ended;
    expect((await write({ [`${run}/patroni/1.yml`]: 'scope: orders' })).code).toBe(0);
    expect(fs.readFileSync(path.join(run, 'patroni', '1.yml'), 'utf8')).toBe('scope: orders');
    const { code, stderr } = await write({ [`${run}/../elsewhere`]: 'x' });
    expect(code).toBe(1);
    expect(stderr).toContain('is not in');
  });

  describe('the first process of a container', () => {
    const RUN = 'sys.exit(task.Servers(["sh", "-c", MAIN], HELPERS).run())';
    const run = (main: string, helpers = '{}') =>
      start(folder(), `MAIN = ${JSON.stringify(main)}\nHELPERS = ${helpers}\n${RUN}`, {});

    test('ends as its server ends', async () => {
      expect((await run('exit 7').ended).code).toBe(7);
      expect((await run('kill -9 $$').ended).code).toBe(137);
    });

    test('hands a stop on, and waits until the server has ended', async () => {
      const { child, ended } = run('trap "echo stopped; exit 0" TERM; echo up; while :; do sleep 0.1; done');
      await new Promise((resolve) => child.stdout.once('data', resolve));
      child.kill('SIGTERM');
      expect(await ended).toMatchObject({ code: 0, stdout: 'up\nstopped\n' });
    });

    test('starts a helper again that ended', async () => {
      const file = path.join(folder(), 'starts');
      const helper = JSON.stringify(['sh', '-c', `echo x >>${file}; exit 1`]);
      const main = `while [ "$(wc -l <${file})" -lt 2 ]; do sleep 0.1; done`;
      fs.writeFileSync(file, '');
      const { code, stderr } = await run(main, `{"helper": ${helper}}`).ended;
      expect(code).toBe(0);
      expect(stderr).toContain('helper ended with 1 and is started again');
    });
  });
});
