import { CommandPort, ServerError, type Transport } from './command-port.js';
import type {
  NodeRedisClient,
  NodeRedisCluster,
  NodeRedisReplyOptions,
  NodeRedisSentinel,
  NodeRedisSingle,
} from './node-redis-client.js';
import type { PortConnection, RedisPort } from './port.js';
import { PrimaryWatch } from './primary-watch.js';
import { gateOf, type WriteGate } from './write-gate.js';

// Named for each command: the service may have given its client another mapping.
const AS_TEXT: NodeRedisReplyOptions = { typeMapping: { 36: String, 43: String, 58: Number, 61: String } };
const AS_BYTES: NodeRedisReplyOptions = { typeMapping: { 36: Buffer, 43: String, 58: Number, 61: String } };

/** A client of node-redis, with the commands of ioredis. */
export function nodeRedisPort(client: NodeRedisClient): RedisPort {
  if ('masters' in client) return new CommandPort(clusterTransport(client));
  if ('getMasterNode' in client) return new CommandPort(sentinelTransport(client));
  return new CommandPort(singleTransport(client));
}

/** A node of a Cluster has the gate of the Cluster. */
function singleTransport(client: NodeRedisSingle, gate = gateOf(client)): Transport {
  gate.watch(client);
  return {
    isCluster: false,
    send: (command, _, asBytes) =>
      gate.send((signal) => client.sendCommand(command, options(asBytes, signal)).catch(failed)),
    isUnsure: (error) => client.isOpen && !(error instanceof ServerError),
    pause: 0,
    on: (event, listener) => client.on(event, listener),
    off: (event, listener) => client.off(event, listener),
    get status() {
      return client.isReady ? 'ready' : 'connecting';
    },
    disconnect: () => replaceConnection(client),
  };
}

function clusterTransport(client: NodeRedisCluster): Transport {
  // A node may redirect a command to another, so that all have one gate.
  const gate = gateOf(client);
  const watch = new PrimaryWatch(client, gate);
  return {
    isCluster: true,
    send: async (command, firstKey, asBytes) => {
      if (firstKey !== undefined) watch.sending(firstKey);
      const reply = await gate.send((signal) =>
        client.sendCommand(firstKey, false, command, options(asBytes, signal)).catch(failed),
      );
      if (firstKey !== undefined) watch.answered(firstKey);
      return reply;
    },
    isUnsure: (error) => client.isOpen && !(error instanceof ServerError),
    pause: 0,
    // The store finds out by itself that a server is back.
    on: () => undefined,
    off: () => undefined,
    get status() {
      return client.isOpen ? 'ready' : 'end';
    },
    nodes: () => client.masters.flatMap(({ client: node }) => (node === undefined ? [] : [connectionOf(node, gate)])),
    serverOf: (slot) => client.slots[slot]?.master.address,
  };
}

/** It looks for the new primary by itself, and sends again what was not written. */
function sentinelTransport(client: NodeRedisSentinel): Transport {
  // With `passthroughClientErrorEvents`, it reports the errors of its connections.
  const gate = gateOf(client);
  gate.watch(client);
  return {
    isCluster: false,
    send: (command, _, asBytes) =>
      gate.send((signal) => client.sendCommand(false, command, options(asBytes, signal)).catch(failed)),
    isUnsure: (error) => client.isOpen && !(error instanceof ServerError),
    pause: 0,
    on: () => undefined,
    off: () => undefined,
    get status() {
      return client.isReady ? 'ready' : 'connecting';
    },
  };
}

function options(asBytes: boolean, abortSignal: AbortSignal): NodeRedisReplyOptions {
  return { ...(asBytes ? AS_BYTES : AS_TEXT), abortSignal };
}

function connectionOf(node: NodeRedisSingle, gate: WriteGate): PortConnection {
  return new CommandPort(singleTransport(node, gate));
}

/** The client has no method for this. What waits for a reply is rejected, as after every broken connection. */
function replaceConnection(client: NodeRedisSingle): void {
  if (!client.isReady) return;
  client.destroy();
  // It reports this as an `error` event, and tries again as its options say.
  client.connect().catch(() => undefined);
}

/** The code that begins an error reply. Errors of the client begin otherwise. */
const CODE = /^-?[A-Z][A-Z0-9_]+(?: |$)/;

function failed(error: unknown): never {
  if (error instanceof Error && CODE.test(error.message)) throw new ServerError(error.message, { cause: error });
  throw error;
}
