import type { Mesh } from './mesh.js';

const MAGIC = 0x46546c67;
const JSON_CHUNK = 0x4e4f534a;
const BINARY_CHUNK = 0x004e4942;
const [FLOAT, UNSIGNED_BYTE, UNSIGNED_INT] = [5126, 5121, 5125];
const [ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER] = [34962, 34963];

/** Encodes a mesh as binary glTF 2.0, with a colour for each vertex. */
export function encodeGlb({ positions, colors, indices }: Mesh): Buffer {
  const vertices = positions.length / 3;
  // Each attribute must begin at a multiple of four bytes, so a colour has a fourth, opaque channel.
  const rgba = Buffer.alloc(vertices * 4, 255);
  for (let i = 0; i < vertices; i++) rgba.set(colors.subarray(i * 3, i * 3 + 3), i * 4);
  const parts = [bytesOf(positions), rgba, bytesOf(indices)];
  const offsets = parts.map((_part, i) => parts.slice(0, i).reduce((sum, { length }) => sum + length, 0));
  const binary = Buffer.concat(parts);
  const view = (i: number, target: number) => ({
    buffer: 0,
    byteOffset: offsets[i],
    byteLength: parts[i]?.length,
    target,
  });
  const gltf = {
    asset: { version: '2.0', generator: 'gatewarden image2model stand-in, no model' },
    scene: 0,
    scenes: [{ nodes: [0] }],
    nodes: [{ mesh: 0 }],
    meshes: [{ primitives: [{ attributes: { POSITION: 0, COLOR_0: 1 }, indices: 2 }] }],
    accessors: [
      { bufferView: 0, componentType: FLOAT, count: vertices, type: 'VEC3', ...bounds(positions) },
      { bufferView: 1, componentType: UNSIGNED_BYTE, normalized: true, count: vertices, type: 'VEC4' },
      { bufferView: 2, componentType: UNSIGNED_INT, count: indices.length, type: 'SCALAR' },
    ],
    bufferViews: [view(0, ARRAY_BUFFER), view(1, ARRAY_BUFFER), view(2, ELEMENT_ARRAY_BUFFER)],
    buffers: [{ byteLength: binary.length }],
  };
  const text = Buffer.from(JSON.stringify(gltf));
  const json = Buffer.concat([text, Buffer.alloc(-text.length & 3, ' ')]);
  const header = Buffer.alloc(12);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt32LE(2, 4);
  header.writeUInt32LE(12 + 8 + json.length + 8 + binary.length, 8);
  return Buffer.concat([header, chunkHead(json, JSON_CHUNK), json, chunkHead(binary, BINARY_CHUNK), binary]);
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Uint32Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function chunkHead(chunk: Buffer, type: number): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(chunk.length, 0);
  head.writeUInt32LE(type, 4);
  return head;
}

/** The least and greatest coordinates, which glTF requires of positions. */
function bounds(positions: Float32Array): { readonly min: readonly number[]; readonly max: readonly number[] } {
  const min = [Infinity, Infinity, Infinity];
  const max = [-Infinity, -Infinity, -Infinity];
  positions.forEach((value, i) => {
    min[i % 3] = Math.min(min[i % 3] ?? value, value);
    max[i % 3] = Math.max(max[i % 3] ?? value, value);
  });
  return { min, max };
}
