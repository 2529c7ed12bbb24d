import { getConnInfo } from 'hono/bun';
import { createService } from './service.js';

const app = createService(getConnInfo);
const { port } = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch: (request, server) => app.fetch(request, { server }),
});
console.log(JSON.stringify({ port }));
