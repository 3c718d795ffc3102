import { faultsOf } from '../base/errors.ts';

/** Where in the file: `etc/reseal.yaml:3:18`. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

const at = (d: { place: string }): string => (d.place === '' ? '' : `${d.place}: `);

/** The closed set of what can be wrong with the configuration. `found` is never the value of an unknown setting: it may be a password. */
export const fault = faultsOf({
  'config-root': (d: { root: string }) =>
    `The root folder ${d.root} does not exist or is no folder: give another with --root or RESEAL_ROOT`,
  'config-missing': (d: { file: string }) =>
    `The configuration file ${d.file} does not exist: copy etc/reseal.yaml.example to it`,
  'config-unreadable': (d: { file: string; why: string }) =>
    `The configuration file ${d.file} cannot be read (${d.why}): check its owner and mode`,
  'config-syntax': (d: { place: string; why: string }) => `${at(d)}this is not valid YAML: ${d.why}`,
  'config-unknown': (d: { place: string; setting: string; hint: string }) =>
    `${at(d)}there is no setting "${d.setting}"${d.hint}`,
  'config-twice': (d: { place: string; setting: string; first: string }) =>
    `${at(d)}"${d.setting}" is set a second time; it was set before at ${d.first}`,
  'config-value': (d: { place: string; setting: string; found: string; expected: string }) =>
    `${at(d)}"${d.setting}" is ${d.found}: expected ${d.expected}`,
  'config-contradiction': (d: { place: string; why: string }) => `${at(d)}${d.why}`,
  'config-mistakes': (d: { mistakes: readonly string[] }) =>
    `The configuration has ${d.mistakes.length} mistakes:\n${d.mistakes.map((one) => `  ${one}`).join('\n')}`,
});

/** One mistake. */
export type Mistake = ReturnType<typeof fault>;
