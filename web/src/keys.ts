// The keyboard: a page says which keys it takes.

import { useEffect } from 'react';

export type Keys = Record<string, () => void>;

/** Calls what belongs to a key, unless somebody is typing or a button has the keyboard. */
export function useKeys(keys: Keys): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
      const at = event.target as HTMLElement;
      if (at.closest('input, textarea, select')) return;
      if (event.key === 'Enter' && at.closest('a, button, summary')) return;
      // A key that is held down moves on, and does everything else once.
      if (event.repeat && !event.key.startsWith('Arrow')) return;
      const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act) return;
      event.preventDefault();
      act();
    };
    window.addEventListener('keydown', pressed);
    return () => window.removeEventListener('keydown', pressed);
  });
}
