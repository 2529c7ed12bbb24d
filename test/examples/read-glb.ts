/** What a GLB contains, read by its specification and not by the code that wrote it. */
export interface Glb {
  readonly positions: readonly number[];
  readonly colors: readonly number[];
  readonly indices: readonly number[];
}

interface Gltf {
  readonly asset: { readonly version: string };
  readonly meshes: readonly {
    readonly primitives: readonly { attributes: Record<string, number>; indices: number }[];
  }[];
  readonly accessors: readonly {
    bufferView: number;
    componentType: number;
    count: number;
    type: string;
    max?: number[];
  }[];
  readonly bufferViews: readonly { byteOffset: number; byteLength: number }[];
  readonly buffers: readonly { byteLength: number }[];
}

const COMPONENTS: Readonly<Record<string, number>> = { SCALAR: 1, VEC3: 3, VEC4: 4 };

/** @throws Error if the bytes are not a GLB of one mesh */
export function readGlb(glb: Buffer): Glb {
  const words = [0, 4, 8].map((at) => glb.readUInt32LE(at));
  if (glb.toString('latin1', 0, 4) !== 'glTF' || words[1] !== 2 || words[2] !== glb.length) {
    throw new Error(`no GLB: ${words}, ${glb.length} bytes`);
  }
  const jsonLength = glb.readUInt32LE(12);
  if (glb.toString('latin1', 16, 20) !== 'JSON') throw new Error('the first chunk is not JSON');
  const gltf = JSON.parse(glb.toString('utf8', 20, 20 + jsonLength)) as Gltf;
  const binaryAt = 20 + jsonLength;
  if (glb.toString('latin1', binaryAt + 4, binaryAt + 8) !== 'BIN\0') throw new Error('the second chunk is not BIN');
  const binary = glb.subarray(binaryAt + 8);
  if (binary.length !== gltf.buffers[0]?.byteLength) throw new Error('the buffer has another length');
  const [primitive] = gltf.meshes[0]?.primitives ?? [];
  if (gltf.asset.version !== '2.0' || primitive === undefined) throw new Error('no mesh');

  const read = (index: number | undefined): number[] => {
    const accessor = gltf.accessors[index ?? -1];
    const view = gltf.bufferViews[accessor?.bufferView ?? -1];
    if (accessor === undefined || view === undefined) throw new Error(`no accessor ${index}`);
    const bytes = new DataView(binary.buffer, binary.byteOffset + view.byteOffset, view.byteLength);
    const size = { 5121: 1, 5125: 4, 5126: 4 }[accessor.componentType] ?? 0;
    return Array.from({ length: accessor.count * (COMPONENTS[accessor.type] ?? 0) }, (_value, i) => {
      if (accessor.componentType === 5126) return bytes.getFloat32(i * size, true);
      return size === 4 ? bytes.getUint32(i * size, true) : bytes.getUint8(i);
    });
  };
  return {
    positions: read(primitive.attributes.POSITION),
    colors: read(primitive.attributes.COLOR_0),
    indices: read(primitive.indices),
  };
}
