import { Construct } from 'constructs';
import { CommentTarget } from '../contract';
import { requireLiteral } from '../server/state/literals';
import { ServerState } from '../server/state/server-state';

/** Declares what \du, \l and \dn say of an object; who manages it is added where it is applied. */
export function addDescription(by: Construct, state: ServerState, on: CommentTarget, description?: string): void {
  if (description === undefined) return;
  const text = requireLiteral(by, 'description', description);
  if (text.trim() === '' || text.includes('\0')) {
    throw new Error(
      `${by.node.path}: description is ${JSON.stringify(text)}; say in a few words what the ${on.kind} is for, or leave it out`,
    );
  }
  state.declare((declaration) => declaration.addComment(by, { on, text }));
}
