import { serve } from '@hono/node-server';
import { service } from './handler.js';

serve(
  { fetch: service as never, port: 0, hostname: '127.0.0.1' },
  ({ port }: { readonly port: number }) => void console.log(JSON.stringify({ port })),
);
