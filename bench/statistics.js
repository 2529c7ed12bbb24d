// What the runner computes from the figures of its rounds.

/**
 * The middle of a list, or the mean of the two in the middle.
 * @param {readonly number[]} figures
 */
export function median(figures) {
  if (figures.length === 0) throw new RangeError('no figures');
  const sorted = [...figures].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The median, and how far the rounds lie apart.
 * @param {readonly number[]} figures
 */
export function summary(figures) {
  return { median: median(figures), low: Math.min(...figures), high: Math.max(...figures) };
}

/** The sides in the order of one round. Each round begins with the next side, so that a drift of the machine evens out. */
export function orderOf(sides, round) {
  const first = round % sides.length;
  return [...sides.slice(first), ...sides.slice(0, first)];
}

/** The figures of `side`, each divided by what `base` needed in the same round. */
export function ratios(figures, base) {
  return figures.map((figure, round) => figure / base[round]);
}

/** The figures of `side`, each less what `base` needed in the same round. */
export function differences(figures, base) {
  return figures.map((figure, round) => figure - base[round]);
}

/**
 * What a goal asks for: a ratio (`over`), a difference (`minus`) or the figure itself.
 * @param goal `{ side, measure?, over? | minus?, atLeast? | atMost? }`
 * @param figuresOf `(side, measure) => figures of all rounds`, undefined for a side that did not run
 * @returns the summary and whether its median meets the goal, or undefined if a side did not run
 */
export function judged(goal, figuresOf) {
  const figures = figuresOf(goal.side, goal.measure);
  const base = goal.over ?? goal.minus;
  const baseFigures = base === undefined ? [] : figuresOf(base, goal.measure);
  if (figures === undefined || baseFigures === undefined) return undefined;
  const derived =
    goal.over !== undefined
      ? ratios(figures, baseFigures)
      : goal.minus !== undefined
        ? differences(figures, baseFigures)
        : figures;
  const measured = summary(derived);
  const met = goal.atLeast !== undefined ? measured.median >= goal.atLeast : measured.median <= goal.atMost;
  return { ...measured, met };
}

/** A goal in words, the name by which the comparison finds it again. */
export function goalText(row, { side, measure, over, minus, atLeast, atMost }) {
  const bound = atLeast === undefined ? `at most ${atMost}` : `at least ${atLeast}`;
  const unit = measure === undefined ? row.unit : row.measures[measure].unit;
  const what = measure === undefined ? '' : `${measure} `;
  if (over !== undefined) return `${side}: ${what}${bound} × ${over}`;
  return `${side}: ${what}${bound} ${unit}${minus === undefined ? '' : ` over ${minus}`}`;
}
