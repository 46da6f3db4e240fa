import { X509Certificate } from 'node:crypto';
import * as tls from 'node:tls';
import { AddressInfo } from 'node:net';
import { AUTHORITY_VARIABLE, CERTIFICATE_DAYS } from '../../../lib/contract';
import { createAuthority, daysLeft, issueCertificate } from '../../../lib/runtime/certificates';
import { handler } from '../../../lib/runtime/handlers/certificate';
import { SecretStore } from '../../../lib/runtime/secrets';
import { TestResponses } from '../../support/cloudformation';
import { functionProcess } from '../../support/function-process';
import { TestSecretsManager } from '../../support/secrets-manager';

const { lines } = functionProcess();
const HOST = 'saas-pool-0123456789abcdef.elb.eu-central-1.amazonaws.com';
const context = { getRemainingTimeInMillis: () => 60_000 };

let manager: TestSecretsManager;
let responses: TestResponses;
let authority: string;
let certificate: string;
beforeEach(async () => {
  manager = await TestSecretsManager.start();
  responses = await TestResponses.start();
  authority = manager.create('authority', {});
  certificate = manager.create('certificate', {});
  Object.assign(process.env, manager.environment, { AWS_MAX_ATTEMPTS: '1', [AUTHORITY_VARIABLE]: authority });
});
afterEach(async () => {
  await manager.stop();
  await responses.stop();
});

const deploy = async (type: 'Create' | 'Update' = 'Create', hosts = [HOST], more: Record<string, string> = {}) => {
  await handler(
    responses.event({
      type,
      physicalId: type === 'Update' ? 'cdk-postgres-certificate/Pool' : undefined,
      properties: { Certificate: certificate, Hosts: hosts, ...more },
    }),
    context,
  );
  return responses.last;
};
const rotate = async (steps = ['createSecret', 'setSecret', 'testSecret', 'finishSecret']) => {
  const token = manager.beginRotation(certificate);
  for (const Step of steps) await handler({ Step, SecretId: certificate, ClientRequestToken: token }, context);
  return token;
};
const current = () => manager.value(certificate) as Record<'certificate' | 'privateKey' | 'ca', string>;

