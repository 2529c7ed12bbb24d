import sharp from 'sharp';
import type { Mesh } from './mesh.js';

const MAX_COLUMNS = 160;
/** The height of the relief, as a part of its longest side. */
const DEPTH = 0.25;

/**
 * Makes a relief of an image on the CPU: bright pixels are high. It replaces a model, and keeps the colours and proportions
 * of the image. The mesh has at most `maxFaces` faces, and its longest side has the length 1. Undefined if all pixels are
 * equally bright, so that there is nothing to see.
 *
 * @throws an error of sharp if the image cannot be read
 */
export async function reliefOf(image: Buffer, maxFaces: number): Promise<Mesh | undefined> {
  const { width = 1, height = 1, orientation = 1 } = await sharp(image).metadata();
  const ratio = orientation >= 5 ? height / width : width / height;
  const [columns, rows] = gridOf(ratio, maxFaces);
  const { data } = await sharp(image, { failOn: 'error' })
    .rotate()
    .flatten({ background: 'black' })
    .resize({ width: columns, height: rows, fit: 'fill' })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  const brightness = new Float32Array(columns * rows);
  for (let i = 0; i < brightness.length; i++) {
    const [red = 0, green = 0, blue = 0] = data.subarray(i * 3, i * 3 + 3);
    brightness[i] = (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
  }
  const low = brightness.reduce((least, value) => Math.min(least, value), 1);
  const range = brightness.reduce((most, value) => Math.max(most, value), 0) - low;
  if (range < 1 / 255) return undefined;

  const step = 1 / (Math.max(columns, rows) - 1);
  const positions = new Float32Array(columns * rows * 3);
  for (let i = 0; i < brightness.length; i++) {
    const [column, row] = [i % columns, Math.floor(i / columns)];
    const at = [column - (columns - 1) / 2, (rows - 1) / 2 - row].map((value) => value * step);
    positions.set([...at, DEPTH * (((brightness[i] ?? low) - low) / range)], i * 3);
  }
  return { positions, colors: Uint8Array.from(data), indices: gridIndices(columns, rows) };
}

/** The finest grid of about this ratio whose cells have at most `maxFaces` triangles, of at least one cell. */
function gridOf(ratio: number, maxFaces: number): readonly [columns: number, rows: number] {
  const cells = Math.max(1, Math.floor(maxFaces / 2));
  const cellsAlong = (value: number, most: number) => Math.max(1, Math.min(Math.floor(value), most, MAX_COLUMNS - 1));
  const across = cellsAlong(Math.sqrt(cells * ratio), cells);
  const down = cellsAlong(across / ratio, Math.floor(cells / across));
  return [across + 1, down + 1];
}

/** Two triangles for each cell, counter-clockwise as seen from the front. */
function gridIndices(columns: number, rows: number): Uint32Array {
  const indices = new Uint32Array((columns - 1) * (rows - 1) * 6);
  let at = 0;
  for (let row = 0; row + 1 < rows; row++) {
    for (let column = 0; column + 1 < columns; column++) {
      const corner = row * columns + column;
      const below = corner + columns;
      indices.set([corner, below, corner + 1, corner + 1, below, below + 1], at);
      at += 6;
    }
  }
  return indices;
}
