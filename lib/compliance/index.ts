export * from './acknowledgement';
export * from './findings';
