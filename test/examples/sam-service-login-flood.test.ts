import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { createGateway } from '../../examples/sam-service/gateway.js';
import { readSettings } from '../../examples/sam-service/settings.js';
import { textLogger } from '../../examples/text-logger.js';
import { wasIssued } from '../canary.js';
import { contractWorker } from './contract-worker.js';

const KEY = 'c4n4ry-key-of-client-one';
/** More than the counters that a small service would hold. The store's own tests flood ten times as many as fit. */
const ADDRESSES = 20_000;

it('costs paying clients nothing if strangers flood the login', async () => {
  const worker = contractWorker(() => undefined).listen(0, '127.0.0.1');
  await once(worker, 'listening');
  onTestFinished(() => {
    worker.close();
    worker.closeAllConnections();
  });
  const app = await createGateway(
    readSettings({
      API_KEYS: `${KEY}:client1:5`,
      JWT_SECRET: 'c4n4ry-jwt-secret-0123456789-0123456789',
      AUTH_USERS: 'alice:wonderland',
      TRUSTED_PROXIES: 'loopback',
      LOG_LEVEL: 'ERROR',
    }),
    `http://127.0.0.1:${(worker.address() as AddressInfo).port}`,
    textLogger(() => undefined),
  );
  onTestFinished(() => app.close());
  const login = (address: string, password: string) =>
    app.inject({
      method: 'POST',
      url: '/auth/token',
      headers: { 'X-Forwarded-For': address },
      payload: { username: 'alice', password },
    });
  const segment = () =>
    app.inject({ method: 'POST', url: '/segment', headers: { 'X-API-Key': KEY }, payload: { image: 7 } });
  // The first request of this hour.
  expect((await segment()).headers['x-ratelimit-remaining']).toBe('4');

  for (let i = 0; i < ADDRESSES; i++) {
    const { statusCode } = await login(`2001:db8:${i & 1}:${(i >> 1).toString(16)}::1`, 'wrong');
    if (statusCode !== 401) throw new Error(`${statusCode} for guess ${i}`);
  }
  for (let i = 0; i < 25; i++) await login('192.0.2.1', 'wrong');
  expect((await login('192.0.2.1', 'wonderland')).statusCode).toBe(429);

  // Their own limit is as it was, and new addresses can log in.
  for (const left of ['3', '2', '1', '0']) {
    expect((await segment()).headers['x-ratelimit-remaining']).toBe(left);
  }
  expect((await segment()).statusCode).toBe(429);
  for (let i = 0; i < 50; i++) {
    const answer = await login(`198.51.100.${i}`, 'wonderland');
    expect(answer.statusCode).toBe(200);
    wasIssued(answer.json().token);
  }
}, 120_000);
