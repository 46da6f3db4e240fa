export * from './acknowledged';
export * from './check';
export * from './judge';
export * from './running';
export * from './source';
