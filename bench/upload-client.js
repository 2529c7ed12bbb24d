// Sends uploads to one service, as a process of its own. The body is built once and written in large pieces, so that the
// service is what is measured.
import { once } from 'node:events';
import { connect } from 'node:net';

const MB = 1024 * 1024;
const BOUNDARY = '----WebKitFormBoundary7MA4YWxkTrZu0gW';
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==',
  'base64',
);
const bodies = new Map();

/** A body with one PNG of `bytes` bytes. What follows the image is noise, in which no parser finds a shortcut. */
function bodyOf(bytes) {
  if (!bodies.has(bytes)) {
    const head = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n`;
    const noise = Buffer.allocUnsafe(bytes - PNG.length);
    let x = 1;
    for (let i = 0; i < noise.length; i++) {
      x = (Math.imul(x, 1103515245) + 12345) | 0;
      noise[i] = x >>> 16;
    }
    bodies.set(bytes, Buffer.concat([Buffer.from(head), PNG, noise, Buffer.from(`\r\n--${BOUNDARY}--\r\n`)]));
  }
  return bodies.get(bytes);
}

/** Sends `count` uploads, one after the other, over one connection. */
async function send({ port, bytes, count }) {
  const body = bodyOf(bytes);
  const head =
    `POST / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: multipart/form-data; boundary=${BOUNDARY}\r\n` +
    `Content-Length: ${body.length}\r\n\r\n`;
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  try {
    for (let i = 0; i < count; i++) {
      socket.write(head);
      socket.write(body);
      await answered(socket);
    }
  } finally {
    socket.destroy();
  }
}

/** Waits for the end of an answer of 200 with a `Content-Length`. */
async function answered(socket) {
  let received = '';
  for (;;) {
    const [chunk] = await once(socket, 'data');
    received += chunk.toString('latin1');
    const end = received.indexOf('\r\n\r\n');
    if (end === -1) continue;
    if (!received.startsWith('HTTP/1.1 200 ')) throw new Error(`unexpected answer: ${received.slice(0, 400)}`);
    const length = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(received)?.[1]);
    if (received.length >= end + 4 + length) return;
  }
}

/** Sends uploads over several connections at a time. Returns the seconds that it took. */
async function sendAll({ connections, ...task }) {
  bodyOf(task.bytes);
  const start = performance.now();
  await Promise.all(Array.from({ length: connections }, () => send(task)));
  const seconds = (performance.now() - start) / 1000;
  return { seconds, megabytes: (connections * task.count * task.bytes) / MB };
}

process.on('message', (task) => {
  sendAll(task).then(
    (result) => process.send(result),
    (error) => process.send({ error: error.message }),
  );
});
process.on('disconnect', () => process.exit());
