export { AccessFacts, DatabaseFacts, declaredAccessFacts, observeAccessFacts } from './facts';
export * from './report';
export { RowSecurity } from './row-security';
export { quoted, reachWords } from './words';
