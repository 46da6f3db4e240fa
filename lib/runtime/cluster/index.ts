export { answerOf, readCommand, runCommand } from './commands';
export { expectedMembers, GateError, waitUntilStreaming } from './gate';
export { OrderError, type OrderOptions } from './orders';
export { applyParameters, readDeclared } from './parameters';
export * from './reference';
export { RestClient, RestError } from './rest';
export { ClusterMemory, guardVolume, lookAtCluster } from './watch';
