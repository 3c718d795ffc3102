import { isFault } from '../base/errors.ts';
import { assign, evaluate, evaluateArguments, hashFrom } from './evaluate.ts';
import { filterNamed, type RenderOptions } from './filters.ts';
import { type Output, TextOutput } from './output.ts';
import type { Block, Filtering, Handler, Statement, Template } from './parser.ts';
import { Run } from './run.ts';
import { CaughtError, Hash, hashOf, listOf, textOf, truthOf, type Value, type Variables } from './values.ts';

/** Where PROCESS, INCLUDE and INSERT find files; null if there is none of this name. */
export interface Files {
  template(name: string): Promise<Template | null>;
  text(name: string): Promise<string | null>;
}
const noFiles: Files = { template: async () => null, text: async () => null };

/** What a statement is run with. INCLUDE changes the scope, a capture the output, a file the template. */
interface Context {
  readonly template: string;
  readonly scope: Hash;
  readonly output: Output;
  readonly options: RenderOptions;
  readonly files: Files;
  readonly run: Run;
}

/**
 * Renders a template that stands alone (a footer, a subject tag): it cannot include files.
 * Faults 'template-error', 'template-budget', 'template-variables'.
 */
export async function renderTemplate(
  template: Template,
  variables: Variables,
  options: RenderOptions = {},
): Promise<string> {
  const output = new TextOutput();
  await renderTo(output, template, variables, options, noFiles);
  return output.toString();
}

/** Renders a template into `output`, with its files from `files`. The same faults. */
export async function renderTo(
  output: Output,
  template: Template,
  variables: Variables,
  options: RenderOptions,
  files: Files,
): Promise<void> {
  const run = new Run(template.name);
  const scope = hashOf(variables);
  run.enter(template.name);
  await runBlock(template.body, { template: template.name, scope, output, options, files, run });
}

async function runBlock(block: Block, context: Context): Promise<void> {
  for (const statement of block) {
    context.run.at(context.template, statement.line);
    context.run.step();
    await runStatement(statement, context);
  }
}

async function runStatement(statement: Statement, context: Context): Promise<void> {
  const { scope, output, run } = context;
  switch (statement.kind) {
    case 'text':
      run.spend(statement.text.length);
      return output.text(statement.text);
    case 'print':
      return output.value(textOf(evaluate(statement.value, scope, run), run));
    case 'set':
      return assign(statement.target, evaluate(statement.value, scope, run), scope, run);
    case 'capture':
      return assign(statement.target, await captured(statement.body, context), scope, run);
    case 'block':
      return runBlock(statement.body, context);
    case 'if':
      return runBlock(branchOf(statement, scope, run), context);
    case 'foreach':
      return runLoop(statement.name, listOf(evaluate(statement.list, scope, run)), statement.body, context);
    case 'filter':
      return runFilter(statement, context);
    case 'file':
      return runFiles(statement, context);
    case 'try':
      return runTry(statement.body, statement.handlers, context);
  }
}

/** The block of the first test that is true, else ELSE's. */
function branchOf(statement: Statement & { kind: 'if' }, scope: Hash, run: Run): Block {
  const taken = statement.branches.find(({ test }) => truthOf(evaluate(test, scope, run)));
  return taken?.body ?? statement.otherwise;
}

/** The output of a block, as a text. */
async function captured(block: Block, context: Context): Promise<string> {
  const output = new TextOutput();
  await runBlock(block, { ...context, output });
  return output.toString();
}

/**
 * FOREACH. With a name, the loop runs in the scope around it and the name keeps its last value; without one, each
 * item that is a hash becomes variables of a scope of its own (Template::Directive, `foreach`).
 */
async function runLoop(name: string | null, items: Value[], body: Block, context: Context): Promise<void> {
  const scope = name === null ? new Hash(context.scope) : context.scope;
  const around = scope.get('loop') ?? null;
  for (const [index, item] of items.entries()) {
    scope.set('loop', loopAt(items, index));
    if (name !== null) scope.set(name, item);
    else if (item instanceof Hash) for (const [key, value] of item) scope.set(key, value);
    await runBlock(body, { ...context, scope });
  }
  scope.set('loop', around);
}

/** `loop` inside FOREACH; `first` and `last` are 1 or 0. */
function loopAt(items: readonly Value[], index: number): Hash {
  const last = items.length - 1;
  return new Hash([
    ['size', items.length],
    ['max', last],
    ['index', index],
    ['count', index + 1],
    ['first', index === 0 ? 1 : 0],
    ['last', index === last ? 1 : 0],
    ['prev', items[index - 1] ?? null],
    ['next', items[index + 1] ?? null],
  ] as const satisfies [string, Value][]);
}

async function runFilter(
  statement: { filter: Filtering; body: Block; line: number },
  context: Context,
): Promise<void> {
  const { scope, run, template, options } = context;
  const name = textOf(evaluate(statement.filter.name, scope, run), run);
  const filter = filterNamed(name, options);
  if (filter === null) throw run.fail('undef', `${name}: filter not found`);
  const args = evaluateArguments(statement.filter.args, scope, run);
  const text = await captured(statement.body, context);
  run.at(template, statement.line);
  run.spend(text.length);
  const filtered = filter(text, args, run);
  run.spend(filtered.length);
  context.output.value(filtered);
}

/** INSERT gives a file as it is; PROCESS renders it in this scope, INCLUDE in a copy of it. */
async function runFiles(statement: Statement & { kind: 'file' }, context: Context): Promise<void> {
  const { run, files, output } = context;
  const { how, names, args } = statement;
  const scope = how === 'INCLUDE' ? new Hash(context.scope) : context.scope;
  for (const [name, value] of hashFrom(args.named, context.scope, run)) scope.set(name, value);
  for (const expression of names) {
    run.at(context.template, statement.line);
    const name = textOf(evaluate(expression, context.scope, run), run);
    if (how === 'INSERT') {
      const text = await files.text(name);
      if (text === null) throw run.fail('file', `${name}: not found`);
      run.spend(text.length);
      output.value(text);
    } else {
      const template = await files.template(name);
      if (template === null) throw run.fail('file', `${name}: not found`);
      run.enter(name);
      await runBlock(template.body, { ...context, template: name, scope });
      run.leave();
    }
  }
}

/** TRY. What the block wrote before it failed stays, as in TT2. A budget that is used up is not caught. */
async function runTry(body: Block, handlers: readonly Handler[], context: Context): Promise<void> {
  const depth = context.run.depth;
  try {
    await runBlock(body, context);
  } catch (error) {
    if (!isFault(error, 'template-error')) throw error;
    const type = String(error.data.type);
    const handler = handlerFor(type, handlers);
    if (handler === null) throw error;
    context.run.leaveTo(depth);
    const caught = new CaughtError([
      ['type', type],
      ['info', String(error.data.info)],
    ]);
    context.scope.set('error', caught);
    context.scope.set('e', caught);
    await runBlock(handler.body, context);
  }
}

/** The handler of this type or of its nearest kind (`file.read` → `file`), else the one for everything. */
function handlerFor(type: string, handlers: readonly Handler[]): Handler | null {
  for (let kind = type; kind !== ''; kind = kind.replace(/\.?[^.]*$/, '')) {
    const handler = handlers.find((candidate) => candidate.type === kind);
    if (handler !== undefined) return handler;
  }
  return handlers.find((candidate) => candidate.type === null) ?? null;
}
