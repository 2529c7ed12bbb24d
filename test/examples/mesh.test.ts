import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Mesh, meshFromPrompt, meshRings } from '../../examples/workers/mesh.js';
import { encodePly } from '../../examples/workers/ply.js';

type Triple = readonly [number, number, number];

function triples(values: ArrayLike<number>): Triple[] {
  const out: Triple[] = [];
  const numbers = Array.from(values);
  for (let i = 0; i < numbers.length; i += 3) {
    const [a = Number.NaN, b = Number.NaN, c = Number.NaN] = numbers.slice(i, i + 3);
    out.push([a, b, c]);
  }
  return out;
}

const minus = (a: Triple, b: Triple): Triple => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a: Triple, b: Triple): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a: Triple, b: Triple): Triple => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];

function corners(mesh: Mesh): (readonly [Triple, Triple, Triple])[] {
  const points = triples(mesh.positions);
  return triples(mesh.indices).map((face) => {
    const [a, b, c] = face.map((index) => points[index]);
    if (a === undefined || b === undefined || c === undefined) throw new Error(`face ${face} names a missing vertex`);
    return [a, b, c] as const;
  });
}

/** How often each directed edge occurs, as `from>to`. */
function directedEdges(mesh: Mesh): Map<string, number> {
  const edges = new Map<string, number>();
  for (const [a, b, c] of triples(mesh.indices)) {
    for (const edge of [`${a}>${b}`, `${b}>${c}`, `${c}>${a}`]) edges.set(edge, (edges.get(edge) ?? 0) + 1);
  }
  return edges;
}

function expectSound(mesh: Mesh): void {
  const points = triples(mesh.positions);
  const edges = directedEdges(mesh);
  expect(points.flat().every((value) => Number.isFinite(value))).toBe(true);

  const repeated = [...edges].filter(([, times]) => times !== 1);
  const open = [...edges.keys()].filter((edge) => !edges.has(edge.split('>').reverse().join('>')));
  expect({ repeated, open }).toEqual({ repeated: [], open: [] });

  const used = new Set(mesh.indices);
  expect(used.size).toBe(points.length);
  expect(points.length - edges.size / 2 + mesh.indices.length / 3).toBe(2);
  expect(new Set(points.map((point) => point.join())).size).toBe(points.length);

  let volume = 0;
  for (const [a, b, c] of corners(mesh)) {
    const normal = cross(minus(b, a), minus(c, a));
    expect(dot(normal, normal)).toBeGreaterThan(0);
    volume += dot(a, cross(b, c)) / 6;
  }
  expect(volume).toBeGreaterThan(0.01);

  for (const axis of [0, 1, 2] as const) {
    const along = points.map((point) => point[axis]);
    expect(Math.max(...along)).toBeLessThanOrEqual(0.5);
    expect(Math.min(...along)).toBeGreaterThanOrEqual(-0.5);
  }
  expect(Math.max(...points.flat())).toBe(0.5);
  expect(mesh.colors.length).toBe(mesh.positions.length);
}

/** Reads a PLY by its header, independently of the encoder. */
function readPly(ply: Buffer): { header: string[]; mesh: Mesh; faceSizes: Set<number>; bytesRead: number } {
  const end = ply.indexOf('end_header\n') + 'end_header\n'.length;
  const header = ply.subarray(0, end).toString('ascii').trimEnd().split('\n');
  const count = (element: string): number => {
    const line = header.find((candidate) => candidate.startsWith(`element ${element} `));
    return Number(line?.split(' ')[2]);
  };
  const positions: number[] = [];
  const colors: number[] = [];
  const indices: number[] = [];
  const faceSizes = new Set<number>();
  let at = end;
  for (let vertex = 0; vertex < count('vertex'); vertex++) {
    for (let axis = 0; axis < 3; axis++, at += 4) positions.push(ply.readFloatLE(at));
    for (let channel = 0; channel < 3; channel++, at += 1) colors.push(ply.readUInt8(at));
  }
  for (let face = 0; face < count('face'); face++) {
    const size = ply.readUInt8(at);
    at += 1;
    faceSizes.add(size);
    for (let corner = 0; corner < size; corner++, at += 4) indices.push(ply.readInt32LE(at));
  }
  const mesh = {
    positions: Float32Array.from(positions),
    colors: Uint8Array.from(colors),
    indices: Uint32Array.from(indices),
  };
  return { header, mesh, faceSizes, bytesRead: at };
}

