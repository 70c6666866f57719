// The SharedWorker around the stream.

import { type Said, Stream } from './stream';

const stream = new Stream();

(self as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = (event) => {
  const port = event.ports[0];
  if (port) port.onmessage = (message: MessageEvent<Said>) => stream.hear(port, message.data);
};
