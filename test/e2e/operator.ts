import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import { launchChromium } from './browser.js';
import { check, npmRun, type Running, type Step, same } from './harness.js';

const ADMIN_KEY = 'key-of-the-operator-0123456789';
/** A client whose name would run a script in a page that writes markup. */
const EVIL = '<img src=x onerror=window.harmed=true>';
const CLIENTS = ['studio-north', 'museum-lab', 'intern-7', EVIL] as const;
const keyOf = (client: string) => `key-of-client-${CLIENTS.indexOf(client as never)}-0123456789`;
const IMAGE = new URL('../../examples/sam-service/image.jpg', import.meta.url);
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** With this variable, the screenshots of the guide are made again, in this folder. */
const { OPERATOR_SCREENSHOTS: SCREENSHOTS } = process.env;

interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly html: string }[];
}

/** Runs the SAM example under load, and operates it in headless Chromium. */
export async function operator(steps: (list: readonly Step[]) => Promise<void>): Promise<void> {
  const limits: Readonly<Record<string, number>> = { 'intern-7': 12 };
  const keys = CLIENTS.map((client) => `${keyOf(client)}:${client}:${limits[client] ?? 5000}`);
  const service = await npmRun(
    ['run', 'example:sam-service'],
    { API_KEYS: keys.join(','), ADMIN_API_KEY: ADMIN_KEY, GPU_SECONDS_PER_DAY: '600', MAX_WAITING: '7' },
    /^SAM service listening on (\S+)$/,
  );
  const browser = await launchChromium();
  const load = new Load(service);
  try {
    await operate(service, browser, load, steps);
  } finally {
    await load.stop();
    await browser.close();
    await service.stop();
  }
}

