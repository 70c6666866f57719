// The window: which page is shown, what the stream told, and the frame around both.

import { Alert, Button, Checkbox, Result } from 'antd';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';

import { alert, mayAsk } from './alert';
import { type Answer, get, post } from './ask';
import type { Content, NoticeRow } from './content';
import { type Listening, listen } from './listen';
import { Notices } from './Notices';
import { Patient } from './Patient';
import { Refused } from './Refused';
import { Study } from './Study';
import type { Told } from './stream';
import { TextsContext, textsOf } from './texts';

/** What a page may do with the window. */
export interface Actions {
  /** Shows the page of an address. */
  go(path: string): void;
  /** Sends a form and shows the page that it leads to. */
  send(path: string, form?: Record<string, string>): void;
  /** Reads the page again where it is. */
  reload(): void;
}

const HOME = '/workstation/';

export function App({ first }: { first: Content }) {
  const [content, setContent] = useState(first);
  const [notices, setNotices] = useState(() => mapped('notices' in first ? first.notices : []));
  const [live, setLive] = useState<boolean>();
  const [quiet, setQuiet] = useState(false);
  const [ended, setEnded] = useState(first.page === 'refused' && first.why === 'session');
  const [failed, setFailed] = useState(false);
  const [ask, setAsk] = useState(mayAsk);
  const [doctor, setDoctor] = useState(() => named(first));
  const texts = textsOf(first.language);
  const session = 'session' in first && !('linked' in first && first.linked) && first.session;

  const take = useCallback((answer: Answer, how: 'push' | 'replace') => {
    const { content, path } = answer;
    setFailed(false);
    if (content.page === 'refused' && content.why === 'session') setEnded(true);
    if (content.page === 'window') setDoctor(named(content));
    if (how === 'push' && path !== location.pathname) history.pushState(null, '', path);
    else history.replaceState(null, '', path);
    setContent(content);
  }, []);
  const actions = useMemo<Actions>(() => {
    const shown = (answer: Promise<Answer>, how: 'push' | 'replace') =>
      void answer.then((answer) => take(answer, how)).catch(() => setFailed(true));
    return {
      go: (path) => shown(get(path), 'push'),
      send: (path, form) => shown(post(path, form), 'push'),
      reload: () => shown(get(location.pathname), 'replace'),
    };
  }, [take]);

  useEffect(() => {
    // The code was good once; it is not left in the address. A link's address is good once, too.
    if (location.search) history.replaceState(null, '', location.pathname);
    const back = () => actions.reload();
    window.addEventListener('popstate', back);
    return () => window.removeEventListener('popstate', back);
  }, [actions]);

  const listening = useRef<Listening>(undefined);
  useEffect(() => {
    if (!session) return;
    const hear = (told: Told) => {
      switch (told.kind) {
        case 'all':
          // Empty: the stream has not begun, and what the page brought stands.
          if (told.notices.length > 0) setNotices(mapped(told.notices));
          setLive((before) => (told.live || before !== undefined ? told.live : undefined));
          setQuiet(told.quiet);
          return;
        case 'notice': {
          const notice = told.notice;
          setNotices((known) => new Map(known).set(notice.id, notice));
          if (told.alert) {
            const look = () => actions.go(`/workstation/patient/${notice.id}`);
            alert(notice, texts.studies(notice.studies), told.loud, look);
          }
          return;
        }
        case 'state':
          setLive(told.live);
          return;
        case 'quiet':
          setQuiet(told.quiet);
          return;
        case 'ended':
          setEnded(true);
      }
    };
    listening.current = listen(session, hear);
    return () => listening.current?.stop();
  }, [session, actions, texts]);

  const unseen = [...notices.values()].filter((one) => !one.acknowledged).length;
  useEffect(() => {
    const title = content.page === 'window' ? texts.notices : texts.patient;
    document.title = ended ? texts.ended : unseen ? `(${unseen}) ${title}` : title;
  }, [content.page, ended, texts, unseen]);

  useIdle(content.page !== 'window' && session && !ended ? first.idleSeconds : 0, () =>
    actions.go(HOME),
  );

  if (ended) {
    // Nothing of a patient stays on the screen.
    return <Result className="ended" status="info" title={texts.ended} subTitle={texts.endedMore} />;
  }
  return (
    <TextsContext.Provider value={texts}>
      {session && (
        <header className="frame">
          <span className="doctor">{doctor}</span>
          {live !== undefined && (
            <span id="state" role="status" className={live ? 'live' : 'lost'}>
              {live ? texts.live : texts.lost}
            </span>
          )}
          <span className="space" />
          {ask && (
            <Button
              id="alerts"
              onClick={() => void Notification.requestPermission().then(() => setAsk(false))}
            >
              {texts.alerts}
            </Button>
          )}
          <Checkbox
            id="quiet"
            checked={quiet}
            onChange={(event) => listening.current?.quiet(event.target.checked)}
          >
            {texts.quiet}
          </Checkbox>
          <Button id="logout" onClick={() => actions.send('/workstation/logout')}>
            {texts.logOut}
          </Button>
        </header>
      )}
      {failed && <Alert type="error" showIcon title={texts.busy} />}
      <main>
        <Page content={content} notices={notices} actions={actions} />
      </main>
    </TextsContext.Provider>
  );
}

function mapped(notices: NoticeRow[]): Map<number, NoticeRow> {
  return new Map(notices.map((one) => [one.id, one]));
}

function named(content: Content): string {
  return content.page === 'window' ? `${content.doctor} · ${content.department}` : '';
}

interface PageProps {
  content: Content;
  notices: Map<number, NoticeRow>;
  actions: Actions;
}

function Page({ content, notices, actions }: PageProps) {
  switch (content.page) {
    case 'window':
      return <Notices notices={notices} actions={actions} />;
    case 'patient':
      return (
        <Patient key={content.notice} content={content} notices={notices} actions={actions} />
      );
    case 'study':
      return <Study key={content.study} content={content} actions={actions} />;
    case 'refused':
      return <Refused content={content} actions={actions} />;
  }
}

/** Calls `leave` when nobody has touched the window for so many seconds; 0: never. */
function useIdle(seconds: number | false, leave: () => void): void {
  const act = useRef(leave);
  act.current = leave;
  useEffect(() => {
    if (!seconds) return;
    let last = Date.now();
    const touched = () => {
      last = Date.now();
    };
    const events = ['mousemove', 'mousedown', 'keydown', 'wheel', 'touchstart', 'scroll'];
    events.forEach((name) => document.addEventListener(name, touched, true));
    const timer = setInterval(() => {
      if (Date.now() - last < seconds * 1000) return;
      touched();
      act.current();
    }, 1000);
    return () => {
      clearInterval(timer);
      events.forEach((name) => document.removeEventListener(name, touched, true));
    };
  }, [seconds]);
}
