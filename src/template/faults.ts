import { faultsOf } from '../base/errors.ts';

/** Where in which template something went wrong. Lines count from 1. */
export interface Place {
  readonly template: string;
  readonly line: number;
}

/** The codes of this folder. They name places, files and filters, never what variables hold. */
export const fault = faultsOf({
  'template-syntax': (d: { template: string; line: number; problem: string }) =>
    `Template ${d.template}, line ${d.line}: ${d.problem}. Correct the template.`,
  'template-error': (d: { template: string; line: number; type: string; info: string }) =>
    `Template ${d.template}, line ${d.line}: ${d.info}.`,
  'template-budget': (d: { template: string; line: number; limit: string }) =>
    `Template ${d.template}, line ${d.line}: stopped, ${d.limit}. Look for a loop or an include that feeds itself.`,
  'template-variables': (d: { variable: string }) =>
    `The template variable ${d.variable} is not plain data (text, number, boolean, null, list, object).`,
});
