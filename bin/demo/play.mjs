// The story, step by step: the people, the list, a post, the notice and the answer to it.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { entityOf, headerFields, headerOf, messageOf, plot } from './message.mjs';
import { encrypt, makeAuthority, needOpenssl, read, readsAesGcm, sign, verify } from './people.mjs';
import { post, startRelay } from './post-office.mjs';
import { run, serve } from './program.mjs';
import { attack, explain, lookBack } from './proof.mjs';

const { list, sendcert, subject, text } = plot;
const patienceMs = 15_000;
const columns = ['', 'SIGNED BY', 'KEY BY', 'CIPHER', 'TEXT'];

/** Plays all steps on `stage`, whose `folder` is there; `relay` and `daemon` come onto it. Throws where something differs. */
export async function play(story, stage) {
  const version = await needOpenssl();
  story.title('reseal: one encrypted message in, one for each member out');
  story.say(
    `All of this is real: the daemon, its commands, SMTP on loopback. ${version.split(' ', 2).join(' ')} is the mail program of all the people, and shares no code with reseal.`,
  );
  const people = await makePeople(story, stage);
  await makeList(story, stage, people);
  const sent = await writePost(story, stage, people);
  await openCopies(story, stage, people);
  const notice = await readNotice(story, stage, people);
  await answerNotice(story, stage, people, notice);
  await attack(story, stage, people, sent);
  await lookBack(story, stage, people);
  await explain(story, stage, sent);
}

async function makePeople(story, { folder }) {
  story.step('The people');
  const authority = await makeAuthority(join(folder, 'people'), 'Example Mail CA');
  const about = [
    ['Alice', 'RSA-2048', 'owns the list, and writes to it'],
    ['Bob', 'RSA-2048', 'member'],
    ['Carol', 'P-256', 'member'],
    ['Dora', 'P-256', 'member; her certificate lists AES-GCM', readsAesGcm],
    ['Erin', 'P-256', 'member; nobody has her certificate yet'],
    ['Mallory', 'P-256', 'not a member, but on the line'],
  ];
  const people = await Promise.all(
    about.map(([name, kind, , capabilities]) =>
      authority.person({ name, address: `${name.toLowerCase()}@example.org`, kind, capabilities }),
    ),
  );
  story.say('openssl makes a certification authority, and certificates from it for:');
  story.table(people.map((one, at) => [one.name, one.address, one.kind, about[at][2]]));
  return { authority, ...Object.fromEntries(people.map((one) => [one.name.toLowerCase(), one])) };
}

async function makeList(story, stage, { authority, alice, bob, carol, dora, erin }) {
  story.step('The list');
  stage.relay = await startRelay(patienceMs);
  stage.site = join(stage.folder, 'site');
  stage.listCertificate = join(stage.folder, 'people/council.pem');
  await mkdir(join(stage.site, 'etc'), { recursive: true });
  const settings = [
    'hostname: lists.example',
    'listen: { protocol: smtp, port: 0 }',
    `relay: { port: ${stage.relay.port}, tls: none }`,
    `trust.cafile: ${authority.certificate}`,
  ];
  await writeFile(join(stage.site, 'etc/reseal.yaml'), `${settings.join('\n')}\n`);
  const reseal = (args, told = args.join(' ')) => {
    story.command(`reseal ${told}`);
    return run(stage.site, args);
  };
  await reseal(['list', 'create', list, '--owner', alice.address]);
  const certificates = [bob, carol, dora].map((one) => one.certificate);
  // None of the three needs another's result.
  const [shown] = await Promise.all([
    reseal(['list', 'show', list, '--cert'], `list show ${list} --cert > council.pem`),
    reseal(['member', 'add', list, ...[bob, carol, dora, erin].map((one) => one.address)]),
    reseal(['cert', 'import', ...certificates], 'cert import bob.pem carol.pem dora.pem'),
  ]);
  await writeFile(stage.listCertificate, shown);
  story.command('reseal serve');
  const [daemon, table] = await Promise.all([
    serve(stage.site, patienceMs),
    run(stage.site, ['member', 'list', list, '--json']),
  ]);
  stage.daemon = daemon;
  story.ok(`Listening on 127.0.0.1:${daemon.port}. A relay of this demo keeps what leaves.`);
  const members = JSON.parse(table);
  const known = Object.fromEntries(members.map((one) => [one.address, one.certificate !== null]));
  story.check('whose certificate is known', known, {
    [bob.address]: true,
    [carol.address]: true,
    [dora.address]: true,
    [erin.address]: false,
  });
  story.ok('Four members, and certificates of three.');
}

