import fc from 'fast-check';

/** One of the bodies, with bytes changed, a slice copied elsewhere, or its end removed. */
export function mutated(bodies: readonly Buffer[]): fc.Arbitrary<Buffer> {
  return fc
    .tuple(
      fc.nat(bodies.length - 1),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 12 }),
      fc.option(fc.tuple(fc.nat(), fc.nat(), fc.nat(200)), { nil: undefined }),
    )
    .map(([which, changes, moved]) => {
      const body = Buffer.from(bodies[which] ?? Buffer.alloc(0));
      if (body.length === 0) return body;
      for (const [at, value] of changes) body[at % body.length] = value;
      if (moved === undefined) return body;
      const [from, to, length] = moved;
      const slice = body.subarray(from % body.length, (from % body.length) + length);
      return Buffer.concat([
        body.subarray(0, to % body.length),
        slice,
        ...(length % 3 === 0 ? [] : [body.subarray(to % body.length)]),
      ]);
    });
}
