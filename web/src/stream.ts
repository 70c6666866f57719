// One stream of notices for all tabs of a browser: a SharedWorker holds it, the tabs listen to the
// worker. A browser opens few connections to one server, and a doctor opens many tabs.

import type { NoticeRow } from './content';

/** From the worker to a tab. */
export type Told =
  | { kind: 'all'; notices: NoticeRow[]; live: boolean; quiet: boolean }
  /** `alert`: it is to be drawn attention to. */
  | { kind: 'notice'; notice: NoticeRow; alert: boolean }
  | { kind: 'state'; live: boolean }
  | { kind: 'quiet'; quiet: boolean }
  | { kind: 'ended' };

/** From a tab to the worker. */
export type Said =
  | { kind: 'hello'; session: number }
  | { kind: 'quiet'; quiet: boolean }
  | { kind: 'bye' };

/** Milliseconds until a stream that was refused is asked for again, at least and at most. */
const AGAIN_MS = [5_000, 15_000] as const;

/** Where a tab hears and speaks. */
interface Port {
  postMessage(told: Told): void;
}

/** The stream, with the tabs that listen. */
export class Stream {
  private ports = new Set<Port>();
  private notices = new Map<number, NoticeRow>();
  private source: EventSource | undefined;
  private again: ReturnType<typeof setTimeout> | undefined;
  private session = 0;
  private live = false;
  private quiet = false;
  /** Raised when the stream is given up: what was asked for before that is nobody's. */
  private turn = 0;

  hear(port: Port, said: Said): void {
    switch (said.kind) {
      case 'hello':
        // A page of a session that this browser had before; numbers rise.
        if (said.session < this.session) {
          port.postMessage({ kind: 'ended' });
          return;
        }
        // Another doctor at the same browser: what was told to the last one is nobody's.
        if (said.session > this.session) this.end();
        this.session = said.session;
        this.ports.add(port);
        port.postMessage({
          kind: 'all',
          notices: [...this.notices.values()],
          live: this.live,
          quiet: this.quiet,
        });
        if (!this.source && !this.again) this.listen();
        return;
      case 'quiet':
        this.quiet = said.quiet;
        this.tell({ kind: 'quiet', quiet: said.quiet });
        return;
      case 'bye':
        this.ports.delete(port);
        if (this.ports.size === 0) this.close();
    }
  }

  private tell(told: Told): void {
    this.ports.forEach((port) => port.postMessage(told));
  }

  private listen(): void {
    this.again = undefined;
    // The server holds the number against the cookie, which may be another doctor's by now.
    const source = new EventSource(`/workstation/events?session=${this.session}`);
    this.source = source;
    source.onopen = () => this.state(true);
    source.onerror = () => {
      this.state(false);
      // Closed: the answer was no stream, and the browser does not ask again by itself.
      if (source.readyState === EventSource.CLOSED) this.retry();
    };
    source.addEventListener('notice', (event) => this.notice(JSON.parse(event.data)));
    source.addEventListener('ended', () => this.end());
  }

  private notice(notice: NoticeRow & { new: boolean }): void {
    const known = this.notices.has(notice.id);
    this.notices.set(notice.id, notice);
    const alert = notice.new && !known && notice.precise && !notice.acknowledged && !this.quiet;
    this.tell({ kind: 'notice', notice, alert });
  }

  private state(live: boolean): void {
    this.live = live;
    this.tell({ kind: 'state', live });
  }

  private retry(): void {
    this.source = undefined;
    const [least, most] = AGAIN_MS;
    const turn = this.turn;
    this.again = setTimeout(async () => {
      const session = await sessionNow();
      if (turn !== this.turn) return;
      if (session === undefined) this.retry();
      else if (session === this.session) this.listen();
      else this.end();
    }, least + Math.random() * (most - least));
  }

  /** The session is over: nothing of it is kept. */
  private end(): void {
    this.tell({ kind: 'ended' });
    this.ports.clear();
    this.quiet = false;
    this.close();
  }

  private close(): void {
    this.turn += 1;
    this.source?.close();
    this.source = undefined;
    clearTimeout(this.again);
    this.again = undefined;
    this.notices.clear();
    this.live = false;
  }
}

/** The session of this browser's cookie, 0 where it has none; `undefined` when nobody answers. */
async function sessionNow(): Promise<number | undefined> {
  try {
    const page = await fetch('/workstation/', { headers: { Accept: 'application/json' } });
    if (page.status === 401) return 0;
    return page.ok ? ((await page.json()) as { session: number }).session : undefined;
  } catch {
    return undefined;
  }
}
