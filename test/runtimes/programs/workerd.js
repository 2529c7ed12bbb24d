import { getConnInfo } from 'hono/cloudflare-workers';
import { createService } from './service.js';

// biome-ignore lint/style/noDefaultExport: the default export of its main module is the Worker.
export default createService(getConnInfo);
