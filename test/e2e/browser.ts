import { type Browser, chromium, type Page } from 'playwright-core';
import { needs } from './harness.js';

/** Starts headless Chromium, which requests nothing by itself. */
export function launchChromium(): Promise<Browser> {
  const executablePath = needs('Chromium', ['chromium', 'chromium-browser', 'google-chrome'], 'chromium');
  return chromium.launch({
    executablePath: executablePath === 'chromium' ? '/usr/bin/chromium' : executablePath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** Opens a page, and closes it when `act` has ended. */
export async function pageOf<T>(browser: Browser, url: string, act: (page: Page) => Promise<T>): Promise<T> {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  try {
    await page.goto(url);
    return await act(page);
  } finally {
    await page.close();
  }
}
