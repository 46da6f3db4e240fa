import {
  AskAgainError,
  MAX_RESPONSE_BYTES,
  ResourceHandler,
  serveCustomResource,
} from '../../../lib/runtime/handlers/cloudformation';
import { TestResponses } from '../../support/cloudformation';

let responses: TestResponses;
let logged: string[];
beforeEach(async () => {
  responses = await TestResponses.start();
  logged = [];
  jest.spyOn(console, 'error').mockImplementation((line) => void logged.push(String(line)));
});
afterEach(async () => {
  jest.restoreAllMocks();
  await responses.stop();
});

const context = (milliseconds = 60_000) => ({ getRemainingTimeInMillis: () => milliseconds });
const done: ResourceHandler = async () => ({ physicalId: 'the-id', data: { Outcome: 'applied' } });

test.each(['Create', 'Update', 'Delete'] as const)(
  'case 105: %s gets one response with the ids of its event',
  async (type) => {
    const event = responses.event({
      type,
      properties: { Port: 5432 },
      physicalId: type === 'Create' ? undefined : 'the-id',
    });
    const body = await serveCustomResource(done)(event, context());
    expect(responses.bodies).toHaveLength(1);
    expect(responses.last).toEqual({
      Status: 'SUCCESS',
      PhysicalResourceId: 'the-id',
      Data: { Outcome: 'applied' },
      StackId: event.StackId,
      RequestId: event.RequestId,
      LogicalResourceId: 'State',
    });
    expect(responses.last).toEqual(JSON.parse(JSON.stringify(body)));
    expect(responses.contentTypes).toEqual(['']);
  },
);

test('case 6: the handler is told when the request was made, which the URL for its answer says alone', async () => {
  const seen: unknown[] = [];
  const handler = serveCustomResource(async ({ requestedAt }) => {
    seen.push(requestedAt);
    return { physicalId: 'the-id' };
  });
  const event = responses.event({ type: 'Create', properties: {} });
  for (const query of [
    '?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20301231T235958Z&X-Amz-Expires=7200&X-Amz-Signature=abc',
    '?AWSAccessKeyId=abc&Expires=1555451971&Signature=abc',
    '?X-Amz-Date=tomorrow',
    '',
  ]) {
    await handler({ ...event, ResponseURL: responses.url.split('?')[0] + query }, context(60_000));
  }
  expect(seen).toEqual(['2030-12-31T23:59:58Z', undefined, undefined, undefined]);
});

test('the handler gets the properties, at an update the earlier ones too, and a deadline before the end', async () => {
  let seen: Parameters<ResourceHandler> | undefined;
  const handler = serveCustomResource(async (...args) => {
    seen = args;
    return { physicalId: 'the-id' };
  });
  const start = Date.now();
  await handler(
    responses.event({ type: 'Update', physicalId: 'the-id', properties: { a: 1 }, oldProperties: { a: 2 } }),
    context(60_000),
  );
  expect(seen![0]).toMatchObject({
    type: 'Update',
    physicalId: 'the-id',
    properties: { a: '1' },
    oldProperties: { a: '2' },
  });
  expect(seen![1].deadline).toBeGreaterThan(start + 30_000);
  expect(seen![1].deadline).toBeLessThan(start + 50_000);
});

describe('what is thrown', () => {
  const failing = (error: unknown) =>
    serveCustomResource(async () => {
      throw error;
    });

  test('becomes the reason; a failed update keeps its id, so that nothing is deleted', async () => {
    await failing(new Error('the role "x" is in the way'))(
      responses.event({ type: 'Update', physicalId: 'the-id', properties: {} }),
      context(),
    );
    expect(responses.last).toMatchObject({
      Status: 'FAILED',
      Reason: 'the role "x" is in the way',
      PhysicalResourceId: 'the-id',
    });
  });

  test('case 105: is cut to 4,096 bytes in UTF-8, with its beginning kept', async () => {
    for (const text of ['x'.repeat(10_000), '☃🐘'.repeat(5_000), '"\\\n'.repeat(5_000)]) {
      await failing(new Error(`first statement ${text}`))(
        responses.event({ type: 'Create', properties: {} }),
        context(),
      );
      const body = responses.bodies.at(-1)!;
      expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_RESPONSE_BYTES);
      expect(Buffer.byteLength(body)).toBeGreaterThan(MAX_RESPONSE_BYTES - 20);
      expect(responses.last.Reason).toMatch(/^first statement /);
      expect(responses.last.Reason).toContain('log of the function');
      expect(responses.last.Reason).not.toContain('\ufffd');
    }
  });

  test('shows no verifier', async () => {
    await failing(new Error("syntax error at PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy'"))(
      responses.event({ type: 'Create', properties: {} }),
      context(),
    );
    expect(responses.bodies[0]).not.toContain('c2Vy');
    expect(responses.last.Reason).toContain('SCRAM-SHA-256$…');
  });

  test.each([undefined, null, 'a text', { code: 1 }, new Error('')])('may be anything: %p', async (error) => {
    await failing(error)(responses.event({ type: 'Create', properties: {} }), context());
    expect(responses.last.Status).toBe('FAILED');
    expect(responses.last.Reason).not.toBe('');
  });
});