async function operate(
  service: Running,
  browser: Browser,
  load: Load,
  steps: (list: readonly Step[]) => Promise<void>,
): Promise<void> {
  const desk = `${service.origin}/admin/desk`;
  const strangers: string[] = [];
  const complaints: string[] = [];
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
  page.setDefaultTimeout(20_000);
  page.on('request', (request) => {
    if (!request.url().startsWith(`${desk}`)) strangers.push(request.url());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    // Without a key, the page is told 401 once, which is no complaint.
    if (message.type() === 'error' && !/401|ERR_/.test(message.text())) complaints.push(message.text());
  });
  const shot = async (name: string) => {
    if (SCREENSHOTS !== undefined) await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
  };

  await steps([
    [
      "operator: npm prints the page's address, and where its key is",
      () => {
        check(service.printed().includes(`Operator page: ${desk}`), `not printed:\n${service.printed()}`);
        check(service.printed().includes('the key in ADMIN_API_KEY'), `not printed:\n${service.printed()}`);
      },
    ],
    [
      'operator: without the key nothing is told, and nothing is done',
      async () => {
        const shell = await (await fetch(`${desk}/`)).text();
        check(!/SAM|studio-north|intern/.test(shell), 'the page says something about the service');
        for (const path of ['state', 'events']) same((await fetch(`${desk}/${path}`)).status, 401, path);
        const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${keyOf('intern-7')}` };
        const body = JSON.stringify({ client: 'studio-north' });
        const refused = await fetch(`${desk}/actions/suspend`, { method: 'POST', headers, body });
        same(refused.status, 401, 'an action with the key of a client');
        await page.goto(desk);
        await page.getByLabel('Key', { exact: true }).waitFor();
        await page.getByLabel('Key', { exact: true }).fill('a-wrong-key-of-0123456789');
        await page.keyboard.press('Enter');
        await page.getByText('Invalid').waitFor();
      },
    ],
    [
      'operator: the page shows a live run',
      async () => {
        load.start();
        await page.getByLabel('Key', { exact: true }).fill(ADMIN_KEY);
        await page.keyboard.press('Enter');
        await page.getByRole('heading', { name: 'SAM service: operator' }).waitFor();
        for (const client of CLIENTS)
          await page.getByRole('rowheader', { name: client, exact: true }).first().waitFor();
        await page.getByText('running').first().waitFor();
        await page
          .getByText(/quota-exceeded: \d/)
          .first()
          .waitFor();
        await page
          .getByText(/queue-full: \d/)
          .first()
          .waitFor();
        await page.locator('#queue tr').nth(2).waitFor();
        check((await painted(page, 'refusals')) && (await painted(page, 'gpu')), 'a chart is empty');
        same(await page.evaluate('document.querySelectorAll(".uplot").length'), 2, 'charts');
      },
    ],
    [
      'operator: a client suspended by keyboard is refused at once, and served again',
      async () => {
        await page.getByRole('button', { name: 'Suspend: museum-lab' }).focus();
        await page.keyboard.press('Enter');
        await page.getByRole('heading', { name: 'Suspend?' }).waitFor();
        await page.keyboard.press('Tab');
        await page.keyboard.press('Enter');
        await page.getByText('Suspended by admin').waitFor();
        same((await load.send('museum-lab')).status, 403, 'a suspended client');
        check(service.printed().includes('Operator: suspend'), 'the action is not in the log');
        await page.getByRole('button', { name: 'Allow more: intern-7' }).click();
        await page.getByRole('button', { name: 'Allow more', exact: true }).click();
        await page.getByText(/Above its quotas until \d\d:\d\d/).waitFor();
        await sleep(1500);
        const status = (await load.send('intern-7')).status;
        check(status !== 429, `a client above its quota got ${status}`);
      },
    ],
    [
      `operator: the client ${EVIL} does no harm`,
      async () => {
        same(await page.evaluate('window.harmed === undefined && document.images.length === 0'), true, 'the page');
        check((await page.getByText(EVIL, { exact: true }).count()) > 0, 'the client is not shown');
      },
    ],
    [
      'operator: axe-core finds nothing in light, dark and on a phone, and no page is wider than its window',
      async () => {
        for (const [name, colorScheme, width, height] of [
          ['operator-light', 'light', 1280, 900],
          ['operator-dark', 'dark', 1280, 900],
          ['operator-phone', 'light', 390, 844],
          ['operator-phone-dark', 'dark', 390, 844],
        ] as const) {
          await page.emulateMedia({ colorScheme });
          await page.setViewportSize({ width, height });
          await sleep(500);
          await page.evaluate('scrollTo(0, 0)');
          if (name !== 'operator-phone-dark') await shot(name);
          same(await page.evaluate('document.documentElement.scrollWidth'), width, `the width of ${name}`);
          // The page's own policy allows no other script, so it is evaluated.
          await page.evaluate(AXE);
          const { violations } = (await page.evaluate('axe.run()')) as { violations: readonly Violation[] };
          const found = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes[0]?.html}`);
          same(found, [], `axe-core, ${name}`);
        }
        await page.setViewportSize({ width: 1280, height: 900 });
      },
    ],
    [
      'operator: the page asks no other host, and breaks no policy',
      () => {
        same(strangers, [], 'requests elsewhere');
        same(complaints, [], 'complaints');
      },
    ],
    [
      'operator: the page says so when the service is gone',
      async () => {
        await load.stop();
        const stopped = service.stop();
        await page.getByText('Connection lost').waitFor();
        same(await page.locator('#desk.stale').count(), 1, 'figures that are marked as old');
        // A browser opens connections in advance, for whose first request the server waits.
        await browser.close();
        await stopped;
      },
    ],
  ]);
}

/** Whether something is drawn in a chart. */
function painted(page: Page, chart: string): Promise<boolean> {
  return page.evaluate(`(() => {
    const canvas = document.querySelector('#${chart}-chart canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value) => value > 0);
  })()`);
}

/** Clients that send images all the time. */
class Load {
  readonly #service: Running;
  readonly #image = readFileSync(IMAGE);
  #isOn = false;
  #running: readonly Promise<void>[] = [];

  constructor(service: Running) {
    this.#service = service;
  }

  /** Sends an image, and waits for the whole answer. */
  async send(client: string): Promise<Response> {
    const form = new FormData();
    form.append('file', new Blob([this.#image]), 'image.jpg');
    const headers = { 'X-API-Key': keyOf(client) };
    const response = await fetch(`${this.#service.origin}/segment_file`, { method: 'POST', body: form, headers });
    await response.arrayBuffer();
    return response;
  }

  start(): void {
    this.#isOn = true;
    this.#running = CLIENTS.flatMap((client) => [1, 2, 3].map(() => this.#repeat(client)));
  }

  /** Resolves when every request has its answer. */
  async stop(): Promise<void> {
    this.#isOn = false;
    await Promise.all(this.#running);
  }

  async #repeat(client: string): Promise<void> {
    while (this.#isOn) {
      try {
        const response = await this.send(client);
        // Who is refused comes back later.
        await sleep(response.ok ? 50 : 400);
      } catch {
        await sleep(400);
      }
    }
  }
}
