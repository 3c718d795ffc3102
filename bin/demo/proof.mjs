// The last steps: what an attacker gets, what stands where, and what is known afterwards.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { entityOf, headerFields, messageOf, plot } from './message.mjs';
import { sign } from './people.mjs';
import { post } from './post-office.mjs';
import { run } from './program.mjs';

const { list, text } = plot;

/** Alice's encrypted post again, in four disguises: nobody may receive anything. */
export async function attack(story, stage, { alice, mallory }, { message }) {
  story.step("Mallory kept Alice's post, and wants the list to open it again");
  const before = stage.relay.caught.length;
  const captured = entityOf(message);
  const wrapped = await sign(mallory, captured, { mime: true });
  const attempts = [
    ['as it was', 'dropped: duplicate', alice, message],
    ['as a new message', 'dropped: replay', alice, messageOf(headerFields(alice, list), captured)],
    [
      "in Mallory's signature, From Alice",
      'dropped: replay',
      alice,
      messageOf(headerFields(alice, list), wrapped),
    ],
    [
      "in Mallory's signature, From Mallory",
      'refused',
      mallory,
      messageOf(headerFields(mallory, list), wrapped),
    ],
  ];
  const rows = [];
  for (const [how, expected, from, data] of attempts) {
    const { answer, decision } = await post(stage.daemon, from, list, data);
    const outcome = decision ? `${decision.event}: ${decision.reason}` : 'refused';
    story.check(`what becomes of the post ${how}`, outcome, expected);
    if (decision === null) story.checkMatch(`the refusal of the post ${how}`, answer, /^550 5\.7\./);
    rows.push([how, decision ? outcome : answer]);
  }
  story.table(rows, ['SENT AGAIN', 'WHAT BECAME OF IT']);
  const { deliveries } = JSON.parse(await run(stage.site, ['list', 'show', list, '--json']));
  story.check('what waits to leave', deliveries, {});
  story.check('how many mails left', stage.relay.caught.length - before, 0);
  story.ok('Nothing has left the list, and nothing waits to.');
}

/** Stops the daemon and looks at everything that it left behind or sent. */
export async function lookBack(story, stage, { bob, carol, dora, erin }) {
  story.step('Looking back');
  story.check('the exit code of `reseal serve`', await stage.daemon.stop(), 0);
  const { caught } = stage.relay;
  const mailsFor = ({ address }) => caught.filter(({ to }) => to.includes(address)).length;
  story.check('mails for Bob, Carol, Dora, Erin', [bob, carol, dora, erin].map(mailsFor), [1, 1, 1, 3]);
  story.check('mails that left', caught.length, 6);
  story.ok('Six mails have left: four copies, one notice, one confirmation.');
  const places = [
    ...(await filesBelow(stage.site)),
    ['the log', Buffer.from(stage.daemon.log.join('\n'))],
    ...caught.map(({ message }, index) => [`mail ${index + 1}`, Buffer.from(message, 'latin1')]),
  ];
  const shown = places.filter(([, bytes]) => formsOf(text).some((form) => bytes.includes(form)));
  story.check(
    'where the text can be read',
    shown.map(([place]) => place),
    [],
  );
  story.ok(`The text can be read in none of them, in no file of reseal, nor in its log.`);
}

/** What an owner can find out about Alice's post. */
export async function explain(story, stage, { id }) {
  story.step('And somebody asks: what became of that message?');
  story.command(`reseal explain '${id}'`);
  const words = await run(stage.site, ['explain', id]);
  for (const name of ['bob', 'carol', 'dora', 'erin'])
    story.checkMatch(
      `what is known of ${name}'s copy`,
      words,
      new RegExp(`^.*${name}@example\\.org.*delivered`, 'm'),
    );
  story.check('whether the explanation shows the text', words.includes(text), false);
  story.quote(words, { cut: true });
}

/** The text as it is, and as it would stand in base64, whatever comes before it. */
function formsOf(secret) {
  const encoded = [0, 1, 2].map((shift) => Buffer.from(`${' '.repeat(shift)}${secret}`).toString('base64'));
  return [secret, ...encoded.map((form) => form.slice(4, -4))];
}

async function filesBelow(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath ?? one.path, one.name));
  return Promise.all(paths.map(async (path) => [path, await readFile(path)]));
}
