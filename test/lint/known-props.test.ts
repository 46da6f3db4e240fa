import known from '../../lib/server/known-props.json';
import { readKnownProps } from '../../scripts/known-props';

test('the committed members of the interfaces are those that the compiler sees', () => {
  expect(known).toEqual(readKnownProps());
}, 300_000);
