/** What has called a function, if an application has passed it on instead of calling it. */
export type Caller = 'a sequence' | 'a Fastify plugin' | 'a Fastify hook' | 'Hono' | 'Express';

/** The members by which each caller's first argument is known. Options never have them both. */
const ARGUMENTS: readonly (readonly [caller: Caller, member: string, other: string])[] = [
  ['a sequence', 'onEnd', 'request'],
  ['a Fastify plugin', 'addHook', 'register'],
  ['a Fastify hook', 'raw', 'headers'],
  ['Hono', 'req', 'res'],
  ['Express', 'rawHeaders', 'headers'],
];

const CORRECT_USE: Readonly<Record<Caller, (guards: string) => string>> = {
  'a sequence': (guards) => guards,
  'a Fastify plugin': (guards) => `app.register(gatewarden, { guards: [${guards}] }), from gatewarden/fastify`,
  'a Fastify hook': (guards) => `app.addHook('onRequest', guard(${guards})), with guard from gatewarden/fastify`,
  Hono: (guards) => `app.use(guard(${guards})), with guard from gatewarden/hono`,
  Express: (guards) => `app.use(guard(${guards})), with guard from gatewarden/express`,
};

/**
 * Recognizes the caller of a function by its first argument. Guards, and the functions that make them, are called with an
 * exchange or with an object of a framework if an application has forgotten a call, such as `app.use(cors)`.
 */
export function callerOf(argument: unknown): Caller | undefined {
  if (typeof argument !== 'object' || argument === null) return undefined;
  return ARGUMENTS.find(([, member, other]) => member in argument && other in argument)?.[0];
}

/** What to write so that this caller gets `guards`, such as `cors(...)`. */
export function correctUse(caller: Caller, guards: string): string {
  return CORRECT_USE[caller](guards);
}
