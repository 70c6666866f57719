// How a tab listens: to the browser's one SharedWorker, or, where there is none, to a stream of its
// own.

import { type Said, Stream, type Told } from './stream';

export interface Listening {
  quiet(quiet: boolean): void;
  stop(): void;
}

export function listen(session: number, told: (told: Told) => void): Listening {
  const say = window.SharedWorker ? shared(told) : own(told);
  const stop = () => say({ kind: 'bye' });
  // A page that comes back from the browser's memory has been forgotten by the stream.
  const back = (event: PageTransitionEvent) => event.persisted && location.reload();
  window.addEventListener('pagehide', stop);
  window.addEventListener('pageshow', back);
  say({ kind: 'hello', session });
  return {
    quiet: (quiet) => say({ kind: 'quiet', quiet }),
    stop: () => {
      window.removeEventListener('pagehide', stop);
      window.removeEventListener('pageshow', back);
      stop();
    },
  };
}

function shared(told: (told: Told) => void): (said: Said) => void {
  const worker = new SharedWorker(new URL('./worker.ts', import.meta.url), { name: 'notices' });
  worker.port.onmessage = (message: MessageEvent<Told>) => told(message.data);
  return (said) => worker.port.postMessage(said);
}

function own(told: (told: Told) => void): (said: Said) => void {
  const stream = new Stream();
  const port = { postMessage: told };
  return (said) => stream.hear(port, said);
}