test('case 105: data that is too large is given up, not the response', async () => {
  const handler = serveCustomResource(async () => ({ physicalId: 'the-id', data: { Plan: 'x'.repeat(5_000) } }));
  await handler(responses.event({ type: 'Create', properties: {} }), context());
  expect(responses.last).toMatchObject({ Status: 'SUCCESS', PhysicalResourceId: 'the-id' });
  expect(responses.last.Data).toBeUndefined();
});

test('case 106: a handler that never ends is answered for, before the time of the function is over, and once', async () => {
  let late: (() => void) | undefined;
  const handler = serveCustomResource(
    () => new Promise((resolve) => (late = () => resolve({ physicalId: 'too late' }))),
  );
  const start = Date.now();
  await handler(responses.event({ type: 'Create', properties: {} }), context(10_300));
  expect(Date.now() - start).toBeLessThan(5_000);
  late!();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(responses.bodies).toHaveLength(1);
  expect(responses.last).toMatchObject({
    Status: 'FAILED',
    Reason: expect.stringContaining('deploying again does the rest'),
  });
});

test('the Delete after a failed Create is handled, and succeeds whatever the handler says', async () => {
  const handle = jest.fn(async () => Promise.reject(new Error('no way')));
  const handler = serveCustomResource(handle);
  await handler(responses.event({ type: 'Create', properties: {} }), context());
  const { PhysicalResourceId } = responses.last;
  expect(PhysicalResourceId).not.toBe('');
  await handler(responses.event({ type: 'Delete', properties: {}, physicalId: PhysicalResourceId }), context());
  expect(responses.last.Status).toBe('SUCCESS');
  expect(handle).toHaveBeenCalledTimes(2);
  await handler(responses.event({ type: 'Delete', properties: {}, physicalId: 'another' }), context());
  expect(responses.last.Status).toBe('FAILED');
});

test.each([
  [[503, 0, 500], 4],
  [[0], 2],
])('a response that is not taken (%j) is sent again', async (statuses, sent) => {
  responses.statuses.push(...statuses);
  await serveCustomResource(done)(responses.event({ type: 'Create', properties: {} }), context());
  expect(responses.bodies).toHaveLength(sent);
  expect(new Set(responses.bodies).size).toBe(1);
  expect(logged.join()).not.toContain('very-secret');
});

test('a response that is never taken is an error, so that Lambda runs the event again', async () => {
  responses.statuses.push(...Array<number>(20).fill(500));
  await expect(
    serveCustomResource(done)(responses.event({ type: 'Create', properties: {} }), context(2_000)),
  ).rejects.toThrow('CloudFormation could not be answered');
});

test.each([
  ['RequestType', 'Replace', 'RequestType is "Replace"'],
  ['StackId', undefined, 'has no StackId'],
  ['LogicalResourceId', 7, 'has no LogicalResourceId'],
])('an event with %s %j is refused with a response', async (key, value, reason) => {
  await serveCustomResource(done)({ ...responses.event({ type: 'Create', properties: {} }), [key]: value }, context());
  expect(responses.last).toMatchObject({ Status: 'FAILED', Reason: expect.stringContaining(reason) });
});

test('an update without its physical id is refused', async () => {
  await serveCustomResource(done)(responses.event({ type: 'Update', properties: {} }), context());
  expect(responses.last.Reason).toContain('has no PhysicalResourceId');
});

test.each([undefined, '', 'not a url', 'http://example.com/x', 'file:///etc/passwd'])(
  'the ResponseURL %j is refused, since the answer would go to anybody',
  async (ResponseURL) => {
    const handle = jest.fn(done);
    const event = { ...responses.event({ type: 'Create', properties: {} }), ResponseURL };
    await expect(serveCustomResource(handle)(event, context())).rejects.toThrow('no https ResponseURL');
    expect(handle).not.toHaveBeenCalled();
  },
);

test.each([null, undefined, 'text', []])('the event %j is refused', async (event) => {
  await expect(serveCustomResource(done)(event, context())).rejects.toThrow('does not come from CloudFormation');
});

test('a resource that is waited for is not answered, so that Lambda runs the event again', async () => {
  const later = serveCustomResource(() => Promise.reject(new AskAgainError('pg-2 is starting')));
  await expect(
    later(responses.event({ type: 'Create', properties: {} }), { getRemainingTimeInMillis: () => 60_000 }),
  ).rejects.toThrow('pg-2 is starting');
  expect(responses.bodies).toEqual([]);
});
