import { Charts, Hour } from './charts.js';
import { act, Connection } from './connection.js';
import { button, clock, column, duration, element, hour, number, setText, Table } from './tables.js';

const KEY = 'operator-key';
const byId = (id) => document.getElementById(id);

/** What each action is called, and what a person should know before it is done. */
const ACTIONS = {
  suspend: [
    'Suspend',
    (who) => `${who} is refused from now on, until you end the suspension. What it has running goes on.`,
  ],
  resume: ['End suspension', (who) => `${who} is served again.`],
  allow: ['Allow more', (who) => `${who} may exceed its own quotas for a while. Slots of the GPU still limit it.`],
  disallow: ['End allowance', (who) => `The quotas of ${who} apply again.`],
  reset: ['Reset counters', (who) => `What ${who} has used is forgotten by its limits. What runs still counts.`],
  'cancel-job': ['Cancel', (what) => `The job ${what} is cancelled. Its owner gets no result.`],
};

let key = '';
let connection;
let hours = new Hour();
let actions = [];
/** The names of limits whose units are milliseconds. */
let timeLimits = [];
let measures = new Map();
/** What is up, to tell when that changes. */
let health = new Map();
const charts = new Charts();

function announce(words) {
  setText(byId('announce'), words);
}

function warn(words) {
  const banner = byId('alert');
  setText(banner, words);
  banner.hidden = words === '';
}

function setLive(state, words) {
  byId('live').dataset.state = state;
  setText(byId('live-text'), words);
}

/** Asks, and then does an action. The focus returns to what was used. */
async function request(name, member, value) {
  const [label, explain] = ACTIONS[name];
  const dialog = byId('confirm');
  setText(byId('confirm-title'), `${label}?`);
  setText(byId('confirm-text'), explain(value));
  setText(byId('confirm-yes'), label);
  dialog.returnValue = 'no';
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener('close', resolve, { once: true }));
  if (dialog.returnValue !== 'yes') return;
  try {
    const { result, isRecorded } = await act(key, name, { [member]: value });
    warn(isRecorded === false ? `${label}: done, but the audit log could not be written. Note it down.` : '');
    announce(result === 'unchanged' ? `${label}: nothing had to change.` : `${label}: done.`);
  } catch (error) {
    warn(`${label} failed. ${error.message}`);
  }
}

function measureOf(client) {
  return measures.get(client) ?? {};
}

function fillLimits(cell, { limits }) {
  cell.className = 'wide';
  while (cell.children.length > limits.length) cell.lastChild.remove();
  limits.forEach(({ name, limit, remaining }, i) => {
    let line = cell.children[i];
    if (line === undefined) {
      line = element('div', '', 'limit');
      line.append(element('span'), element('meter'), element('span', '', 'muted'));
      cell.append(line);
    }
    const [title, meter, words] = line.children;
    const used = limit - remaining;
    setText(title, name);
    meter.max = limit;
    meter.high = limit * 0.9;
    meter.value = used;
    const say = timeLimits.includes(name) ? duration : number;
    setText(words, `${say(used)} of ${say(limit)}`);
    meter.setAttribute('aria-label', `${name}: ${words.textContent} used`);
  });
}

function fillState(cell, { client }) {
  const { suspended, exceeding } = measureOf(client);
  const words = [];
  if (suspended !== undefined) words.push(`Suspended by ${suspended.by}`);
  if (exceeding !== undefined) words.push(`Above its quotas until ${hour(exceeding.until)}`);
  cell.className = `wide ${suspended !== undefined ? 'state-suspended' : exceeding !== undefined ? 'state-exceeds' : 'muted'}`;
  setText(cell, words.join(', ') || '–');
}

function fillActions(cell, { client }) {
  cell.className = 'buttons';
  const { suspended, exceeding } = measureOf(client);
  const names = [suspended ? 'resume' : 'suspend', exceeding ? 'disallow' : 'allow', 'reset'];
  names.forEach((name, place) => {
    const [label] = ACTIONS[name];
    button(cell, place, {
      label: name === 'reset' ? 'Reset' : label,
      name: `${label}: ${client}`,
      isShown: actions.includes(name),
      act: () => request(name, 'client', client),
    });
  });
}

function fillJob(cell, { id, what }) {
  const name = id ?? what;
  setText(cell, shorter(name));
  if (cell.title !== name) cell.title = name;
}

