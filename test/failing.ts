/** The two ways in which a function fails, each after the word for it in the name of a test. */
export const failing = (message: string): [way: string, fail: () => Promise<never>][] => [
  [
    'throws',
    () => {
      throw new Error(message);
    },
  ],
  ['rejects', () => Promise.reject(new Error(message))],
];
