import { once } from 'node:events';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { openCounters } from '../counters.js';
import { deskHelp } from '../operator-desk.js';
import { startStandIn } from '../stand-in.js';
import { exitOnFailure, originOf, printSettings, warnOfHosts } from '../start-up.js';
import { textLogger } from '../text-logger.js';
import { createGateway } from './gateway.js';
import { ModelFiles } from './model-files.js';
import { readSettings } from './settings.js';

/** Where counts are kept, unless `DATA_DIRECTORY` names another place. */
const DATA = fileURLToPath(new URL('data', import.meta.url));
const STAND_IN = fileURLToPath(new URL('../workers/point-e-stand-in.ts', import.meta.url));

function printHelp(origin: string, secret: string | undefined): void {
  const authorization = '-H "Authorization: Bearer $POINT_E_SECRET_KEY"';
  const generate = [
    `curl -s ${origin}/generate/text ${authorization}`,
    '-H "X-Forwarded-For: 123.45.67.89" -H "Content-Type: application/json"',
    `-d '{"prompt": "a red sports car", "user_id": "user123", "grid_size": 32}'`,
  ].join(' ');
  const url = `node -p 'JSON.parse(require("fs").readFileSync(0, "utf8")).download_url'`;
  console.log('\nTry it, in another terminal:\n');
  console.log(
    secret === undefined ? '  # with POINT_E_SECRET_KEY set as it is here' : `  export POINT_E_SECRET_KEY=${secret}`,
  );
  console.log(`  ${generate}`);
  console.log(`  curl -s ${authorization} -o model.ply "$(${generate} | ${url})"`);
  console.log(`  curl -s ${origin}/usage/123.45.67.89 ${authorization}`);
  console.log(`  curl -s ${origin}/health\n`);
}

async function main(): Promise<void> {
  const read = readSettings(process.env);
  const settings = { ...read, dataDirectory: read.dataDirectory ?? DATA };
  const standIn =
    settings.workerUrl === undefined ? await startStandIn(STAND_IN, ['--slots', `${settings.gpuSlots}`]) : undefined;
  const files = await ModelFiles.create();
  const logger = textLogger((line) => process.stdout.write(line));
  const counters = openCounters(settings.redisUrl, 'point-e:', logger, undefined, settings.dataDirectory);
  const workerUrl = settings.workerUrl ?? standIn?.url ?? '';
  const server = createServer(createGateway(settings, workerUrl, files, counters.store, logger, counters.client));
  server.listen(settings.port, settings.host);
  await once(server, 'listening').catch(async (error: unknown) => {
    await files.close();
    throw error;
  });

  const origin = originOf(settings.host, server.address());
  printSettings(settings.described, {
    POINT_E_SECRET_KEY: 'generated for this run',
    OPERATOR_KEY: settings.operatorKey === undefined ? undefined : 'generated for this run',
    TRUSTED_HOSTS: settings.trustedHosts.join(', ') || 'any',
    WORKER_URL: 'the CPU stand-in, started by this process',
    GPU_SECONDS_PER_DAY: 'not limited',
    DATA_DIRECTORY: DATA,
  });
  warnOfHosts(settings);
  printHelp(origin, settings.secretIsGenerated ? settings.secrets[0] : undefined);
  if (settings.operatorKey !== undefined) {
    console.log(deskHelp(origin, 'OPERATOR_KEY', settings.operatorKeyIsGenerated ? settings.operatorKey : undefined));
  }
  console.log(`Point-E gateway listening on ${origin}`);

  const stop = async () => {
    standIn?.release();
    server.close();
    server.closeAllConnections();
    await Promise.all([files.close(), counters.close()]);
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void stop());
}

main().catch((error: unknown) => exitOnFailure(error));
