// A page that is not shown, with the reason that may open it.

import { Button, Input, Result } from 'antd';
import { type FormEvent, useState } from 'react';

import type { Actions } from './App';
import type { RefusedPage } from './content';
import { useTexts } from './texts';

export function Refused({ content, actions }: { content: RefusedPage; actions: Actions }) {
  const texts = useTexts();
  const [reason, setReason] = useState('');
  const glass = content.glass;
  const open = (event: FormEvent) => {
    event.preventDefault();
    actions.send(`/workstation/glass/${glass}`, { reason });
  };
  return (
    <Result
      className="refused"
      status={content.why === 'busy' ? 'error' : 'warning'}
      title={content.words}
      extra={
        glass !== null && (
          <form className="glass" onSubmit={open}>
            <Input
              name="reason"
              aria-label={texts.glassReason}
              placeholder={texts.glassReason}
              required
              minLength={2}
              maxLength={200}
              value={reason}
              onChange={(event) => setReason(event.target.value)}
            />
            <Button htmlType="submit" type="primary" danger>
              {texts.glass}
            </Button>
            <p>{texts.glassMore}</p>
          </form>
        )
      }
    />
  );
}
