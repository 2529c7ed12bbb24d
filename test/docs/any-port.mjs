// Loaded before a server of the documentation: it gets a free port instead of the one that it asks for, and prints it.
import { Server } from 'node:net';

const { listen } = Server.prototype;
Server.prototype.listen = function (first, ...rest) {
  this.once('listening', () => console.log(`listening on ${this.address().port}`));
  return Reflect.apply(listen, this, [typeof first === 'number' ? 0 : { ...first, port: 0 }, ...rest]);
};
