const express = require('express');
const {
  authenticate,
  clientIp,
  Exchange,
  limit,
  memoryStore,
  securityHeaders,
  sharedSecret,
  slidingWindow,
} = require('gatewarden');
const { guard } = require('gatewarden/express');

const app = express();

app.get(
  '/jobs/:id',
  guard(
    securityHeaders(),
    clientIp(),
    authenticate(sharedSecret({ secrets: [process.env.SECRET_KEY] })),
    limit({ store: memoryStore(), by: 'client-ip', policies: [slidingWindow({ limit: 2, window: '1m' })] }),
  ),
  (req, res) => {
    const { exchange } = req;
    res.json({ id: req.params.id, ip: exchange.clientIp?.ip, oneIdentity: exchange instanceof Exchange });
  },
);

const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
