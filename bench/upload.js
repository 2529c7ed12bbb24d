// The cost of uploads: one of 300 MB against a limit of 50 MB, and twenty of 40 MB at once. Each server is its own process.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect } from 'node:net';

const MB = 1024 * 1024;
const MAX_BYTES = 50 * MB;
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==',
  'base64',
);

const SERVERS = {
  async gatewarden(port) {
    const { default: express } = await import('express');
    const { guard } = await import('gatewarden/express');
    const { upload } = await import('gatewarden/upload');
    const app = express();
    app.post('/', guard(upload({ files: { types: ['image/png'], maxBytes: MAX_BYTES } })), (_req, res) =>
      res.end('ok'),
    );
    return app.listen(port, '127.0.0.1');
  },
  async multer(port) {
    const { default: express } = await import('express');
    const { default: multer } = await import('multer');
    const app = express();
    app.post(
      '/',
      multer({ storage: multer.diskStorage({}), limits: { fileSize: MAX_BYTES } }).single('file'),
      (req, res) => {
        rmSync(req.file.path);
        res.end('ok');
      },
    );
    app.use((error, _req, res, _next) => res.status(error.code === 'LIMIT_FILE_SIZE' ? 413 : 500).end());
    return app.listen(port, '127.0.0.1');
  },
  async '@fastify/multipart'(port) {
    const { default: fastify } = await import('fastify');
    const app = fastify();
    await app.register(import('@fastify/multipart'), { limits: { fileSize: MAX_BYTES } });
    app.post('/', async (request) => {
      await request.saveRequestFiles();
      return 'ok';
    });
    await app.listen({ port, host: '127.0.0.1' });
    return app.server;
  },
  async "Hono's formData"(port) {
    const { Hono } = await import('hono');
    const { bodyLimit } = await import('hono/body-limit');
    const { serve } = await import('@hono/node-server');
    const app = new Hono();
    app.post('/', bodyLimit({ maxSize: MAX_BYTES }), async (c) => {
      await c.req.formData();
      return c.text('ok');
    });
    return serve({ fetch: app.fetch, port, hostname: '127.0.0.1' });
  },
};

if (process.send !== undefined) {
  const server = await SERVERS[process.argv[2]](0);
  if (!server.listening) await once(server, 'listening');
  let peak = 0;
  setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 5).unref();
  process.on('message', (message) => {
    if (message === 'begin') peak = process.memoryUsage.rss();
    process.send({ rss: process.memoryUsage.rss(), peak });
  });
  process.send({ port: server.address().port });
} else {
  for (const name of Object.keys(SERVERS)) {
    const big = await measured(name, (port) => send(port, 300 * MB, true));
    const many = await measured(name, async (port) => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => send(port, 40 * MB, false)));
      return { status: [...new Set(answers.map(({ status }) => status))].join(','), sent: 0 };
    });
    console.log(
      `${name.padEnd(20)} 300 MB: ${big.status} after ${(big.sent / MB).toFixed(0)} MB sent, ${big.grown} MB more memory` +
        `   20 x 40 MB: ${many.status}, ${many.grown} MB more memory`,
    );
  }
  process.exit(0);
}

async function measured(name, act) {
  const child = fork(new URL(import.meta.url), [name], { execArgv: [] });
  const [{ port }] = await once(child, 'message');
  // One upload first, so that memory for loading modules is not counted.
  await send(port, MB, false);
  child.send('begin');
  const [{ rss: before }] = await once(child, 'message');
  const result = await act(port).catch((error) => ({ status: error.code ?? 'failed', sent: 0 }));
  child.send('end');
  const [{ peak }] = await once(child, 'message');
  child.kill();
  return { ...result, grown: Math.round((peak - before) / MB) };
}

/** Sends a multipart body with one file of `size` bytes. Returns the status, and how much had been sent when it arrived. */
async function send(port, size, chunked) {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const head =
    '--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n';
  const tail = '\r\n--b--\r\n';
  const length = head.length + PNG.length + size + tail.length;
  let status;
  let closed = false;
  let sent = 0;
  let sentAtResponse;
  socket.on('data', (data) => {
    if (status !== undefined) return;
    status = Number(data.toString('latin1').slice(9, 12));
    sentAtResponse = sent;
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    closed = true;
  });
  const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`;
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n${framing}\r\n\r\n`);
  const write = async (data) => {
    const framed = chunked
      ? Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')])
      : data;
    sent += data.length;
    if (socket.write(framed) || closed) return;
    await new Promise((resolve) => {
      const go = () => {
        socket.off('drain', go);
        socket.off('close', go);
        resolve();
      };
      socket.on('drain', go);
      socket.on('close', go);
    });
  };
  await write(Buffer.from(head));
  await write(PNG);
  const piece = Buffer.alloc(256 * 1024, 1);
  for (let left = size; left > 0 && !closed && status === undefined; left -= piece.length)
    await write(piece.subarray(0, left));
  if (status === undefined && !closed) await write(Buffer.from(tail));
  if (chunked && !closed) socket.write('0\r\n\r\n');
  while (status === undefined && !closed) await new Promise((later) => setTimeout(later, 5));
  socket.destroy();
  return { status: status ?? 'disconnected', sent: sentAtResponse ?? sent };
}
