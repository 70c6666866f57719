// Drawing attention to a notice: a desktop notification where the browser may, else a tone.

import type { NoticeRow } from './content';

/** Whether the doctor may be asked for desktop notifications; they need a secure context. */
export function mayAsk(): boolean {
  return window.isSecureContext && 'Notification' in window && Notification.permission === 'default';
}

/** What the desktop shows of this tab's notices. */
const shown = new Set<Notification>();

/** Takes everything from the desktop: the session is over. */
export function silence(): void {
  shown.forEach((one) => one.close());
  shown.clear();
}

export function alert(notice: NoticeRow, words: string, look: () => void): void {
  const may = window.isSecureContext && 'Notification' in window;
  if (may && Notification.permission === 'granted') {
    // The tag makes the notifications of several tabs one.
    const tag = `forepost-${notice.id}`;
    const notification = new Notification(notice.patient, { body: words, tag });
    shown.add(notification);
    notification.onclose = () => shown.delete(notification);
    notification.onclick = () => {
      window.focus();
      look();
    };
  } else {
    // Of several tabs at once, which sounds like one.
    tone();
  }
}

function tone(): void {
  try {
    const context = new AudioContext();
    // A browser that wants a click first. The title counts anyway.
    if (context.state === 'suspended') return void context.close();
    const oscillator = context.createOscillator();
    oscillator.frequency.value = 880;
    oscillator.connect(context.destination);
    oscillator.onended = () => void context.close();
    oscillator.start();
    oscillator.stop(context.currentTime + 0.15);
  } catch {
    // A machine without sound.
  }
}
