import { serve } from '@hono/node-server';
import { exitOnFailure, originOf, printSettings, warnOfHosts } from '../start-up.js';
import { textLogger } from '../text-logger.js';
import { readDocs } from './docs.js';
import { createServer, VERSION } from './server.js';
import { readSettings } from './settings.js';

async function main(): Promise<void> {
  const settings = readSettings(process.env);
  const logger = textLogger((line) => process.stdout.write(line));
  const app = createServer(settings, logger, await readDocs());
  logger.info({}, `Starting AI Factory Testing Server v${VERSION}`);
  const server = serve({ fetch: app.fetch, hostname: settings.host, port: settings.port }, (address) => {
    const origin = originOf(settings.host, address);
    printSettings(settings.described, { API_KEY: 'generated for this run' });
    warnOfHosts(settings);
    console.log('\nTry it, in another terminal:\n');
    console.log(
      settings.keyIsGenerated ? `  export API_KEY=${settings.apiKeys[0]}` : '  # with API_KEY set to one of its keys',
    );
    console.log(`  curl ${origin}/health`);
    console.log(`  curl -H "X-API-Key: $API_KEY" ${origin}/protected\n`);
    console.log(`AI Factory server listening on ${origin}, documentation on ${origin}/docs`);
  });

  const stop = () => {
    logger.info({}, 'Shutting down');
    // Requests in progress may finish. Idle keep-alive connections are closed.
    server.close(() => process.exit(0));
    if ('closeIdleConnections' in server) server.closeIdleConnections();
    setTimeout(() => process.exit(0), 10_000).unref();
  };
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, stop);
  server.once('error', exitOnFailure);
}

main().catch((error: unknown) => exitOnFailure(error));
