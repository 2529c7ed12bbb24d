import { fileURLToPath } from 'node:url';
import { deskHelp } from '../operator-desk.js';
import { startStandIn } from '../stand-in.js';
import { exitOnFailure, originOf, printSettings, warnOfHosts } from '../start-up.js';
import { textLogger } from '../text-logger.js';
import { createGateway } from './gateway.js';
import { readSettings } from './settings.js';

/** Where counts are kept, unless `DATA_DIRECTORY` names another place. */
const DATA = fileURLToPath(new URL('data', import.meta.url));
const STAND_IN = fileURLToPath(new URL('../workers/sam-stand-in.ts', import.meta.url));
const IMAGE = fileURLToPath(new URL('image.jpg', import.meta.url));

async function main(): Promise<void> {
  const read = readSettings(process.env);
  const settings = { ...read, dataDirectory: read.dataDirectory ?? DATA };
  const standIn =
    settings.workerUrl === undefined ? await startStandIn(STAND_IN, ['--slots', `${settings.gpuSlots}`]) : undefined;
  const logger = textLogger((line) => process.stdout.write(line), settings.logLevel);
  const app = await createGateway(settings, settings.workerUrl ?? standIn?.url ?? '', logger);
  await app.listen({ host: settings.host, port: settings.port });
  const origin = originOf(settings.host, app.server.address());

  printSettings(settings.described, {
    API_KEYS: 'generated for this run',
    JWT_SECRET: 'generated for this run',
    TRUSTED_HOSTS: settings.trustedHosts.join(', ') || 'any',
    WORKER_URL: 'the CPU stand-in, started by this process',
    GPU_SECONDS_PER_DAY: 'not limited',
    DATA_DIRECTORY: DATA,
  });
  warnOfHosts(settings);
  console.log('\nTry it, in another terminal:\n');
  console.log(
    settings.generatedKey === undefined
      ? '  # with SAM_KEY set to one of API_KEYS'
      : `  export SAM_KEY=${settings.generatedKey}`,
  );
  console.log(`  curl -X POST ${origin}/segment_file -H "X-API-Key: $SAM_KEY" -F ${fileArgument(IMAGE)}\n`);
  if (settings.deskKey !== undefined) {
    console.log(deskHelp(origin, 'ADMIN_API_KEY', settings.deskKeyIsGenerated ? settings.deskKey : undefined));
  }
  console.log(`SAM service listening on ${origin}`);

  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      standIn?.release();
      void app.close().then(() => process.exit(0));
    });
  }
}

/** The argument of `curl -F` for a file, in the quotes of curl and of the shell where its path needs them. */
function fileArgument(path: string): string {
  if (/^[\w/.-]+$/.test(path)) return `"file=@${path}"`;
  const quoted = path.replace(/["\\]/g, '\\$&').replaceAll("'", "'\\''");
  return `'file=@"${quoted}"'`;
}

main().catch((error: unknown) => exitOnFailure(error));
