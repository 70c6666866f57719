// Holds what the browsers are sent against the oldest ones that are to read it: the scripts of the
// plain pages are ECMAScript 5, the application is what Chrome 88 knows (ECMAScript 2021). And holds
// what is built in against the licences that may be.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { parse } from 'acorn';

const KINDS = [
  { folder: '../src/workstation', ecmaVersion: 5, sourceType: 'script' },
  { folder: '../target/web', ecmaVersion: 2021, sourceType: 'module' },
];

let read = 0;
for (const { folder, ecmaVersion, sourceType } of KINDS) {
  for (const name of readdirSync(folder).filter((name) => name.endsWith('.js'))) {
    const path = join(folder, name);
    try {
      parse(readFileSync(path, 'utf8'), { ecmaVersion, sourceType });
      read += 1;
    } catch (error) {
      console.error(`${path}: not ECMAScript ${ecmaVersion}: ${error.message}`);
      process.exitCode = 1;
    }
  }
}
const LICENCES = ['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0', '0BSD'];
const licences = readFileSync('../target/web/licences.md', 'utf8');
const parts = [...licences.matchAll(/^## (.+) - \S+ \((.+)\)$/gm)];
for (const [, name, licence] of parts.filter(([, , licence]) => !LICENCES.includes(licence))) {
  console.error(`${name}: the licence ${licence} is not among those that may be linked`);
  process.exitCode = 1;
}
if (parts.length < 10) throw new Error(`only ${parts.length} licences were read`);
if (read < 5) throw new Error(`only ${read} scripts were read`);
