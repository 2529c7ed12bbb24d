// A process of its own: begins an upload into a directory, says so once its temporary file exists, and never ends.
import { readdir } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { uploadLimits } from '../../src/upload/limits.js';
import { receive } from '../../src/upload/receive.js';
import { spool } from '../../src/upload/spool.js';

const [directory = ''] = process.argv.slice(2);
const limits = uploadLimits({ types: ['image/jpeg'], maxBytes: '1mb' });
const body = new Readable({ read: () => undefined });
void receive(body, 'b', limits, spool({ directory, memoryBytes: 10 }, limits.fileBytes), undefined);
body.push('--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n');
body.push(Buffer.concat([Buffer.from('ffd8ffe0', 'hex'), Buffer.alloc(100_000)]));
const before = (await readdir(directory)).length;
while ((await readdir(directory)).length === before) await new Promise((later) => setTimeout(later, 10));
console.log(`pid ${process.pid}`);
setInterval(() => undefined, 1000);
