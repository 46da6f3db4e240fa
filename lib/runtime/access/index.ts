export { AccessFacts, DatabaseFacts, declaredAccessFacts, observeAccessFacts } from './facts';
export * from './report';
