import { makeProgram } from './program.ts';
import { endQuietlyOnClosedPipe, runProgram } from './run-program.ts';

endQuietlyOnClosedPipe();
await runProgram(makeProgram(), process.argv);
