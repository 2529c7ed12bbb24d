import { OptionError } from 'gatewarden';
import { isLoopback } from '../exposure.js';
import { exitOnFailure, originOf, printSettings, warnOfHosts } from '../start-up.js';
import { textLogger } from '../text-logger.js';
import { createGateway } from './gateway.js';
import { readSettings } from './settings.js';
import { Streams } from './streams.js';

async function main(): Promise<void> {
  const settings = readSettings(process.env);
  const streams = await Streams.open(settings.dataFile).catch(explainFailure);
  const logger = textLogger((line) => process.stdout.write(line));
  const app = await createGateway(settings, streams, logger);
  await app.listen({ host: settings.host, port: settings.port });
  const origin = originOf(settings.host, app.server.address());

  printSettings(settings.described, {
    INGEST_TOKEN: 'not set: everyone may send',
    TRUSTED_HOSTS: settings.trustedHosts.join(', ') || 'any',
  });
  warnOfHosts(settings);
  if (!isLoopback(settings.host)) console.warn(`Warning: other machines can reach ${settings.host}.`);
  const token = settings.ingestTokens.length === 0 ? '' : ' -H "X-Ingest-Token: $INGEST_TOKEN"';
  console.log(`\nTry it, in another terminal:
${settings.ingestTokens.length === 0 ? '' : '\n  # with INGEST_TOKEN set to one of its tokens'}
  curl -X POST ${origin}/live/ingest${token} -H "Content-Type: application/json" \\
    -d '{"id": "bet123", "nonce": 1, "amount": 1, "payout": 2, "difficulty": "easy", "roundResult": 3.1, "clientSeed": "c", "serverSeedHashed": "s"}'
  curl ${origin}/live/streams\n`);
  console.log(`Live-ingest API listening on ${origin}`);

  const stop = async () => {
    await app.close();
    await streams.close();
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void stop());
}

/** Reports a data file that cannot be opened as a mistake in the settings. */
function explainFailure(error: NodeJS.ErrnoException): never {
  if (error.syscall === undefined) throw error;
  throw new OptionError(`gatewarden: bad settings: "DATA_FILE" cannot be opened (${error.message})`);
}

main().catch((error: unknown) => exitOnFailure(error, { host: 'API_HOST', port: 'API_PORT' }));
