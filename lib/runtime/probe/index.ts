export * from './counters';
export * from './probe';
