import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Context, Hono } from 'hono';

interface Asset {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly type: string;
}

/** The files of both pages, by the names under which they are served. */
export type Docs = ReadonlyMap<string, Asset>;

const require = createRequire(import.meta.url);
const SCRIPT = 'text/javascript; charset=utf-8';
const STYLE = 'text/css; charset=utf-8';

/** The pages load nothing from other hosts, not even ReDoc's logo. */
const POLICY = [
  "default-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  'worker-src blob:',
  "frame-ancestors 'none'",
].join('; ');

const SWAGGER_PAGE = page(
  'Swagger UI',
  '<link rel="stylesheet" href="/docs/swagger-ui.css">',
  '<div id="page"></div><script src="/docs/swagger-ui.js"></script><script src="/docs/start-swagger.js"></script>',
);
const REDOC_PAGE = page(
  'ReDoc',
  '',
  '<div id="page"></div><script src="/docs/redoc.js"></script><script src="/docs/start-redoc.js"></script>',
);
const START_SWAGGER = "SwaggerUIBundle({ url: '/openapi.json', dom_id: '#page', persistAuthorization: false });";
const START_REDOC = "Redoc.init('/openapi.json', { disableSearch: true }, document.getElementById('page'));";

/** Reads the files of the pages from the packages of Swagger UI and ReDoc. */
export async function readDocs(): Promise<Docs> {
  const swagger = join(dirname(require.resolve('@fastify/swagger-ui/package.json')), 'static');
  const redoc = join(dirname(require.resolve('redoc/package.json')), 'bundles');
  const asset = async (path: string, type: string): Promise<Asset> => ({ body: await bytes(path), type });
  return new Map([
    ['swagger-ui.js', await asset(join(swagger, 'swagger-ui-bundle.js'), SCRIPT)],
    ['swagger-ui.css', await asset(join(swagger, 'swagger-ui.css'), STYLE)],
    ['start-swagger.js', { body: encoded(START_SWAGGER), type: SCRIPT }],
    ['redoc.js', await asset(join(redoc, 'redoc.standalone.js'), SCRIPT)],
    ['start-redoc.js', { body: encoded(START_REDOC), type: SCRIPT }],
  ]);
}

/** Serves `/docs`, `/redoc` and `/openapi.json`. */
export function serveDocs(app: Hono, docs: Docs, description: object): void {
  const html = (c: Context, text: string) => c.html(text, 200, { 'Content-Security-Policy': POLICY });
  app.get('/openapi.json', (c) => c.json(description));
  app.get('/docs', (c) => html(c, SWAGGER_PAGE));
  app.get('/redoc', (c) => html(c, REDOC_PAGE));
  app.get('/docs/:name', (c) => {
    const asset = docs.get(c.req.param('name'));
    if (asset === undefined) return c.notFound();
    return c.body(asset.body, 200, { 'Content-Type': asset.type, 'Cache-Control': 'public, max-age=3600' });
  });
}

function page(title: string, head: string, body: string): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>${head}</head><body>${body}</body></html>`;
}

async function bytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await readFile(path));
}

function encoded(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
