import { createServer } from 'node:http';
import { describe, expect, it, onTestFinished } from 'vitest';
import { deskHelp } from '../../examples/operator-desk.js';
import { createGateway as createPointE } from '../../examples/point-e/gateway.js';
import { ModelFiles } from '../../examples/point-e/model-files.js';
import { readSettings as readPointE } from '../../examples/point-e/settings.js';
import { createGateway as createSam } from '../../examples/sam-service/gateway.js';
import { readSettings as readSam } from '../../examples/sam-service/settings.js';
import { textLogger } from '../../examples/text-logger.js';
import { listening } from '../worker/scene.js';

const SECRET = 'c4n4ry-point-e-secret-0123456789-0123456789';
const OPERATOR = 'c4n4ry-key-of-the-operator-0123';
const USER = '203.0.113.7';
/** Nothing listens there. */
const NO_WORKER = 'http://127.0.0.1:9';

function logger() {
  const lines: string[] = [];
  return { logger: textLogger((line) => lines.push(line)), printed: () => lines.join('') };
}

async function startPointE(env: Readonly<Record<string, string>>) {
  const files = await ModelFiles.create();
  const log = logger();
  onTestFinished(() => files.close());
  const settings = readPointE({ POINT_E_SECRET_KEY: SECRET, ...env });
  const server = createServer(createPointE(settings, NO_WORKER, files, undefined, log.logger));
  return { origin: await listening(server), printed: log.printed };
}

async function startSam(env: Readonly<Record<string, string>>) {
  const log = logger();
  const app = await createSam(readSam({ DATA_DIRECTORY: ':memory:', ...env }), NO_WORKER, log.logger);
  const origin = await app.listen({ host: '127.0.0.1', port: 0 });
  onTestFinished(() => app.close());
  return { origin, printed: log.printed };
}

const act = (origin: string, key: string, action: string, client: string) =>
  fetch(`${origin}/admin/desk/actions/${action}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ client }),
  });

describe('the operator page of the Point-E example', () => {
  it('knows end users by their addresses, and suspends one of them', async () => {
    const { origin, printed } = await startPointE({ OPERATOR_KEY: OPERATOR });
    const generate = async (ip: string) => {
      const headers = { Authorization: `Bearer ${SECRET}`, 'X-Forwarded-For': ip, 'Content-Type': 'application/json' };
      const response = await fetch(`${origin}/generate/text`, { method: 'POST', headers, body: '{"prompt":"a cat"}' });
      return [response.status, await response.json()];
    };
    expect((await fetch(`${origin}/admin/desk/state`, { headers: { Authorization: `Bearer ${SECRET}` } })).status).toBe(
      401,
    );
    expect((await act(origin, SECRET, 'suspend', USER)).status).toBe(401);
    expect(await (await act(origin, OPERATOR, 'suspend', USER)).json()).toMatchObject({ result: 'done' });
    expect(await generate(USER)).toEqual([
      403,
      { detail: 'This client is suspended. Ask the operator of this service.' },
    ]);
    expect((await generate('203.0.113.8'))[0]).toBe(503);
    expect(printed()).toMatch(/Operator: suspend .*"203\.0\.113\.7".*result="done".*by="admin"/);
    const headers = { Authorization: `Bearer ${OPERATOR}` };
    const { snapshot } = (await (await fetch(`${origin}/admin/desk/state`, { headers })).json()) as {
      snapshot: { clients: { client: string }[]; health: unknown };
    };
    expect(snapshot).toMatchObject({ name: 'Point-E', health: [{ name: 'worker', isUp: false }] });
    expect(snapshot.clients.map(({ client }) => client)).toContain(USER);
  });

  it.each([
    ['a key of its own on loopback', {}, /^desk-[0-9a-f]{32}$/],
    ['the key that is set', { OPERATOR_KEY: OPERATOR }, /^c4n4ry-key-of-the-operator-0123$/],
    ['no page in production without a key', { ENVIRONMENT: 'production', POINT_E_SECRET_KEY: SECRET }, undefined],
    ['no page on another address without a key', { HOST: '0.0.0.0', POINT_E_SECRET_KEY: SECRET }, undefined],
  ])('has %s', (_what, env, key) => {
    const { operatorKey } = readPointE(env as Record<string, string>);
    if (key === undefined) expect(operatorKey).toBeUndefined();
    else expect(operatorKey).toMatch(key);
  });

  it('is not there without a key', async () => {
    const { origin } = await startPointE({ ENVIRONMENT: 'production' });
    expect((await fetch(`${origin}/admin/desk/`)).status).toBe(404);
  });
});

describe('the operator page of the SAM example', () => {
  it('is for the admin key, and suspends a client in the words of the service', async () => {
    const key = 'c4n4ry-key-of-client-one';
    const admin = 'c4n4ry-key-of-the-admin';
    const { origin } = await startSam({ API_KEYS: `${key}:client1:100`, ADMIN_API_KEY: admin });
    expect((await act(origin, key, 'suspend', 'client1')).status).toBe(401);
    expect(await (await act(origin, admin, 'suspend', 'client1')).json()).toMatchObject({ result: 'done' });
    const response = await fetch(`${origin}/segment_file`, { method: 'POST', headers: { 'X-API-Key': key } });
    expect([response.status, await response.json()]).toEqual([
      403,
      { error: 'This client is suspended. Ask the operator of this service.' },
    ]);
    const headers = { Authorization: `Bearer ${admin}` };
    expect(await (await fetch(`${origin}/admin/desk/state`, { headers })).json()).toMatchObject({
      snapshot: { name: 'SAM service', measures: [{ client: 'client1', kind: 'suspended', by: 'admin' }] },
    });
  });

  it('has a key of its own on loopback if there is no admin key, which opens nothing else', async () => {
    const settings = readSam({});
    expect(settings).toMatchObject({ deskKey: expect.stringMatching(/^desk-/), deskKeyIsGenerated: true });
    expect(deskHelp('http://127.0.0.1:1', 'ADMIN_API_KEY', settings.deskKey)).toContain(`its key: ${settings.deskKey}`);
    expect(settings.apiKeys.some(({ scopes = [] }) => scopes.includes('admin'))).toBe(false);
  });
});
