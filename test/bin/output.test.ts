import { Output, Progress, wantsColor, wrap } from '../../bin/output/terminal';

/** What a command writes to, as a terminal or as a file. */
function stream(isTTY: boolean, columns = 40) {
  const written: string[] = [];
  const write = (text: string) => written.push(text) > 0;
  return { stream: { isTTY, columns, write } as unknown as NodeJS.WriteStream, text: () => written.join('') };
}

describe('colour', () => {
  test.each([
    ['a terminal', { isTTY: true }, {}, true],
    ['a file or a pipe', {}, {}, false],
    ['a terminal that can do nothing', { isTTY: true }, { TERM: 'dumb' }, false],
    ['a terminal, with NO_COLOR', { isTTY: true }, { NO_COLOR: '1' }, false],
    ['a terminal, with an empty NO_COLOR', { isTTY: true }, { NO_COLOR: '' }, true],
    ['a file, with FORCE_COLOR', {}, { FORCE_COLOR: '1' }, true],
    ['a file, with FORCE_COLOR=0', {}, { FORCE_COLOR: '0' }, false],
    ['NO_COLOR and FORCE_COLOR', { isTTY: true }, { NO_COLOR: '1', FORCE_COLOR: '1' }, false],
  ])('%s: %s %s is %s', (_what, target, env, expected) => {
    expect(wantsColor(target, env)).toBe(expected);
  });
});

describe('progress', () => {
  test('is one line of a terminal that is written over and gone at the end', () => {
    const { stream: terminal, text } = stream(true, 20);
    const progress = new Progress(terminal);
    progress.say('connecting');
    progress.say('a message that is longer than the line');
    progress.done();
    expect(text()).toBe('\r\x1b[K… connecting\r\x1b[K… a message that i…\r\x1b[K');
  });

  test('is nothing in a file', () => {
    const { stream: file, text } = stream(false);
    const progress = new Progress(file);
    progress.say('connecting');
    progress.done();
    expect(text()).toBe('');
  });
});

describe('text', () => {
  test('of a server steers no terminal, and our own colours stay', () => {
    const { stream: file, text } = stream(false);
    new Output(file).line('\x1b[31mthe role\x1b[39m a\x1b[2Jb\x1b]0;title\x07\rc\x9bd');
    expect(text()).toBe('\x1b[31mthe role\x1b[39m a\\x1b[2Jb\\x1b]0;title\\x07\\x0dc\\x9bd\n');
  });

  test('goes on below itself, and a mark stands before its first line alone', () => {
    const { stream: file, text } = stream(false, 24);
    new Output(file).wrapped('a text of more than one line', '  - ');
    expect(text()).toBe('  - a text of more than\n      one line\n');
  });

  test('is broken at spaces only', () => {
    expect(wrap('https://example.com/a/long/address is whole', 10)).toEqual([
      'https://example.com/a/long/address',
      '  is whole',
    ]);
  });

  test('is left out where JSON is asked for, and the other way round', () => {
    const { stream: file, text } = stream(false);
    const json = new Output(file, true);
    json.heading('a heading');
    json.line('a line');
    json.document({ a: 1 });
    new Output(file).document({ b: 1 });
    expect(JSON.parse(text())).toEqual({ a: 1 });
  });
});
