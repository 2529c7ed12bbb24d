import { z } from 'zod';
import type { Mask } from '../workers/segmentation.js';

const minimumZero = z.number().min(0).optional();

/** The masks that a client wants. */
export const Filters = z.strictObject({
  mean_min: minimumZero,
  mean_max: minimumZero,
  std_min: minimumZero,
  std_max: minimumZero,
  area_min: minimumZero,
  area_max: minimumZero,
  exclude_edge_touching: z.boolean().optional(),
  /** Pixels between a mask and the nearest edge of the image. */
  min_edge_distance: minimumZero,
});
export type Filters = z.infer<typeof Filters>;

export const Preprocessing = z.strictObject({
  normalize: z.boolean().optional(),
  blur: z.number().min(0.3).max(10).optional(),
});
export type Preprocessing = z.infer<typeof Preprocessing>;

/** The masks that pass the filters. */
export function filterMasks(masks: readonly Mask[], filters: Filters, width: number, height: number): readonly Mask[] {
  return masks.filter(({ area, bbox: [x, y, w, h], pixel_stats: { mean, std } }) => {
    const distance = Math.min(x, y, width - x - w, height - y - h);
    const minDistance = Math.max(filters.min_edge_distance ?? 0, filters.exclude_edge_touching === true ? 1 : 0);
    return (
      within(mean, filters.mean_min, filters.mean_max) &&
      within(std, filters.std_min, filters.std_max) &&
      within(area, filters.area_min, filters.area_max) &&
      distance >= minDistance
    );
  });
}

function within(value: number, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY): boolean {
  return value >= min && value <= max;
}

/** Statistics of these masks. */
export function summary(masks: readonly Mask[]) {
  const mean = (of: (mask: Mask) => number) =>
    masks.length === 0 ? 0 : Math.round((masks.reduce((sum, mask) => sum + of(mask), 0) / masks.length) * 1000) / 1000;
  return {
    total_area: masks.reduce((sum, { area }) => sum + area, 0),
    mean_area: mean(({ area }) => area),
    mean_intensity: mean(({ pixel_stats }) => pixel_stats.mean),
    mean_stability: mean(({ stability_score }) => stability_score),
  };
}
