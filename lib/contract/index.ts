export * from './codec';
export * from './creators';
export * from './desired-state';
export * from './encodings';
export * from './names';
export * from './probe-metrics';
export * from './resource';
export * from './row-filter';
