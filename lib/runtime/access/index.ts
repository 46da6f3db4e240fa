export { AccessFacts, DatabaseFacts, declaredAccessFacts, observeAccessFacts } from './facts';
export * from './report';
export { quoted, reachWords } from './words';
