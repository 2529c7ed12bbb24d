import { startRedis } from './server.js';

/** Starts a server, tells its port and folder, and leaves it to whoever ends this process. */
const server = await startRedis();
const [, folder] = (await server.cli('CONFIG', 'GET', 'dir')).split('\n');
process.send?.(JSON.stringify([server.port, folder]));
