import { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreEvent, RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import { startRespServer } from '../../redis/resp-server.js';

const SHA = 'a757e2a5ebc0d2217e72980bed8d0f8966300d7c';
/** How Redis 6.2 frames an error that a command of a script had. */
const framed = (error: string) =>
  `ERR Error running script (call to f_${SHA}): @user_script:271: @user_script: 271: ${error}`;
/** The same of an error that a script raised, or of a command that the server would not start. */
const raised = (error: string) => `ERR Error running script (call to f_${SHA}): @user_script:44: ${error}`;
/** How Redis 7 and Valkey end it. */
const suffixed = (error: string) => `${error} script: ${SHA}, on @user_script:271.`;

const NO_PERMISSION = "The user executing the script can't run this command or subcommand";
const MISCONF =
  'MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk. Commands that ' +
  'may modify the data set are disabled, because this instance is configured to report errors during writes if RDB ' +
  'snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.';
const WRONGTYPE = 'WRONGTYPE Operation against a key holding the wrong kind of value';
const MASTERDOWN = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
const BUSY = 'BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.';

/** Replies of real servers to the store's script, recorded. */
const OUTAGES: readonly (readonly [what: string, reply: string])[] = [
  ['6.2: OOM', framed("-OOM command not allowed when used memory > 'maxmemory'.")],
  ['6.2: READONLY', framed("-READONLY You can't write against a read only replica.")],
  ['6.2: MISCONF', framed(`-${MISCONF}`)],
  ['6.2: NOREPLICAS', framed('-NOREPLICAS Not enough good replicas to write.')],
  ['6.2: LOADING', 'LOADING Redis is loading the dataset in memory'],
  ['6.2: LOADING in a script', framed('-LOADING Redis is loading the dataset in memory')],
  ['6.2: MASTERDOWN', MASTERDOWN],
  ['6.2: MASTERDOWN in a script', framed(`-${MASTERDOWN}`)],
  ['6.2: BUSY', BUSY],
  ['6.2: BUSY in a script', framed(`-${BUSY}`)],
  ['6.2: CLUSTERDOWN', 'CLUSTERDOWN Hash slot not served'],
  ['6.2: CLUSTERDOWN in a script', framed('-CLUSTERDOWN The cluster is down')],
  ['6.2: TRYAGAIN', 'TRYAGAIN Multiple keys request during rehashing of slot'],
  ['6.2: NOPERM', "NOPERM this user has no permissions to run the 'evalsha' command or its subcommand"],
  ['6.2: NOAUTH', 'NOAUTH Authentication required.'],
  ['6.2: a script that was killed', raised('Script killed by user with SCRIPT KILL...')],
  [
    '6.2: a command that does not exist, in words that a caller chose',
    `ERR unknown command \`evalsha\`, with args beginning with: \`${SHA}\`, \`2\`, \`gw:{}:AAAA:r1\`, ` +
      '`gw:ERR Error running script (call to f_0): @user_script:1: user_script:1: x`, ',
  ],
  ['7: OOM', suffixed("OOM command not allowed when used memory > 'maxmemory'.")],
  ['7: READONLY', suffixed("READONLY You can't write against a read only replica.")],
  ['7: MISCONF', suffixed(MISCONF)],
  ['7: NOREPLICAS', suffixed('NOREPLICAS Not enough good replicas to write.')],
  ['7: NOPERM in a script', suffixed("NOPERM User default has no permissions to run the 'set' command")],
  ['7: a script that was killed', suffixed('ERR Script killed by user with SCRIPT KILL...')],
  ['no words at all', 'ERR'],
  ['a proxy', 'ERR upstream failure: connection to the script server was lost'],
];

const FAULTS: readonly (readonly [what: string, reply: string])[] = [
  ['6.2: WRONGTYPE', raised(WRONGTYPE)],
  ['6.2: WRONGTYPE with its mark', framed(`-${WRONGTYPE}`)],
  ['6.2: a Lua error', raised('user_script:44: Bad data format in input.')],
  [
    '6.2: a Lua error of strict mode',
    `ERR Error running script (call to f_${SHA}): @enable_strict_lua:15: user_script:1: Script attempted to access nonexistent global variable 'x'`,
  ],
  ['6.2: a script that does not compile', "ERR Error compiling script (new function): user_script:1: '=' expected"],
  ['6.2: a command that the script may not use', raised(NO_PERMISSION)],
  ['6.2: CROSSSLOT', "CROSSSLOT Keys in request don't hash to the same slot"],
  ['6.2: MOVED', 'MOVED 866 127.0.0.1:7001'],
  ['7: WRONGTYPE', suffixed(WRONGTYPE)],
  ['7: a command that the script may not use', suffixed(`ERR ${NO_PERMISSION}`)],
  ['7: a Lua error', suffixed('ERR user_script:44: Bad data format in input.')],
  [
    '6.2: a subscriber',
    "ERR Can't execute 'evalsha': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
  ],
];

const policies = [slidingWindow({ limit: 2, window: '1m' })];

/** A store whose server answers every call of the script with these errors, in turn. */
async function openStore(errors: readonly string[], options: Partial<RedisStoreOptions> = {}) {
  let calls = 0;
  const server = await startRespServer((name) => {
    if (name === 'info') return '$3\r\nx:1\r\n';
    return name.startsWith('eval') ? `-${errors[calls++ % errors.length]}\r\n` : '+OK\r\n';
  });
  const client = new Redis(server.port, '127.0.0.1', { enableReadyCheck: false });
  client.on('error', () => {});
  const events: RedisStoreEvent[] = [];
  // A reply that were missing would be an outage by the timeout, and no test of these words.
  const store = redisStore({ client, timeout: '10s', onEvent: (event) => events.push(event), ...options });
  onTestFinished(() => {
    store.close();
    client.disconnect();
    server.stop();
  });
  const decide = () => store.admit(policies, ['key'], [1]);
  return { store, server, events, decide };
}

describe('redisStore, given an error reply', () => {
  it.each(OUTAGES)('treats %s as an outage', async (_, reply) => {
    const { decide, events, server } = await openStore([reply]);
    for (let i = 0; i < 2; i++) {
      const error = await decide().catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'GATEWARDEN_STORE_UNAVAILABLE', message: `gatewarden: ${reply}` });
    }
    expect(server.commands.filter(([name]) => name === 'evalsha')).toHaveLength(2);
    expect(events).toMatchObject([{ kind: 'unavailable', error: { message: `gatewarden: ${reply}` } }]);
  });

  it.each(OUTAGES)('counts locally during %s', async (_, reply) => {
    const { decide, events } = await openStore([reply], { onStoreFailure: 'local' });
    const kinds: string[] = [];
    for (let i = 0; i < 3; i++) kinds.push((await decide()).kind);
    expect(kinds).toEqual(['admitted', 'admitted', 'refused']);
    expect(events.map(({ kind }) => kind)).toEqual(['unavailable']);
  });

  it.each(FAULTS)('treats %s as a fault that waiting does not end', async (_, reply) => {
    const { decide, events } = await openStore([reply], { onStoreFailure: 'admit' });
    for (let i = 0; i < 3; i++) {
      const error = await decide().catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'GATEWARDEN_STORE_DATA' });
      expect(String(error)).toContain(`redisStore cannot use the counters at gw:key: ${reply}`);
    }
    expect(events).toEqual([]);
  });

  it('says that a Redis Cluster needs a client for it', async () => {
    const { decide } = await openStore(['MOVED 866 127.0.0.1:7001']);
    await expect(decide()).rejects.toThrow(
      'redisStore cannot use the counters at gw:key: MOVED 866 127.0.0.1:7001; connect with a client for a Cluster',
    );
  });

  it('sends the script itself if the server does not know it', async () => {
    const { decide, server } = await openStore(['NOSCRIPT No matching script. Please use EVAL.', 'LOADING']);
    await expect(decide()).rejects.toMatchObject({
      code: 'GATEWARDEN_STORE_UNAVAILABLE',
      message: 'gatewarden: LOADING',
    });
    expect(server.commands.map(([name]) => name).filter((name) => name?.startsWith('eval'))).toEqual([
      'evalsha',
      'eval',
    ]);
  });
});
