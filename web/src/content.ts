// What the pages say: the shapes of `src/workstation/content.rs`.

export interface NoticeRow {
  id: number;
  kind: 'opened' | 'ordered';
  /** Milliseconds since 1970. */
  at: number;
  precise: boolean;
  acknowledged: boolean;
  patient: string;
  exams: string[];
  studies: number;
  here: number;
  same: number;
  newest: string | null;
  days: number | null;
}

export interface ProgressRow {
  progress: 'here' | 'arriving' | 'elsewhere';
  here: number;
  expected: number | null;
}

export interface StudyRow extends ProgressRow {
  study: string;
  date: string;
  hospital: string;
  modality: string;
  examination: string;
  days: number | null;
  same: 'mapping' | 'name' | null;
  unconfirmed: boolean;
  hasReport: boolean;
  reportLink: string | null;
  why: string;
}

export interface Line {
  depth: number;
  label: string;
  text: string;
}

export type Report = { text: { lines: Line[] } } | { document: { sop: string } };

export interface SeriesRow {
  number: number;
  modality: string;
  description: string;
  images: number;
}

interface Common {
  language: 'zh-CN' | 'en';
  idleSeconds: number;
}

export interface WindowPage extends Common {
  page: 'window';
  session: number;
  doctor: string;
  department: string;
  notices: NoticeRow[];
}

export interface PatientPage extends Common {
  page: 'patient';
  session: number;
  notice: number;
  patient: { masked: string; full: string };
  exams: string[];
  decide: boolean;
  studies: StudyRow[];
}

export interface StudyPage extends Common, StudyRow {
  page: 'study';
  session: number;
  notice: number;
  words: string;
  viewer: boolean;
  linked: boolean;
  series: SeriesRow[];
  reports: Report[];
}

export interface RefusedPage extends Common {
  page: 'refused';
  why: 'session' | 'patient' | 'link' | 'broken' | 'foreign' | 'busy';
  glass: number | null;
  words: string;
}

export type Content = WindowPage | PatientPage | StudyPage | RefusedPage;
