import { execFileSync } from 'node:child_process';
import { needs } from '../kit/needs.ts';

/** Whether Perl's Template Toolkit is here to compare with; says so aloud if not. */
export function hasTemplateToolkit(): boolean {
  return needs('perl Template', runs());
}

function runs(): boolean {
  try {
    execFileSync('perl', ['-MTemplate', '-MJSON::PP', '-e', '1'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
