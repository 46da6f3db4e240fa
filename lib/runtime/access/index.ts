export { AccessFacts, DatabaseFacts, declaredAccessFacts, observeAccessFacts } from './facts';
export * from './report';
export { declaredAccessLines } from './declared-lines';
export { RowSecurity } from './row-security';
export { privilegeWords, quoted, reachWords } from './words';
