/** A gateway in a process of its own, whose account is in a file. At SIGTERM it ends its requests, and then the account. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import { guard } from '../../../../src/adapters/express.js';
import { gpuTime, limit, memoryLedger, meterUsage } from '../../../../src/index.js';
import { identify } from './identify.js';

// Nothing is written before the end.
const ledger = memoryLedger({ file: process.env.USAGE_FILE ?? '', interval: '1h' });
const app = express();
app.get(
  '/job',
  guard(
    meterUsage({ ledger }),
    identify,
    limit({ by: 'principal', policies: gpuTime({ limit: '10h', window: '24h', estimate: '1ms' }) }),
  ),
  async (req, res) => {
    await sleep(20);
    await req.exchange.admission?.settle({ 'gpu-time': 7 });
    res.send('done');
  },
);
const server = createServer(app);
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.once('SIGTERM', () => {
  server.close(async () => {
    await ledger.close();
    process.exit(0);
  });
  server.closeIdleConnections();
});
