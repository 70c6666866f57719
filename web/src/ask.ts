// Asking the server for pages as JSON, and sending it forms.

import type { Content, ProgressRow } from './content';

const ACCEPT = { Accept: 'application/json' };

/** A page, and the address at which it can be had again, if there is one. */
export interface Answer {
  content: Content;
  path: string | undefined;
}

export async function get(path: string): Promise<Answer> {
  const response = await fetch(path, { headers: ACCEPT });
  return { content: (await response.json()) as Content, path: new URL(response.url).pathname };
}

/** Sends a form; the answer is the page that it leads to. */
export async function post(path: string, form: Record<string, string> = {}): Promise<Answer> {
  const body = new URLSearchParams(form);
  const response = await fetch(path, { method: 'POST', headers: ACCEPT, body });
  const content = (await response.json()) as Content;
  return { content, path: response.redirected ? new URL(response.url).pathname : undefined };
}

export type Rows = Record<string, ProgressRow>;

/** How far each study of a notice is; `undefined` when nobody answers, `refused` by who may not. */
export async function progress(notice: number): Promise<Rows | 'refused' | undefined> {
  try {
    const response = await fetch(`/workstation/progress/${notice}`, { headers: ACCEPT });
    if (response.ok) return (await response.json()) as Rows;
    return response.status === 401 || response.status === 403 ? 'refused' : undefined;
  } catch {
    return undefined;
  }
}
