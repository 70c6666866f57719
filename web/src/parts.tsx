// What more than one page shows.

import { Button, Progress, Tag } from 'antd';
import type { MouseEvent, ReactNode } from 'react';

import type { Actions } from './App';
import type { ProgressRow, StudyRow } from './content';
import { useTexts } from './texts';

/** A name that shows itself when it is pointed at or has the keyboard. */
export function Name({ name }: { name: { masked: string; full: string } }) {
  return (
    <span className="name" tabIndex={0}>
      <span className="masked">{name.masked}</span>
      <span className="full">{name.full}</span>
    </span>
  );
}

interface GoProps {
  className: string;
  path: string;
  actions: Actions;
  primary?: boolean;
  children: ReactNode;
}

/** A link to another page of the window; with a modifier key the browser opens it as it does. */
export function Go({ className, path, actions, primary, children }: GoProps) {
  const go = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    actions.go(path);
  };
  return (
    <Button className={className} href={path} type={primary ? 'primary' : 'default'} onClick={go}>
      {children}
    </Button>
  );
}

/** How much of a study that arrives is here. */
export function Arriving({ row }: { row: ProgressRow }) {
  const texts = useTexts();
  const percent = row.expected ? Math.floor((100 * row.here) / row.expected) : 0;
  return (
    <span className="arriving">
      <Progress percent={percent} showInfo={false} size="small" status="active" />
      {texts.arriving(row.here, row.expected)}
    </span>
  );
}

/** Where the report is, when none came with the study. */
export function ReportLink({ row }: { row: StudyRow }) {
  const texts = useTexts();
  if (!row.reportLink) return <Tag className="noreport">{texts.noReport}</Tag>;
  return (
    <a href={row.reportLink} target="_blank" rel="noopener noreferrer">
      {texts.reportAt}
    </a>
  );
}

/** Why a study was chosen, for who asks. */
export function Why({ row }: { row: StudyRow }) {
  const texts = useTexts();
  return (
    <details className="why">
      <summary>{texts.why}</summary>
      {row.why}
    </details>
  );
}
