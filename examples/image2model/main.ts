import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startStandIn } from '../stand-in.js';
import { exitOnFailure, originOf, printSettings, warnOfHosts } from '../start-up.js';
import { textLogger } from '../text-logger.js';
import { createGateway } from './gateway.js';
import { readSettings, type Settings } from './settings.js';

const STAND_IN = fileURLToPath(new URL('../workers/image2model-stand-in.ts', import.meta.url));
const IMAGE = fileURLToPath(new URL('../sam-service/image.jpg', import.meta.url));

function printHelp(origin: string, { access }: Settings): void {
  const key = access === 'keys' ? '-H "Authorization: Bearer $API_KEY" ' : '';
  const field = (name: string) => `node -p 'JSON.parse(require("fs").readFileSync(0, "utf8")).${name}'`;
  console.log('\nTry it, in another terminal:\n');
  if (access === 'keys') console.log('  # with API_KEY set to one of the keys, without its name');
  console.log(
    `  JOB=$(curl -s ${origin}/api/v1/upload ${key}-F ${fileArgument(IMAGE)} -F face_limit=5000 | ${field('job_id')})`,
  );
  console.log(`  curl -s -N ${origin}/api/v1/status/tasks/$JOB/stream ${key}`.trimEnd());
  console.log(`  curl -s ${origin}/api/v1/status/$JOB ${key}`.trimEnd());
  console.log(`  curl -s -o image.glb ${origin}/api/v1/download/$JOB/image.glb ${key}`.trimEnd());
  console.log(`\nOr open ${origin}/page in a browser.\n`);
}

/** The argument of `curl -F` for a file, in the quotes of curl and of the shell where its path needs them. */
function fileArgument(path: string): string {
  if (/^[\w/.-]+$/.test(path)) return `"files=@${path}"`;
  const quoted = path.replace(/["\\]/g, '\\$&').replaceAll("'", "'\\''");
  return `'files=@"${quoted}"'`;
}

async function main(): Promise<void> {
  const settings = readSettings(process.env);
  const standIn =
    settings.workerUrl === undefined ? await startStandIn(STAND_IN, ['--slots', `${settings.gpuSlots}`]) : undefined;
  const temporary = settings.dataDirectory === undefined ? await mkdtemp(join(tmpdir(), 'image2model-')) : undefined;
  const logger = textLogger((line) => process.stdout.write(line), settings.logLevel);
  const gateway = await createGateway(
    settings,
    settings.workerUrl ?? standIn?.url ?? '',
    settings.dataDirectory ?? temporary ?? '',
    logger,
  );
  const server = createServer(gateway.app);
  const close = async () => {
    server.close();
    server.closeAllConnections();
    await gateway.close();
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
  };
  server.listen(settings.port, settings.host);
  await once(server, 'listening').catch(async (error: unknown) => {
    await close();
    throw error;
  });

  const origin = originOf(settings.host, server.address());
  printSettings(settings.described, {
    TRUSTED_HOSTS: settings.trustedHosts.join(', ') || 'any',
    DATA_DIRECTORY: 'a temporary directory, removed at the end',
    WORKER_URL: 'the CPU stand-in, started by this process',
    GPU_SECONDS_PER_DAY: 'not limited',
  });
  warnOfHosts(settings);
  if (settings.access === 'closed') {
    console.warn('Warning: API_KEY is not set in production, so every regular endpoint answers 500. Set it.');
  }
  printHelp(origin, settings);
  console.log(`Image2Model API listening on ${origin}`);

  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      standIn?.release();
      void close().then(() => process.exit(0));
    });
  }
}

main().catch((error: unknown) => exitOnFailure(error));
