import { Redis } from 'ioredis';
import { startService } from './idempotent-service.js';

/** A service in a process of its own, which can be killed. Sends its URL. */
const { REDIS = '', PREFIX = '', JOIN } = process.env;
const { url } = await startService({
  client: new Redis(REDIS),
  prefix: PREFIX,
  join: JOIN === 'all' ? 'all' : 'process',
});
process.send?.(url);
