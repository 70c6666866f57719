// The notices of the window, the latest first.

import { Button, Empty, Tag } from 'antd';
import { useState } from 'react';

import type { Actions } from './App';
import type { NoticeRow } from './content';
import { useKeys } from './keys';
import { Go } from './parts';
import { useTexts } from './texts';

interface Props {
  notices: Map<number, NoticeRow>;
  actions: Actions;
}

export function Notices({ notices, actions }: Props) {
  const texts = useTexts();
  const [chosen, setChosen] = useState<number>();
  const list = [...notices.values()].sort((a, b) => b.id - a.id);
  const index = list.findIndex((one) => one.id === chosen);
  const at = (notice: NoticeRow) => `/workstation/patient/${notice.id}`;
  const seen = (notice: NoticeRow) => actions.send(`/workstation/acknowledge/${notice.id}`);
  const move = (by: number) => {
    const next = list[Math.min(list.length - 1, Math.max(0, index + by))];
    if (next) setChosen(next.id);
  };
  const current = list[index];
  useKeys({
    ArrowDown: () => move(1),
    ArrowUp: () => move(index < 0 ? 1 : -1),
    Enter: () => current && actions.go(at(current)),
    s: () => current && !current.acknowledged && seen(current),
  });
  return (
    <>
      <h1>{texts.notices}</h1>
      {list.length === 0 && (
        <div id="none">
          <Empty
            image={Empty.PRESENTED_IMAGE_SIMPLE}
            description={
              <>
                <b>{texts.nothing}</b>
                <br />
                {texts.nothingMore}
              </>
            }
          />
        </div>
      )}
      <ol id="notices" aria-live="polite">
        {list.map((notice) => (
          <li
            key={notice.id}
            className={`${notice.acknowledged ? 'seen' : 'new'} ${chosen === notice.id ? 'chosen' : ''}`}
          >
            <span className="time">{clock(notice.at)}</span>
            <strong>{notice.patient}</strong>
            <span className="space">
              {texts.studies(notice.studies)} · {texts.here(notice.here)}
              {notice.same > 0 && (
                <Tag className="same" color="error" variant="outlined">
                  {texts.sameCount(notice.same)}
                </Tag>
              )}
              {!notice.precise && <Tag>{texts.listOnly}</Tag>}
            </span>
            {!notice.acknowledged && <Button className="acknowledge" onClick={() => seen(notice)}>{texts.seen}</Button>}
            <Go className="look" path={at(notice)} actions={actions} primary>
              {texts.look}
            </Go>
            {notice.newest && (
              <span className="newest">
                {notice.newest} {notice.days !== null && texts.ago(notice.days)}
              </span>
            )}
          </li>
        ))}
      </ol>
      {list.length > 0 && <footer>{texts.keysList}</footer>}
    </>
  );
}

function clock(at: number): string {
  const time = new Date(at);
  const two = (n: number) => String(n).padStart(2, '0');
  return `${two(time.getHours())}:${two(time.getMinutes())}`;
}
