import { Redis } from 'ioredis';
import { startRestartable } from './restart-service.js';

/** A service in a process of its own, which can be killed. Sends its URL. */
const { REDIS = '', PREFIX = '' } = process.env;
const { url } = await startRestartable({ client: new Redis(REDIS), prefix: PREFIX, isBusy: true });
process.send?.(url);
