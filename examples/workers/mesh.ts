import { createHash } from 'node:crypto';

/** A closed triangle mesh. The coordinates of vertex `i` start at `positions[3i]`, its colour at `colors[3i]`. */
export interface Mesh {
  readonly positions: Float32Array;
  readonly colors: Uint8Array;
  readonly indices: Uint32Array;
}

type Rgb = readonly [red: number, green: number, blue: number];

const COLOR_WORDS: ReadonlyMap<string, Rgb> = new Map<string, Rgb>([
  ['red', [214, 40, 40]],
  ['orange', [240, 130, 30]],
  ['yellow', [245, 210, 50]],
  ['green', [50, 160, 70]],
  ['blue', [45, 90, 210]],
  ['purple', [125, 60, 170]],
  ['pink', [245, 140, 180]],
  ['brown', [125, 80, 45]],
  ['black', [35, 35, 38]],
  ['white', [245, 245, 245]],
  ['gray', [135, 135, 135]],
  ['grey', [135, 135, 135]],
  ['cyan', [40, 200, 215]],
  ['magenta', [210, 50, 180]],
  ['teal', [20, 130, 130]],
  ['gold', [212, 175, 55]],
  ['silver', [190, 195, 200]],
]);

/** The first colour word of the prompt, or the fallback. */
function colorOf(prompt: string, fallback: Rgb): Rgb {
  for (const [word] of prompt.toLowerCase().matchAll(/[a-z]+/g)) {
    const color = COLOR_WORDS.get(word);
    if (color !== undefined) return color;
  }
  return fallback;
}

interface Lobes {
  readonly count: number;
  readonly power: number;
  readonly softness: number;
}

/**
 * Gielis' superformula with one exponent for both terms, which makes it close over a full turn for every whole number
 * of lobes. The sum stays between 2^-1.5 and 2^0.6 for powers in 0.8..5, so the radius is always finite and positive.
 */
function superRadius(angle: number, { count, power, softness }: Lobes): number {
  const t = (count * angle) / 4;
  return (Math.abs(Math.cos(t)) ** power + Math.abs(Math.sin(t)) ** power) ** (-1 / softness);
}

function shapeOf(prompt: string) {
  const digest = createHash('sha256').update(prompt, 'utf8').digest();
  const between = (byte: number, low: number, high: number) => low + (digest.readUInt8(byte) / 255) * (high - low);
  const lobes = (byte: number, most: number): Lobes => ({
    count: Math.round(between(byte, 0, most)),
    power: between(byte + 1, 0.8, 5),
    softness: between(byte + 2, 1.5, 5),
  });
  return {
    around: lobes(0, 8),
    upward: lobes(3, 6),
    stretch: [between(6, 0.6, 1), between(7, 0.6, 1), between(8, 0.6, 1.4)] as const,
    color: colorOf(prompt, [between(9, 60, 230), between(10, 60, 230), between(11, 60, 230)]),
  };
}

/** Centres the mesh on the origin and scales its longest side to 1. All axes have one scale, which keeps the proportions. */
function fitUnitBox(coordinates: readonly number[]): Float32Array {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  coordinates.forEach((value, i) => {
    low[i % 3] = Math.min(low[i % 3] ?? value, value);
    high[i % 3] = Math.max(high[i % 3] ?? value, value);
  });
  const middle = low.map((value, axis) => (value + (high[axis] ?? value)) / 2);
  const longest = Math.max(...low.map((value, axis) => (high[axis] ?? value) - value));
  return Float32Array.from(coordinates, (value, i) => (value - (middle[i % 3] ?? 0)) / longest);
}

/**
 * The triangles of a globe. Vertex 0 is the south pole, followed by the rings from south to north, then the north pole. The
 * last column joins the first, so the seam has no vertices of its own.
 */
function globeIndices(rings: number, columns: number): Uint32Array {
  const at = (ring: number, column: number) => 1 + ring * columns + (column % columns);
  const north = 1 + rings * columns;
  const indices: number[] = [];
  for (let column = 0; column < columns; column++) {
    indices.push(0, at(0, column + 1), at(0, column));
    for (let ring = 0; ring + 1 < rings; ring++) {
      const here = at(ring, column);
      const diagonal = at(ring + 1, column + 1);
      indices.push(here, at(ring, column + 1), diagonal, here, diagonal, at(ring + 1, column));
    }
    indices.push(at(rings - 1, column), at(rings - 1, column + 1), north);
  }
  return Uint32Array.from(indices);
}

/**
 * Builds the mesh ring by ring and yields the number of finished rings, so that a server can do other work, or stop,
 * between two of them. A `gridSize` of g results in g bands of latitude and 2g columns: 2g(g-1) + 2 vertices and 4g(g-1)
 * faces. Every triangle faces outward: the angle grows along a ring, the slope grows from ring to ring, and a positive
 * radius changes neither.
 *
 * @throws RangeError if `gridSize` is not an integer of at least 2.
 */
export function* meshRings(prompt: string, gridSize: number): Generator<number, Mesh, void> {
  if (!Number.isInteger(gridSize) || gridSize < 2) {
    throw new RangeError(`meshRings "gridSize" must be an integer of at least 2, got ${gridSize}`);
  }
  const { around, upward, stretch, color } = shapeOf(prompt);
  const rings = gridSize - 1;
  const columns = 2 * gridSize;
  const coordinates: number[] = [];
  const colors: number[] = [];

  const addVertex = (latitude: number, longitude: number): void => {
    const up = superRadius(latitude, upward);
    const out = up * Math.cos(latitude) * superRadius(longitude, around);
    coordinates.push(stretch[0] * out * Math.cos(longitude), stretch[1] * out * Math.sin(longitude));
    coordinates.push(stretch[2] * up * Math.sin(latitude));
    // Lighter towards the top, with a faint band around each lobe, so that the form is visible without lighting.
    const shade = 0.82 + 0.14 * Math.sin(latitude) + 0.04 * Math.cos(latitude) * Math.cos(around.count * longitude);
    for (const channel of color) colors.push(Math.round(channel * shade));
  };
  const addPole = (sign: 1 | -1): void => {
    // Written as zeros: cos(pi/2) is not exactly 0, and the pole must lie on the axis.
    coordinates.push(0, 0, sign * stretch[2] * superRadius(Math.PI / 2, upward));
    for (const channel of color) colors.push(Math.round(channel * (0.82 + 0.14 * sign)));
  };

  addPole(-1);
  for (let ring = 0; ring < rings; ring++) {
    const latitude = -Math.PI / 2 + (Math.PI * (ring + 1)) / gridSize;
    for (let column = 0; column < columns; column++) addVertex(latitude, (2 * Math.PI * column) / columns);
    yield ring + 1;
  }
  addPole(1);
  return {
    positions: fitUnitBox(coordinates),
    colors: Uint8Array.from(colors),
    indices: globeIndices(rings, columns),
  };
}

/** Builds the whole mesh. The same prompt and grid size always produce the same mesh. See {@link meshRings}. */
export function meshFromPrompt(prompt: string, gridSize: number): Mesh {
  const rings = meshRings(prompt, gridSize);
  for (;;) {
    const step = rings.next();
    if (step.done === true) return step.value;
  }
}
