export * from './acknowledgement';
export * from './expiry';
export * from './findings';
export * from './finding-ids';
export * from './postgres-checks';
