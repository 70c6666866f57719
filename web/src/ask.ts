// Asking the server for pages as JSON, and sending it forms.

import type { Content, ProgressRow } from './content';

const ACCEPT = { Accept: 'application/json' };

/** A page, and the address that it came from in the end. */
export interface Answer {
  content: Content;
  path: string;
}

async function answer(response: Response): Promise<Answer> {
  const content = (await response.json()) as Content;
  return { content, path: new URL(response.url).pathname };
}

export async function get(path: string): Promise<Answer> {
  return answer(await fetch(path, { headers: ACCEPT }));
}

/** Sends a form; the answer is the page that it leads to. */
export async function post(path: string, form: Record<string, string> = {}): Promise<Answer> {
  const body = new URLSearchParams(form);
  return answer(await fetch(path, { method: 'POST', headers: ACCEPT, body }));
}

/** How far each study of a notice is; `undefined` when nobody answers. */
export async function progress(
  notice: number,
): Promise<Record<string, ProgressRow> | undefined> {
  try {
    const response = await fetch(`/workstation/progress/${notice}`, { headers: ACCEPT });
    return response.ok ? ((await response.json()) as Record<string, ProgressRow>) : undefined;
  } catch {
    return undefined;
  }
}
