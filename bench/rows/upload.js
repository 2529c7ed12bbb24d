// Uploads over HTTP: how fast they are received, and what they cost the service. Each side is a service in its own process.
// The client is another process.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer } from 'node:http';

const MB = 1024 * 1024;
const FILE_BYTES = 50 * MB;
/** What one round sends. */
const UPLOADS = 6;
const MANY = 20;
const MANY_BYTES = 20 * MB;
const CLIENT = new URL('../upload-client.js', import.meta.url);

/**
 * Every side loads all of these. V8 marks the heap again and again while buffers come and go, but not as long as the
 * heap has less than 8 MB. A service of any size has more. Without this, a side would be measured by what it imports.
 */
const PACKAGES = [
  'express',
  'fastify',
  'hono',
  'multer',
  '@fastify/busboy',
  '@fastify/multipart',
  'gatewarden',
  'gatewarden/express',
  'gatewarden/upload',
];

const measures = { cpu: { unit: 'ms', better: 'lower' } };

/** A service and its client. `start` returns a server that listens. */
function service(start) {
  return {
    open: async () => {
      const client = fork(CLIENT, { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
      await Promise.all(PACKAGES.map((name) => import(name)));
      const server = await start();
      if (!server.listening) await once(server, 'listening');
      return { client, server, port: server.address().port };
    },
    close: async ({ client, server }) => {
      client.disconnect();
      server.closeAllConnections?.();
      server.close();
    },
  };
}

async function sent({ client, port }, task) {
  client.send({ port, ...task });
  const [result] = await once(client, 'message');
  if (result.error !== undefined) throw new Error(result.error);
  return result;
}

/** Megabytes a second, and milliseconds of processor time for one upload. */
async function throughput(_round, state) {
  const before = process.cpuUsage();
  const { seconds, megabytes } = await sent(state, { bytes: FILE_BYTES, connections: 1, count: UPLOADS });
  const { user, system } = process.cpuUsage(before);
  return { figure: megabytes / seconds, cpu: (user + system) / 1000 / UPLOADS };
}

/** Megabytes of memory that many uploads at the same time take, above what the service had before. */
async function memory(_round, state) {
  await sent(state, { bytes: MB, connections: 1, count: 1 });
  globalThis.gc();
  const before = process.memoryUsage.rss();
  let peak = before;
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 2);
  await sent(state, { bytes: MANY_BYTES, connections: MANY, count: 1 });
  clearInterval(timer);
  return Math.max(1, (peak - before) / MB);
}

const multerToDisk = service(async () => {
  const { default: express } = await import('express');
  const { default: multer } = await import('multer');
  const app = express();
  const files = multer({ storage: multer.diskStorage({}), limits: { fileSize: FILE_BYTES } });
  app.post('/', files.single('file'), (request, response) => {
    if (request.file.size < MB) throw new Error('not the whole file');
    rmSync(request.file.path);
    response.send('ok');
  });
  return app.listen(0, '127.0.0.1');
});

const toDisk = service(async () => {
  const { default: express } = await import('express');
  const { uploadOf } = await import('gatewarden');
  const { guard } = await import('gatewarden/express');
  const { upload } = await import('gatewarden/upload');
  const app = express();
  app.post('/', guard(upload({ files: { types: ['image/png'], maxBytes: FILE_BYTES } })), (request, response) => {
    const [file] = uploadOf(request.exchange).files;
    if (file.bytes < MB) throw new Error('not the whole file');
    response.send('ok');
  });
  return app.listen(0, '127.0.0.1');
});

const handedOn = service(async () => {
  const { default: express } = await import('express');
  const { uploadOf } = await import('gatewarden');
  const { guard } = await import('gatewarden/express');
  const { upload } = await import('gatewarden/upload');
  const app = express();
  const onFile = ({ stream }) =>
    new Promise((resolve, reject) => {
      let bytes = 0;
      stream.on('data', (chunk) => {
        bytes += chunk.length;
      });
      stream.on('end', () => resolve(bytes)).on('error', reject);
    });
  const guards = guard(upload({ files: { types: ['image/png'], maxBytes: FILE_BYTES }, onFile }));
  app.post('/', guards, async (request, response) => {
    const [file] = uploadOf(request.exchange).files;
    if ((await file.result) !== FILE_BYTES) throw new Error('not the whole file');
    response.send('ok');
  });
  return app.listen(0, '127.0.0.1');
});

const busboyDiscarding = service(async () => {
  const { Busboy } = await import('@fastify/busboy');
  const server = createServer((request, response) => {
    const parser = new Busboy({ headers: request.headers });
    let bytes = 0;
    parser.on('file', (_field, stream) => {
      stream.on('data', (chunk) => {
        bytes += chunk.length;
      });
    });
    parser.on('finish', () =>
      response.writeHead(bytes === FILE_BYTES ? 200 : 500, { 'Content-Length': '2' }).end('ok'),
    );
    request.pipe(parser);
  });
  return server.listen(0, '127.0.0.1');
});

const fastifyMultipart = service(async () => {
  const { default: fastify } = await import('fastify');
  const app = fastify();
  await app.register(import('@fastify/multipart'), { limits: { fileSize: FILE_BYTES } });
  app.post('/', async (request) => {
    await request.saveRequestFiles();
    return 'ok';
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  return app.server;
});

const honoFormData = service(async () => {
  const { Hono } = await import('hono');
  const { bodyLimit } = await import('hono/body-limit');
  const { serve } = await import('@hono/node-server');
  const app = new Hono();
  app.post('/', bodyLimit({ maxSize: 2 * FILE_BYTES }), async (context) => {
    await context.req.formData();
    return context.body('ok', 200, { 'Content-Length': '2' });
  });
  return serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' });
});

const GUARANTEES = {
  disk: 'type by content, PNG header and strict structure checked; large files to disk, removed at the end',
  multer: 'to disk; no type, no structure; the handler removes the file',
  fastify: 'to disk; no type, no structure; files are removed after the response',
};

export const rows = [
  {
    name: 'upload: a file of 50 MB to disk',
    about:
      'One image of 50 MB over HTTP/1.1 on a kept connection, until the handler has answered. `cpu` is the processor time of the service for one upload.',
    unit: 'MB/s',
    better: 'higher',
    ratioTo: 'multer',
    measures,
    goals: [{ side: 'gatewarden', over: 'multer', atLeast: 1.2 }],
    sides: [
      { name: 'gatewarden', guarantees: GUARANTEES.disk, ...toDisk, run: throughput },
      { name: 'multer', guarantees: GUARANTEES.multer, ...multerToDisk, run: throughput },
      { name: '@fastify/multipart', guarantees: GUARANTEES.fastify, ...fastifyMultipart, run: throughput },
    ],
  },
  {
    name: 'upload: a file of 50 MB handed on while it arrives',
    about:
      'The same, read by the service while it arrives and then forgotten. gatewarden keeps the file for the handler as well.',
    unit: 'MB/s',
    better: 'higher',
    ratioTo: '@fastify/busboy, discarding',
    measures,
    goals: [{ side: 'gatewarden, onFile', over: '@fastify/busboy, discarding', atLeast: 0.5 }],
    sides: [
      {
        name: 'gatewarden, onFile',
        guarantees: `${GUARANTEES.disk}; the stream ends only after every check has passed`,
        ...handedOn,
        run: throughput,
      },
      {
        name: '@fastify/busboy, discarding',
        guarantees: 'parses only; nothing is checked or kept',
        ...busboyDiscarding,
        run: throughput,
      },
    ],
  },
  {
    name: 'upload: memory for 20 files of 20 MB at once',
    about: 'The most memory that the service takes while 20 clients upload at the same time, above what it had before.',
    unit: 'MB',
    better: 'lower',
    ratioTo: 'multer',
    sides: [
      { name: 'gatewarden', guarantees: GUARANTEES.disk, ...toDisk, run: memory },
      { name: 'multer', guarantees: GUARANTEES.multer, ...multerToDisk, run: memory },
      { name: '@fastify/multipart', guarantees: GUARANTEES.fastify, ...fastifyMultipart, run: memory },
      { name: "Hono's formData", guarantees: 'in memory', ...honoFormData, run: memory },
    ],
  },
];
