import { element, hour, number, setText } from './tables.js';

const INTERVAL = 10_000;
const POINTS = 360;
/** The charts begin with what is known, but show so many intervals at least: ten minutes. */
const FEWEST = 60;
const HEIGHT = 180;
/** Reasons with a colour of their own. The rest share one. */
const COLOURS = 5;
const OTHER = 'others';

const byId = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The intervals of the last hour, as the service sends them: those that are new replace those of the same time. */
export class Hour {
  #buckets = new Map();

  add(buckets) {
    for (const bucket of buckets) this.#buckets.set(bucket.at, bucket);
    while (this.#buckets.size > POINTS) this.#buckets.delete(this.#buckets.keys().next().value);
  }

  /** Every interval up to now, also those in which nothing happened. */
  until(now) {
    const last = Math.floor(now / INTERVAL) * INTERVAL;
    const first = Math.min(...this.#buckets.keys(), last);
    const length = Math.min(POINTS, Math.max(FEWEST, (last - first) / INTERVAL + 2));
    return Array.from({ length }, (_, i) => {
      const at = last - (length - 1 - i) * INTERVAL;
      return { at, ...(this.#buckets.get(at) ?? { gpuTime: 0, refusals: {} }) };
    });
  }
}

/** A chart of stacked areas over the last hour, with a list of their names and sums. */
class StackedChart {
  #id;
  #unit;
  #plot;
  #names = [];
  #values = [];
  #times = [];

  constructor(id, unit) {
    this.#id = id;
    this.#unit = unit;
    const host = byId(`${id}-chart`);
    new ResizeObserver(() => this.#plot?.setSize({ width: host.clientWidth, height: HEIGHT })).observe(host);
  }

  /** `layers` are names with a number for each of `times`, the largest first. */
  show(times, layers) {
    const names = layers.map(([name]) => name);
    this.#times = times;
    this.#values = layers.map(([, values]) => values);
    // A step lasts until the next point, also the last one.
    const last = times.length - 1;
    const sums = times.map(() => 0);
    const data = [[...times, times[last] + INTERVAL].map((at) => at / 1000)];
    const stacked = this.#values.map((values) => {
      values.forEach((value, i) => {
        sums[i] += value;
      });
      return [...sums, sums[last]];
    });
    // The highest is drawn first, and those below cover it.
    data.push(...stacked.reverse());
    if (this.#plot === undefined || names.join(' ') !== this.#names.join(' ')) this.#draw(names, data);
    else this.#plot.setData(data);
    this.#tell(layers);
  }

  /** Draws again with other colours. */
  restyle() {
    if (this.#plot !== undefined) this.#draw(this.#names, this.#plot.data);
  }

  #draw(names, data) {
    this.#plot?.destroy();
    this.#names = names;
    const host = byId(`${this.#id}-chart`);
    const [ink, grid] = [css('--muted'), css('--line')];
    const axis = {
      stroke: ink,
      grid: { stroke: grid, width: 1 },
      ticks: { show: false },
      font: '12px system-ui, sans-serif',
    };
    const colours = names.map((name, i) => colourOf(name, i)).reverse();
    this.#plot = new uPlot(
      {
        width: host.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
        scales: { x: { time: true }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
        axes: [
          { ...axis, values: (_, ticks) => ticks.map((at) => hour(at * 1000)), space: 60, size: 28 },
          { ...axis, size: 46, space: 36, values: (_, ticks) => ticks.map((value) => number(value)) },
        ],
        series: [
          {},
          ...colours.map((colour) => ({
            stroke: colour,
            fill: colour,
            width: 1,
            points: { show: false },
            paths: uPlot.paths.stepped({ align: 1 }),
          })),
        ],
        hooks: { setCursor: [({ cursor: { idx } }) => this.#read(idx === this.#times.length ? idx - 1 : idx)] },
      },
      data,
      host,
    );
  }

  /** What there was at the place of the pointer. */
  #read(place) {
    const parts = this.#names.map((name, i) => [name, this.#values[i]?.[place] ?? 0]).filter(([, value]) => value > 0);
    const words = parts.map(([name, value]) => `${name} ${number(Math.round(value * 10) / 10)}`).join(', ');
    const at = place === null || place === undefined ? undefined : this.#times[place];
    setText(byId(`${this.#id}-readout`), at === undefined ? '\u00a0' : `${hour(at)}: ${words || 'nothing'}`);
  }

  #tell(layers) {
    const legend = byId(`${this.#id}-legend`);
    const entries = layers.map(([name, values]) => [name, values.reduce((sum, value) => sum + value, 0)]);
    const lines = entries.map(([name, sum]) => `${name}: ${number(Math.round(sum * 10) / 10)}${this.#unit}`);
    const words = lines.length === 0 ? 'Nothing in the last hour.' : lines.join(', ');
    setText(byId(`${this.#id}-text`), words);
    if (legend.dataset.words === words) return;
    legend.dataset.words = words;
    legend.replaceChildren(
      ...(lines.length === 0
        ? [element('li', 'Nothing in the last hour.', 'muted')]
        : lines.map((line, i) => {
            const item = element('li');
            item.append(element('span', '', `swatch ${classOf(entries[i][0], i)}`), line);
            return item;
          })),
    );
  }
}

/** A service may call one of its refusals `constructor`. */
function countOf(refusals, code) {
  return Object.hasOwn(refusals, code) ? refusals[code] : 0;
}

function classOf(name, i) {
  return name === OTHER ? 'colour-others' : `colour-${i + 1}`;
}

function colourOf(name, i) {
  return css(name === OTHER ? '--others' : `--colour-${i + 1}`);
}

/** The two charts of the page. */
export class Charts {
  #refusals = new StackedChart('refusals', '');
  #gpu = new StackedChart('gpu', ' s');
  /** In the order in which they were first seen, so that a reason keeps its colour. */
  #codes = [];

  constructor() {
    for (const query of ['(prefers-color-scheme: dark)', '(forced-colors: active)']) {
      matchMedia(query).addEventListener('change', () => {
        this.#refusals.restyle();
        this.#gpu.restyle();
      });
    }
  }

  show(buckets) {
    const times = buckets.map(({ at }) => at);
    for (const { refusals } of buckets) {
      for (const code of Object.keys(refusals)) if (!this.#codes.includes(code)) this.#codes.push(code);
    }
    const own = this.#codes.slice(0, COLOURS);
    const layers = own.map((code) => [code, buckets.map(({ refusals }) => countOf(refusals, code))]);
    if (this.#codes.length > COLOURS) {
      const rest = this.#codes.slice(COLOURS);
      layers.push([OTHER, buckets.map(({ refusals }) => rest.reduce((sum, code) => sum + countOf(refusals, code), 0))]);
    }
    this.#refusals.show(times, layers);
    const gpu = buckets.map(({ gpuTime }) => gpuTime / 1000);
    this.#gpu.show(times, gpu.some((value) => value > 0) ? [['GPU time', gpu]] : []);
  }
}
