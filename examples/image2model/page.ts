import { readFileSync } from 'node:fs';
import { Router } from 'express';
import { securityHeaders } from 'gatewarden';
import { guard } from 'gatewarden/express';

const read = (name: string) => readFileSync(new URL(name, import.meta.url), 'utf8');

/** A page that uploads images and follows their job. It may load its own script, and call this service only. */
export function page(): Router {
  const router = Router();
  const [html, script] = [read('page.html'), read('page-script.js')];
  router.use(
    guard(
      securityHeaders({
        contentSecurityPolicy: {
          directives: {
            defaultSrc: ["'none'"],
            scriptSrc: ["'self'"],
            connectSrc: ["'self'"],
            formAction: ["'none'"],
            frameAncestors: ["'none'"],
          },
        },
      }),
    ),
  );
  router.get('/', (_req, res) => {
    res.type('html').send(html);
  });
  router.get('/page-script.js', (_req, res) => {
    res.type('text/javascript').send(script);
  });
  return router;
}
