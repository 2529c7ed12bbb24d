import type { Mesh } from './mesh.js';

const VERTEX_BYTES = 3 * 4 + 3;
const FACE_BYTES = 1 + 3 * 4;

/**
 * Encodes a mesh as binary little-endian PLY 1.0, with the property names that Blender and MeshLab expect.
 *
 * @throws RangeError if an array does not consist of whole triples, or the number of colours and vertices differs.
 */
export function encodePly(mesh: Mesh): Buffer {
  const { positions, colors, indices } = mesh;
  if (positions.length % 3 !== 0 || colors.length !== positions.length || indices.length % 3 !== 0) {
    throw new RangeError(
      `encodePly "mesh" must consist of triples, with one colour per vertex, got ${positions.length} coordinates, ` +
        `${colors.length} colour values, ${indices.length} indices`,
    );
  }
  const vertices = positions.length / 3;
  const faces = indices.length / 3;
  const header = Buffer.from(
    [
      'ply',
      'format binary_little_endian 1.0',
      'comment made by the gatewarden point-e stand-in, no model',
      `element vertex ${vertices}`,
      'property float x',
      'property float y',
      'property float z',
      'property uchar red',
      'property uchar green',
      'property uchar blue',
      `element face ${faces}`,
      'property list uchar int vertex_indices',
      'end_header\n',
    ].join('\n'),
    'ascii',
  );
  const firstFace = header.length + vertices * VERTEX_BYTES;
  const ply = Buffer.alloc(firstFace + faces * FACE_BYTES);
  header.copy(ply);
  const vertexAt = (i: number) => header.length + Math.floor(i / 3) * VERTEX_BYTES;
  const faceAt = (i: number) => firstFace + Math.floor(i / 3) * FACE_BYTES;
  positions.forEach((value, i) => {
    ply.writeFloatLE(value, vertexAt(i) + (i % 3) * 4);
  });
  colors.forEach((value, i) => {
    ply.writeUInt8(value, vertexAt(i) + 12 + (i % 3));
  });
  indices.forEach((value, i) => {
    if (i % 3 === 0) ply.writeUInt8(3, faceAt(i));
    ply.writeInt32LE(value, faceAt(i) + 1 + (i % 3) * 4);
  });
  return ply;
}
