// One study: its reports, its series, and where its images open.

import { Button, Card, Tag } from 'antd';
import { useEffect, useState } from 'react';

import type { Actions } from './App';
import { progress } from './ask';
import type { ProgressRow, Report, StudyPage } from './content';
import { useKeys } from './keys';
import { Arriving, Go, ReportLink, Why } from './parts';
import { useTexts } from './texts';

/** Milliseconds between two looks at a study that arrives. */
const LOOK_MS = 2_000;

export function Study({ content: page, actions }: { content: StudyPage; actions: Actions }) {
  const texts = useTexts();
  const content = { ...page, ...useArrival(page, actions) };
  const images = `/workstation/open/${content.notice}/${content.study}`;
  const patient = `/workstation/patient/${content.notice}`;
  const back = () => actions.go(patient);
  useKeys(
    content.linked
      ? {}
      : {
          o: () => content.viewer && window.open(images, '_blank', 'noopener'),
          b: back,
          Escape: back,
        },
  );
  return (
    <>
      <h1>
        {content.words}
        {!content.linked && (
          <Go className="back" path={patient} actions={actions}>
            {texts.back}
          </Go>
        )}
      </h1>
      <div className="how">
        {content.viewer && (
          <Button className="images" type="primary" size="large" href={images} target="_blank" rel="noopener noreferrer">
            {texts.images}
          </Button>
        )}
        {!content.viewer && !content.linked && <Tag>{texts.noViewer}</Tag>}
        {content.progress === 'here' && <Tag color="success">{texts.isHere}</Tag>}
        {content.progress === 'elsewhere' && !content.linked && (
          <Button onClick={() => actions.send(`/workstation/fetch/${content.notice}/${content.study}`)}>
            {texts.fetchNow}
          </Button>
        )}
        {content.progress === 'arriving' && <Arriving row={content} />}
        {content.unconfirmed && <Tag color="warning">{texts.unconfirmed}</Tag>}
        <Why row={content} />
      </div>
      <Card className="report" title={texts.report}>
        {content.reports.map((report, at) => (
          <ReportText key={at} report={report} content={content} />
        ))}
        {content.reports.length === 0 &&
          (content.hasReport ? texts.reportLater : <ReportLink row={content} />)}
      </Card>
      {content.series.length > 0 && (
        <table className="series">
          <thead>
            <tr>
              {[texts.number, texts.modality, texts.description, texts.count].map((head) => (
                <th key={head} scope="col">
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {content.series.map((row, at) => (
              <tr key={at}>
                <td>{row.number}</td>
                <td>{row.modality}</td>
                <td>{row.description}</td>
                <td>{row.images}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {!content.linked && <footer>{texts.keysStudy}</footer>}
    </>
  );
}

function ReportText({ report, content }: { report: Report; content: StudyPage }) {
  const texts = useTexts();
  if ('document' in report) {
    const at = `/workstation/document/${content.notice}/${content.study}/${report.document.sop}`;
    return (
      <p>
        <a href={at} target="_blank" rel="noopener">
          {texts.document}
        </a>
      </p>
    );
  }
  return (
    <>
      {report.text.lines.map((line, at) => (
        <p key={at} className={`depth${Math.min(line.depth, 6)}`}>
          {line.label && <b>{line.label}</b>} <span className="text">{line.text}</span>
        </p>
      ))}
    </>
  );
}

/** How far a study is that arrives; when all of it is here the page reads itself again. */
function useArrival(content: StudyPage, actions: Actions): ProgressRow | undefined {
  const [row, setRow] = useState<ProgressRow>();
  useEffect(() => {
    setRow(undefined);
    if (content.progress !== 'arriving' || content.linked) return;
    let over = false;
    const timer = setInterval(async () => {
      const rows = await progress(content.notice);
      if (over || !rows) return;
      const now = rows === 'refused' ? undefined : rows[content.study];
      if (now?.progress === 'arriving') setRow(now);
      else actions.reload();
    }, LOOK_MS);
    return () => {
      over = true;
      clearInterval(timer);
    };
  }, [content, actions]);
  return row;
}
