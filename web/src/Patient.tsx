// A patient's studies that were made elsewhere, as a timeline.

import { Alert, Button, Input, Tag, Timeline } from 'antd';
import { useEffect, useRef, useState } from 'react';

import type { Actions } from './App';
import { progress } from './ask';
import type { NoticeRow, PatientPage, ProgressRow, StudyRow } from './content';
import { useKeys } from './keys';
import { Arriving, Go, Name, ReportLink, Why } from './parts';
import { useTexts } from './texts';

/** Milliseconds between two looks at studies that arrive. */
const LOOK_MS = 1_000;

interface Props {
  content: PatientPage;
  notices: Map<number, NoticeRow>;
  actions: Actions;
}

export function Patient({ content, notices, actions }: Props) {
  const texts = useTexts();
  const studies = useProgress(content, notices, actions);
  const [chosen, setChosen] = useState(0);
  const at = (row: StudyRow) => `/workstation/study/${content.notice}/${row.study}`;
  const fetch = (row: StudyRow) =>
    actions.send(`/workstation/fetch/${content.notice}/${row.study}`);
  const back = () => actions.go('/workstation/');
  const current = studies[chosen];
  useKeys({
    ArrowDown: () => setChosen(Math.min(studies.length - 1, chosen + 1)),
    ArrowUp: () => setChosen(Math.max(0, chosen - 1)),
    Enter: () => current && actions.go(at(current)),
    f: () => current?.progress === 'elsewhere' && fetch(current),
    b: back,
    Escape: back,
  });
  return (
    <>
      <h1>
        {texts.patient} <Name name={content.patient} />
        <Go className="back" path="/workstation/" actions={actions}>
          {texts.back}
        </Go>
      </h1>
      {content.exams.length > 0 && (
        <p>
          {texts.orderedNow}
          {texts.colon}
          <b>{content.exams.join(texts.comma)}</b>
        </p>
      )}
      {content.decide && <Decide notice={content.notice} actions={actions} />}
      <Timeline
        className="studies"
        titleSpan="7.5rem"
        items={studies.map((row, index) => ({
          key: row.study,
          color: row.same ? 'red' : row.progress === 'here' ? 'green' : 'blue',
          title: (
            <>
              {row.date || texts.unknown}
              <br />
              <span className="why">{row.days !== null && texts.ago(row.days)}</span>
            </>
          ),
          content: (
            <article
              className={`study ${row.same ? 'same' : ''} ${index === chosen ? 'chosen' : ''}`}
              data-study={row.study}
              onMouseDown={() => setChosen(index)}
            >
              <div className="what">
                {row.modality && <Tag color="blue">{row.modality}</Tag>}
                <strong>{row.examination || texts.unknown}</strong>
                <span>{row.hospital || texts.unknown}</span>
              </div>
              <div className="how">
                <State row={row} />
                {row.same && (
                  <>
                    <Tag color="error">{texts.same}</Tag>
                    <span className="why">{texts.sameBy[row.same]}</span>
                  </>
                )}
                {row.unconfirmed && <Tag color="warning">{texts.unconfirmed}</Tag>}
                {!row.hasReport && <ReportLink row={row} />}
                <Why row={row} />
              </div>
              <div className="acts">
                {row.progress === 'elsewhere' && (
                  <Button className="fetch" onClick={() => fetch(row)}>
                    {texts.fetchNow}
                  </Button>
                )}
                <Go className="open" path={at(row)} actions={actions} primary>
                  {texts.open}
                </Go>
              </div>
            </article>
          ),
        }))}
      />
      <footer>{texts.keysPatient}</footer>
    </>
  );
}

function State({ row }: { row: StudyRow }) {
  const texts = useTexts();
  if (row.progress === 'here') return <Tag color="success">{texts.isHere}</Tag>;
  if (row.progress === 'elsewhere') return <Tag>{texts.elsewhere}</Tag>;
  return <Arriving row={row} />;
}

/** What becomes of an order whose examination was made elsewhere. */
function Decide({ notice, actions }: { notice: number; actions: Actions }) {
  const texts = useTexts();
  const [reason, setReason] = useState('');
  const decide = (what: string) =>
    actions.send(`/workstation/decide/${notice}`, { reason, what });
  return (
    <Alert
      className="decide"
      type="warning"
      showIcon
      title={texts.askOrder}
      description={
        <div className="how">
          <Input
            aria-label={texts.reason}
            placeholder={texts.reason}
            maxLength={200}
            value={reason}
            onChange={(event) => setReason(event.target.value)}
          />
          <Button onClick={() => decide('anyway')}>{texts.anyway}</Button>
          <Button type="primary" onClick={() => decide('withdrawn')}>
            {texts.withdrawn}
          </Button>
        </div>
      }
    />
  );
}

/**
 * The studies with how far each is now: asked for while one arrives, and whenever the stream says
 * that the notice has changed. A study that was found since makes the page read itself again.
 */
function useProgress(
  content: PatientPage,
  notices: Map<number, NoticeRow>,
  actions: Actions,
): StudyRow[] {
  const [rows, setRows] = useState<Record<string, ProgressRow>>({});
  const told = notices.get(content.notice);
  const studies = content.studies.map((row) => ({ ...row, ...rows[row.study] }));
  const arriving = studies.some((row) => row.progress === 'arriving');
  const known = useRef(content.studies);
  known.current = content.studies;
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout>;
    const look = async () => {
      const now = await progress(content.notice);
      if (over) return;
      if (now === 'refused') return actions.reload();
      if (now) {
        setRows(now);
        const uids = new Set(known.current.map((row) => row.study));
        if (Object.keys(now).some((uid) => !uids.has(uid))) actions.reload();
      }
      if (arriving) timer = setTimeout(look, LOOK_MS);
    };
    if (arriving || told) void look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [content, told, arriving, actions]);
  return studies;
}
