import express from 'express';
import {
  authenticate,
  clientIp,
  Exchange,
  limit,
  memoryStore,
  principalOf,
  securityHeaders,
  sharedSecret,
  slidingWindow,
} from 'gatewarden';
import { guard } from 'gatewarden/express';

const app = express();
const store = memoryStore();

app.get(
  '/jobs/:id',
  guard(
    securityHeaders(),
    clientIp({ trust: ['loopback'] }),
    authenticate(sharedSecret({ secrets: [process.env.SECRET_KEY ?? ''] })),
    limit({ store, by: 'client-ip', policies: [slidingWindow({ limit: 2, window: '1m' })] }),
  ),
  (req, res) => {
    const id: string = req.params.id;
    const ip: string | undefined = req.exchange.clientIp?.ip;
    // @ts-expect-error: the exchange is typed, not `any`.
    req.exchange.noSuchMember;
    // @ts-expect-error: the route parameters are still those of the path.
    req.params.noSuchParameter;
    const exchange: Exchange = req.exchange;
    res.json({ id, ip, client: principalOf(exchange).id, oneIdentity: exchange instanceof Exchange });
  },
);

const server = app.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(typeof address === 'object' ? address?.port : address);
});
