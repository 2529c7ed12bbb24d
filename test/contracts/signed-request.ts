import { describe, expect, it, onTestFinished } from 'vitest';
import { authenticate } from '../../src/auth/authenticate.js';
import { reportFaults } from '../../src/core/report-faults.js';
import {
  ATTACKS,
  bytesOf,
  type Expected,
  LEGITIMATE,
  type SignedRequestCase,
  service,
} from '../auth/signed-request/signed-request-cases.js';
import { Client } from '../raw-client.js';
import type { Route, Serve } from './adapter/index.js';

/** The cases of signed requests over real sockets, through an adapter that can read bodies. */
export function signedRequestCases(name: string, serve: Serve): void {
  const routes = (['GET', 'POST'] as const).flatMap((method) =>
    ['/', '/generate'].map(
      (path): Route => ({ method, path, guards: [], handler: { does: 'answer', status: 200, body: {} } }),
    ),
  );

  /** Sends the requests one after the other, each on its own connection. */
  async function run({ send, expected }: SignedRequestCase): Promise<void> {
    const faults: unknown[] = [];
    let entered = 0;
    const { port, close } = await serve({
      guards: [[reportFaults((error) => faults.push(error)), authenticate(service())]],
      routes,
      entered: () => {
        entered++;
      },
    });
    onTestFinished(close);
    const answers: Omit<Expected, 'reason'>[] = [];
    for (const request of send) {
      const client = await Client.connect(port);
      onTestFinished(() => void client.socket.destroy());
      client.socket.write(bytesOf(request));
      const answer = await client.answer();
      const problem = answer.json();
      const refused = typeof problem === 'object' && problem !== null && 'code' in problem;
      answers.push({ status: answer.status, ...(refused ? { code: String(problem.code) } : {}) });
    }
    expect(answers).toEqual(expected.map(({ reason: _reason, ...answer }) => answer));
    expect(entered).toBe(expected.filter(({ status }) => status === 200).length);
    expect(faults).toEqual([]);
  }

  describe(`signed requests, through ${name}`, () => {
    it.each(LEGITIMATE)('accepts $name', run);
    // The body of a GET never reaches a handler of the web.
    const attacks = ATTACKS.filter((attack) => !(serve.isWeb && attack.name === 'a body added to a GET'));
    it.each(attacks)('refuses $name, and never runs the handler for it', run);
  });
}
