import { startRedis } from './server.js';

/** Starts a server and sends its port and folder. The server ends with this process. */
const server = await startRedis();
const [, folder] = (await server.cli('CONFIG', 'GET', 'dir')).split('\n');
process.send?.(JSON.stringify([server.port, folder]));
