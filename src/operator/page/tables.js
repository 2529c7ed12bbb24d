const byId = (id) => document.getElementById(id);

/** Sets a text if it has changed, so that nothing is drawn or read out again. Never markup. */
export function setText(element, text) {
  const next = String(text);
  if (element.textContent !== next) element.textContent = next;
}

/** A new element with a text and a class. */
export function element(name, text = '', className = '') {
  const made = document.createElement(name);
  if (text !== '') made.textContent = text;
  if (className !== '') made.className = className;
  return made;
}

/** A table whose rows stay the same elements while their keys do, so that the focus stays where it is. */
export class Table {
  #body;
  #empty;
  #scroll;
  #columns;
  #rows = new Map();

  /** `columns` are functions that receive a cell and the row's value. */
  constructor(id, columns) {
    this.#body = byId(id);
    this.#empty = byId(`${id}-empty`);
    this.#scroll = this.#body.closest('.scroll');
    // With the arrow keys, a wide table can be read to its end.
    this.#scroll.tabIndex = 0;
    this.#columns = columns;
  }

  show(values, keyOf, describe = () => {}) {
    const isUsed = this.#body.contains(document.activeElement);
    const keys = new Set(values.map(keyOf));
    for (const [key, row] of this.#rows) {
      if (keys.has(key) || row.contains(document.activeElement)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    values.forEach((value, place) => {
      const key = keyOf(value);
      const row = this.#rows.get(key) ?? this.#newRow(key);
      // A row that moves would lose the focus.
      if (!isUsed && this.#body.children[place] !== row)
        this.#body.insertBefore(row, this.#body.children[place] ?? null);
      this.#columns.forEach(({ fill }, i) => {
        fill(row.children[i], value);
      });
      describe(row, value);
    });
    this.#empty.hidden = values.length > 0;
    this.#scroll.hidden = values.length === 0;
  }

  #newRow(key) {
    const row = element('tr');
    for (const { isNumber, isHeader, isWide } of this.#columns) {
      const cell = element(isHeader ? 'th' : 'td', '', isNumber ? 'number' : isWide ? 'wide' : '');
      if (isHeader) cell.scope = 'row';
      row.append(cell);
    }
    this.#rows.set(key, row);
    this.#body.append(row);
    return row;
  }
}

/** A column of text. */
export function column(textOf, { isNumber = false, isHeader = false, isWide = false } = {}) {
  return { isNumber, isHeader, isWide, fill: (cell, value) => setText(cell, textOf(value)) };
}

/** A button that keeps its element, and whose name and act follow the row's value. */
export function button(cell, place, { label, name, isShown, act, className = '' }) {
  let found = cell.children[place];
  if (found === undefined) {
    found = element('button', '', `small ${className}`.trim());
    found.type = 'button';
    cell.append(found);
  }
  setText(found, label);
  found.setAttribute('aria-label', name);
  found.onclick = act;
  if (found.hidden === isShown) found.hidden = !isShown;
}

const time = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const hours = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const whole = new Intl.NumberFormat();

export const number = (value) => whole.format(value);
export const clock = (at) => time.format(at);
export const hour = (at) => hours.format(at);

/** A length of time in the unit in which a person would say it. */
export function duration(milliseconds) {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
