import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import { type ProcessTimeOptions, processTime } from '../../src/observe/process-time.js';
import { ask } from '../exchange-fixture.js';

describe('processTime', () => {
  it('sets the elapsed seconds when the head of the response is sent', async () => {
    const before = performance.now();
    const { headers } = await ask(processTime());
    expect(headers.get('X-Process-Time')).toBeUndefined();
    const start = performance.now();
    while (performance.now() - start < 20);
    headers.send();
    expect(headers.get('X-Process-Time')).toMatch(/^\d+\.\d{6}$/);
    expect(Number(headers.get('X-Process-Time'))).toBeGreaterThanOrEqual(0.02);
    expect(Number(headers.get('X-Process-Time'))).toBeLessThanOrEqual((performance.now() - before) / 1000);
    expect(headers.get('Server-Timing')).toBeUndefined();
  });

  it('adds to Server-Timing and keeps other entries', async () => {
    const { headers } = await ask(processTime({ serverTiming: true }));
    headers.set('Server-Timing', 'db;dur=3');
    headers.send();
    expect(headers.get('Server-Timing')).toMatch(/^db;dur=3, app;dur=\d+\.\d{3}$/);
  });

  it('refuses bad options at construction', () => {
    expect(() => processTime({ serverTiming: 1 } as unknown as ProcessTimeOptions)).toThrow(OptionError);
    expect(() => processTime({ header: 'X' } as unknown as ProcessTimeOptions)).toThrow(/header/);
  });
});