const PROMPTS = ['a red sports car', 'a corgi', 'x', '機械仕掛けの鳥', '__proto__ constructor', ' '.repeat(1000)];

describe('meshFromPrompt', () => {
  for (const prompt of PROMPTS) {
    for (const gridSize of [8, 9, 32]) {
      it(`builds a closed, outward-facing mesh in the unit box for "${prompt.trim()}" at grid size ${gridSize}`, () => {
        expectSound(meshFromPrompt(prompt, gridSize));
      });
    }
  }

  it('stays sound at the largest grid size', () => {
    expectSound(meshFromPrompt('a green dragon', 64));
    const largest = meshFromPrompt('a green dragon', 128);
    expect(new Set(directedEdges(largest).values())).toEqual(new Set([1]));
    expect(corners(largest).every(([a, b, c]) => Math.hypot(...cross(minus(b, a), minus(c, a))) > 0)).toBe(true);
  });

  it('builds a sound mesh for every prompt', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), fc.integer({ min: 2, max: 20 }), (prompt, gridSize) =>
        expectSound(meshFromPrompt(prompt, gridSize)),
      ),
      { numRuns: 60 },
    );
  });

  it('builds the same mesh for the same prompt, and a different one for a different prompt', () => {
    expect(meshFromPrompt('a corgi', 16)).toEqual(meshFromPrompt('a corgi', 16));
    expect(meshFromPrompt('a corgi', 16).positions).not.toEqual(meshFromPrompt('a poodle', 16).positions);
  });

  it.each([
    [8, 114, 224],
    [32, 1986, 3968],
    [128, 32514, 65024],
  ])('builds a mesh of grid size %i with %i vertices and %i faces', (gridSize, vertices, faces) => {
    const { positions, indices } = meshFromPrompt('a corgi', gridSize);
    expect([positions.length / 3, indices.length / 3]).toEqual([vertices, faces]);
  });

  it('makes a red car red all over, in several shades', () => {
    const colors = triples(meshFromPrompt('a RED, blue-striped sports car', 16).colors);
    expect(colors.every(([red, green, blue]) => red > 100 && red > 2 * green && red > 2 * blue)).toBe(true);
    expect(new Set(colors.map(([red]) => red)).size).toBeGreaterThan(3);
  });

  it('finds colours only in whole words', () => {
    const hired = triples(meshFromPrompt('a hired hundred', 8).colors);
    expect(hired.every(([red, green, blue]) => red > 2 * green && red > 2 * blue)).toBe(false);
  });

  it.each([1, 0, -8, 8.5, Number.NaN])('refuses grid size %d', (gridSize) => {
    expect(() => meshFromPrompt('a corgi', gridSize)).toThrow(RangeError);
  });

  it('can stop between two rings', () => {
    expect([...meshRings('a corgi', 8)]).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });
});

describe('encodePly', () => {
  it.each([8, 33])('writes a PLY that reads back as the same mesh, to the last byte, at grid size %i', (gridSize) => {
    const mesh = meshFromPrompt('a purple cow', gridSize);
    const ply = encodePly(mesh);
    const read = readPly(ply);
    expect(read.mesh).toEqual(mesh);
    expect(read.faceSizes).toEqual(new Set([3]));
    expect(read.bytesRead).toBe(ply.length);
  });

  it('declares the properties that mesh programs expect', () => {
    const { header } = readPly(encodePly(meshFromPrompt('a cow', 8)));
    expect(header.slice(0, 2)).toEqual(['ply', 'format binary_little_endian 1.0']);
    expect(header.filter((line) => line.startsWith('property') || line.startsWith('element'))).toEqual([
      'element vertex 114',
      ...['x', 'y', 'z'].map((name) => `property float ${name}`),
      ...['red', 'green', 'blue'].map((name) => `property uchar ${name}`),
      'element face 224',
      'property list uchar int vertex_indices',
    ]);
  });

  it('refuses arrays of different lengths', () => {
    const mesh = meshFromPrompt('a cow', 8);
    expect(() => encodePly({ ...mesh, colors: mesh.colors.subarray(3) })).toThrow(RangeError);
  });
});