/** Whether a client that checks everything takes what a server shows. */
async function trusts(options: {
  ca: string;
  host?: string;
  shown?: { certificate: string; privateKey: string };
}): Promise<string> {
  const { certificate: cert, privateKey: key } = options.shown ?? current();
  const server = tls.createServer({ cert, key }, (socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    return await new Promise((resolve) => {
      const socket = tls.connect({ port, host: '127.0.0.1', servername: options.host ?? HOST, ca: options.ca }, () => {
        socket.end();
        resolve('trusted');
      });
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  } finally {
    server.close();
  }
}

test('makes an authority and a certificate for the load balancer, which a client trusts by the root that it gives', async () => {
  const body = await deploy();
  expect(body.Status).toBe('SUCCESS');
  const ca = body.Data!.CaCertificate!;
  expect(ca).toBe(manager.value(authority)!.certificate);
  expect(await trusts({ ca })).toBe('trusted');
  expect(await trusts({ ca, host: 'other.example.com' })).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
  expect(await trusts({ ca: createAuthority('another', 1).certificate })).toMatch(/SELF_SIGNED|UNABLE_TO/);
  const leaf = new X509Certificate(current().certificate);
  expect(leaf.ca).toBe(false);
  expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
  expect(daysLeft(current().certificate, Date.now())).toBeCloseTo(CERTIFICATE_DAYS, 0);
});

test('no key is answered, logged, or in the secret that the tasks read', async () => {
  await deploy();
  const key = String(manager.value(authority)!.privateKey);
  for (const text of [responses.bodies.join(), JSON.stringify(lines), JSON.stringify(current())])
    expect(text).not.toContain(key.split('\n')[1]);
  expect(responses.bodies.join()).not.toContain('PRIVATE KEY');
  expect(JSON.stringify(lines)).not.toContain('PRIVATE KEY');
});

test('a second deployment, or the same event again, changes nothing', async () => {
  await deploy();
  const before = [manager.versionId(authority), manager.versionId(certificate)];
  await deploy('Update');
  expect([manager.versionId(authority), manager.versionId(certificate)]).toEqual(before);
});

test('another load balancer gets another certificate of the same authority', async () => {
  const { Data } = await deploy();
  const after = await deploy('Update', ['other.elb.eu-central-1.amazonaws.com']);
  expect(after.Data).toEqual(Data);
  expect(await trusts({ ca: Data!.CaCertificate!, host: 'other.elb.eu-central-1.amazonaws.com' })).toBe('trusted');
});

test('one that was near its end when the stack is deployed is renewed', async () => {
  const { Data } = await deploy();
  const root = manager.value(authority) as never;
  const { certificate: old, privateKey } = issueCertificate(root, [HOST], { validDays: 10 });
  manager.replace(certificate, { certificate: old, privateKey, ca: Data!.CaCertificate });
  await deploy('Update');
  expect(current().certificate).not.toBe(old);
});

describe('a member of a cluster', () => {
  const MEMBER = { Authority: 'orders', Subject: 'pg-1', Client: 'true' };

  test('has a certificate of its name, which it may show as a client too, and keeps both through a rotation', async () => {
    await deploy('Create', ['pg-1.orders.internal'], MEMBER);
    const check = () => {
      const leaf = new X509Certificate(current().certificate);
      expect(leaf.subject).toBe('CN=pg-1');
      expect(leaf.issuer).toBe('CN=orders');
      expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    };
    check();
    const before = current().certificate;
    await rotate();
    expect(current().certificate).not.toBe(before);
    check();
  });

  test('gets another certificate when it becomes a client', async () => {
    await deploy('Create', [HOST], { Subject: 'pg-1' });
    const before = current().certificate;
    await deploy('Update', [HOST], { Subject: 'pg-1' });
    expect(current().certificate).toBe(before);
    await deploy('Update', [HOST], MEMBER);
    expect(current().certificate).not.toBe(before);
  });

  test('a name with other characters is refused', async () => {
    const body = await deploy('Create', [HOST], { Subject: 'pg-1,O=other' });
    expect(body).toMatchObject({ Status: 'FAILED', Reason: expect.stringContaining('other characters') });
  });
});

test('gives the root on one line too, so that it can stand within a text of JSON', async () => {
  const { Data } = await deploy();
  expect(JSON.parse(`{"Trust":"${Data!.CaCertificateLine!}"}`)).toEqual({ Trust: Data!.CaCertificate });
});

describe('a rotation', () => {
  test('puts a new certificate of the same authority and for the same host in the place of the old one', async () => {
    const { Data } = await deploy();
    const before = current().certificate;
    const token = await rotate();
    expect(manager.versionId(certificate)).toBe(token);
    expect(current().certificate).not.toBe(before);
    expect(await trusts({ ca: Data!.CaCertificate! })).toBe('trusted');
  });

  test('each step can be run again, and a rotation that is over stays so', async () => {
    await deploy();
    const token = await rotate([
      'createSecret',
      'createSecret',
      'setSecret',
      'testSecret',
      'testSecret',
      'finishSecret',
    ]);
    const { certificate: made } = current();
    await handler({ Step: 'finishSecret', SecretId: certificate, ClientRequestToken: token }, context);
    expect(current().certificate).toBe(made);
  });

  test('a new certificate of somebody else is found before it becomes the current one', async () => {
    await deploy();
    const token = manager.beginRotation(certificate);
    const foreign = createAuthority('foreign', 1);
    const put = issueCertificate(foreign, [HOST], { validDays: 1 });
    await handler({ Step: 'createSecret', SecretId: certificate, ClientRequestToken: token }, context);
    const second = manager.beginRotation(certificate);
    const client = { ...put, ca: foreign.certificate };
    await putPending(second, client);
    await expect(
      handler({ Step: 'testSecret', SecretId: certificate, ClientRequestToken: second }, context),
    ).rejects.toThrow('not of the authority that clients trust');
  });

  test('before the first deployment is an error that says so', async () => {
    await expect(rotate(['createSecret'])).rejects.toThrow('has no certificate yet; deploy the stack first');
  });
});

test('an authority in part is no reason to make another one', async () => {
  manager.replace(authority, { certificate: 'only half' });
  const body = await deploy();
  expect(body.Status).toBe('FAILED');
  expect(body.Reason).toContain('restore an earlier version of it, since clients trust that one');
});

test.each([
  ['half a text', (text: string) => text.slice(0, text.length / 2)],
  ['a list', () => '[]'],
  ['the name alone', () => '{"name":"x"}'],
  ['a certificate that is none', (text: string) => text.replace(/MI[^-]*/, 'AAAA')],
  [
    "another's key",
    (text: string) => JSON.stringify({ ...JSON.parse(text), privateKey: createAuthority('other', 1).privateKey }),
  ],
])('an authority whose secret has %s is no reason to make another one', async (_, change) => {
  const { Data } = await deploy();
  const whole = JSON.stringify(manager.value(authority));
  manager.replace(authority, change(whole));
  const damaged = manager.versionId(authority);
  const body = await deploy('Update');
  expect(body.Status).toBe('FAILED');
  expect(body.Reason).toMatch(
    /the secret arn:.*authority.* restore an earlier version of it, since clients trust that one/,
  );
  expect(manager.versionId(authority)).toBe(damaged);
  // As soon as it is back, all is as it was.
  manager.replace(authority, whole);
  expect((await deploy('Update')).Data).toEqual(Data);
});

test('a certificate that cannot be read is made anew by a deployment, and said by a rotation', async () => {
  const { Data } = await deploy();
  manager.replace(certificate, { ...current(), certificate: 'no PEM' });
  await expect(rotate(['createSecret'])).rejects.toThrow(
    /the secret arn:.*has a certificate that cannot be read.*restore an earlier version of it/,
  );
  expect((await deploy('Update')).Status).toBe('SUCCESS');
  expect(await trusts({ ca: Data!.CaCertificate! })).toBe('trusted');
});

test.each([
  ['2049-06-01', '2050'],
  ['2026-06-01', '2027'],
])('a certificate made on %s for a year ends in %s', (from, year) => {
  jest.useFakeTimers({ now: new Date(from) });
  try {
    const made = new X509Certificate(createAuthority('x', 365).certificate);
    expect(made.validTo).toContain(` ${year} `);
    expect(made.validFrom).toContain(` ${Number(year) - 1} `);
  } finally {
    jest.useRealTimers();
  }
});

test('Delete leaves the secrets to the stack', async () => {
  await handler(
    responses.event({
      type: 'Delete',
      physicalId: 'cdk-postgres-certificate/Pool',
      properties: { Certificate: certificate, Hosts: [HOST] },
    }),
    context,
  );
  expect(responses.last.Status).toBe('SUCCESS');
  expect(manager.operations()).toEqual([]);
});

test('an event of another template is refused', async () => {
  const body = await deploy('Create', ['not a host']);
  expect(body).toMatchObject({ Status: 'FAILED', Reason: expect.stringContaining('no host that it is for') });
});

/** As a person does who puts a version of their own in the place of the pending one. */
async function putPending(token: string, value: object): Promise<void> {
  const store = new SecretStore(manager.config);
  await store.put(certificate, value, token, 'AWSPENDING');
  store.destroy();
}
