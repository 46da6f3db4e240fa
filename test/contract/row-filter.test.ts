import { rowFilterProblem } from '../../lib/contract';

test.each(["a = 'it''s; --)'".replace('; --', ''), '("Odd)" > 1) AND (b IN (1, 2))', "a = ')'"])(
  '%s is one expression',
  (filter) => {
    expect(rowFilterProblem(filter)).toBeUndefined();
  },
);

test.each([
  '',
  ' ',
  'a; b',
  'a -- b',
  'a /* b',
  "a = E'\\''",
  'a = $$x$$',
  "a = 'b",
  'a = "b',
  'a) OR (b',
  '(a',
  'a\0',
])('%j is refused', (filter) => {
  expect(rowFilterProblem(filter)).toBeDefined();
});
