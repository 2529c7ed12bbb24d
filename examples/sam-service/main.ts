import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { OptionError } from 'gatewarden';
import { textLogger } from '../text-logger.js';
import { createGateway } from './gateway.js';
import { readSettings } from './settings.js';

const STAND_IN = fileURLToPath(new URL('../workers/sam-stand-in.ts', import.meta.url));

/** Starts the CPU stand-in as a child process. It exits when this process does, and receives no secret. */
async function startStandIn(): Promise<string> {
  const { PATH, HOME, TMPDIR } = process.env;
  const child = fork(STAND_IN, { env: { PATH, HOME, TMPDIR, PORT: '0' } });
  const [message] = await once(child, 'message');
  return (message as { url: string }).url;
}

async function main(): Promise<void> {
  const settings = readSettings(process.env);
  const workerUrl = settings.workerUrl ?? (await startStandIn());
  const app = await createGateway(
    settings,
    workerUrl,
    textLogger((line) => process.stdout.write(line), settings.logLevel),
  );
  const origin = await app.listen({ host: settings.host, port: settings.port });

  console.log('Security settings:');
  for (const { name, value, source } of settings.described) {
    console.log(`  ${name.padEnd(25)} ${value}${source === 'default' ? ' (default)' : ''}`);
  }
  console.log('\nTry it, in another terminal:\n');
  console.log(
    settings.generatedKey === undefined
      ? '  # with SAM_KEY set to one of API_KEYS'
      : `  export SAM_KEY=${settings.generatedKey}`,
  );
  console.log(`  curl -X POST ${origin}/segment_file -H "X-API-Key: $SAM_KEY" -F "file=@image.jpg"\n`);
  console.log(`SAM service listening on ${origin}`);

  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => void app.close().then(() => process.exit(0)));
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof OptionError ? error.message : error);
  process.exit(1);
});
