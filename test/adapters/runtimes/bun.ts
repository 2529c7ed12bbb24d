import { params, service } from './handler.js';

declare const Bun: {
  serve(options: {
    port: number;
    hostname: string;
    development: boolean;
    routes: Readonly<Record<string, typeof service>>;
    fetch: typeof service;
    error: () => Response;
  }): { port: number };
};

const { port } = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  development: false,
  routes: { '/params/:id': params },
  fetch: service,
  error: () => new Response('broken', { status: 500 }),
});
console.log(JSON.stringify({ port }));