const clients = new Table('clients', [
  column(({ client }) => client, { isHeader: true }),
  column(({ requests }) => number(requests), { isNumber: true }),
  column(({ refused }) => number(refused), { isNumber: true }),
  column(({ errors }) => number(errors), { isNumber: true }),
  column(({ gpuTime }) => duration(gpuTime), { isNumber: true }),
  { fill: fillLimits },
  { fill: fillState },
  { fill: fillActions },
]);

const queue = new Table('queue', [
  column(({ position }) => position ?? '–', { isNumber: true }),
  column(({ client }) => client, { isHeader: true }),
  column(({ waited }) => duration(waited), { isNumber: true }),
  column(({ expectedWait }) => (expectedWait === undefined ? 'not known' : duration(expectedWait)), { isNumber: true }),
]);

const jobs = new Table('jobs', [
  { isHeader: true, fill: fillJob },
  column(({ client }) => client, { isWide: true }),
  {
    fill(cell, { state, note }) {
      cell.className = `wide state-${state}`;
      setText(cell, note === undefined ? state : `${state}, ${note}`);
    },
  },
  column(({ took }) => (took === undefined ? '–' : duration(took)), { isNumber: true }),
  {
    fill(cell, { id, canCancel }) {
      cell.className = 'buttons';
      button(cell, 0, {
        label: 'Cancel',
        name: `Cancel the job ${id}`,
        isShown: canCancel && actions.includes('cancel-job'),
        act: () => request('cancel-job', 'job', id),
      });
    },
  },
]);

const records = new Table('records', [
  column(({ at }) => clock(at)),
  column(({ action }) => ACTIONS[action]?.[0] ?? action),
  column(({ client, job }) => client ?? job ?? '', { isHeader: true }),
  column(({ result }) => result),
  column(({ by }) => by),
]);

function shorter(text) {
  return text.length > 18 ? `${text.slice(0, 16)}…` : text;
}

function jobOf(job, now) {
  const { id, owner, state, createdAt, startedAt, endedAt, place, progress, cancelRequested, problem } = job;
  const percent =
    progress === undefined || state !== 'running' ? undefined : `${Math.round(progress.fraction * 100)} %`;
  const notes = [place && `place ${place.position}`, percent, cancelRequested && 'being cancelled', problem?.code];
  const isOver = !['queued', 'running'].includes(state);
  return {
    id,
    client: owner.replace(/^principal:/, ''),
    state,
    note: notes.find(Boolean),
    took: (endedAt ?? now) - (startedAt ?? createdAt),
    canCancel: !isOver && !cancelRequested,
  };
}

function runOf({ id, client, path, startedAt, endedAt, state }, now) {
  return {
    id,
    what: path,
    client,
    state,
    took: (endedAt ?? now) - startedAt,
    canCancel: false,
    key: `${id} ${startedAt}`,
  };
}

function showHealth(parts) {
  const list = byId('health');
  const changes = parts.filter(({ name, isUp }) => health.has(name) && health.get(name) !== isUp);
  if (changes.length > 0)
    announce(changes.map(({ name, isUp }) => `${name} is ${isUp ? 'up again' : 'down'}`).join(', '));
  const words = JSON.stringify(parts);
  if (list.dataset.words === words) return;
  list.dataset.words = words;
  health = new Map(parts.map(({ name, isUp }) => [name, isUp]));
  list.replaceChildren(
    ...parts.map(({ name, isUp, detail }) => {
      const item = element('li', '', isUp ? 'up' : 'down');
      const dot = element('span', '', 'dot');
      dot.ariaHidden = 'true';
      item.append(dot, `${name}: ${isUp ? 'up' : 'down'}${detail ? `, ${detail}` : ''}`);
      return item;
    }),
  );
}

function showNow(snapshot, buckets) {
  const { inFlight, waitingTotal, slots, held } = snapshot;
  setText(byId('in-flight'), number(inFlight));
  setText(byId('waiting'), number(waitingTotal));
  const inUse = slots.reduce((sum, { limit, remaining }) => sum + limit - remaining, 0);
  const all = slots.reduce((sum, { limit }) => sum + limit, 0);
  const here = Object.values(held).reduce((sum, count) => sum + count, 0);
  setText(byId('slots'), slots.length > 0 ? `${number(inUse)} of ${number(all)}` : number(here));
  setText(byId('slots-note'), slots.length > 0 ? 'in all processes' : 'by this process');
  const gpu = buckets.reduce((sum, { gpuTime }) => sum + gpuTime, 0);
  setText(byId('gpu'), duration(gpu));
  const refused = buckets.reduce((sum, { refusals }) => sum + Object.values(refusals).reduce((a, b) => a + b, 0), 0);
  setText(byId('refused'), number(refused));
}

