import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, npmRun, run, type Step, same } from './harness.js';

/** Runs `npm run example:live-ingest`, and calls it with the guide's curl commands. */
export async function liveIngest(steps: (list: readonly Step[]) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'live-ingest-e2e-'));
  const env = { INGEST_TOKEN: 'your-token-here-0', DATA_FILE: join(directory, 'bets.jsonl') };
  const api = await npmRun(['run', 'example:live-ingest'], env, /^Live-ingest API listening on (\S+)$/);
  const url = `${api.origin}/live/ingest`;
  const bash = (script: string) => run('bash', ['-euo', 'pipefail', '-c', script], { URL: url });
  const header = '-H "X-Ingest-Token: your-token-here-0"';
  try {
    await steps([
      [
        'live ingest: the settings are printed, but not the token',
        () => {
          check(/^Building gatewarden/m.test(api.printed()), `it does not say that it builds:\n${api.printed()}`);
          check(/INGEST_TOKEN +set/.test(api.printed()), `no settings:\n${api.printed()}`);
          check(!api.printed().includes(env.INGEST_TOKEN), 'the token is printed');
        },
      ],
      [
        "live ingest: the guide's commands without and with a token",
        () => {
          const line = `curl -s -w ' %{http_code}' -X POST "$URL" -H "Content-Type: application/json" -d '{"id": "test", "nonce": 1}'`;
          check(bash(line).endsWith(' 401'), 'no 401 without a token');
          const answer = bash(`${line} ${header}`);
          check(
            answer.endsWith(' 422') && answer.includes('"loc":["body","difficulty"]'),
            `the 422 does not name the missing field: ${answer}`,
          );
        },
      ],
      [
        "live ingest: the guide's test of the rate limit",
        () => {
          // Two of the sixty requests per minute were sent above.
          const loop = `for i in {1..70}; do curl -s -o /dev/null -w '%{http_code}\\n' -X POST "$URL" ${header} -d '{"id": "test'$i'", "nonce": '$i'}'; done`;
          const codes = bash(loop).trim().split('\n');
          same(
            [codes.filter((code) => code === '422').length, codes.filter((code) => code === '429').length],
            [58, 12],
            'codes',
          );
          check(codes.indexOf('429') === 58, 'a 429 came too early');
        },
      ],
    ]);
  } finally {
    await api.stop();
    rmSync(directory, { recursive: true });
  }
}
