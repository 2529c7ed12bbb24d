import { getConnInfo } from 'hono/deno';
import { createService } from './service.js';

const onListen = ({ port }) => console.log(JSON.stringify({ port }));
Deno.serve({ port: 0, hostname: '127.0.0.1', onListen }, createService(getConnInfo).fetch);
