import { OptionError } from 'gatewarden';
import { textLogger } from '../text-logger.js';
import { createGateway } from './gateway.js';
import { isLoopback, readSettings } from './settings.js';
import { Streams } from './streams.js';

async function main(): Promise<void> {
  const settings = readSettings(process.env);
  const streams = await Streams.open(settings.dataFile);
  const logger = textLogger((line) => process.stdout.write(line));
  const app = await createGateway(settings, streams, logger);
  const origin = await app.listen({ host: settings.host, port: settings.port });

  console.log('Security settings:');
  for (const { name, value, source } of settings.described) {
    console.log(`  ${name.padEnd(18)} ${value}${source === 'default' ? ' (default)' : ''}`);
  }
  if (!isLoopback(settings)) console.warn(`Warning: other machines can reach ${settings.host}.`);
  const token = settings.ingestTokens.length === 0 ? '' : ' -H "X-Ingest-Token: $INGEST_TOKEN"';
  console.log(`\nTry it, in another terminal:

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

main().catch((error: unknown) => {
  console.error(error instanceof OptionError ? error.message : error);
  process.exit(1);
});
