// Drawing attention to a notice: a desktop notification where the browser may, else a tone.

import type { NoticeRow } from './content';

/** Whether the doctor may be asked for desktop notifications; they need a secure context. */
export function mayAsk(): boolean {
  return window.isSecureContext && 'Notification' in window && Notification.permission === 'default';
}

export function alert(notice: NoticeRow, words: string, loud: boolean, look: () => void): void {
  const may = window.isSecureContext && 'Notification' in window;
  if (may && Notification.permission === 'granted') {
    // The tag makes the notifications of several tabs one.
    const shown = new Notification(notice.patient, { body: words, tag: `forepost-${notice.id}` });
    shown.onclick = () => {
      window.focus();
      look();
    };
  } else if (loud) {
    tone();
  }
}

function tone(): void {
  try {
    const context = new AudioContext();
    const oscillator = context.createOscillator();
    oscillator.frequency.value = 880;
    oscillator.connect(context.destination);
    oscillator.onended = () => void context.close();
    oscillator.start();
    oscillator.stop(context.currentTime + 0.15);
  } catch {
    // A machine without sound, or a browser that wants a click first: the title counts anyway.
  }
}
