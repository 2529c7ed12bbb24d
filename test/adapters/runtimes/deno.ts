import { service } from './handler.js';

declare const Deno: {
  serve(
    options: {
      port: number;
      hostname: string;
      onListen: (address: { port: number }) => void;
      onError: () => Response;
    },
    handler: typeof service,
  ): unknown;
};

Deno.serve(
  {
    port: 0,
    hostname: '127.0.0.1',
    onListen: ({ port }) => console.log(JSON.stringify({ port })),
    onError: () => new Response('broken', { status: 500 }),
  },
  service,
);
