// The window: which page is shown, what the stream told, and the frame around both.

import { Alert, Button, Checkbox, Result } from 'antd';
import { Component, type ReactNode, useEffect, useMemo, useRef, useState } from 'react';

import { alert, mayAsk, silence } from './alert';
import { type Answer, get, post } from './ask';
import type { Content, NoticeRow } from './content';
import { type Listening, listen } from './listen';
import { Notices } from './Notices';
import { Patient } from './Patient';
import { Refused } from './Refused';
import { Study } from './Study';
import type { Told } from './stream';
import { type Texts, TextsContext, textsOf } from './texts';

/** What a page may do with the window. */
export interface Actions {
  /** Shows the page of an address. */
  go(path: string): void;
  /** Sends a form and shows the page that it leads to. */
  send(path: string, form?: Record<string, string>): void;
  /** Shows the page of the address, which the browser's own buttons changed. */
  back(): void;
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
  const [session, setSession] = useState(() => sessionOf(first));

  // The number of the latest thing that the doctor did: an answer to an earlier one is not shown.
  const latest = useRef(0);
  const actions = useMemo<Actions>(() => {
    const take = ({ content, path }: Answer, how: 'push' | 'replace') => {
      setFailed(false);
      if (content.page === 'refused' && content.why === 'session') {
        silence();
        setEnded(true);
      }
      if (content.page === 'window') {
        setDoctor(named(content));
        setNotices(mapped(content.notices));
      }
      setSession((before) => sessionOf(content) ?? before);
      if (path && path !== location.pathname && how === 'push') history.pushState(null, '', path);
      setContent(content);
    };
    const act = async (asked: Promise<Answer>, how: 'push' | 'replace') => {
      latest.current += 1;
      const own = latest.current;
      try {
        const answer = await asked;
        if (own === latest.current) take(answer, how);
      } catch {
        if (own === latest.current) setFailed(true);
      }
    };
    return {
      go: (path) => void act(get(path), 'push'),
      send: (path, form) => void act(post(path, form), 'push'),
      back: () => void act(get(location.pathname), 'replace'),
      reload: () => {
        // Nobody asked for it: it is not shown where anything was done meanwhile.
        const [own, path] = [latest.current, location.pathname];
        const same = () => own === latest.current && path === location.pathname;
        const shown = (answer: Answer) => same() && take(answer, 'replace');
        void get(path).then(shown, () => undefined);
      },
    };
  }, []);

  useEffect(() => {
    // A code was good once, and so was a link: what can be had again is left in the address.
    const linked = first.page === 'study' && first.linked;
    const path = linked ? `/workstation/study/${first.notice}/${first.study}` : location.pathname;
    if (location.search) history.replaceState(null, '', path);
    const back = () => actions.back();
    window.addEventListener('popstate', back);
    return () => window.removeEventListener('popstate', back);
  }, [first, actions]);

  const listening = useRef<Listening>(undefined);
  useEffect(() => {
    if (!session) return;
    const hear = (told: Told) => {
      switch (told.kind) {
        case 'all':
          // Else what the page brought is newer.
          if (told.live) setNotices(mapped(told.notices));
          setLive((before) => (told.live || before !== undefined ? told.live : undefined));
          setQuiet(told.quiet);
          return;
        case 'notice': {
          const notice = told.notice;
          setNotices((known) => new Map(known).set(notice.id, notice));
          if (told.alert) {
            const look = () => actions.go(`/workstation/patient/${notice.id}`);
            alert(notice, texts.studies(notice.studies), look);
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
          silence();
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

  useIdle(content.page !== 'window' && !ended ? first.idleSeconds : 0, () => actions.go(HOME));

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
      {failed && <Alert type="error" showIcon title={texts.unreachable} />}
      <main>
        <Fence key={content.page} texts={texts}>
          <Page content={content} notices={notices} actions={actions} />
        </Fence>
      </main>
    </TextsContext.Provider>
  );
}

function mapped(notices: NoticeRow[]): Map<number, NoticeRow> {
  return new Map(notices.map((one) => [one.id, one]));
}

/** The session of a page that a window shows; a page that a link opened has none. */
function sessionOf(content: Content): number | undefined {
  if (content.page === 'study' && content.linked) return undefined;
  return 'session' in content ? content.session : undefined;
}

/** Keeps a page that breaks from taking the window, and its notices, with it. */
class Fence extends Component<{ texts: Texts; children: ReactNode }> {
  state = { broken: false };

  static getDerivedStateFromError() {
    return { broken: true };
  }

  render() {
    const { texts, children } = this.props;
    if (!this.state.broken) return children;
    const again = <Button onClick={() => location.reload()}>{texts.again}</Button>;
    return <Result status="error" title={texts.broken} extra={again} />;
  }
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
function useIdle(seconds: number, leave: () => void): void {
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
