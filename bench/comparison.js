// What got slower: the ratios of a run against those kept in RESULTS.md. Figures themselves depend on the machine.
import { formatSummary } from './results.js';

/** Rounds vary less within a run than runs vary among themselves, so that less than this share of a ratio is no change. */
const TOLERANCE = 0.05;

/** Whether a median lies beyond all rounds that were kept, on the worse side, and by more than the tolerance. */
export function isWorse(kept, now, better) {
  const slack = Math.abs(kept.median) * TOLERANCE;
  return better === 'higher'
    ? now.median < Math.min(kept.low, kept.median - slack)
    : now.median > Math.max(kept.high, kept.median + slack);
}

/**
 * Compares one row, as it was measured, with what RESULTS.md holds of it.
 * @returns `compared`, the number of ratios that were in both, and `slower`, a text for each that got worse
 */
export function compareRow(row, kept) {
  const slower = [];
  let compared = 0;
  const compare = (what, before, now, better) => {
    if (before === undefined || now === undefined) return;
    compared++;
    if (!isWorse(before, now, better)) return;
    slower.push(`${row.name}: ${what} was ${formatSummary(before)}, is ${formatSummary(now)}`);
  };
  for (const side of row.sides) {
    if (!side.name.startsWith('gatewarden')) continue;
    compare(
      `${side.name} × ${row.ratioTo}`,
      kept.sides.get(side.name)?.get(`× ${row.ratioTo}`),
      side.ratio,
      row.better,
    );
  }
  for (const goal of row.goals) {
    // The ratio of the main figure to `ratioTo` is in the table already.
    if (goal.over === undefined || (goal.measure === undefined && goal.over === row.ratioTo)) continue;
    compare(goal.text, kept.goals.get(goal.text), goal.measured, goal.atLeast === undefined ? 'lower' : 'higher');
  }
  return { compared, slower };
}
