// Takes the place of the page that the server wrote, with what the server wrote beside it.

import 'antd/dist/reset.css';
import './style.css';

import { ConfigProvider } from 'antd';
import english from 'antd/locale/en_US';
import chinese from 'antd/locale/zh_CN';
import { createRoot } from 'react-dom/client';

import { App } from './App';
import type { Content } from './content';

// Colours that are read on the bad screen of a ward, from an arm's length.
const TOKENS = {
  fontSize: 18,
  fontFamily: 'inherit',
  colorPrimary: '#1756a9',
  colorSuccess: '#0c6b58',
  colorSuccessBg: '#e3f4ee',
  colorWarning: '#8d5a00',
  colorWarningBg: '#fff7e0',
  colorError: '#ab091e',
  colorErrorBg: '#fdecea',
};

const first = JSON.parse(document.getElementById('content')?.textContent ?? '{}') as Content;
// The styles that the library makes as it goes are let in by the page's nonce.
const nonce = document.querySelector<HTMLScriptElement>('script[nonce]')?.nonce ?? '';
document.querySelector('link[href="/workstation/window.css"]')?.remove();
const root = document.createElement('div');
root.id = 'app';
document.body.replaceChildren(root);
createRoot(root).render(
  <ConfigProvider
    csp={{ nonce }}
    locale={first.language === 'zh-CN' ? chinese : english}
    theme={{ token: TOKENS }}
    button={{ autoInsertSpace: false }}
    wave={{ disabled: true }}
  >
    <App first={first} />
  </ConfigProvider>,
);
