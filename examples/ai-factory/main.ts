import { serve } from '@hono/node-server';
import { OptionError } from 'gatewarden';
import { textLogger } from '../text-logger.js';
import { readDocs } from './docs.js';
import { createServer, VERSION } from './server.js';
import { readSettings } from './settings.js';

async function main(): Promise<void> {
  const settings = readSettings(process.env);
  const logger = textLogger((line) => process.stdout.write(line));
  const app = createServer(settings, logger, await readDocs());
  logger.info({}, `Starting AI Factory Testing Server v${VERSION}`);
  const server = serve({ fetch: app.fetch, hostname: settings.host, port: settings.port }, ({ port }) => {
    const host = settings.host.includes(':') ? `[${settings.host}]` : settings.host;
    const origin = `http://${host}:${port}`;
    for (const { name, value, source } of settings.described) {
      console.log(`  ${name.padEnd(26)} ${value}${source === 'default' ? ' (default)' : ''}`);
    }
    console.log('\nTry it, in another terminal:\n');
    console.log(
      settings.keyIsGenerated ? `  export API_KEY=${settings.apiKeys[0]}` : '  # with API_KEY set as it is here',
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
  server.once('error', (error: NodeJS.ErrnoException) => {
    console.error(
      `Cannot listen on ${settings.host}:${settings.port} (${error.code}). Set HOST or PORT to another value.`,
    );
    process.exit(1);
  });
}

main().catch((error: unknown) => {
  console.error(error instanceof OptionError ? error.message : error);
  process.exit(1);
});
