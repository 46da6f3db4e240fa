export * from './acknowledgement';
export * from './findings';
export * from './finding-ids';
