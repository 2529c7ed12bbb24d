/** How the message of an error begins that means: the runtime has no such thing, so that the test does not apply. */
export const NOT_HERE = 'not on this runtime: ';

/** A package or a module that a runtime lacks. A file may import it; a test that uses it is skipped. */
export function missing(why: string): object {
  const fail = () => {
    throw new Error(NOT_HERE + why);
  };
  const proxy: object = new Proxy(fail, {
    get: (_target, name) => (typeof name === 'symbol' || name === '__esModule' || name === 'then' ? undefined : proxy),
    getPrototypeOf: () => proxy,
    construct: fail,
    apply: fail,
  });
  return proxy;
}
