import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as client from 'prom-client';
import { describe, expect, it, onTestFinished } from 'vitest';
import { metrics } from '../../../src/observe/metrics/index.js';
import { hasPromtool, promtool } from './promtool.js';

const file = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const ALERTS = file('docs/metrics/alerts.yml');

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
}
const dashboard: { readonly panels: readonly Panel[] } = JSON.parse(
  readFileSync(file('docs/metrics/grafana.json'), 'utf8'),
);
const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

/** The names of all samples that `metrics` can make. */
function sampleNames(): Set<string> {
  const register = new client.Registry();
  metrics({ client, register });
  const names = register
    .getMetricsAsArray()
    .flatMap(({ name, type }: { name: string; type: unknown }) =>
      String(type) === 'histogram' ? ['bucket', 'count', 'sum'].map((part) => `${name}_${part}`) : [name],
    );
  return new Set(names);
}

describe('the alert rules', () => {
  it.runIf(hasPromtool)('are accepted by promtool, if it is installed', () => {
    const { status, printed } = promtool(['check', 'rules', ALERTS]);
    expect(printed).toContain('11 rules found');
    expect(status).toBe(0);
  });

  it.runIf(hasPromtool)('fire on attacks and failures, and not on an ordinary day, if promtool is installed', () => {
    const { status, printed } = promtool(['test', 'rules', file('test/observe/metrics/alerts.test.yml')]);
    expect(printed).toContain('SUCCESS');
    expect(status).toBe(0);
  });

  it('use only metrics that there are', () => {
    const used = readFileSync(ALERTS, 'utf8').match(/gatewarden_\w+/g) ?? [];
    expect(used.length).toBeGreaterThan(10);
    expect(used.filter((name) => !sampleNames().has(name))).toEqual([]);
  });
});

describe('the dashboard', () => {
  it('has expressions that Prometheus reads, of metrics that there are', () => {
    const directory = mkdtempSync(join(tmpdir(), 'gatewarden-dashboard-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const rules = expressions.map((expr, i) => {
      const filled = expr.replaceAll('$__rate_interval', '5m').replaceAll('$job', '.*');
      return { record: `panel:${i}`, expr: filled };
    });
    if (hasPromtool) {
      // JSON is YAML.
      writeFileSync(join(directory, 'rules.yml'), JSON.stringify({ groups: [{ name: 'panels', rules }] }));
      const { printed } = promtool(['check', 'rules', join(directory, 'rules.yml')]);
      expect(printed).toContain(`${rules.length} rules found`);
    }
    const used = expressions.flatMap((expr) => expr.match(/gatewarden_\w+/g) ?? []);
    expect(used.filter((name) => !sampleNames().has(name))).toEqual([]);
  });

  it('has no panel over another', () => {
    const overlaps = dashboard.panels.flatMap((a, i) =>
      dashboard.panels.slice(i + 1).filter(({ gridPos: b }) => {
        const { gridPos } = a;
        const beside = gridPos.x + gridPos.w <= b.x || b.x + b.w <= gridPos.x;
        return !beside && gridPos.y + gridPos.h > b.y && b.y + b.h > gridPos.y;
      }),
    );
    expect(overlaps.map(({ title }) => title)).toEqual([]);
  });
});