function showActions(names) {
  if (names.join(' ') === actions.join(' ')) return;
  actions = names;
  const forClients = names.filter((name) => name !== 'cancel-job');
  byId('client-form').hidden = forClients.length === 0;
  byId('records-section').hidden = names.length === 0;
  byId('client-action').replaceChildren(
    ...forClients.map((name) => {
      const option = element('option', ACTIONS[name]?.[0] ?? name);
      option.value = name;
      return option;
    }),
  );
}

function show({ snapshot, buckets }) {
  const isFirst = byId('desk').hidden;
  byId('sign-in').hidden = true;
  byId('desk').hidden = false;
  byId('desk').classList.remove('stale');
  byId('sign-out').hidden = key === '';
  if (isFirst) byId('main').focus();
  if (byId('live').dataset.state === 'cut') announce('Connected again.');
  setLive('on', `Live, ${clock(snapshot.at)}`);
  const title = snapshot.name === undefined ? 'Operator' : `${snapshot.name}: operator`;
  setText(byId('title'), title);
  if (document.title !== title) document.title = title;
  hours.add(buckets);
  const all = hours.until(snapshot.at);
  measures = new Map();
  for (const measure of snapshot.measures) {
    const known = measureOf(measure.client);
    measures.set(measure.client, { ...known, [measure.kind === 'suspended' ? 'suspended' : 'exceeding']: measure });
  }
  timeLimits = snapshot.timeLimits;
  showActions(snapshot.actions);
  showNow(snapshot, all);
  showHealth(snapshot.health);
  charts.show(all);
  showClients(snapshot);
  queue.show(
    snapshot.waiting.map((one, place) => ({ ...one, place, waited: snapshot.at - one.since })),
    ({ place }) => place,
  );
  const listed =
    snapshot.jobs?.map((job) => jobOf(job, snapshot.at)) ?? snapshot.runs.map((run) => runOf(run, snapshot.at));
  jobs.show(listed, (job) => job.key ?? job.id);
  records.show(snapshot.records, ({ at, action, client, job }) => `${at} ${action} ${client} ${job}`);
  if (snapshot.unavailable.length > 0) warn(`Not available now: ${snapshot.unavailable.join(', ')}.`);
  else if (byId('alert').textContent.startsWith('Not available')) warn('');
}

function showClients({ clients: rows, clientsTotal, isSharedLedger, measures: all }) {
  const known = new Set(rows.map(({ client }) => client));
  // Who has a measure must be seen, even if it has sent nothing today.
  const silent = [...new Set(all.map(({ client }) => client))].filter((client) => !known.has(client));
  const others = silent.map((client) => ({ client, requests: 0, refused: 0, errors: 0, gpuTime: 0, limits: [] }));
  clients.show([...others, ...rows], ({ client }) => client);
  const source = isSharedLedger ? 'Today, by the ledger.' : 'Since this process started.';
  setText(
    byId('clients-note'),
    clientsTotal > rows.length ? `${source} The first ${rows.length} of ${number(clientsTotal)}.` : source,
  );
}

function askForKey(words = '') {
  connection?.close();
  connection = undefined;
  key = '';
  sessionStorage.removeItem(KEY);
  hours = new Hour();
  byId('desk').hidden = true;
  byId('sign-out').hidden = true;
  byId('sign-in').hidden = false;
  setText(byId('title'), 'Operator');
  setLive('off', 'Not connected');
  warn('');
  setText(byId('key-error'), words);
  byId('key').focus();
}

function connect(withKey) {
  connection?.close();
  key = withKey;
  setLive('off', 'Connecting');
  connection = new Connection(key, {
    state(event) {
      if (key !== '') sessionStorage.setItem(KEY, key);
      show(event);
    },
    cut(seconds, hasBegun) {
      setLive('cut', `Connection lost. Trying again in ${seconds} s`);
      byId('desk').classList.add('stale');
      if (hasBegun) announce('The connection to the service is lost. The figures are old.');
    },
    refused(_status, reason) {
      // Without a key, there is nothing to complain about yet.
      askForKey(withKey === '' ? '' : reason);
    },
  });
}

byId('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const typed = byId('key').value.trim();
  byId('key').value = '';
  setText(byId('key-error'), '');
  if (typed !== '') connect(typed);
});
byId('sign-out').addEventListener('click', () => askForKey());
byId('client-form').addEventListener('submit', (event) => {
  event.preventDefault();
  void request(byId('client-action').value, 'client', byId('client-name').value);
});

connect(sessionStorage.getItem(KEY) ?? '');
