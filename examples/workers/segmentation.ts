import sharp from 'sharp';

/** One connected region of an image. */
export interface Mask {
  readonly id: number;
  /** A PNG data URL of the same size as the image, white inside the region. */
  readonly image: string;
  /** Pixels. */
  readonly area: number;
  /** x, y, width, height. */
  readonly bbox: readonly [number, number, number, number];
  /** The fraction of the region that stays if the threshold is raised a little, from 0 to 1. */
  readonly stability_score: number;
  readonly pixel_stats: { readonly mean: number; readonly std: number; readonly min: number; readonly max: number };
}

export interface Segmentation {
  readonly width: number;
  readonly height: number;
  readonly masks: readonly Mask[];
}

/** How the image is processed before segmentation. */
export interface Preprocessing {
  /** Stretches the brightness over the whole range. */
  readonly normalize?: boolean | undefined;
  /** Sigma of a Gaussian blur, 0.3 to 10. */
  readonly blur?: number | undefined;
}

const MAX_SIDE = 1024;
const MIN_AREA = 16;
const MAX_MASKS = 100;
const MARGIN = 8;

/**
 * Finds the bright regions of an image on the CPU: greyscale, Otsu's threshold, connected components. It replaces a model,
 * and finds only objects that are brighter than their surroundings.
 */
export async function segment(image: Buffer, { normalize = false, blur }: Preprocessing = {}): Promise<Segmentation> {
  let pipeline = sharp(image, { failOn: 'error' })
    .rotate()
    .resize({ width: MAX_SIDE, height: MAX_SIDE, fit: 'inside', withoutEnlargement: true })
    .greyscale();
  if (normalize) pipeline = pipeline.normalize();
  if (blur !== undefined) pipeline = pipeline.blur(blur);
  const { data, info } = await pipeline.extractChannel(0).raw().toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  const threshold = otsu(data);
  const regions = components(data, width, height, threshold)
    .filter(({ pixels }) => pixels.length >= MIN_AREA)
    .sort((a, b) => b.pixels.length - a.pixels.length)
    .slice(0, MAX_MASKS);
  const masks = await Promise.all(
    regions.map((region, i) => maskOf(region.pixels, i + 1, data, width, height, threshold)),
  );
  return { width, height, masks };
}

/** The threshold that best separates the brightness values (Otsu 1979). Values above it are foreground. */
export function otsu(pixels: Uint8Array): number {
  const histogram = new Float64Array(256);
  for (const value of pixels) histogram[value] = (histogram[value] ?? 0) + 1;
  let total = 0;
  histogram.forEach((count, value) => {
    total += count * value;
  });
  let [below, sum, best, threshold] = [0, 0, -1, 127];
  for (let value = 0; value < 256; value++) {
    below += histogram[value] ?? 0;
    sum += value * (histogram[value] ?? 0);
    const above = pixels.length - below;
    if (below === 0 || above === 0) continue;
    const distance = sum / below - (total - sum) / above;
    const between = below * above * distance * distance;
    if (between > best) {
      best = between;
      threshold = value;
    }
  }
  return threshold;
}

/** The connected regions of pixels above the threshold, found by flood fill. */
export function components(
  data: Uint8Array,
  width: number,
  height: number,
  threshold: number,
): { readonly pixels: readonly number[] }[] {
  const seen = new Uint8Array(data.length);
  const regions: { pixels: number[] }[] = [];
  for (let start = 0; start < data.length; start++) {
    if (seen[start] === 1 || (data[start] ?? 0) <= threshold) continue;
    const pixels: number[] = [start];
    seen[start] = 1;
    for (let i = 0; i < pixels.length; i++) {
      const at = pixels[i] ?? 0;
      const x = at % width;
      for (const [next, inside] of [
        [at - 1, x > 0],
        [at + 1, x < width - 1],
        [at - width, at >= width],
        [at + width, at < width * (height - 1)],
      ] as const) {
        if (!inside || seen[next] === 1 || (data[next] ?? 0) <= threshold) continue;
        seen[next] = 1;
        pixels.push(next);
      }
    }
    regions.push({ pixels });
  }
  return regions;
}

async function maskOf(
  pixels: readonly number[],
  id: number,
  data: Uint8Array,
  width: number,
  height: number,
  threshold: number,
): Promise<Mask> {
  const mask = new Uint8Array(width * height);
  let [left, top, right, bottom] = [width, height, 0, 0];
  let [sum, squares, min, max, stable] = [0, 0, 255, 0, 0];
  for (const at of pixels) {
    const value = data[at] ?? 0;
    const [x, y] = [at % width, Math.floor(at / width)];
    mask[at] = 255;
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
    sum += value;
    squares += value * value;
    min = Math.min(min, value);
    max = Math.max(max, value);
    if (value > threshold + MARGIN) stable++;
  }
  const area = pixels.length;
  const mean = sum / area;
  const png = await sharp(mask, { raw: { width, height, channels: 1 } })
    .png()
    .toBuffer();
  return {
    id,
    image: `data:image/png;base64,${png.toString('base64')}`,
    area,
    bbox: [left, top, right - left + 1, bottom - top + 1],
    stability_score: rounded(stable / area),
    pixel_stats: { mean: rounded(mean), std: rounded(Math.sqrt(Math.max(0, squares / area - mean * mean))), min, max },
  };
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