async function writePost(story, stage, { alice }) {
  story.step('Alice writes: signed with her key, encrypted for the list');
  const header = headerFields(alice, list);
  const signed = await sign(alice, `${text}\n`);
  const message = messageOf(header, await encrypt(alice, signed, stage.listCertificate));
  story.table([
    ['To', list],
    ['Subject', `${subject}   (in the open, as subjects are)`],
    ['Text', text],
  ]);
  story.check('whether the post shows its text', message.includes(text), false);
  const { answer, decision } = await post(stage.daemon, alice, list, message);
  story.checkMatch('the answer to the post', answer, /^250 2\.\d\.\d /);
  story.ok(`SMTP: ${answer}`);
  story.check('the decision on the post', [decision?.event, decision?.author], ['authorized', alice.address]);
  story.ok('Opened in memory; the signature inside is hers, and she may post.');
  return { message, id: header['Message-ID'] };
}

async function openCopies(story, stage, { authority, alice, bob, carol, dora }) {
  story.step('What the members received, opened by `openssl cms` with their keys');
  const expected = [
    [bob, 'RSA', 'AES-256-CBC'],
    [carol, 'ECDH', 'AES-256-CBC'],
    [dora, 'ECDH', 'AES-256-GCM'],
  ];
  const rows = [];
  for (const [member, ...algorithms] of expected)
    rows.push(
      await readCopy(story, member, await stage.relay.mailTo(member.address), {
        authority,
        alice,
        algorithms,
      }),
    );
  story.table(rows, columns);
  story.ok("The signature is Alice's, unbroken. Each copy opens for one reader only.");
}

/** Opens a copy as its member, and checks everything that the row of the table tells. */
async function readCopy(story, member, { to, message }, { authority, alice, algorithms }) {
  const copy = await read(member, message, authority);
  const whose = `${member.name}'s copy`;
  story.check(`the recipients of ${whose}`, [to, copy.readers], [[member.address], 1]);
  story.check(`the signer of ${whose}`, copy.signedBy, alice.address);
  story.check(`the algorithms of ${whose}`, [copy.key, copy.cipher], algorithms);
  story.check(`the text of ${whose}`, copy.text, text);
  return [member.name, copy.signedBy, copy.key, copy.cipher, copy.text];
}

async function readNotice(story, stage, { erin }) {
  story.step('Erin has no certificate: her copy waits, and she gets a notice');
  const { to, message } = await stage.relay.mailTo(erin.address);
  const field = (name) => headerOf(message, name);
  const notice = await verify(erin, entityOf(message), stage.listCertificate);
  const { waiting } = JSON.parse(await run(stage.site, ['queue', 'list', '--held', '--json']));
  const waits = waiting.map((one) => [one.member, one.reason]);
  story.check('what waits for a certificate', waits, [[erin.address, 'no-certificate']]);
  story.check('the recipient of the notice', [to, field('To')], [[erin.address], erin.address]);
  story.check('the sender of the notice', [field('From'), notice.signedBy], [list, list]);
  story.check('where answers to the notice go', field('Reply-To'), sendcert);
  story.checkMatch('what the notice asks for', notice.text, /send a digitally signed message/);
  story.check('whether the notice names the subject', notice.text.includes(subject), true);
  story.check(
    'whether the notice shows the text',
    message.includes(text) || notice.text.includes(text),
    false,
  );
  for (const name of ['From', 'To', 'Reply-To', 'Subject'])
    story.quote(`${`${name}:`.padEnd(9)} ${field(name)}`);
  const paragraphs = notice.text.split('\n\n');
  const end = paragraphs.findIndex((one) => one.includes(sendcert));
  story.quote(`\n${paragraphs.slice(0, end + 1).join('\n\n')}\n\n[and so on]`);
  story.ok("Signed with the list's key. It tells the subject, but nothing of the text.");
  return { id: field('Message-ID'), subject: field('Subject'), replyTo: field('Reply-To') };
}

async function answerNotice(story, stage, { authority, alice, erin }, notice) {
  story.step('Erin answers the notice; her mail program signs');
  const more = { Subject: `Re: ${notice.subject}`, 'In-Reply-To': notice.id };
  const reply = messageOf(headerFields(erin, notice.replyTo, more), await sign(erin, 'Here it is.\n'));
  const { answer, decision } = await post(stage.daemon, erin, notice.replyTo, reply);
  story.check("the decision on Erin's answer", decision?.event ?? answer, 'certificate-received');

  const mails = [await stage.relay.mailTo(erin.address, 2), await stage.relay.mailTo(erin.address, 3)];
  const isThanks = ({ message }) => /your certificate has arrived/.test(headerOf(message, 'Subject'));
  const thanks = mails.filter(isThanks);
  const copies = mails.filter((one) => !isThanks(one));
  story.check('thanks and copies for Erin', [thanks.length, copies.length], [1, 1]);
  const confirmation = await verify(erin, entityOf(thanks[0].message), stage.listCertificate);
  story.check('the signer of the thanks', confirmation.signedBy, list);
  story.checkMatch('what the thanks say', confirmation.text, /One message was waiting for it/);
  story.ok(`The list confirms, signed: "${headerOf(thanks[0].message, 'Subject')}".`);
  const row = await readCopy(story, erin, copies[0], {
    authority,
    alice,
    algorithms: ['ECDH', 'AES-256-CBC'],
  });
  story.ok('And the copy that waited is on its way:');
  story.table([row], columns);
}
